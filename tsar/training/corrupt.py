"""The one corruption pipeline: what the model is not allowed to see in training. Targets stay whole.

Hidden runs of whole patches teach long horizons: at a hidden token the model must predict from what came before the
run, which is what decoding does with the tokens of the future (contiguous patch masking, TiRex, Auer et al., 2025).
Random single points and short runs teach missing values; a cut at the left teaches short histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class CorruptConfig:
    """Probability, per window, of each kind of hiding.

    Attributes
    ----------
    span, max_span
        A run of 1 … `max_span` hidden patches (short runs more often), anywhere after the first patch.
    points
        Single points hidden at a random rate of up to a half.
    run
        One run of up to a quarter of the window hidden, at any offset.
    cut
        History cut from the left to a log-uniform length.
    min_history
        Shortest history left by a cut, in points.
    holes
        Runs of hidden points anywhere, for models that fill gaps: their lengths around a log-uniform one of up to
        `hole_length` of the window, a share of the window between the two of `hole_share` in all.
    """

    span: float = 0.35
    max_span: int = 32
    points: float = 0.06
    run: float = 0.04
    cut: float = 0.35
    min_history: int = 5
    holes: float = 0.0
    hole_share: tuple[float, float] = (0.05, 0.6)
    hole_length: float = 0.3


def corrupt(
    observed: Tensor,
    context_length: int,
    patch_length: int,
    config: CorruptConfig,
    generator: Generator,
    cut: float | None = None,
) -> Tensor:
    """Return which points the model may see.

    Parameters
    ----------
    observed
        (rows, L + F) bool, what is known.
    context_length
        L; what follows is target only and never shown.
    patch_length
        P, the grid of hidden patches.
    cut
        Probability of a cut, instead of the config's.
    """
    visible = observed.clone()
    visible[:, context_length:] = False
    position = torch.arange(visible.shape[1], device=visible.device)
    rows = visible.shape[0]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(rows, *shape, generator=generator, device=visible.device)

    def log_uniform(low: float, high: float) -> Tensor:
        ratio = torch.tensor(high / low, device=visible.device)
        return low * torch.exp(uniform(1) * torch.log(ratio))

    tokens = context_length // patch_length
    if config.span > 0 and tokens > 1:
        length = log_uniform(1, 1 + min(config.max_span, tokens - 1)).floor()
        first = 1 + (uniform(1) * (tokens - length).clamp_min(1)).floor()
        token = position // patch_length
        visible &= ~((uniform(1) < config.span) & (token >= first) & (token < first + length))
    if config.points > 0:
        visible &= ~((uniform(1) < config.points) & (uniform(visible.shape[1]) < 0.5 * uniform(1)))
    if config.run > 0:
        length = log_uniform(2, max(context_length / 4, 3))
        first = uniform(1) * context_length
        visible &= ~((uniform(1) < config.run) & (position >= first) & (position < first + length))
    if config.holes > 0:
        low, high = config.hole_share
        share = low + (high - low) * uniform(1)
        mean = log_uniform(1, max(config.hole_length * context_length, 2))
        length = (mean * (0.5 + uniform(context_length))).round().clamp_min(1).long()  # of a hole that begins there
        begins = uniform(context_length) < -torch.log1p(-share) / mean
        visible &= ~((uniform(1) < config.holes) & _covered(begins, length, visible.shape[1]))
    cut = config.cut if cut is None else cut
    if cut > 0:
        start = context_length - log_uniform(config.min_history, context_length)
        visible &= ~((uniform(1) < cut) & (position < start))
    return visible


def _covered(begins: Tensor, length: Tensor, width: int) -> Tensor:
    """Which of `width` points lie in a run of `length` points that begins where `begins` says; runs may overlap."""
    rows, places = begins.shape
    end = (torch.arange(places, device=begins.device) + length).clamp_max(width)
    steps = torch.zeros(rows, width + 1, device=begins.device)
    steps[:, :places] += begins
    steps.scatter_add_(1, end, -begins.to(steps.dtype))
    return steps.cumsum(1)[:, :width] > 0.5
