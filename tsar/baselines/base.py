"""What the baselines share: frames in and out, as `Forecaster` has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator

from tsar.forecast import validate_levels
from tsar.frame import Panel, make_forecast_frame, normalize_frame
from tsar.freq import season_length
from tsar.types import FloatArray
from tsar.unfitted import NotFittedError
from tsar.validation import validate_count

DEFAULT_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Self = TypeVar("Self", bound="Baseline")


class Baseline(BaseEstimator):  # type: ignore[misc]
    """A forecaster of long frames whose classes say how to forecast one history.

    Parameters
    ----------
    prediction_length
        F; None: one season.
    quantile_levels
        Columns of the forecast besides the median.
    season_length
        Points in a season; None: that of the frequency.
    freq, id_column, timestamp_column, target
        As in `tsar.Forecaster`.

    Attributes
    ----------
    panel_ : Panel
        The history given to `fit`.
    """

    def __init__(
        self,
        *,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        season_length: int | None = None,
        freq: str | int | None = None,
        id_column: str | None = "item_id",
        timestamp_column: str = "timestamp",
        target: str = "target",
    ) -> None:
        self.prediction_length = prediction_length
        self.quantile_levels = quantile_levels
        self.season_length = season_length
        self.freq = freq
        self.id_column = id_column
        self.timestamp_column = timestamp_column
        self.target = target

    def fit(self: Self, df: Any, y: None = None) -> Self:
        """Remember `df` as the history to forecast, and learn from it what there is to learn.

        Parameters
        ----------
        df
            Long frame (pandas, polars or pyarrow).
        y
            Ignored.

        Raises
        ------
        FrameError, FrequencyError
            As `tsar.Forecaster.fit`.
        """
        self._validate()
        self.panel_ = self._panel(df)
        self._learn(self.panel_)
        return self

    def predict(
        self, df: Any = None, *, prediction_length: int | None = None, quantile_levels: Sequence[float] | None = None
    ) -> Any:
        """Forecast what follows the history; parameters, result and errors as in `tsar.Forecaster.predict`."""
        self._validate()
        if not hasattr(self, "panel_"):
            raise NotFittedError(
                f"This {type(self).__name__} has no history yet.",
                code="forecaster.not_fitted",
                hint="Call fit(df) first.",
            )
        panel = self.panel_ if df is None else self._panel(df)
        levels = validate_levels(self.quantile_levels if quantile_levels is None else quantile_levels)
        horizon = self._horizon(panel, prediction_length)
        ascending = np.union1d(levels, [0.5])
        quantiles = self._forecast_panel(panel, horizon, ascending)
        wanted, middle = np.searchsorted(ascending, levels), int(np.searchsorted(ascending, 0.5))
        return make_forecast_frame(
            panel, quantiles[..., wanted], levels.tolist(), quantiles[..., middle], id_column=self.id_column,
            timestamp_column=self.timestamp_column, target_name=self.target,
        )  # fmt: skip

    def _learn(self, panel: Panel) -> None:
        """Learn from all items together; nothing, for what looks at one history at a time."""

    def _forecast_panel(self, panel: Panel, horizon: int, levels: FloatArray) -> FloatArray:
        """(I, F, Q) quantiles at ascending levels."""
        season = self._season(panel)
        series = np.split(panel.values, panel.offsets[1:-1])
        return np.stack([self._forecast_one(past, horizon, season, levels) for past in series])

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        """(F, Q) quantiles of what follows one history (N,) with gaps; NaN if nothing is observed."""
        raise NotImplementedError

    def _validate(self) -> None:
        """Raise for options that are not allowed."""
        if self.season_length is not None:
            validate_count("season_length", self.season_length)

    def _season(self, panel: Panel) -> int:
        return season_length(panel.freq) if self.season_length is None else int(self.season_length)

    def _horizon(self, panel: Panel, prediction_length: int | None) -> int:
        wanted = self.prediction_length if prediction_length is None else prediction_length
        if wanted is None:
            return max(self._season(panel), 1)
        return validate_count("prediction_length", wanted, code="option.prediction_length")

    def _panel(self, df: Any) -> Panel:
        return normalize_frame(
            df, id_column=self.id_column, timestamp_column=self.timestamp_column, target=self.target, freq=self.freq
        )
