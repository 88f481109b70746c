"""Requests -> panels -> one forecast -> answers: what one thread does with a batch of requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from tsar.constraints import Constraints
from tsar.errors import FrameError, ServeError, collect, quiet
from tsar.forecast import Forecast, validate_levels
from tsar.forecaster import Forecaster
from tsar.frame import Panel, normalize_frame
from tsar.freq import season_length
from tsar.hub import load_model, resolve_device
from tsar.logging import get_logger
from tsar.options import validate_horizon
from tsar.serving.limits import Limits
from tsar.serving.schemas import Columns, ForecastAnswer, ForecastRequest, ItemForecast

MEDIAN = 0.5
_LOG = get_logger("serving")


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A request whose panel is clean."""

    request: ForecastRequest
    panel: Panel
    horizon: int
    notes: list[str]

    def goes_with(self, other: _Work) -> bool:
        """Whether one panel can hold both."""
        alike = self.horizon == other.horizon and self.request.constraints == other.request.constraints
        return alike and self.panel.grid == other.panel.grid


class Worker:
    """A loaded model that answers batches of requests; one thread at a time may use it.

    Parameters
    ----------
    model, device
        As in `tsar.Forecaster`.
    """

    def __init__(self, model: Any, device: str = "auto") -> None:
        self.decoder = load_model(model, resolve_device(device))
        self.device = device
        self.name = model if isinstance(model, str) else type(model).__name__

    def answer(self, requests: Sequence[ForecastRequest], limits: Limits) -> list[ForecastAnswer | Exception]:
        """Answer each request, or say why not; what is wrong with one never shows in another.

        Returns
        -------
        list
            For each request its answer or its error, in order.
        """
        answers: list[ForecastAnswer | Exception | None] = [None] * len(requests)
        groups: list[list[tuple[int, _Work]]] = []
        for place, request in enumerate(requests):
            try:
                work = _prepare(request, limits)
            except Exception as error:
                answers[place] = error
                continue
            group = next((one for one in groups if one[0][1].goes_with(work)), None)
            if group is None:
                groups.append([(place, work)])
            else:
                group.append((place, work))
        for group in groups:
            done = self._forecast([work for _, work in group])
            for (place, _), answer in zip(group, done, strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def _forecast(self, works: list[_Work]) -> list[ForecastAnswer | Exception]:
        try:
            forecast = self._quantiles(works)
            return [self._make_answer(work, part) for work, part in zip(works, _split(forecast, works), strict=True)]
        except Exception as error:
            if len(works) == 1:
                return [error]
            _LOG.info("a batch of %d requests is forecast one by one: %s", len(works), error)
            return [answer for work in works for answer in self._forecast([work])]

    def _quantiles(self, works: list[_Work]) -> Forecast:
        """Forecast the series of all works as one panel, at all levels that any of them wants."""
        first = works[0]
        constraints = first.request.constraints
        forecaster = Forecaster(
            model=self.decoder, device=self.device,
            constraints=None if constraints is None else Constraints(**_as_options(constraints.model_dump())),
        )  # fmt: skip
        forecaster.remember(_join([work.panel for work in works]), {})
        levels = sorted({MEDIAN}.union(*(work.request.quantile_levels for work in works)))
        with quiet():  # of items that may be another request's; see _make_answer
            return forecaster.predict_quantiles(prediction_length=first.horizon, quantile_levels=levels)

    def _make_answer(self, work: _Work, forecast: Forecast) -> ForecastAnswer:
        panel, levels = work.panel, work.request.quantile_levels
        stamps = _plain_stamps(panel.future_timestamps(work.horizon))
        quantiles, median = forecast.at(levels), forecast.median
        reasons = forecast.diagnosis if forecast.diagnosis is not None else [""] * panel.num_items
        items = [
            ItemForecast.model_construct(
                item_id=item_id,
                timestamp=stamps[item * work.horizon : (item + 1) * work.horizon],
                predictions=_plain(median[item]),
                quantiles={str(level): _plain(quantiles[item, :, q]) for q, level in enumerate(levels)},
                diagnosis=str(reasons[item]),
            )
            for item, item_id in enumerate(panel.item_ids.tolist())
        ]
        blind = [item.item_id for item in items if item.predictions[0] is None]
        note = f"nothing observed within the context: the predictions of {len(blind)} items are null, first {blind[:1]}"
        return ForecastAnswer.model_construct(
            items=items, freq=panel.freq, prediction_length=work.horizon, model=self.name,
            warnings=work.notes + [note] * bool(blind),
        )  # fmt: skip


def count_points(request: ForecastRequest) -> int:
    """Rows of a request."""
    return len(request.data.timestamp) if isinstance(request.data, Columns) else len(request.data)


def _prepare(request: ForecastRequest, limits: Limits) -> _Work:
    limits.check("points", count_points(request), limits.max_points)
    limits.check("quantile levels", len(request.quantile_levels), limits.max_levels)
    limits.check("steps ahead", request.prediction_length or 1, limits.max_horizon)
    validate_levels(request.quantile_levels)
    table = _make_table(request)
    id_column = "item_id" if "item_id" in table.column_names else None
    with collect() as notes:
        panel = normalize_frame(table, id_column=id_column, freq=request.freq)
    horizon = request.prediction_length or max(season_length(panel.freq), 1)
    limits.check("steps ahead", horizon, limits.max_horizon)
    limits.check("series", panel.num_items, limits.max_series)
    limits.check("points with the gaps closed", len(panel.values), limits.max_points)
    answers = panel.num_items * horizon * len(request.quantile_levels)
    limits.check("numbers in the answer", answers, limits.max_answers)
    return _Work(request=request, panel=panel, horizon=validate_horizon(horizon), notes=notes)


def _make_table(request: ForecastRequest) -> pa.Table:
    data = request.data
    if isinstance(data, Columns):
        columns: dict[str, Any] = {"item_id": data.item_id, "timestamp": data.timestamp, "target": data.target}
    else:
        ids = [row.item_id for row in data]
        columns = {
            "item_id": None if all(one is None for one in ids) else ids,
            "timestamp": [row.timestamp for row in data],
            "target": [row.target for row in data],
        }
    given: dict[str, list[Any]] = {name: values for name, values in columns.items() if values is not None}
    lengths = {name: len(values) for name, values in given.items()}
    if len(set(lengths.values())) > 1:
        text = f"The columns differ in length: {lengths}."
        raise ServeError(text, code="serve.bad_request", hint="One value for every row; null where missing.")
    _refuse_mixtures("item_id", given.get("item_id", []), "frame.bad_id")
    _refuse_mixtures("timestamp", given["timestamp"], "frame.bad_timestamp")
    arrays = {name: pa.array(values) for name, values in given.items() if name != "target"}
    return pa.table({**arrays, "target": pa.array(given["target"], pa.float64())})


def _refuse_mixtures(name: str, values: list[Any], code: str) -> None:
    if len({type(value) for value in values if value is not None}) > 1:
        raise FrameError(f"{name} holds text and numbers.", code=code, hint="Send all as text, or all as numbers.")


def _join(panels: list[Panel]) -> Panel:
    """Put panels of one grid end to end; the ids are places, since two requests may use the same ones."""
    if len(panels) == 1:
        return panels[0]
    ends = np.cumsum([0, *(len(panel.values) for panel in panels)])
    offsets = [panel.offsets[:-1] + end for panel, end in zip(panels, ends, strict=False)]
    starts = np.concatenate([panel.starts for panel in panels])
    return replace(
        panels[0],
        item_ids=np.arange(len(starts)).astype(object),
        values=np.concatenate([panel.values for panel in panels]),
        offsets=np.concatenate([*offsets, ends[-1:]]),
        starts=starts,
    )


def _split(forecast: Forecast, works: list[_Work]) -> list[Forecast]:
    """The items of each work. Bounds were applied before: the quantiles are final."""
    ends = np.cumsum([0, *(work.panel.num_items for work in works)])
    reasons = forecast.diagnosis
    return [
        Forecast(forecast.quantiles[a:b], forecast.levels, diagnosis=None if reasons is None else reasons[a:b])
        for a, b in pairwise(ends)
    ]


def _as_options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _plain(values: Any) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _plain_stamps(stamps: Any) -> list[Any]:
    return [stamp if isinstance(stamp, int) else stamp.isoformat() for stamp in stamps.tolist()]
