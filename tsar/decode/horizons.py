"""Decoding with several horizon heads: the largest that fits what remains answers, its paths are fed back.

Any horizon is the sum of a few heads' lengths (Time-MoE, Shi et al., 2025, section 3.2.2). Windows are cut into patches
anew before each pass, since a head's answer need not be whole patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from tsar.heads.horizons import HorizonLaw
from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT
from tsar.tokenizers.period import Period


def greedy_schedule(prediction_length: int, horizons: Sequence[int]) -> list[int]:
    """Split a horizon into lengths of heads, the largest first; the smallest must be 1.

    Where each length divides the next, as `ModelConfig` asks, no other split has fewer parts.
    """
    steps: list[int] = []
    for horizon in sorted(horizons, reverse=True):
        times, prediction_length = divmod(prediction_length, horizon)
        steps += [horizon] * times
    return steps


def decode_by_horizons(
    model: Decoder,
    values: Tensor,
    observed: Tensor,
    period: Period | None,
    prediction_length: int,
    pool: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Quantiles (B, F, Q) in as few passes as `greedy_schedule` has parts.

    Parameters
    ----------
    model
        A decoder whose head is `tsar.heads.horizons.HorizonHeads`.
    values, observed
        (B, L) windows, and what is seen of them.
    period
        Of each window, if the tokenizer takes it.
    prediction_length
        F.
    pool
        From quantiles (B, F, Q, Q) of all paths and their levels (Q,) to those of one law (B, F, Q).

    Notes
    -----
    What the largest head covers, ``F // max(horizons) * max(horizons)`` points, is the same in every longer call.
    """
    steps = greedy_schedule(prediction_length, model.config.horizons)
    quantiles = _answer(model, values, observed, period, steps[0])
    batch, _, num_levels = quantiles.shape
    if len(steps) == 1:
        return quantiles
    rows = torch.arange(batch, device=values.device).repeat_interleave(num_levels)
    paths, seen = values[rows], observed[rows]
    period = period.at(rows) if period is not None else None
    levels = model.levels.to(quantiles.dtype)
    for before, step in pairwise(steps):
        new = quantiles[:, -before:].transpose(1, 2).reshape(len(rows), before)
        paths, seen = torch.cat([paths, new], 1), torch.cat([seen, torch.ones_like(new, dtype=torch.bool)], 1)
        ahead = _answer(model, paths, seen, period, step).view(batch, num_levels, step, num_levels).transpose(1, 2)
        quantiles = torch.cat([quantiles, pool(ahead, levels)], 1)
    return quantiles


def _answer(model: Decoder, values: Tensor, observed: Tensor, period: Period | None, step: int) -> Tensor:
    """Quantiles (B, step, Q) of what follows the windows, by the head for that many points."""
    missing = -values.shape[1] % model.config.patch_length
    if period is not None:
        period = Period(period.length, period.strength, period.origin + missing)
    tokens = model.tokenizer.encode(pad(values, (missing, 0)), pad(observed, (missing, 0)), period)
    law = model.law(tokens, last=1)
    if not isinstance(law, HorizonLaw):
        raise TypeError("decode_by_horizons takes a model with horizon heads")
    z = law.of(step).quantile(model.levels)[:, 0].clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    return tokens.state.at(slice(-1, None)).denormalize(z.flatten(1).unsqueeze(1)).view(z.shape)
