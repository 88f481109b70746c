"""Channels: what series that belong together have to do with each other, around a model that reads each alone.

Adapters map the C channels of every item to latent ones, each of which the model forecasts, and their forecasts back
(`adapters`). Related channels, and series of a group, help each other as past covariates do (`related`). Attention
across the channels moves the forecast of each (`attention`). A model that has channel blocks of its own
(`tsar.model.blocks.channel`) sees the channels of an item together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tsar.channels.adapters import (
    METHODS,
    ChannelAdapter,
    IdentityAdapter,
    adapter_from_bytes,
    adapter_to_bytes,
    make_adapter,
)
from tsar.channels.attention import MixedChannels, learn_mixer
from tsar.channels.related import follow_group, follow_related
from tsar.errors import OptionError
from tsar.forecast import Forecast
from tsar.frame import Panel
from tsar.inference import Inference
from tsar.types import FloatArray, IntArray
from tsar.unfitted import not_fitted

AROUND = ("related", "group", "attention", "model")
"""Adapters that move the forecast of each series by itself, and map nothing."""

ADAPTERS = (None, *METHODS, *AROUND)
DRAWS = 256
"""Draws by which the law of what latent channels map to is found."""

FILLED_AT = 0.05
"""Added to the variances, in their units, where missing channels are filled from the others."""


def fit_channels(
    inference: Callable[[], Inference],
    panel: Panel,
    prediction_length: int,
    num_channels: int,
    wanted: Any,
    *,
    seed: int = 0,
) -> ChannelAdapter | MixedChannels | None:
    """Fit the adapter that an option asks for to a panel; None for those that learn nothing ahead of a forecast.

    Attention learns from backtests with `inference`, a map from the standardised, complete points of all items.
    """
    if wanted == "attention":
        return learn_mixer(inference().at(panel.freq), panel, num_channels, prediction_length, seed=seed)
    return None if _is_named(wanted, None, *AROUND) else _fit_map(panel, num_channels, wanted, seed)


def _fit_map(panel: Panel, num_channels: int, wanted: Any, seed: int) -> ChannelAdapter:
    adapter = make_adapter(wanted, seed)
    rows = _complete([_standardise(part)[0] for part in _split(panel.values, panel.offsets, num_channels)])
    adapter.fit(rows if len(rows) else np.zeros((1, num_channels)))  # the latter: nothing to learn from
    return adapter


def forecast_channels(
    inference: Inference,
    panel: Panel,
    prediction_length: int,
    num_channels: int,
    wanted: Any,
    *,
    adapter: ChannelAdapter | MixedChannels | None = None,
    examples: Panel | None = None,
    neighbours: int = 0,
    seed: int = 0,
) -> FloatArray:
    """Forecast (I * C, F, Q) each series of a panel by itself, or the channels of an item by way of each other.

    Parameters
    ----------
    inference, panel, prediction_length, examples, neighbours
        As in `Inference.forecast`, which this is without an adapter; latent channels see no examples.
    num_channels
        C, channels of an item, whose series come after each other.
    wanted
        One of `ADAPTERS`, or whatever `make_adapter` takes.
    adapter
        What `fit_channels` learned before; without, maps learn from this panel.
    seed
        Of the adapter and the draws.
    """
    if _is_named(wanted, "model"):
        inference = replace(_need_channel_blocks(inference), num_channels=num_channels)
        return inference.forecast(panel, prediction_length, examples=examples, neighbours=neighbours)
    if _is_named(wanted, None, *AROUND):
        quantiles = inference.forecast(panel, prediction_length, examples=examples, neighbours=neighbours)
        if wanted is None:
            return quantiles
        if wanted == "attention":
            return _need_fit(adapter).apply(quantiles, panel, inference)
        follow = follow_group if wanted == "group" else follow_related
        return follow(quantiles, panel, num_channels, inference, seed=seed)
    fitted: Any = adapter or _fit_map(panel, num_channels, wanted, seed)
    forecast = partial(inference.forecast, prediction_length=prediction_length)
    quantiles = forecast_latent(panel, num_channels, fitted, forecast, inference.levels, seed)
    return _fill_lost(quantiles, panel, partial(forecast, panel))


def forecast_latent(
    panel: Panel,
    num_channels: int,
    adapter: ChannelAdapter,
    forecast: Callable[[Panel], FloatArray],
    levels: FloatArray,
    seed: int,
) -> FloatArray:
    """Forecast (I * C, F, Q) by way of latent channels.

    Parameters
    ----------
    panel
        I * C series, the channels of an item after each other.
    num_channels
        C.
    adapter
        Fitted.
    forecast
        From a panel of I * K latent series, laid out in the same way, to quantiles (I * K, F, Q).
    levels
        (Q,) their levels.
    seed
        Of the draws: latent channels are taken as independent of each other, and the law of what they map to comes
        from `DRAWS` draws of each; the median from the medians.
    """
    parts = [_standardise(part) for part in _split(panel.values, panel.offsets, num_channels)]
    complete = _complete([rows for rows, _, _ in parts])
    latent = [_to_latent(adapter, rows, complete) for rows, _, _ in parts]
    number = latent[0].shape[1]
    quantiles = forecast(_latent_panel(panel, latent, num_channels))
    rng = np.random.default_rng(seed)
    ranks = (np.stack([rng.permutation(DRAWS) for _ in range(number)]) + 0.5) / DRAWS
    result = np.empty((panel.num_items, *quantiles.shape[1:]))
    for item, (_, loc, scale) in enumerate(parts):
        part = quantiles[item * number : (item + 1) * number]  # (K, F, Q)
        middle = adapter.inverse(part[..., len(levels) // 2].T)  # (F, C)
        draws = np.stack([_at(one, levels, rank) for one, rank in zip(part, ranks, strict=True)], -1)  # (F, D, K)
        decoded = _decode_draws(adapter, draws.reshape(-1, number), rng).reshape(*draws.shape[:2], num_channels)
        law = np.quantile(decoded, levels, axis=1)  # (Q, F, C)
        law += middle - law[len(levels) // 2]
        result[item * num_channels : (item + 1) * num_channels] = (law * scale + loc).transpose(2, 1, 0)
    return result


def _fill_lost(quantiles: FloatArray, panel: Panel, forecast: Callable[[], FloatArray]) -> FloatArray:
    """Forecast by themselves the series of which latent channels say nothing, since others are missing all along."""
    seen = np.add.reduceat(np.isfinite(panel.values), panel.offsets[:-1]) > 0
    lost = seen & np.isnan(quantiles[:, 0, 0])
    return np.where(lost[:, None, None], forecast(), quantiles) if lost.any() else quantiles


def fill_missing(rows: FloatArray, complete: FloatArray) -> FloatArray:
    """Fill missing channels of rows (N, C) by what the others there lead to expect; rows without any value stay.

    The expectation is the regression on the channels that are known, from the complete rows (M, C) of all items; with
    fewer than 3 C of these nothing is filled.
    """
    known = np.isfinite(rows)
    if known.all() or len(complete) < 3 * rows.shape[1]:
        return rows
    covariance = np.atleast_2d(np.cov(complete.T)) + FILLED_AT * np.eye(rows.shape[1])
    mean = complete.mean(0)
    filled = rows.copy()
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any() and not pattern.all():
            affected = np.flatnonzero(which.reshape(-1) == number)
            weights = np.linalg.solve(covariance[np.ix_(pattern, pattern)], covariance[np.ix_(pattern, ~pattern)])
            filled[np.ix_(affected, ~pattern)] = mean[~pattern] + (rows[affected][:, pattern] - mean[pattern]) @ weights
    return filled


def validate_adapter(channel_adapter: Any, num_channels: int) -> None:
    """Raise ``option.invalid`` for an adapter that is unknown, or without several targets to work on."""
    if _is_named(channel_adapter, None, "group"):
        return
    if isinstance(channel_adapter, str) and channel_adapter not in ADAPTERS:
        raise OptionError(
            f"channel_adapter must be one of {', '.join(map(repr, ADAPTERS))}, got {channel_adapter!r}.",
            code="option.invalid",
        )
    if not _is_named(channel_adapter, *AROUND):
        make_adapter(channel_adapter)
    if num_channels == 1:
        raise OptionError(
            "channel_adapter needs several targets.", code="option.invalid", hint='Forecaster(target=["a", "b"], …)'
        )


def channels_to_bytes(adapter: Any) -> bytes:
    """Write what `fit_channels` learned, without pickles."""
    return adapter.to_bytes() if isinstance(adapter, MixedChannels) else adapter_to_bytes(adapter)


def channels_from_bytes(wanted: Any, content: bytes) -> Any:
    """Read what `channels_to_bytes` wrote of the adapter that an option asks for."""
    return MixedChannels.from_bytes(content) if wanted == "attention" else adapter_from_bytes(wanted, content)


def _need_fit(adapter: Any) -> MixedChannels:
    if not isinstance(adapter, MixedChannels):
        raise not_fitted('channel_adapter="attention" forecasts with weights that fit trains.', hint="Call fit(df).")
    return adapter


def _need_channel_blocks(inference: Inference) -> Inference:
    if "channel" not in inference.model.config.blocks:
        raise OptionError(
            'channel_adapter="model" needs a model with channel blocks; this one reads each series alone.',
            code="option.invalid",
            hint='Train one (pretrain/recipes/predformer.yaml), or take channel_adapter="attention".',
        )
    return inference


def _is_named(wanted: Any, *names: str | None) -> bool:
    return (wanted is None or isinstance(wanted, str)) and wanted in names


def _split(values: FloatArray, offsets: IntArray, num_channels: int) -> list[FloatArray]:
    """Rows (N, C) of each item."""
    firsts = offsets[::num_channels]
    return [values[first:last].reshape(num_channels, -1).T for first, last in pairwise(firsts)]


def _standardise(rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows with mean 0 and deviation 1, and both of each channel (C,); NaN where nothing is known.

    The deviation of a constant is 0, so that whatever a map makes of it comes back as the constant.
    """
    known = np.isfinite(rows)
    count = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        loc = np.where(known, rows, 0.0).sum(0) / count
        spread = np.sqrt(np.where(known, (rows - loc) ** 2, 0.0).sum(0) / count)
    return (rows - loc) / np.where(spread > 0, spread, 1.0), loc, spread


