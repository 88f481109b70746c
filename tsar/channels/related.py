"""Related series: those that run ahead of a series say something about it, as past covariates do.

Each series takes others as past covariates (`tsar.covariates`): what they did beyond the model's expectation explains
the errors of its own forecast on backtests, by a ridge regression, and a guard leaves alone what does not gain. Nothing
is trained; the model still reads one series at a time.
"""

from __future__ import annotations

import numpy as np

from tsar.covariates import apply_effect, learn_effect
from tsar.covariates.surprise import find_leads, whiten
from tsar.errors import OptionError
from tsar.frame import Covariates, Panel
from tsar.freq import season_length
from tsar.inference import Inference
from tsar.types import FloatArray, IntArray

MAX_GROUP = 256
"""Series that are compared with each other, each with all others."""

MAX_LEADERS = 3
"""Series that one takes as covariates."""

LEAST_Z = 5.0
"""Standard errors from zero that the correlation of a leader has: of thousands of pairs and lags none by chance."""

MAX_LAG = 96

NOISE = 3.0
"""Standard errors above zero at which the gain from leaders is believed: they were found, not named by anyone."""


def follow_related(
    quantiles: FloatArray, panel: Panel, num_channels: int, inference: Inference, *, seed: int = 0
) -> FloatArray:
    """Move the forecast (I * C, F, Q) of each channel by what the others of its item, where they run ahead, say.

    Parameters
    ----------
    quantiles
        Of each series by itself.
    panel
        I * C series, the channels of an item after each other.
    num_channels
        C.
    inference
        By which backtests are run.
    seed
        Of the sampling of items, where there are many.
    """
    moved = quantiles.copy()
    channels = _to_channels(panel.values, panel.offsets, num_channels)
    bounds = np.concatenate([[0], np.cumsum(panel.lengths[::num_channels])])
    season = season_length(panel.freq)
    for number in range(num_channels):
        others = np.delete(np.arange(num_channels), number)
        ahead = find_leads(channels[number], bounds, channels[others], season) > 0
        if ahead.any():
            moved[number::num_channels] = _follow(
                quantiles[number::num_channels],
                channels[number],
                bounds,
                channels[others[ahead]],
                inference,
                season,
                seed,
            )
    return moved


def follow_group(
    quantiles: FloatArray, panel: Panel, num_channels: int, inference: Inference, *, seed: int = 0
) -> FloatArray:
    """Move the forecast (I, F, Q) of each series by what others of the panel, where they run ahead of it, say.

    Unlike in `follow_related` each series has leaders of its own, at most `MAX_LEADERS`, from any item. Of a leader
    only what it did up to the end of the series is used. Parameters as there; `num_channels` does not matter.

    Raises
    ------
    OptionError
        ``option.invalid`` for more than `MAX_GROUP` series.
    """
    if panel.num_items > MAX_GROUP:
        raise OptionError(
            f'channel_adapter="group" compares at most {MAX_GROUP} series with each other, got {panel.num_items}.',
            code="option.invalid",
            hint="Forecast groups of items that may have to do with each other one by one.",
        )
    aligned, first = align_series(panel)
    season = season_length(panel.freq)
    leaders = find_leaders(aligned, season)
    moved = quantiles.copy()
    for item, chosen in enumerate(leaders):
        if len(chosen):
            span = slice(first[item], first[item] + panel.lengths[item])
            bounds = np.array([0, panel.lengths[item]])
            moved[item : item + 1] = _follow(
                quantiles[item : item + 1], aligned[item, span], bounds, aligned[chosen, span], inference, season, seed
            )
    return moved


def align_series(panel: Panel) -> tuple[FloatArray, IntArray]:
    """Return all series (I, T) on the grid from the first stamp of all to the last, and where each starts (I,)."""
    first = (panel.starts - panel.starts.min()) // panel.grid.step
    aligned = np.full((panel.num_items, int((first + panel.lengths).max())), np.nan)
    for item, (start, length) in enumerate(zip(first, panel.lengths, strict=True)):
        aligned[item, start : start + length] = panel.values[panel.offsets[item] : panel.offsets[item + 1]]
    return aligned, first


def find_leaders(aligned: FloatArray, season: int) -> list[IntArray]:
    """Return for each series (I, T) those whose past changes go with its later ones, the closest first.

    Changes are those over a season as well (`whiten`), and correlations are in units of the standard error that series
    with their autocorrelation would have by chance (Bartlett, 1935).
    """
    white = np.stack([whiten(series, season) for series in aligned])
    size = white.shape[1]
    if not size:
        return [np.empty(0, dtype=np.int64)] * len(aligned)
    spectra, present = np.fft.rfft(white, 2 * size), (white != 0).astype(float)
    lags = min(MAX_LAG, size // 2)
    own = np.fft.irfft(np.abs(spectra) ** 2, axis=1)[:, : lags + 1]
    memory = own[:, 1:] / np.maximum(own[:, :1], 1e-12)  # (I, lags) autocorrelation
    leaders = []
    for item, spectrum in enumerate(spectra):
        sums = np.fft.irfft(spectrum * spectra.conj(), axis=1)[:, 1 : lags + 1]
        common = np.maximum(present @ present[item], 1.0)  # the sizes are those of what both have
        sizes = (present @ white[item] ** 2) * (white**2 @ present[item]) / common
        variance = sizes * np.maximum(1 + 2 * memory @ memory[item], 1.0)
        score = np.abs(sums).max(1, initial=0.0) / np.sqrt(np.maximum(variance, 1.0))
        score[item] = 0.0
        order = np.argsort(-score, kind="stable")[:MAX_LEADERS]
        leaders.append(order[score[order] >= LEAST_Z])
    return leaders


def _follow(
    quantiles: FloatArray, values: FloatArray, bounds: IntArray, leaders: FloatArray, inference: Inference, season: int,
    seed: int,
) -> FloatArray:  # fmt: skip
    """Move the forecast (I, F, Q) of series by others (L, N) in step with them."""
    num_items, horizon, _ = quantiles.shape
    covariates = Covariates(
        names=tuple(f"series {number}" for number in range(len(leaders))), num_past=len(leaders), values=leaders,
        static=np.empty((0, num_items)),
    )  # fmt: skip
    effect = learn_effect(
        inference.recalled(), values, bounds, covariates, horizon, levels=inference.levels,
        context_length=max(inference.context_lengths), season_length=season, method="ridge", seed=seed,
        forecast=inference.recalled(followed=True), noise=NOISE,
    )  # fmt: skip
    ahead = np.empty((0, num_items, horizon))
    return apply_effect(effect, quantiles, inference.decode, values, bounds, covariates, ahead)


def _to_channels(values: FloatArray, offsets: IntArray, num_channels: int) -> FloatArray:
    """Channels (C, N) of all items end to end, from the panel's values."""
    lengths = np.diff(offsets)
    channel = np.repeat(np.arange(len(lengths)) % num_channels, lengths)
    return np.stack([values[channel == number] for number in range(num_channels)])
