"""Gap tokenizer: windows with holes -> tokens, for a model that sees the points on both sides of a hole.

Each point that is not observed stands on the straight line between its observed neighbours, says how far they are, and
the line is the anchor of the answer: a model that adds nothing to it is linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tsar.scaling import window_state
from tsar.tokenizers.patch import PatchTokenizer, Tokens, statistics
from tsar.tokenizers.period import Period, find_period, period_features


@dataclass(frozen=True)
class GapTokenizer(PatchTokenizer):
    """Cut windows into patches of interpolated values, normalised by the statistics of all that was observed.

    Parameters and features as those of `PatchTokenizer`, with three differences: hidden points carry the interpolated
    value instead of zero; the mask channel is 1 where observed and falls below zero with the distance to the nearest
    observed point elsewhere; `Tokens.anchor` is the interpolated value of every point in z.
    """

    scaling: str = "window"

    def encode(self, context: Tensor, observed: Tensor, period: Period | None = None) -> Tokens:
        """Turn windows (B, L) into T = L / P tokens each; arguments as of `PatchTokenizer.encode`."""
        shape = (context.shape[0], -1, self.patch_length)
        seen = observed.reshape(shape)
        state = window_state(torch.where(observed, context, 0.0).reshape(shape), seen)
        filled, distance = interpolate(context, observed)
        filled = filled.reshape(shape)
        state = replace(state, last=filled[..., -1])  # each token's own
        anchor = state.normalize(filled)
        step = state.step.unsqueeze(-1)
        fine = torch.asinh((filled - filled[..., -1:]) / torch.where(step > 0, step, 1.0))
        fine = torch.where(step > 0, fine, 0.0)
        nearness = torch.where(observed, 1.0, -torch.log1p(distance) / 4).reshape(shape).to(filled.dtype)
        features = torch.cat([anchor, fine, nearness, statistics(state)], -1)
        if self.period:
            known = find_period(context, observed) if period is None else period
            phases = period_features(known, features.shape[1], self.patch_length)
            features = torch.cat([features, phases.to(features.dtype)], -1)
        return Tokens(patches=features, mask=None, state=state, anchor=anchor)


def interpolate(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (B, L) with straight lines through what is not observed, and the way to the nearest observed.

    Before the first and after the last observed point its value goes on; without any, all are 0.
    """
    index = torch.arange(values.shape[1], device=values.device).expand_as(observed)
    before = torch.where(observed, index, -1).cummax(1).values
    after = torch.where(observed, index, index.shape[1]).flip(1).cummin(1).values.flip(1)
    has_before, has_after = before >= 0, after < index.shape[1]
    left = torch.where(has_before, before, after).clamp_max(index.shape[1] - 1)
    right = torch.where(has_after, after, before).clamp_min(0)
    clean = torch.where(observed, values, 0.0)
    low, high = clean.gather(1, left), clean.gather(1, right)
    width = (right - left).clamp_min(1)
    filled = low + (high - low) * ((index - left).to(values.dtype) / width)
    distance = torch.minimum((index - left).abs(), (right - index).abs())
    return torch.where(observed, clean, filled), distance.to(values.dtype)