def _complete(parts: list[FloatArray]) -> FloatArray:
    return np.concatenate([rows[np.isfinite(rows).all(1)] for rows in parts])


def _to_latent(adapter: ChannelAdapter, rows: FloatArray, complete: FloatArray) -> FloatArray:
    """Latent rows (N, K), NaN where a row cannot be filled."""
    if isinstance(adapter, IdentityAdapter):
        return rows
    filled = fill_missing(rows, complete)
    usable = np.isfinite(filled).all(1)
    some = adapter.transform(filled[usable] if usable.any() else np.zeros((1, rows.shape[1])))
    latent = np.full((len(rows), some.shape[1]), np.nan)
    latent[usable] = some[: usable.sum()]
    return latent


def _decode_draws(adapter: Any, latent: FloatArray, rng: np.random.Generator) -> FloatArray:
    decoded: FloatArray = adapter.sample(latent, rng) if hasattr(adapter, "sample") else adapter.inverse(latent)
    return decoded


def _latent_panel(panel: Panel, latent: list[FloatArray], num_channels: int) -> Panel:
    """The panel of I * K latent series, without covariates."""
    number = latent[0].shape[1]
    series = np.arange(0, panel.num_items, num_channels).repeat(number)
    return replace(
        panel,
        item_ids=panel.item_ids[series],
        values=np.concatenate([rows.T.reshape(-1) for rows in latent]),
        offsets=np.concatenate([[0], np.cumsum(panel.lengths[series])]),
        starts=panel.starts[series],
        covariates=None,
    )


def _at(quantiles: FloatArray, levels: FloatArray, ranks: FloatArray) -> FloatArray:
    """Values (F, D) at ranks (D,) of laws given by quantiles (F, Q), as `Forecast.at` reads them."""
    values: FloatArray = Forecast(quantiles[None], levels).at(ranks.tolist())[0]
    return values
