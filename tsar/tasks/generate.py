"""Generate series: a start, continued by draws from the model's own forecasts, a few points at a time.

What was drawn is read before the next points are. Points that are drawn together go together as the model's errors on
the starts do (a Gaussian copula). The start is dropped, so that nothing of a given series is handed out again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from tsar.decode import decode_panel
from tsar.errors import FrameError, OptionError
from tsar.frame import Panel, normalize_frame
from tsar.hub import load_model
from tsar.model.decoder import Decoder
from tsar.types import FloatArray

POINTS_AT_ONCE = 2
"""Points drawn from one forecast; more would be faster and less like real series."""

CUTOFFS = 6
"""Places in each start at which the model's errors are looked at."""

START_PATCHES = 8
"""Patches that a start has at most; half of a series at most."""

LEAST_START = 8
LARGEST_SCORE = 3.0


def generate(
    n: int,
    length: int,
    *,
    like: Any = None,
    label: Any = None,
    label_column: str | None = None,
    model: str | Path | Decoder = "tsar-tiny",
    random_state: int = 0,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
) -> pd.DataFrame:
    """Make new series.

    Parameters
    ----------
    n, length
        How many, and of how many points.
    like
        Long frame of series that the new ones are to be like: each starts from a stretch of one of them, drawn at
        random. None: from series that tsar's prior for pretraining simulates.
    label, label_column
        Only the items of `like` whose `label_column` is `label`.
    model
        Release, folder or decoder; a decoder fine-tuned on `like` (``Forecaster(mode="full").fit(like).model_``) gives
        series that are harder to tell from its members.
    random_state
        Seed.
    id_column, timestamp_column, target, freq
        As in `Forecaster`, for `like`.

    Returns
    -------
    pandas.DataFrame
        ``item_id`` (``"generated_0"``, …), ``timestamp`` (steps from 0) and ``target``, n * length rows. Where no item
        of `like` was ever negative, neither is a new series.

    Raises
    ------
    OptionError
        ``option.invalid`` for numbers below 1, or a label without `like` and `label_column`.
    FrameError
        ``frame.empty`` if no item has the label, or none has eight observed points and varies.
    """
    for name, value in (("n", n), ("length", length)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise OptionError(f"{name} must be a whole number from 1, got {value!r}.", code="option.invalid")
    if (label is not None or label_column is not None) and (like is None or label is None or label_column is None):
        raise OptionError("A label needs like= and label_column=, and the other way round.", code="option.invalid")
    decoder = load_model(model)
    known = ndtri(np.asarray(decoder.config.quantile_levels))
    rngs = [np.random.default_rng([random_state, number]) for number in range(n)]
    start_length = START_PATCHES * decoder.config.patch_length
    if like is None:
        starts, lowest = [_simulated_start(start_length, rng) for rng in rngs], -np.inf
    else:
        chosen = like if label_column is None else _of_label(like, label_column, label)
        panel = normalize_frame(
            chosen, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq
        )
        starts = _member_starts(panel, start_length, rngs)
        lowest = 0.0 if np.nanmin(panel.values) >= 0 else -np.inf
    together = _error_correlation(decoder, starts[:64], known)
    values = _roll_out(decoder, starts, length, rngs, lowest, known, together)
    return pd.DataFrame({
        "item_id": np.repeat([f"generated_{number}" for number in range(n)], length),
        "timestamp": np.tile(np.arange(length), n),
        "target": values.ravel(),
    })  # fmt: skip


def discriminative_score(real: FloatArray, generated: FloatArray, *, random_state: int = 0) -> float:
    """How much better than chance a classifier tells generated series (n, L) from real ones (m, L): 0 … 0.5.

    Cross-validated balanced accuracy less 0.5 of a logistic regression on autocorrelations, moments and step sizes,
    after TimeGAN (Yoon et al., 2019), with features in the place of a network.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([_features(real), _features(generated)])
    is_real = np.repeat([1, 0], [len(real), len(generated)])
    folds = StratifiedKFold(5, shuffle=True, random_state=random_state)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    accuracy = cross_val_score(classifier, features, is_real, cv=folds, scoring="balanced_accuracy").mean()
    return float(max(accuracy - 0.5, 0.0))


def predictive_score(real: FloatArray, generated: FloatArray, *, lags: int = 8) -> float:
    """Error on real series (m, L) of one-step regressions learned from generated ones, over that of those from real.

    1 says that generated series teach as much ("train on synthetic, test on real", Esteban et al., 2017). Ridge on the
    last `lags` values of standardised series; the real ones are split into halves to learn from and to test on.
    """
    from sklearn.linear_model import Ridge

    def rows(series: FloatArray) -> tuple[FloatArray, FloatArray]:
        scaled = (series - series.mean(1, keepdims=True)) / np.maximum(series.std(1, keepdims=True), 1e-9)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, lags + 1, axis=1).reshape(-1, lags + 1)
        return windows[:, :-1], windows[:, -1]

    train, (past, actual) = real[::2], rows(real[1::2])
    errors = [
        float(np.abs(Ridge(1.0).fit(*rows(series)).predict(past) - actual).mean()) for series in (generated, train)
    ]
    return errors[0] / errors[1]


def _features(series: FloatArray) -> FloatArray:
    centred = series - series.mean(1, keepdims=True)
    scale = np.maximum(centred.std(1, keepdims=True), 1e-9)
    z = centred / scale
    lags = [lag for lag in (1, 2, 3, 4, 6, 7, 12, 24) if lag < series.shape[1] // 2]
    columns = [(z[:, lag:] * z[:, :-lag]).mean(1) for lag in lags]
    steps = np.diff(z, axis=1)
    columns += [(z**3).mean(1), (z**4).mean(1), steps.std(1), np.abs(steps).max(1), z[:, -1] - z[:, 0]]
    return np.stack(columns, 1)


def _of_label(like: Any, label_column: str, label: Any) -> Any:
    frame = nw.from_native(like)
    if label_column not in frame.collect_schema().names():
        raise FrameError(f"the frame has no column {label_column!r}", code="frame.missing_column")
    chosen = frame.filter(nw.col(label_column) == label)
    if isinstance(chosen, nw.LazyFrame):
        chosen = chosen.collect()
    if not len(chosen):
        raise FrameError(
            f"no row has {label_column!r} = {label!r}", code="frame.empty", hint="use a label of the frame"
        )
    return chosen.to_native()


def _member_starts(panel: Panel, start_length: int, rngs: list[np.random.Generator]) -> list[FloatArray]:
    """A stretch of a random member for each series."""
    members = [panel.values[first:last] for first, last in zip(panel.offsets[:-1], panel.offsets[1:], strict=True)]
    usable = [series for series in members if np.isfinite(series).sum() >= LEAST_START and np.nanstd(series) > 0]
    if not usable:
        raise FrameError(
            f"no item has {LEAST_START} observed values and varies",
            code="frame.empty",
            item_ids=panel.item_ids.tolist(),
            hint="pass longer series",
        )
    starts = []
    for rng in rngs:
        series = usable[rng.integers(len(usable))]
        size = min(start_length, max(len(series) // 2, LEAST_START))
        first = int(rng.integers(len(series) - size + 1))
        part = series[first : first + size]
        starts.append(part if np.isfinite(part).sum() >= LEAST_START // 2 else series[-size:])
    return starts


def _simulated_start(length: int, rng: np.random.Generator) -> FloatArray:
    """Return a series of a random family of the prior."""
    from tsar.training.synth import DEFAULT_WEIGHTS, make_series

    weights = np.array(list(DEFAULT_WEIGHTS.values()), dtype=float)
    family = rng.choice(list(DEFAULT_WEIGHTS), p=weights / weights.sum())
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    series: FloatArray = make_series(str(family), 1, length, generator)[0].double().numpy()
    return series


def _forecast(model: Decoder, paths: list[FloatArray]) -> FloatArray:
    """Forecast the next points, (n, POINTS_AT_ONCE, Q)."""
    offsets = np.concatenate([[0], np.cumsum([len(path) for path in paths])])
    return decode_panel(
        model, np.concatenate(paths), offsets, POINTS_AT_ONCE, context_lengths=[model.config.context_length]
    )


def _error_correlation(model: Decoder, starts: list[FloatArray], known: FloatArray) -> float:
    """Correlation of the normal scores of neighbouring points under the model, over the ends of the starts."""
    cut = [(start, len(start) - POINTS_AT_ONCE * back) for start in starts for back in range(1, CUTOFFS + 1)]
    cut = [(start, end) for start, end in cut if end >= LEAST_START]
    if not cut:
        return 0.0
    quantiles = _forecast(model, [start[:end] for start, end in cut])
    actual = np.stack([start[end : end + POINTS_AT_ONCE] for start, end in cut])
    below = (quantiles < actual[..., None]).sum(-1)
    place = np.clip(below - 1, 0, len(known) - 2)
    low, high = (np.take_along_axis(quantiles, place[..., None] + step, -1)[..., 0] for step in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = known[place] + (actual - low) / (high - low) * (known[place + 1] - known[place])
    usable = scores[np.isfinite(scores).all(1)].clip(-LARGEST_SCORE, LARGEST_SCORE)
    if len(usable) < 20 or (usable.std(0) == 0).any():
        return 0.0
    return float(np.clip(np.corrcoef(usable[:, 0], usable[:, 1])[0, 1], 0.0, 0.95))


def _roll_out(
    model: Decoder,
    starts: list[FloatArray],
    length: int,
    rngs: list[np.random.Generator],
    lowest: float,
    known: FloatArray,
    together: float,
) -> FloatArray:
    """Continue each start by `length` drawn points, (n, length)."""
    paths = list(starts)
    drawn: list[FloatArray] = []
    for _ in range(-(-length // POINTS_AT_ONCE)):
        scores = np.stack([_draw_scores(rng, together) for rng in rngs])
        block = np.maximum(_at_scores(_forecast(model, paths), known, scores), lowest)
        drawn.append(block)
        paths = [np.concatenate([path, new]) for path, new in zip(paths, block, strict=True)]
    return np.concatenate(drawn, 1)[:, :length]


def _draw_scores(rng: np.random.Generator, together: float) -> FloatArray:
    """Normal scores (POINTS_AT_ONCE,), neighbours correlated."""
    scores = rng.standard_normal(POINTS_AT_ONCE)
    for step in range(1, POINTS_AT_ONCE):
        scores[step] = together * scores[step - 1] + np.sqrt(1 - together**2) * scores[step]
    return np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)


def _at_scores(quantiles: FloatArray, known: FloatArray, scores: FloatArray) -> FloatArray:
    """Values (n, F) of laws (n, F, Q), given at normal scores (Q,), at a score each (n, F); lines between them."""
    place = np.clip(np.searchsorted(known, scores, side="right") - 1, 0, len(known) - 2)
    share = (scores - known[place]) / (known[place + 1] - known[place])
    low = np.take_along_axis(quantiles, place[..., None], -1)[..., 0]
    high = np.take_along_axis(quantiles, place[..., None] + 1, -1)[..., 0]
    values: FloatArray = low + share * (high - low)
    return values
