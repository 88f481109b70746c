"""Model -> distribution: quantiles for any horizon.

Up to ``output_length`` points the last token answers directly. Further ahead, hidden tokens stand for the future and
each answers for what follows it, so that up to ``config.one_pass_length`` points come out of one pass, with the spread
that the model learned for such a distance. Beyond that the quantile paths are fed back together: each of the Q paths
continues with its own forecast of Q quantiles, and the Q x Q values, refined, are one law again. The median alone is
never fed back, since bands would stop growing.

A model with a vocabulary draws paths instead (`tsar.decode.token_rollout`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tsar.decode.horizons import decode_by_horizons
from tsar.decode.token_rollout import sampled_quantiles
from tsar.errors import ModelError, ResourceError
from tsar.heads.empirical import empirical_quantiles
from tsar.model.cache import Cache
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.model.memory import NO_MEMORY, is_out_of_memory, release_cached
from tsar.scaling import Z_LIMIT, back_from_one, first_observed_index, near_one
from tsar.tokenizers.patch import Tokens
from tsar.tokenizers.period import Period
from tsar.types import FloatArray, IntArray
from tsar.windows import make_batches

NODES = 15  # equally likely values a direction of the pool; the deciles 1, 3, 5, 7, 9 are among them
ROWS_POOLED = 16  # windows whose paths are pooled at once: bounds the memory
POINTS_PER_BATCH = {"cpu": 1 << 14, "cuda": 1 << 21}
"""Context points of one batch, where the number of windows is not given: on a CPU as many as its cache holds."""


def decode_panel(
    model: Decoder,
    values: FloatArray,
    offsets: IntArray,
    prediction_length: int,
    *,
    context_lengths: Sequence[int],
    symmetrize: bool = False,
    rows_per_batch: int | None = None,
    num_channels: int = 1,
    advance: Callable[[int], object] | None = None,
) -> FloatArray:
    """Forecast what follows the end of every series: windows -> tokens -> model -> distribution, batch by batch.

    Parameters
    ----------
    model
        The decoder, in evaluation mode.
    values, offsets
        Series end to end (N,), and where each starts (I + 1,).
    prediction_length
        F, any number from 1.
    context_lengths
        Longest context, in points; with several, the forecasts from each that holds an observed value are averaged.
    symmetrize
        Average the forecast f(x) with that of the mirrored series, -f(-x). It is then odd up to rounding: the mirrored
        series has the mirrored forecast.
    rows_per_batch
        Windows in a batch; None: as many as `POINTS_PER_BATCH` allows.
    num_channels
        So many neighbouring series, of one length, are channels of one item, which ``"channel"`` blocks see together.
    advance
        Called with the number of series of each finished batch, as a progress bar's update.

    Returns
    -------
    ndarray
        (I, F, Q) float64 in data units; NaN for series without an observed value in the context.
    """
    quantiles = np.full((len(offsets) - 1, prediction_length, len(model.config.quantile_levels)), np.nan)
    counts = np.zeros(len(quantiles), dtype=np.int64)  # contexts that gave a forecast
    device = next(model.parameters()).device.type
    decode_batch = _decode_twice if symmetrize else decode_within_memory
    for turn, context_length in enumerate(context_lengths):
        windows = make_batches(
            values,
            offsets,
            context_length=context_length,
            patch_length=model.config.patch_length,
            points_per_batch=POINTS_PER_BATCH.get(device, POINTS_PER_BATCH["cpu"]) // (2 if symmetrize else 1),
            rows_per_batch=rows_per_batch,
            rows_together=num_channels,
        )
        for batch in windows:
            new = decode_batch(model, batch.context, prediction_length, num_channels)
            counts[batch.rows] += ~np.isnan(new[:, 0, 0])
            quantiles[batch.rows] = _running_mean(quantiles[batch.rows], new, counts[batch.rows])
            if advance is not None and turn == len(context_lengths) - 1:
                advance(len(batch.rows))
    return quantiles


def _decode_twice(model: Decoder, context: FloatArray, prediction_length: int, num_channels: int = 1) -> FloatArray:
    """Mean of f(x) and -f(-x); the levels are symmetric, so mirroring also reverses their order."""
    both = decode_within_memory(model, np.concatenate([context, -context]), prediction_length, num_channels)
    plain, mirrored = np.split(both, 2)
    # exact where both agree; halved before they are added, since the largest numbers have no sum
    result: FloatArray = plain - (plain / 2 + mirrored[..., ::-1] / 2)
    return result


def _running_mean(mean: FloatArray, new: FloatArray, counts: IntArray) -> FloatArray:
    """Mean of new forecasts (B, F, Q) and the mean of earlier ones, `counts` (B,) in all; NaN counts for nothing.

    Each is divided before they are subtracted: the largest numbers do not overflow, and equal ones stay as they are.
    """
    share = 1.0 / np.maximum(counts, 1)[:, None, None]
    both = mean + (new * share - mean * share)
    return np.where(np.isnan(mean), new, np.where(np.isnan(new), mean, both))


@torch.inference_mode()
def decode(model: Decoder, context: FloatArray, prediction_length: int, num_channels: int = 1) -> FloatArray:
    """Forecast a batch of windows.

    Parameters
    ----------
    model
        The decoder, in evaluation mode.
    context
        (B, L) float64, right-aligned, NaN where missing; L a multiple of ``patch_length``.
    prediction_length
        F, any number from 1.
    num_channels
        So many neighbouring windows are channels of one item.

    Returns
    -------
    ndarray
        (B, F, Q) float64 in data units, ascending along Q; NaN in windows without an observed value; equal to the
        constant in windows that never vary.

    Raises
    ------
    ModelError
        ``model.wrong_task`` for a model with full attention that fills gaps only (``max_span`` 0).

    Notes
    -----
    Deterministic. Invariants: cached = uncached, batch = one by one (tests/unit/test_decode.py).
    """
    if not model.config.can_forecast:
        raise ModelError(
            "This model fills gaps and does not forecast.", code="model.wrong_task", hint="tsar.impute takes it."
        )
    device = next(model.parameters()).device
    values = torch.from_numpy(context).to(device)
    observed = torch.isfinite(values)
    unseen = ~observed.any(1)
    values, power = near_one(values, observed)
    if model.config.has_vocabulary:
        quantiles = sampled_quantiles(model, values, observed, prediction_length)
    else:
        quantiles = _answer(model, values, observed, prediction_length, num_channels)
    quantiles[unseen] = torch.nan
    return back_from_one(quantiles, power)


def _answer(model: Decoder, values: Tensor, observed: Tensor, prediction_length: int, num_channels: int) -> Tensor:
    """Quantiles (B, F, Q) from one pass, and from the paths that are fed back after it."""
    period = model.tokenizer.find_period(values, observed)
    if model.config.horizons:
        return decode_by_horizons(model, values, observed, period, prediction_length, _pooled_quantiles)
    first = min(prediction_length, model.config.one_pass_length)
    group = None if num_channels == 1 else torch.arange(len(values), device=values.device) // num_channels
    quantiles = one_pass(model, values, observed, period, first, group=group)
    if quantiles.shape[1] < prediction_length:
        quantiles = _feed_back(model, values, observed, period, quantiles, prediction_length, group)
    return quantiles


def decode_within_memory(
    model: Decoder, context: FloatArray, prediction_length: int, num_channels: int = 1
) -> FloatArray:
    """As `decode`; a batch that does not fit into memory is halved until it does.

    Raises
    ------
    ResourceError
        ``resource.memory`` if a single item does not fit.
    """
    try:
        return decode(model, context, prediction_length, num_channels)
    except NO_MEMORY as error:
        if not is_out_of_memory(error):
            raise
        if len(context) <= num_channels:
            raise ResourceError(
                "One series does not fit into memory.",
                code="resource.memory",
                hint="Free memory, forecast fewer steps, or shorten context_length",
            ) from error
    release_cached()
    half = len(context) // num_channels // 2 * num_channels
    parts = (context[:half], context[half:])
    return np.concatenate([decode_within_memory(model, part, prediction_length, num_channels) for part in parts])


def one_pass(
    model: Decoder,
    values: Tensor,
    observed: Tensor,
    period: Period | None,
    horizon: int,
    cache: Cache | None = None,
    group: Tensor | None = None,
) -> Tensor:
    """Quantiles (B, horizon, Q) of what follows the windows; with a cache, only tokens after what it holds are read."""
    config = model.config
    if config.has_vocabulary:
        text = "This model draws the tokens of its vocabulary one after the other: it has no answer in one pass."
        raise ModelError(text, code="model.wrong_task", hint="Forecaster takes it.")
    if config.attention == "full":
        return _masked_pass(model, values, observed, horizon)
    hidden = -(-max(horizon - config.output_length, 0) // config.patch_length)
    pad = hidden * config.patch_length
    tokens = model.tokenizer.encode(
        torch.nn.functional.pad(values, (0, pad)), torch.nn.functional.pad(observed, (0, pad)), period
    )
    tokens = _grouped(tokens, group).after(cache.num_tokens if cache is not None else 0)
    answering = answering_tokens(hidden, config)
    z = model(tokens, cache=cache, last=hidden + 1, at=answering).clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    state = tokens.state.at(slice(-hidden - 1, None)).at(answering)
    quantiles = state.denormalize(z.flatten(2)).view(z.shape)
    return join_answers(quantiles, answering, config)[:, :horizon]


def _masked_pass(model: Decoder, values: Tensor, observed: Tensor, horizon: int) -> Tensor:
    """As `one_pass` for full attention: the future is hidden tokens, each of which answers for its own points.

    Patches before the first observed point are left out, window by window, so that no batch changes an answer. So are
    the oldest ones where history and future together would be longer than what training has seen, as long as half of
    that length and an observed point stay.
    """
    patch = model.config.patch_length
    pad = -(-horizon // patch) * patch
    width, context = values.shape[1], model.config.context_length
    spare = max(min(width + pad - context, width - context // 2 // patch * patch), 0)
    spare_of_row = torch.where(observed[:, spare:].any(1), spare, 0)
    usable = observed & (torch.arange(width, device=observed.device) >= spare_of_row[:, None])
    leading = first_observed_index(usable) // patch * patch
    quantiles = values.new_empty(len(values), horizon, len(model.levels))
    for lead in torch.unique(leading).tolist():
        rows = leading == lead
        shown, seen = (torch.nn.functional.pad(one[rows, lead:], (0, pad)) for one in (values, observed))
        tokens = model.tokenizer.encode(shown, seen)
        z = model(tokens).clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
        answer = tokens.state.denormalize(z.flatten(2)).view(z.shape).flatten(1, 2)
        quantiles[rows] = answer[:, answer.shape[1] - pad :][:, :horizon]
    return quantiles


def _grouped(tokens: Tokens, group: Tensor | None) -> Tokens:
    return tokens if group is None else replace(tokens, group=group)


def answering_tokens(hidden: int, config: ModelConfig) -> list[int]:
    """Which of a last token and the `hidden` ones after it answer: one an `output_length`, the last may overlap."""
    return [*range(0, hidden, config.output_length // config.patch_length), hidden]


def join_answers(quantiles: Tensor, answering: Sequence[int], config: ModelConfig) -> Tensor:
    """Join what the answering tokens say (B, answers, output_length, Q) to one forecast."""
    parts, filled = [], 0
    for answer, token in enumerate(answering):
        reach = token * config.patch_length + config.output_length
        parts.append(quantiles[:, answer, config.output_length - (reach - filled) :])
        filled = reach
    return torch.cat(parts, 1)


def _feed_back(
    model: Decoder, values: Tensor, observed: Tensor, period: Period | None, quantiles: Tensor, horizon: int,
    group: Tensor | None,
) -> Tensor:  # fmt: skip
    """Continue each quantile path with its own forecast until the horizon is reached."""
    batch, _, num_levels = quantiles.shape
    length = quantiles.shape[1] // model.config.patch_length * model.config.patch_length
    rows = torch.arange(batch, device=values.device).repeat_interleave(num_levels)
    cache = Cache.empty(model.config.num_layers) if model.can_cache else None
    if cache is not None:
        model.trunk(_grouped(model.tokenizer.encode(values, observed, period), group), cache=cache)
        cache = cache.select(rows, cache.num_tokens)
    paths, seen = values[rows], observed[rows]
    period = period.at(rows) if period is not None else None
    if group is not None:  # a path of a channel goes on with the paths of the same level of the others
        group = (group[:, None] * num_levels + torch.arange(num_levels, device=group.device)).flatten()
    while quantiles.shape[1] < horizon:
        new = quantiles[:, -length:].transpose(1, 2).reshape(batch * num_levels, -1)
        paths, seen = torch.cat([paths, new], 1), torch.cat([seen, torch.ones_like(new, dtype=torch.bool)], 1)
        read = paths.shape[1] // model.config.patch_length
        step = min(length, horizon - quantiles.shape[1])
        ahead = one_pass(model, paths, seen, period, step, cache, group)
        if cache is not None:
            cache = cache.select(torch.arange(len(rows), device=rows.device), read)
        pool = ahead.view(batch, num_levels, step, num_levels).transpose(1, 2)
        levels = model.levels.to(pool.dtype)
        pooled = [_pooled_quantiles(part, levels) for part in torch.split(pool, ROWS_POOLED)]
        quantiles = torch.cat([quantiles, torch.cat(pooled)], 1)
        length = step
    return quantiles


def _pooled_quantiles(pool: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (B, F, Q) of the law over all paths' forecasts; `pool` is (B, F, Q, Q): path, then level.

    Both directions are refined to `NODES` equally likely values first: nine values a direction end at the outermost
    level, and a band that loses its tails whenever it is fed back soon stops growing (tests/unit/test_decode.py).
    """
    paths = _refine(_refine(pool, levels).mT, levels)
    return empirical_quantiles(paths.flatten(2), levels)


def _refine(quantiles: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (…, NODES) at the middles of `NODES` equal shares, from (…, Q); between and beyond as `Forecast.at`."""
    known = torch.special.ndtri(levels)
    nodes = torch.special.ndtri((torch.arange(NODES, device=levels.device, dtype=levels.dtype) + 0.5) / NODES)
    place = (torch.searchsorted(known, nodes, right=True) - 1).clamp(0, len(levels) - 2)
    share = (nodes - known[place]) / (known[place + 1] - known[place])
    low, high = quantiles[..., place], quantiles[..., place + 1]
    refined: Tensor = low + share * (high - low)
    return refined
