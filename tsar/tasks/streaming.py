"""Forecast while values arrive: each new one costs the model one token, not a re-reading of the history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tsar.decode.stream import SeriesStream
from tsar.errors import FrameError, ModelError, OptionError, ReleaseError, quiet
from tsar.forecast import Forecast, validate_levels
from tsar.frame import Panel, make_forecast_frame, normalize_frame, panel_from_bytes, panel_to_bytes
from tsar.freq import season_length
from tsar.hub import load_model, release_files
from tsar.model.decoder import Decoder
from tsar.storage import read_folder, validate_destination, write_folder
from tsar.types import FloatArray
from tsar.unfitted import NotFittedError
from tsar.validation import validate_count

DEFAULT_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MODEL_FOLDER = "model"
KIND = "stream"
_OPTIONS = ("prediction_length", "quantile_levels", "freq", "id_column", "timestamp_column", "target", "non_negative")


class StreamingForecaster:
    """A forecaster that keeps up with its series.

    `start` reads the history once; `update` appends new values, each for the cost of one token; `predict` forecasts
    what follows. The forecasts are those of `Forecaster` with ``downsample=1`` on the points that are held (up to
    rounding): all of them until a series is longer than the model's context, then its last three quarters at least.
    When the context is full it is cut to three quarters and read anew, so that an update costs the same however long a
    series has run; on the mean about four tokens with the shipped models.

    Parameters
    ----------
    model
        Name of a release, path of a release folder, or a loaded `Decoder` that forecasts, on the CPU: a token is too
        little work for a GPU.
    prediction_length, quantile_levels, freq, id_column, timestamp_column, target, non_negative
        As in `Forecaster`.

    Attributes
    ----------
    streams_ : list of SeriesStream
        One per item, in the order of `start`; ``held`` is its window, ``tokens_read`` what it has cost so far.

    Examples
    --------
    >>> stream = StreamingForecaster(prediction_length=24).start(df)  # doctest: +SKIP
    >>> stream.update(17.2).predict()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | Decoder = "tsar-tiny",
        *,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        freq: str | None = None,
        id_column: str | None = "item_id",
        timestamp_column: str = "timestamp",
        target: str = "target",
        non_negative: bool | str = "auto",
    ) -> None:
        self.model = model
        self.prediction_length = prediction_length
        self.quantile_levels = quantile_levels
        self.freq = freq
        self.id_column = id_column
        self.timestamp_column = timestamp_column
        self.target = target
        self.non_negative = non_negative

    def start(self, df: Any) -> StreamingForecaster:
        """Read the history of every item; what was read before is forgotten.

        Parameters
        ----------
        df
            Long frame (pandas, polars or pyarrow): one row per item and stamp; missing values are read as missing.

        Returns
        -------
        StreamingForecaster
            itself

        Raises
        ------
        FrameError, FrequencyError
            For data that cannot be forecast, as in `Forecaster.fit`.
        ModelError
            ``model.wrong_task`` for a model whose tokens cannot be continued: one that fills gaps, or looks for the
            period of the whole window.
            ``model.unknown_name`` for a name that is neither shipped nor a folder.
        OptionError
            ``option.invalid``, ``option.quantile_level``.
        """
        validate_levels(self.quantile_levels)
        if not any(self.non_negative is one or self.non_negative == "auto" for one in (True, False)):
            text = f"non_negative must be True, False or 'auto', got {self.non_negative!r}."
            raise OptionError(text, code="option.invalid")
        panel = normalize_frame(
            df, id_column=self.id_column, timestamp_column=self.timestamp_column, target=self.target, freq=self.freq
        )
        parts = np.split(panel.values, panel.offsets[1:-1])
        self._start(panel, parts, [not bool((part < 0).any()) for part in parts])
        return self

    def _start(self, panel: Panel, parts: list[FloatArray], never_negative: list[bool]) -> None:
        decoder = load_model(self.model, "cpu").at_frequency(panel.freq)
        config = decoder.config
        if config.task != "forecast" or config.period or config.tokenizer != "patch" or not decoder.can_cache:
            raise ModelError(
                f"{self.model!r} cannot be continued token by token.",
                code="model.wrong_task",
                hint="Streams need the usual tokens, causal attention and scaling, and no period features.",
            )
        if next(decoder.parameters()).device.type != "cpu":
            raise OptionError("A stream runs on the CPU; give the model there.", code="option.invalid")
        self.panel_ = panel
        self.next_ = panel.starts + panel.lengths * panel.grid.step  # position of each item's next stamp
        self.never_negative_ = never_negative
        self.streams_ = [SeriesStream(decoder, part) for part in parts]

    def update(self, new: Any) -> StreamingForecaster:
        """Append new values.

        Parameters
        ----------
        new
            A long frame with the columns of `start`, of some or all items; periods that are skipped count as missing.
            Or a number, the next value of the only item; or a mapping from ids to numbers, the next value of each. NaN
            is missing.

        Returns
        -------
        StreamingForecaster
            itself

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` before `start`.
        FrameError, FrequencyError
            For a frame that cannot be used; ``stream.unknown_item`` for an item that was not there at `start`,
            ``stream.not_new`` for a stamp that is not after those already read, ``frame.infinite_target`` for an
            infinite number. Nothing has been read then.
        OptionError
            ``option.invalid`` for a bare number where there are several items.
        """
        self._require_start()
        for item, values in self._new_values(new):
            stream = self.streams_[item]
            for value in values:
                stream.push(float(value))
            self.next_[item] += len(values) * self.panel_.grid.step
            self.never_negative_[item] &= not bool((values < 0).any())
        return self

    def _new_values(self, new: Any) -> list[tuple[int, FloatArray]]:
        """Place of each item and its new values, missing ones filled in."""
        places = {item_id: place for place, item_id in enumerate(self.panel_.item_ids.tolist())}
        if isinstance(new, (int, float, np.number)) and not isinstance(new, bool):
            if len(places) != 1:
                text = f"A bare number is for one item; here are {len(places)}."
                raise OptionError(text, code="option.invalid", hint="Give a mapping from ids to numbers, or a frame.")
            new = dict.fromkeys(places, new)
        if isinstance(new, Mapping):
            _refuse_unknown(new, places)
            return [(places[item_id], np.array([_number_of(item_id, value)])) for item_id, value in new.items()]
        grid = self.panel_.grid
        with quiet():  # one new row is no thin item here
            panel = normalize_frame(
                new, id_column=self.id_column, timestamp_column=self.timestamp_column, target=self.target,
                freq=grid.step if grid.freq is None else grid.freq,
            )  # fmt: skip
        ids = panel.item_ids.tolist()
        _refuse_unknown(ids, places)
        pairs = []
        for item_id, start, values in zip(ids, panel.starts, np.split(panel.values, panel.offsets[1:-1]), strict=True):
            ahead, rest = divmod(int(start - self.next_[places[item_id]]), grid.step)
            if ahead < 0 or rest:
                raise FrameError(
                    "New rows must be on the grid of the history and after its end",
                    code="stream.not_new",
                    item_ids=[item_id],
                    hint="send each row once; to correct the past, call start again",
                )
            pairs.append((places[item_id], np.concatenate([np.full(ahead, np.nan), values])))
        return pairs

    def predict(self, *, prediction_length: int | None = None, quantile_levels: Sequence[float] | None = None) -> Any:
        """Forecast what follows the values read so far; nothing is remembered.

        Parameters
        ----------
        prediction_length, quantile_levels
            Instead of those of the constructor, for this call.

        Returns
        -------
        frame of the kind that came in
            As `Forecaster.predict`.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` before `start`.
        OptionError
            ``option.prediction_length``, ``option.quantile_level``.
        """
        self._require_start()
        levels = validate_levels(self.quantile_levels if quantile_levels is None else quantile_levels)
        horizon = self._horizon(prediction_length)
        quantiles = np.stack([stream.quantiles(horizon) for stream in self.streams_])
        config = self.streams_[0].model.config
        forecast = Forecast(quantiles, np.asarray(config.quantile_levels), self._lower_bound())
        return make_forecast_frame(
            self._held_panel(), forecast.at(levels.tolist()), levels.tolist(), forecast.median,
            id_column=self.id_column, timestamp_column=self.timestamp_column, target_name=self.target,
        )  # fmt: skip

    def save(self, folder: str | Path) -> None:
        """Write options, weights and what is held of every series, as one whole step.

        Parameters
        ----------
        folder
            A new folder, or one where a stream was saved before, which is replaced.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted`` before `start`.
        OptionError
            ``option.invalid`` for a folder that holds anything else.
        """
        self._require_start()
        validate_destination(Path(folder), KIND, "saved stream")
        options = {name: getattr(self, name) for name in _OPTIONS}
        options["quantile_levels"] = [float(level) for level in self.quantile_levels]
        files = {"options.json": json.dumps(options, indent=1).encode()}
        files |= {f"{MODEL_FOLDER}/{name}": content for name, content in release_files(self.model).items()}
        files["held.bin"] = panel_to_bytes(self._held_panel())
        files["state.json"] = json.dumps({"never_negative": self.never_negative_}).encode()
        write_folder(Path(folder), files, kind=KIND)

    @classmethod
    def load(cls, folder: str | Path) -> StreamingForecaster:
        """Read a stream that `save` wrote and go on; what is held is read anew, forecasts are the same up to rounding.

        Parameters
        ----------
        folder
            Where it was saved.

        Returns
        -------
        StreamingForecaster

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash`` or ``release.bad_manifest`` for a damaged folder.
        """
        files = read_folder(Path(folder))
        try:
            stream = cls(Path(folder) / MODEL_FOLDER, **json.loads(files["options.json"]))
            panel = panel_from_bytes(files["held.bin"])
            never_negative = [bool(one) for one in json.loads(files["state.json"])["never_negative"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseError(f"{folder} is no stream: {error}.", code="release.bad_manifest") from error
        stream._start(panel, np.split(panel.values, panel.offsets[1:-1]), never_negative)
        return stream

    def _held_panel(self) -> Panel:
        """The windows as a panel that ends where the streams do."""
        lengths = np.array([len(stream.held) for stream in self.streams_], dtype=np.int64)
        values = np.concatenate([stream.held for stream in self.streams_])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return replace(self.panel_, values=values, offsets=offsets, starts=self.next_ - lengths * self.panel_.grid.step)

    def _lower_bound(self) -> FloatArray | None:
        if self.non_negative == "auto":
            return np.where(self.never_negative_, 0.0, -np.inf)
        return np.zeros(len(self.streams_)) if self.non_negative else None

    def _horizon(self, prediction_length: int | None) -> int:
        wanted = self.prediction_length if prediction_length is None else prediction_length
        if wanted is None:
            return max(season_length(self.panel_.freq), 1) if self.panel_.freq is not None else 1
        return validate_count("prediction_length", wanted, code="option.prediction_length")

    def _require_start(self) -> None:
        if not hasattr(self, "streams_"):
            text = "This stream has not started."
            raise NotFittedError(text, code="forecaster.not_fitted", hint="Call start(df) with the history.")


def _number_of(item_id: Any, value: Any) -> float:
    """A new value as a number; None and NaN are missing."""
    try:
        number = float("nan") if value is None else float(value)
    except (TypeError, ValueError) as error:
        text = f"The new value {value!r} is no number."
        raise FrameError(text, code="frame.non_numeric_target", item_ids=[item_id]) from error
    if np.isinf(number):
        raise FrameError("A new value is infinite.", code="frame.infinite_target", item_ids=[item_id])
    return number


def _refuse_unknown(ids: Any, places: Mapping[Any, int]) -> None:
    unknown = [item_id for item_id in ids if item_id not in places]
    if unknown:
        raise FrameError(
            "Items that were not there at the start", code="stream.unknown_item", item_ids=unknown,
            hint="start another stream for them",
        )  # fmt: skip
