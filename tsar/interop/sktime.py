"""A forecaster for sktime: quantiles and intervals, covariates known ahead, panels series by series, pretraining."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tsar.forecaster import Forecaster
from tsar.optional import require

BaseForecaster: Any = require("sktime.forecasting.base", "sktime").BaseForecaster
TARGET, TIME = "__target__", "__timestamp__"


class TsarForecaster(BaseForecaster):  # type: ignore[misc]
    """Zero-shot forecasts within sktime.

    ``fit`` remembers one series; sktime runs several columns, panels and hierarchies one series after the other.
    ``pretrain`` fine-tunes a copy of the model on all series of a panel, which later calls of ``fit`` keep.

    Parameters
    ----------
    model
        As in `tsar.Forecaster`.
    pretrain_mode
        How ``pretrain`` trains: a `mode` of `tsar.Forecaster` other than ``"zero_shot"``.
    pretrain_options
        Its `fine_tune`: None, a dict or a `FineTuneConfig`.
    options
        Further options of `tsar.Forecaster`. All columns of ``X`` are covariates known ahead.

    Attributes
    ----------
    forecaster_ : tsar.Forecaster
        The fitted forecaster.
    pretrained_model_ : Decoder
        The tuned decoder, after ``pretrain`` only.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tsar.interop.sktime import TsarForecaster
    >>> TsarForecaster().fit(load_airline()).predict(fh=[1, 2, 3]).shape
    (3,)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["The tsar authors"],
        "python_dependencies": None,
        "capability:multivariate": False,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:non_contiguous_X": True,
        "capability:pretrain": True,
        "pretrain:fitted_params": ["pretrained_model_"],
        "capability:categorical_in_X": True,
        "capability:random_state": False,
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": True,
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
    }

    def __init__(
        self,
        model: Any = "tsar-tiny",
        pretrain_mode: str = "head",
        pretrain_options: Any = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.pretrain_mode = pretrain_mode
        self.pretrain_options = pretrain_options
        self.options = options
        super().__init__()

    def _forecaster(self, **options: Any) -> Forecaster:
        model = getattr(self, "pretrained_model_", self.model)
        return Forecaster(model, timestamp_column=TIME, target=TARGET, **{**(self.options or {}), **options})

    def _pretrain(self, y: Any, X: Any = None, fh: Any = None) -> TsarForecaster:
        long = _panel_frame(y)
        tuned = self._forecaster(
            mode=self.pretrain_mode, fine_tune=self.pretrain_options, prediction_length=_steps_of(fh)
        ).fit(long)
        self.pretrained_model_ = tuned.model_
        return self

    def _fit(self, y: Any, X: Any, fh: Any) -> TsarForecaster:
        frame = pd.DataFrame({TIME: _stamps(y.index), TARGET: np.asarray(y, np.float64)})
        covariates = [] if X is None else [str(name) for name in X.columns]
        for place, name in enumerate(covariates):
            frame[name] = X.iloc[:, place].to_numpy()
        self.forecaster_ = self._forecaster(
            id_column=None, future_covariates=covariates, freq=_freq(y.index), prediction_length=_steps_of(fh)
        ).fit(frame)
        return self

    def _predict(self, fh: Any, X: Any = None) -> Any:
        values = self._quantiles(fh, X, [0.5])[:, 0]
        return pd.Series(values, index=fh.to_absolute_index(self.cutoff), name=self._y.name)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        levels = sorted(set(alpha))
        values = self._quantiles(fh, X, levels)[:, [levels.index(level) for level in alpha]]
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        return pd.DataFrame(values, index=fh.to_absolute_index(self.cutoff), columns=columns)

    def _quantiles(self, fh: Any, X: Any, levels: list[float]) -> Any:
        """Quantiles (steps of `fh`, levels)."""
        steps = np.asarray(fh.to_relative(self.cutoff)).astype(np.int64)
        horizon, future = int(steps.max()), None
        covariates: list[str] = list(self.forecaster_.future_covariates)
        if covariates:
            panel = self.forecaster_.panel_
            stamps = panel.future_timestamps(horizon)
            known = pd.DataFrame() if X is None else X.set_axis(covariates, axis=1).set_axis(_stamps(X.index), axis=0)
            future = known.reindex(index=stamps, columns=covariates).rename_axis(TIME).reset_index()
        forecast = self.forecaster_.predict_quantiles(
            prediction_length=horizon, quantile_levels=levels, future_df=future
        )
        return forecast.quantiles[0, steps - 1]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return options for sktime's checks: small contexts, few steps of training."""
        few = {"max_steps": 2}
        quick = {"symmetrize": False, "follow_period": False, "context_length": 64}
        return [
            {"options": quick, "pretrain_options": few},
            {"options": {"context_length": 32}, "pretrain_options": few, "pretrain_mode": "lora"},
        ]


def _stamps(index: pd.Index) -> pd.Index:
    return index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index


def _freq(index: pd.Index) -> str | None:
    """The alias of a regular index of dates; None leaves it to be inferred."""
    stamps = _stamps(index)
    return getattr(stamps, "freqstr", None) or getattr(stamps, "inferred_freq", None)


def _steps_of(fh: Any) -> int | None:
    """Longest step of a relative horizon; None if it is not known yet, so that the default applies."""
    return int(np.max(np.asarray(fh))) if fh is not None and fh.is_relative else None


def _panel_frame(y: Any) -> pd.DataFrame:
    """Every column of every instance as one item of a long frame."""
    parts = []
    level = list(range(y.index.nlevels - 1)) if y.index.nlevels > 2 else 0
    for column in y.columns:
        for item, part in y[column].groupby(level=level, sort=False):
            stamps = _stamps(part.index.get_level_values(-1))
            parts.append(
                pd.DataFrame({"item_id": str((column, item)), TIME: stamps, TARGET: part.to_numpy(np.float64)})
            )
    return pd.concat(parts, ignore_index=True)
