"""Classification and regression of whole series: scikit-learn estimators on the embeddings of a forecasting model.

A series is seen as it is and as its steps; each view is embedded (`tsar.tasks.embed`) from several layers, and interval
statistics add what normalising removes. A linear head with a built-in choice of its penalty reads all that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import NearestCentroid
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from tsar.errors import OptionError
from tsar.frame import normalize_frame
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.refining.powers import near_one
from tsar.tasks.embed import pooled_states
from tsar.tasks.views import as_series, differences, resample, standardize, statistics_of
from tsar.types import FloatArray
from tsar.validation import validate_count

POOLING = "mean_std"
SHARE_OF_STATISTICS = 0.3
PENALTIES = np.logspace(-4, 2, 13)
INVERSE_PENALTIES = (1.0, 10.0, 100.0)
FOLDS = 3
LARGEST = 10.0  # standard deviations: what lies further off in a column is moved there


class _SeriesEstimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: reading series, and turning them into features (n, K)."""

    HEADS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model: str | Path | Decoder = "tsar-tiny",
        *,
        head: str = "ridge",
        length: int = 512,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.head = head
        self.length = length
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any, y: Any = None, *, reset: bool) -> tuple[list[FloatArray], Any]:
        """Series as arrays (C, L), and the targets."""
        if _is_list_of_series(X):
            series = as_series(X)
            if reset:
                self.n_features_in_ = max(item.shape[1] for item in series)
                self.n_channels_in_ = len(series[0])
                y = column_or_1d(y, warn=True)
                if len(y) != len(series):
                    raise OptionError(f"There are {len(series)} series and {len(y)} targets.", code="option.invalid")
        else:
            options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
            if getattr(X, "ndim", 2) == 3:
                if reset:
                    self.n_features_in_ = X.shape[2]
                    y = column_or_1d(y, warn=True)
                values = check_array(X, allow_nd=True, **options)
            elif reset:
                values, y = validate_data(self, X, y, **options)
            else:
                values = validate_data(self, X, reset=False, **options)
            series = [row.reshape(-1, row.shape[-1]) for row in values]
            if reset:
                self.n_channels_in_ = len(series[0])
        if len(series[0]) != self.n_channels_in_:
            text = f"The series have {len(series[0])} channels, those given to fit had {self.n_channels_in_}."
            raise OptionError(text, code="option.invalid")
        return series, y

    def _embed(self, series: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Embeddings (n, K) and interval statistics (n, S), the channels of an item side by side."""
        decoder = load_model(self.model, resolve_device(self.device))
        longest = decoder.config.context_length // 2
        length = min(validate_count("length", self.length), longest)
        flat = [channel for item in series for channel in item]
        views = (flat, [differences(one) for one in flat])
        layers = range(decoder.config.num_layers + 1)
        vectors = np.concatenate(
            [
                pooled_states(decoder, [standardize(resample(one, length)) for one in view], layers, POOLING)
                for view in views
            ],
            axis=1,
        )
        return vectors.reshape(len(series), -1), statistics_of(flat).reshape(len(series), -1)

    def _fit_features(self, series: list[FloatArray]) -> FloatArray:
        """Standardise the blocks of features, and turn them into the coordinates (n, n) of their row space.

        A head with a squared penalty finds the same solution there as among all columns, at a fraction of the cost.
        """
        blocks = self._embed(series)
        self.means_ = [block.mean(0) for block in blocks]
        deviations = [np.ldexp(near.std(0), exponents) for near, exponents in (near_one(block, 0) for block in blocks)]
        self.deviations_ = [np.where(deviation > 1e-9, deviation, np.inf) for deviation in deviations]
        scaled = self._scale(blocks)
        left, size, right = np.linalg.svd(scaled, full_matrices=False)
        kept = size > 1e-9 * max(size[0], 1e-300)
        kept[0] = True
        self.axes_ = right[kept].T
        coordinates: FloatArray = left[:, kept] * size[kept]
        return coordinates

    def _features(self, series: list[FloatArray]) -> FloatArray:
        coordinates: FloatArray = self._scale(self._embed(series)) @ self.axes_
        return coordinates

    def _scale(self, blocks: tuple[FloatArray, FloatArray]) -> FloatArray:
        """Blocks of total variance 1 and `SHARE_OF_STATISTICS` squared, side by side."""
        parts = []
        for block, mean, deviation, weight in zip(
            blocks, self.means_, self.deviations_, (1.0, SHARE_OF_STATISTICS), strict=True
        ):
            z = np.clip((block - mean) / deviation, -LARGEST, LARGEST)
            parts.append(z * weight / np.sqrt(block.shape[1]))
        return np.concatenate(parts, axis=1)

    def _validate_head(self) -> None:
        if self.head not in self.HEADS:
            text = f"head must be one of {', '.join(self.HEADS)}, got {self.head!r}."
            raise OptionError(text, code="option.invalid")


class TimeSeriesClassifier(ClassifierMixin, _SeriesEstimator):  # type: ignore[misc]
    """Say which class a whole series belongs to.

    Parameters
    ----------
    model
        Name of a shipped release, path of a release folder, or a `Decoder`; its weights are not changed.
    head
        ``"ridge"``: a linear classifier, its penalty chosen by leave-one-out. ``"logistic"``: with probabilities, its
        penalty chosen by three folds. ``"nearest_mean"``: the class whose mean is nearest, for a few series a class.
    length
        Points every series is brought to; fewer are faster. At most half of the model's context.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …

    Attributes
    ----------
    classes_ : ndarray
        The classes, sorted.
    n_features_in_ : int
        Points of a series given to `fit`, the longest.

    Notes
    -----
    Series come as an array (n, L), as channels (n, C, L), or as a list of arrays (L,) or (C, L) of different lengths;
    `series_from_frame` makes such a list of a long frame. NaN is missing. The estimator passes scikit-learn's own
    checks (tests/unit/test_classify.py). Deterministic.

    Examples
    --------
    >>> from tsar import TimeSeriesClassifier
    >>> TimeSeriesClassifier().fit(X_train, y_train).score(X_test, y_test)  # doctest: +SKIP
    """

    HEADS = ("ridge", "logistic", "nearest_mean")

    def fit(self, X: Any, y: Any) -> TimeSeriesClassifier:
        """Embed the series and fit the head.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays.
        y
            (n,) classes.

        Returns
        -------
        TimeSeriesClassifier
            itself

        Raises
        ------
        OptionError
            ``option.invalid`` for an unknown head, a bad length, a single class, or series of differing channels.
        ValueError
            As scikit-learn, for arrays and classes it refuses.
        """
        self._validate_head()
        series, y = self._read(X, y, reset=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise OptionError("TimeSeriesClassifier needs two classes, y has one class.", code="option.invalid")
        self.head_ = self._make_head(codes).fit(self._fit_features(series), codes)
        return self

    def predict(self, X: Any) -> Any:
        """Say the class of each series.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays; NaN is missing.

        Returns
        -------
        ndarray
            (n,) of `classes_`.

        Raises
        ------
        NotFittedError
            scikit-learn's, before `fit`.
        OptionError
            ``option.invalid`` for series with other channels than those given to `fit`.
        ValueError
            As scikit-learn, for arrays it refuses.
        """
        check_is_fitted(self)
        series, _ = self._read(X, reset=False)
        return self.classes_[self.head_.predict(self._features(series))]

    def decision_function(self, X: Any) -> Any:
        """Say how far each series is on the side of each class.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays; NaN is missing.

        Returns
        -------
        ndarray
            (n, classes), or (n,) for two classes: positive for the second.

        Raises
        ------
        NotFittedError
            scikit-learn's, before `fit`.
        OptionError
            ``option.invalid`` for series with other channels than those given to `fit`.
        ValueError
            As scikit-learn, for arrays it refuses.
        """
        check_is_fitted(self)
        series, _ = self._read(X, reset=False)
        return self.head_.decision_function(self._features(series))

    def predict_proba(self, X: Any) -> Any:
        """Give probabilities: with ``head="logistic"`` fitted ones, else a softmax of the distances.

        Only those of the logistic head are meant to be read as probabilities.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays; NaN is missing.

        Returns
        -------
        ndarray
            (n, classes), rows add up to 1.

        Raises
        ------
        NotFittedError
            scikit-learn's, before `fit`.
        OptionError
            ``option.invalid`` for series with other channels than those given to `fit`.
        ValueError
            As scikit-learn, for arrays it refuses.
        """
        check_is_fitted(self)
        series, _ = self._read(X, reset=False)
        features = self._features(series)
        if self.head == "logistic":
            return self.head_.predict_proba(features)
        distance = self.head_.decision_function(features)
        if distance.ndim == 1:
            distance = np.stack([-distance, distance], axis=1)
        weight = np.exp(distance - distance.max(1, keepdims=True))
        return weight / weight.sum(1, keepdims=True)

    def _make_head(self, codes: Any) -> Any:
        if self.head == "ridge":
            return RidgeClassifierCV(alphas=PENALTIES)
        if self.head == "nearest_mean":
            return NearestCentroid()
        rarest = int(np.bincount(codes).min())
        if rarest < 2:
            return LogisticRegression(C=INVERSE_PENALTIES[1], max_iter=2000)
        folds = StratifiedKFold(min(FOLDS, rarest))
        return GridSearchCV(LogisticRegression(max_iter=2000), {"C": list(INVERSE_PENALTIES)}, cv=folds)


class TimeSeriesRegressor(RegressorMixin, _SeriesEstimator):  # type: ignore[misc]
    """Estimate a number that belongs to a whole series; input as in `TimeSeriesClassifier`.

    Parameters
    ----------
    model
        As in `TimeSeriesClassifier`.
    head
        ``"ridge"``, the only one: a linear regression, its penalty chosen by leave-one-out.
    length, device
        As in `TimeSeriesClassifier`.

    Attributes
    ----------
    n_features_in_ : int
        Points of a series given to `fit`, the longest.
    """

    HEADS = ("ridge",)

    def fit(self, X: Any, y: Any) -> TimeSeriesRegressor:
        """Embed the series and fit the head.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays; NaN is missing.
        y
            (n,) numbers.

        Returns
        -------
        TimeSeriesRegressor
            itself

        Raises
        ------
        OptionError
            ``option.invalid`` for an unknown head, a bad length, or series of differing channels.
        ValueError
            As scikit-learn, for arrays it refuses.
        """
        self._validate_head()
        series, y = self._read(X, y, reset=True)
        y = np.asarray(y, dtype=np.float64)
        self.unit_ = float(y.std()) or 1.0
        self.level_ = float(y.mean())
        self.head_ = RidgeCV(alphas=PENALTIES).fit(self._fit_features(series), (y - self.level_) / self.unit_)
        return self

    def predict(self, X: Any) -> Any:
        """Estimate the number of each series.

        Parameters
        ----------
        X
            (n, L), (n, C, L), or a list of arrays; NaN is missing.

        Returns
        -------
        ndarray
            (n,) in the unit of `y`.

        Raises
        ------
        NotFittedError
            scikit-learn's, before `fit`.
        OptionError
            ``option.invalid`` for series with other channels than those given to `fit`.
        ValueError
            As scikit-learn, for arrays it refuses.
        """
        check_is_fitted(self)
        series, _ = self._read(X, reset=False)
        return self.level_ + self.unit_ * self.head_.predict(self._features(series))


def series_from_frame(
    df: Any,
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
) -> tuple[list[FloatArray], Any]:
    """Turn a long frame into what the estimators take: a list of arrays (L,), and the ids (I,) in the same order.

    Parameters and errors as in `tsar.frame.normalize_frame`.
    """
    panel = normalize_frame(df, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq)
    return np.split(panel.values, panel.offsets[1:-1]), panel.item_ids


def _is_list_of_series(X: Any) -> bool:
    """Whether X is a list of arrays; a list of lists of numbers is scikit-learn's (n, L)."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(item, np.ndarray) for item in X)
