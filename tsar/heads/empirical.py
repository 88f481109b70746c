"""Quantiles of draws, by one rule for all that draw."""

from __future__ import annotations

from torch import Tensor


def empirical_quantiles(draws: Tensor, levels: Tensor) -> Tensor:
    """Quantiles (…, Q) at `levels` (Q,) of draws (…, S): straight lines between the middles of S equal shares."""
    ordered, count = draws.sort(-1).values, draws.shape[-1]
    place = (levels * count - 0.5).clamp(0, count - 1)
    low, high = ordered[..., place.floor().long()], ordered[..., place.ceil().long()]
    quantiles: Tensor = low + place.frac().to(draws.dtype) * (high - low)
    return quantiles
