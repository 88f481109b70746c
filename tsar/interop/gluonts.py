"""A GluonTS predictor: datasets of ``start`` and ``target`` in, a `QuantileForecast` for each entry out."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import RepresentablePredictor

from tsar.errors import FrameError, OptionError
from tsar.forecaster import DEFAULT_LEVELS, Forecaster
from tsar.types import FloatArray


class TsarPredictor(RepresentablePredictor):  # type: ignore[misc]
    """Forecast GluonTS datasets; ``serialize`` and ``deserialize`` keep the options and name the model.

    Parameters
    ----------
    prediction_length
        F, steps ahead.
    model
        Name of a shipped release or path of a folder, as text.
    freq
        Pandas alias; None: that of each entry's ``start``.
    quantile_levels
        Levels of the forecast.
    options
        Further options of `tsar.Forecaster`, plain JSON types if the predictor is to be serialised.
    lead_time
        Steps between the end of the target and the first forecast, `gap` of the `Forecaster`.
    batch_size
        Entries that are forecast together. The numbers do not depend on it beyond rounding.
    """

    @validated()  # type: ignore[no-untyped-call, untyped-decorator]  # it reads the annotations: no lazy ones here
    def __init__(
        self,
        prediction_length: int,
        model: str = "tsar-tiny",
        freq: str | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        options: dict[str, Any] | None = None,
        lead_time: int = 0,
        batch_size: int = 256,
    ) -> None:
        super().__init__(prediction_length=prediction_length, lead_time=lead_time)
        self.model = model
        self.freq = freq
        self.quantile_levels = list(quantile_levels)
        self.options = dict(options or {})
        self.batch_size = batch_size

    def predict(self, dataset: Any, **kwargs: Any) -> Iterator[QuantileForecast]:
        """Yield a forecast for each entry, in order.

        Parameters
        ----------
        dataset
            Entries with a ``start`` (`pandas.Period`, or what makes one with `freq`) and a ``target`` (N,), NaN where
            missing. Other fields are not read.
        kwargs
            ``num_samples`` is accepted and ignored, as by GluonTS's other predictors of quantiles.

        Raises
        ------
        FrameError
            ``frame.bad_id`` for a target that is not one series; and the errors of `Forecaster.predict`.
        OptionError
            ``option.invalid`` for keyword arguments that are not known.
        """
        unknown = sorted(set(kwargs) - {"num_samples"})
        if unknown:
            raise OptionError(f"TsarPredictor.predict does not know {unknown}.", code="option.invalid")
        entries = iter(dataset)
        while batch := list(islice(entries, self.batch_size)):
            starts = [pd.Period(entry["start"], freq=self.freq) for entry in batch]
            for freq in dict.fromkeys(start.freqstr for start in starts):
                if freq != starts[0].freqstr:
                    raise FrameError(f"Entries have frequencies {starts[0].freqstr} and {freq}.", code="frame.bad_id")
            quantiles = self._quantiles(batch, starts)
            for entry, start, values in zip(batch, starts, quantiles, strict=True):
                yield QuantileForecast(
                    forecast_arrays=values.T,
                    start_date=start + len(entry["target"]) + self.lead_time,
                    forecast_keys=[str(level) for level in sorted(self.quantile_levels)],
                    item_id=entry.get("item_id"),
                    info=entry.get("info"),
                )

    def _quantiles(self, batch: list[dict[str, Any]], starts: list[pd.Period]) -> FloatArray:
        """Quantiles (I, F, Q) of the entries of a batch."""
        forecaster = Forecaster(
            self.model, prediction_length=self.prediction_length, gap=self.lead_time,
            quantile_levels=self.quantile_levels, **self.options,
        )  # fmt: skip
        parts = [_frame(place, *pair) for place, pair in enumerate(zip(batch, starts, strict=True))]
        return forecaster.predict_quantiles(pd.concat(parts, ignore_index=True)).quantiles


def _frame(place: int, entry: dict[str, Any], start: pd.Period) -> pd.DataFrame:
    target = np.asarray(entry["target"], np.float64)
    if target.ndim != 1:
        text = f"The target of an entry must be one series (N,), got shape {target.shape}"
        raise FrameError(text, code="frame.bad_id", item_ids=[entry.get("item_id", place)])
    stamps = pd.period_range(start, periods=len(target), freq=start.freq).to_timestamp()
    return pd.DataFrame({"item_id": place, "timestamp": stamps, "target": target})
