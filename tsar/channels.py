"""Channels: what the targets of one item have to do with each other, around a model that reads each alone.

An adapter maps the C channels of every item to as many latent ones, each of which the model forecasts, and their
forecasts back (AdaPTS, Benechehab et al., 2025). Related channels help each other as past covariates do
(`tsar.covariates`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh

from tsar.covariates import apply_effect, learn_effect
from tsar.errors import NotFittedError, OptionError
from tsar.forecast import Forecast
from tsar.frame import Covariates, Panel
from tsar.freq import season_length
from tsar.inference import Inference
from tsar.mixing import MixedChannels
from tsar.types import FloatArray, IntArray

ADAPTERS = (None, "identity", "pca", "linear", "related", "attention")
DRAWS = 256
"""Draws by which the law of a sum of latent channels is found."""


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """A linear map of standardised channels: ``latent = forward @ ((x - loc) / scale)``.

    Attributes
    ----------
    loc, scale : (C,)
        Of each channel over all items.
    forward, backward : (C, C)
        To the latent channels, and back.
    """

    loc: FloatArray
    scale: FloatArray
    forward: FloatArray
    backward: FloatArray

    def transform(self, channels: FloatArray) -> FloatArray:
        """Map channels (C, N) to latent ones (C, N); a point with a missing channel is missing in all."""
        standardised = (channels - self.loc[:, None]) / self.scale[:, None]
        latent: FloatArray = self.forward @ standardised
        return latent

    def inverse(self, latent: FloatArray) -> FloatArray:
        """Map latent channels (C, …) back."""
        standardised = np.einsum("ck,k...->c...", self.backward, latent)
        shape = (-1,) + (1,) * (latent.ndim - 1)
        channels: FloatArray = standardised * self.scale.reshape(shape) + self.loc.reshape(shape)
        return channels


def fit_channel_map(channels: FloatArray, kind: str) -> ChannelMap:
    """Find the map of channels (C, N), all items end to end.

    ``"identity"`` standardises. ``"pca"`` turns to the principal components. ``"linear"`` turns to the combinations
    that are easiest to forecast: those with the largest autocorrelation (maximum autocorrelation factors, Switzer &
    Green, 1984). Points with a missing channel are left out; with fewer than 3 C of the rest the map is the identity.
    """
    known = channels[:, np.isfinite(channels).all(0)]
    number = len(channels)
    loc = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else 0.0 for row in channels])
    spread = np.array([row[np.isfinite(row)].std() if np.isfinite(row).any() else 0.0 for row in channels])
    scale = np.where(spread > 0, spread, 1.0)
    identity = ChannelMap(loc, scale, np.eye(number), np.eye(number))
    if kind == "identity" or known.shape[1] < 3 * number:
        return identity
    standardised = (known - loc[:, None]) / scale[:, None]
    covariance = np.cov(standardised) + 1e-6 * np.eye(number)
    if kind == "pca":
        forward = np.linalg.eigh(covariance)[1].T[::-1]
        return ChannelMap(loc, scale, forward, forward.T)
    forward = eigh(np.cov(np.diff(standardised)), covariance)[1].T
    return ChannelMap(loc, scale, forward, np.linalg.inv(forward))


def forecast_channels(
    inference: Inference,
    panel: Panel,
    prediction_length: int,
    num_channels: int,
    kind: str | None,
    *,
    examples: Panel | None = None,
    neighbours: int = 0,
    seed: int = 0,
    mixed: MixedChannels | None = None,
) -> FloatArray:
    """Forecast (I * C, F, Q) each series of a panel by itself, or the channels of an item by way of each other.

    Parameters
    ----------
    inference, panel, prediction_length, examples, neighbours
        As in `Inference.forecast`, which this is without an adapter; latent channels see no examples.
    num_channels
        C, channels of an item, whose series come after each other.
    kind
        One of `ADAPTERS`.
    seed
        Of the draws of `forecast_latent`.
    mixed
        What `fit` learned for ``"attention"``.
    """
    if kind is None or kind in ("related", "attention"):
        quantiles = inference.forecast(panel, prediction_length, examples=examples, neighbours=neighbours)
        if kind is None:
            return quantiles
        if kind == "attention":
            return _need_fit(mixed).apply(quantiles, panel, inference)
        return follow_related(
            quantiles, panel.values, panel.offsets, num_channels, inference.decode,
            context_length=max(inference.context_lengths), season_length=season_length(panel.freq), seed=seed,
        )  # fmt: skip
    return forecast_latent(
        panel.values, panel.offsets, num_channels, kind,
        lambda latent: inference.forecast(replace(panel, values=latent, covariates=None), prediction_length),
        np.asarray(inference.model.config.quantile_levels), seed,
    )  # fmt: skip


def forecast_latent(
    values: FloatArray,
    offsets: IntArray,
    num_channels: int,
    kind: str,
    forecast: Callable[[FloatArray], FloatArray],
    levels: FloatArray,
    seed: int,
) -> FloatArray:
    """Forecast (I * C, F, Q) by way of latent channels.

    Parameters
    ----------
    values, offsets
        Series of the panel, the C channels of an item after each other.
    num_channels
        C.
    kind
        As of `fit_channel_map`.
    forecast
        From the latent values, laid out in the same way, to quantiles (I * C, F, Q).
    levels
        (Q,) their levels.
    seed
        Of the draws: latent channels are taken as independent of each other, and the law of their sums comes from
        `DRAWS` draws of each; the median from the medians.
    """
    channels = _to_channels(values, offsets, num_channels)
    mapping = fit_channel_map(channels, kind)
    quantiles = forecast(_from_channels(mapping.transform(channels), offsets, num_channels))
    _, horizon, num_levels = quantiles.shape
    latent = quantiles.reshape(-1, num_channels, horizon, num_levels).transpose(1, 0, 2, 3)
    middle = mapping.inverse(latent[..., num_levels // 2])
    rng = np.random.default_rng(seed)
    ranks = (np.stack([rng.permutation(DRAWS) for _ in range(num_channels)]) + 0.5) / DRAWS
    draws = np.stack([_at(part, levels, rank) for part, rank in zip(latent, ranks, strict=True)])
    spread = np.quantile(mapping.inverse(draws), levels, axis=-1)  # (Q, C, I, F)
    law = spread + (middle - spread[num_levels // 2])
    result: FloatArray = law.transpose(2, 1, 3, 0).reshape(-1, horizon, num_levels)
    return result


def follow_related(
    quantiles: FloatArray,
    values: FloatArray,
    offsets: IntArray,
    num_channels: int,
    decode: Callable[[FloatArray, IntArray, int], FloatArray],
    *,
    context_length: int,
    season_length: int,
    seed: int,
) -> FloatArray:
    """Move the forecast (I * C, F, Q) of each channel by what the others, where they run ahead of it, say.

    Every channel takes the others as past covariates: with the lead, the regression and the guard of `learn_effect`.
    """
    moved = quantiles.copy()
    channels = _to_channels(values, offsets, num_channels)
    bounds = np.concatenate([[0], np.cumsum(np.diff(offsets)[::num_channels])])
    for number in range(num_channels):
        others = [other for other in range(num_channels) if other != number]
        covariates = Covariates(
            names=tuple(f"channel {other}" for other in others), num_past=len(others), values=channels[others],
            static=np.empty((0, len(bounds) - 1)),
        )  # fmt: skip
        effect = learn_effect(
            decode, channels[number], bounds, covariates, quantiles.shape[1], context_length=context_length,
            season_length=season_length, method="ridge", seed=seed,
        )  # fmt: skip
        ahead = np.empty((0, len(bounds) - 1, quantiles.shape[1]))
        moved[number::num_channels] = apply_effect(
            effect, quantiles[number::num_channels], decode, channels[number], bounds, covariates, ahead
        )
    return moved


def validate_adapter(channel_adapter: object, num_channels: int) -> None:
    """Raise ``option.invalid`` for an adapter that is unknown, or without several targets to work on."""
    if not any(channel_adapter is known or channel_adapter == known for known in ADAPTERS):
        raise OptionError(
            f"channel_adapter must be one of {', '.join(map(repr, ADAPTERS))}, got {channel_adapter!r}.",
            code="option.invalid",
        )
    if channel_adapter is not None and num_channels == 1:
        raise OptionError(
            "channel_adapter needs several targets.", code="option.invalid", hint='Forecaster(target=["a", "b"], …)'
        )


def _need_fit(mixed: MixedChannels | None) -> MixedChannels:
    if mixed is None:
        raise NotFittedError(
            'channel_adapter="attention" forecasts with weights that fit trains.',
            code="forecaster.not_fitted",
            hint="Call fit(df).",
        )
    return mixed


def _to_channels(values: FloatArray, offsets: IntArray, num_channels: int) -> FloatArray:
    """Channels (C, N) of all items end to end, from the panel's values."""
    lengths = np.diff(offsets)
    channel = np.repeat(np.arange(len(lengths)) % num_channels, lengths)
    return np.stack([values[channel == number] for number in range(num_channels)])


def _from_channels(channels: FloatArray, offsets: IntArray, num_channels: int) -> FloatArray:
    """The opposite of `_to_channels`."""
    lengths = np.diff(offsets)
    channel = np.repeat(np.arange(len(lengths)) % num_channels, lengths)
    values = np.empty(channels.size)
    for number in range(num_channels):
        values[channel == number] = channels[number]
    return values


def _at(quantiles: FloatArray, levels: FloatArray, ranks: FloatArray) -> FloatArray:
    """Values (…, D) at ranks (D,) of laws given by quantiles (…, Q), as `Forecast.at` reads them."""
    shape = quantiles.shape[:-1]
    flat = Forecast(quantiles.reshape(1, -1, quantiles.shape[-1]), levels)
    return flat.at(ranks.tolist()).reshape(*shape, len(ranks))
