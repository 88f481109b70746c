"""Causal and whole-window scalers: where each token stands (`loc`) and how large its unit is (`scale`).

A scaler looks at a batch cut into patches and returns a `ScaleState`, which travels with the tokens; nothing is
remembered on the scaler itself. Values are carried in ``z = arcsinh((x - loc) / scale)``: linear near the middle,
logarithmic in the tails, so that a spike neither blows up a token nor disappears.

The running mean and deviation per patch follow Toto (Cohen et al., 2024, section 3.2) and TimesFM 2.5; adding the
arcsinh follows Chronos-2 (Ansari et al., 2025). Different here: the state also carries the running mean absolute step
and the last observed value, which make smooth trending series (small steps on a large range) as visible as noisy ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tsar.types import FloatArray

Z_LIMIT = 30.0  # sinh(30) = 5e12 deviations: a bound against overflow, far outside of any forecast


@dataclass(frozen=True)
class ScaleState:
    """Statistics of the observed past at the end of each token; all (B, T), in the dtype of the data.

    Attributes
    ----------
    loc, scale
        Mean and standard deviation of what was observed so far; `scale` is 0 while no variation was seen.
    step
        Mean absolute difference between neighbouring observed values so far.
    last
        Last observed value so far (0 before the first one, where `count` is 0).
    count
        How many values were observed so far.
    """

    loc: Tensor
    scale: Tensor
    step: Tensor
    last: Tensor
    count: Tensor

    def at(self, token: slice | int | list[int]) -> ScaleState:
        """Return the state of some tokens only."""
        return ScaleState(*(getattr(self, name)[:, token] for name in ("loc", "scale", "step", "last", "count")))

    def normalize(self, values: Tensor) -> Tensor:
        """Map data units (B, T, K) to z; 0 where the scale is 0."""
        scale = self.scale.unsqueeze(-1)
        centred = values - self.loc.unsqueeze(-1)
        return torch.where(scale > 0, torch.asinh(centred / torch.where(scale > 0, scale, 1.0)), 0.0)

    def denormalize(self, z: Tensor) -> Tensor:
        """Map z (B, T, K) back to data units; the exact inverse of `normalize` wherever `scale` > 0."""
        return self.loc.unsqueeze(-1) + self.scale.unsqueeze(-1) * torch.sinh(z)


def near_one(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Divide windows (B, L) by a power of two near their largest observed value; return them and the powers (B,).

    Nothing is rounded, and squares of the largest and the smallest numbers neither overflow nor vanish.
    """
    exponent = torch.frexp(torch.where(observed, values.abs(), 0.0).amax(1)).exponent.clamp(-1000, 1000)
    power = torch.ldexp(torch.ones_like(values[:, 0]), exponent)
    return values / power[:, None], power


def back_from_one(quantiles: Tensor, power: Tensor) -> FloatArray:
    """Multiply quantiles (B, …) by the powers (B,) again; beyond the largest number there is no quantile."""
    largest = torch.finfo(quantiles.dtype).max
    scaled: Tensor = quantiles * power.view(-1, *[1] * (quantiles.dim() - 1))
    result: FloatArray = scaled.clamp(-largest, largest).cpu().numpy()
    return result


def causal_state(patches: Tensor, observed: Tensor) -> ScaleState:
    """Running statistics: the state of token t depends on tokens 0 … t alone.

    Parameters
    ----------
    patches
        (B, T, P) values; what stands where `observed` is False is ignored.
    observed
        (B, T, P) bool.

    Notes
    -----
    Invariant: changing token t leaves the states of the tokens before it bit-identical (tests/unit/test_scaling.py).
    Values are centred on the first observed one before squaring, so that a large level does not eat the digits.
    """
    batch, tokens, width = patches.shape
    flat_seen = observed.reshape(batch, -1)
    flat = torch.where(flat_seen, patches.reshape(batch, -1), 0.0)

    last_index, any_seen = _last_observed_index(flat_seen)
    filled = torch.where(any_seen, flat.gather(1, last_index), 0.0)  # each point: the last value observed up to it
    origin = flat.gather(1, flat_seen.to(torch.int8).argmax(1, keepdim=True))

    centred = torch.where(flat_seen, flat - origin, 0.0)
    previous_seen = torch.cat([torch.zeros_like(any_seen[:, :1]), any_seen[:, :-1]], 1)
    previous = torch.cat([filled[:, :1], filled[:, :-1]], 1)
    is_step = flat_seen & previous_seen
    steps = torch.where(is_step, (flat - previous).abs(), 0.0)

    def running_sum(values: Tensor) -> Tensor:
        return values.reshape(batch, tokens, width).sum(-1).cumsum(1)

    count = running_sum(flat_seen.to(flat.dtype))
    safe = count.clamp_min(1.0)
    mean = running_sum(centred) / safe
    variance = (running_sum(centred * centred) / safe - mean * mean).clamp_min(0.0)
    step = running_sum(steps) / running_sum(is_step.to(flat.dtype)).clamp_min(1.0)
    return ScaleState(
        loc=torch.where(count > 0, origin + mean, 0.0),
        scale=torch.where(step > 0, variance.sqrt(), 0.0),  # no step seen: any deviation left is rounding
        step=step,
        last=filled.reshape(batch, tokens, width)[:, :, -1],
        count=count,
    )


def window_state(patches: Tensor, observed: Tensor) -> ScaleState:
    """Whole-window statistics: every token gets the state of the last one, so tokens are not causal among themselves.

    Parameters and shapes as in `causal_state`.
    """
    final = causal_state(patches, observed).at(slice(-1, None))
    tokens = patches.shape[1]
    return ScaleState(*(getattr(final, name).expand(-1, tokens) for name in ("loc", "scale", "step", "last", "count")))


def first_observed_index(observed: Tensor, *, keepdim: bool = False) -> Tensor:
    """Index (B,) of the first True of each row of (B, N), 0 where there is none.

    In 32 bits, since compiled for a CPU with AVX-512 the argmax of smaller numbers also looks at lanes that nothing was
    written to (torch 2.13), which win in rows of zeros.
    """
    return observed.int().argmax(1, keepdim=keepdim)


def _last_observed_index(seen: Tensor) -> tuple[Tensor, Tensor]:
    """For each point of (B, N): the index of the last observed point up to it, and whether there is one."""
    index = torch.arange(seen.shape[1], device=seen.device).expand_as(seen)
    last = torch.where(seen, index, -1).cummax(1).values
    return last.clamp_min(0), last >= 0


SCALERS = {"causal": causal_state, "window": window_state}
