"""Scores of generated series: can a classifier tell them from real ones, and does a model trained on them work.

The discriminative and the predictive score of Yoon, Jarrett & van der Schaar (2019), TimeGAN, section 5, with simple
models in place of recurrent networks, so that they take seconds and hardly depend on a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsar.errors import OptionError
from tsar.frame import normalize_frame
from tsar.tasks.views import as_series, standardize
from tsar.types import FloatArray

LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
BANDS = (0.02, 0.05, 0.1, 0.2, 0.35)  # edges in cycles a step, between which a spectrum is summed
LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
FOLDS = 5
LEAST = 10  # series of each kind
DEFAULT_LAGS = 16
PENALTY = 1.0


def discriminative_score(
    real: Any,
    generated: Any,
    *,
    random_state: int | None = 0,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
) -> float:
    """How well a classifier tells real from generated series: its accuracy minus 0.5, so 0 is chance and 0.5 certainty.

    A logistic regression, cross-validated over series, reads some thirty features of each: mean, deviation, shape of
    the distribution, size of the steps, autocorrelations of the series and its squares, and the spectrum.

    Parameters
    ----------
    real, generated
        Long frames, arrays (n, L), or lists of arrays (L,); missing values count as interpolated. Of the larger set a
        random part of the size of the smaller is taken. Compare series of one length: short ones are rougher.
    random_state
        Seed of that part and of the folds; None counts as 0.
    id_column, timestamp_column, target, freq
        Of frames, as in `Forecaster`.

    Returns
    -------
    float
        From -0.5 to 0.5; somewhat below 0 by chance.

    Raises
    ------
    OptionError
        ``option.invalid`` with fewer than ten series of either kind, or fewer than eight points in one.
    FrameError, FrequencyError
        For a frame that cannot be read.
    """
    columns = {"id_column": id_column, "timestamp_column": timestamp_column, "target": target, "freq": freq}
    both = [_read(data, name, columns) for data, name in ((real, "real"), (generated, "generated"))]
    random, count = np.random.default_rng(random_state or 0), min(map(len, both))
    X = np.concatenate([features_of([one[k] for k in random.permutation(len(one))[:count]]) for one in both])
    y = np.repeat([0, 1], count)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=2000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=random_state or 0)
    return float(cross_val_score(model, X, y, cv=folds).mean()) - 0.5


def predictive_score(
    real: Any,
    generated: Any,
    *,
    lags: int = DEFAULT_LAGS,
    random_state: int | None = 0,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
) -> float:
    """How useful generated series are: error on real series of a model trained on them, over that of one trained on real ones.

    The model is a ridge regression of the next point on the last `lags`, all in units of these `lags` (their mean and
    deviation); both are tested on the same fifths of the real series, which the second was not trained on.

    Parameters
    ----------
    real, generated, random_state, id_column, timestamp_column, target, freq
        As in `discriminative_score`.
    lags
        Points that the regression reads; fewer than half of the shortest series.

    Returns
    -------
    float
        Ratio of mean absolute errors: 1 is as good as real series, above 1 worse.

    Raises
    ------
    OptionError
        ``option.invalid`` as in `discriminative_score`, or for `lags` out of range.
    FrameError, FrequencyError
        For a frame that cannot be read.
    """  # noqa: E501
    columns = {"id_column": id_column, "timestamp_column": timestamp_column, "target": target, "freq": freq}
    both = [_read(data, name, columns) for data, name in ((real, "real"), (generated, "generated"))]
    shortest = min(len(one) for series in both for one in series)
    if not isinstance(lags, (int, np.integer)) or isinstance(lags, bool) or not 1 <= lags < shortest / 2:
        text = f"lags must be a whole number from 1 and below half of the shortest series ({shortest}), got {lags!r}."
        raise OptionError(text, code="option.invalid")
    real_pairs, made = ([_pairs(one, lags) for one in series] for series in both)
    taught = Ridge(PENALTY).fit(*_joined(made))
    of_made, of_real = [], []
    for train, test in KFold(FOLDS, shuffle=True, random_state=random_state or 0).split(real_pairs):
        X, y = _joined([real_pairs[k] for k in test])
        own = Ridge(PENALTY).fit(*_joined([real_pairs[k] for k in train]))
        of_made.append(np.abs(y - taught.predict(X)))
        of_real.append(np.abs(y - own.predict(X)))
    return float(np.concatenate(of_made).mean() / max(np.concatenate(of_real).mean(), 1e-300))


def features_of(series: Sequence[FloatArray]) -> FloatArray:
    """Features (n, K) of n series without missing values, by which a classifier may tell kinds of series apart."""
    return np.stack([_features(one) for one in series])


def _features(series: FloatArray) -> FloatArray:
    z, steps = standardize(series), np.diff(standardize(series))
    unit = np.abs(series).max() or 1.0
    level, scale = (series / unit).mean(), (series / unit).std()
    size = [np.sign(level) * np.log1p(abs(level) * unit), np.log(scale * unit + 1e-9)]
    shape = [*np.quantile(z, LEVELS), (z**3).mean(), np.log1p((z**4).mean())]
    movement = [*np.log(np.quantile(np.abs(steps), (0.1, 0.5, 0.9, 1.0)) + 1e-3), (np.abs(steps) < 1e-9).mean()]
    return np.array([*size, *shape, *movement, *_correlations(z), *_correlations(standardize(z**2))[:3], *_bands(z)])


def _correlations(z: FloatArray) -> FloatArray:
    return np.array([(z[lag:] * z[:-lag]).mean() if 0 < lag < len(z) else 0.0 for lag in LAGS])


def _bands(z: FloatArray) -> FloatArray:
    """Logarithms of the shares of the variance in the bands."""
    power, place = np.abs(np.fft.rfft(z)) ** 2, np.fft.rfftfreq(len(z))
    share = np.bincount(np.searchsorted(BANDS, place), weights=power, minlength=len(BANDS) + 1)
    result: FloatArray = np.log(share / max(power.sum(), 1e-12) + 1e-4)
    return result


def _pairs(series: FloatArray, lags: int) -> tuple[FloatArray, FloatArray]:
    """What the regression reads and what it is to say, each in units of what it reads."""
    windows = np.lib.stride_tricks.sliding_window_view(standardize(series), lags + 1)
    past = windows[:, :-1]
    loc, scale = past.mean(1, keepdims=True), past.std(1, keepdims=True)
    scaled = (windows - loc) / np.maximum(scale, 0.1)
    return scaled[:, :-1], scaled[:, -1]


def _joined(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _read(data: Any, name: str, columns: dict[str, Any]) -> list[FloatArray]:
    """Series (L,) without missing values; those that hold nothing are left out."""
    if isinstance(data, (list, tuple, np.ndarray)):
        found = [channel for item in as_series(data) for channel in item]
    else:
        panel = normalize_frame(data, **columns)
        found = np.split(panel.values, panel.offsets[1:-1])
    filled = [_filled(one) for one in found if np.isfinite(one).any()]
    if len(filled) < LEAST or min(map(len, filled)) < 8:
        text = f"{name} must hold {LEAST} series of 8 points or more, has {len(filled)}."
        raise OptionError(text, code="option.invalid")
    return filled


def _filled(series: FloatArray) -> FloatArray:
    seen = np.flatnonzero(np.isfinite(series))
    line: FloatArray = np.interp(np.arange(len(series)), seen, series[seen])
    return line
