"""A scikit-learn regressor whose rows are windows: the last L values of a series in, what follows out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted, validate_data

from tsar.decode.panel import decode_panel
from tsar.errors import OptionError
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.types import FloatArray

ROWS = 32  # of a batch
LEAST_SCALE = 1e-12  # of the largest value: below this a window counts as constant


class WindowRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regress what follows a window on the window and the model's zero-shot forecast of it.

    `fit` learns, by ridge regression, what to add to the median forecast. Both windows and targets are measured from
    the window's mean in units of its standard deviation, so that shifting and scaling a row does the same to its
    prediction; rows whose targets are nothing that follows them are learned as well as a linear model can.

    Parameters
    ----------
    model
        Name of a shipped release, path of a release folder, or a `Decoder`.
    alpha
        Penalty of the ridge regression; the larger it is, the closer the prediction to the zero-shot forecast.
    device
        As in `tsar.Forecaster`.
    newest_first
        Whether the first column of X holds the newest value, as lags do (skforecast, mlforecast), not the oldest.

    Attributes
    ----------
    correction_ : Ridge
        From window and forecast to what is added, all standardised.
    n_features_in_ : int
        L, length of the windows.
    """

    def __init__(
        self,
        model: str | Path | Decoder = "tsar-tiny",
        *,
        alpha: float = 1.0,
        device: str = "auto",
        newest_first: bool = False,
    ) -> None:
        self.model = model
        self.alpha = alpha
        self.device = device
        self.newest_first = newest_first

    def fit(self, X: Any, y: Any) -> WindowRegressor:
        """Learn the correction.

        Parameters
        ----------
        X
            Windows (n, L), oldest value first unless `newest_first`, without missing values.
        y
            The next value (n,) or the next F values (n, F).

        Raises
        ------
        OptionError
            ``option.invalid`` for a negative `alpha`. ValueError, as scikit-learn's checks want it, for unusable
            `X` and `y`.
        """
        if not np.isfinite(self.alpha) or self.alpha < 0:
            raise OptionError(f"alpha must be a number from 0, got {self.alpha!r}.", code="option.invalid")
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float64)
        self.num_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        self.is_vector_ = y.ndim == 1
        X = self._in_order(X)
        center, scale = _center_and_scale(X)
        features, forecast = self._features(X, center, scale)
        residual = (y.reshape(len(y), -1) - center) / scale - forecast
        self.correction_ = Ridge(alpha=self.alpha).fit(features, residual)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return what follows each window, (n,) or (n, F) as `y` was given to `fit`."""
        check_is_fitted(self)
        X = self._in_order(validate_data(self, X, reset=False, dtype=np.float64))
        center, scale = _center_and_scale(X)
        features, forecast = self._features(X, center, scale)
        added = np.asarray(self.correction_.predict(features)).reshape(forecast.shape)
        result: FloatArray = center + scale * (forecast + added)
        return result[:, 0] if self.is_vector_ else result

    def _in_order(self, X: FloatArray) -> FloatArray:
        return X[:, ::-1] if self.newest_first else X

    def _features(self, X: FloatArray, center: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Window and median forecast (n, L + F), and the forecast (n, F), standardised."""
        model = load_model(self.model, resolve_device(self.device))
        num_rows, length = X.shape
        # Full batches of one size: products of another size differ in the last bits, and a row's answer must not depend
        # on the rows beside it.
        whole = np.pad(X, ((0, -num_rows % ROWS), (0, 0)))
        offsets = np.arange(len(whole) + 1, dtype=np.int64) * length
        quantiles = decode_panel(
            model, whole.ravel(), offsets, self.num_outputs_, context_lengths=[model.config.context_length],
            rows_per_batch=ROWS,
        )[:num_rows]  # fmt: skip
        forecast = (quantiles[..., quantiles.shape[-1] // 2] - center) / scale
        return np.hstack([(X - center) / scale, forecast]), forecast


def _center_and_scale(X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (n, 1) of each row; the deviation of a constant row is 1."""
    center, scale = X.mean(axis=1, keepdims=True), X.std(axis=1, keepdims=True)
    is_constant = scale <= LEAST_SCALE * np.abs(X).max(axis=1, keepdims=True)
    return center, np.where(is_constant, 1.0, scale)
