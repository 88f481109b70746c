"""The one corruption pipeline: what the model is not allowed to see in training. Targets stay whole.

Hidden runs of whole patches teach long horizons: at a hidden token the model must predict from what came before the
run, which is what decoding does with the tokens of the future (contiguous patch masking, TiRex, Auer et al., 2025).
Random single points and short runs teach missing values; a cut at the left teaches short histories. What else may be
done to a batch (noise, order, the model's own words) is drawn in `tsar.training.views` from the same config.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class CorruptConfig:
    """Probability, per window, of each kind of corruption. Any of them may be combined.

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
    patches, patch_share
        Whole patches hidden, each with probability `patch_share`: masked modelling under full attention (PatchTST, Nie
        et al., 2023), masked-input autoregression under causal attention.
    future
        The last 1 … `max_span` patches of the history hidden: how a model with full attention learns to forecast.
    geometric, geometric_share, geometric_length
        Hidden spans of geometric length (mean `geometric_length` points), a share `geometric_share` in all: a chain
        with two states (TST, Zerveas et al., 2021).
    future_mixup
        Points of hidden runs of patches shown all the same, each at a rate drawn for the window: part of the truth of
        the future (TimeDiff, Shen & Kwok, 2023).
    noise, noise_size
        Gaussian noise on what is shown, of up to `noise_size` of the window's deviation; targets stay clean. It makes
        a model that reads its own forecasts forgiving (DPOT, Hao et al., 2024).
    middle
        Fill in the middle (Bavarian et al., 2022): a run is moved to the end, so that a causal model has both its
        sides in view when it is asked for it. Needs ``model.modes``.
    feedback, feedback_steps
        Probability, per patch, that the model reads its own median instead of the patch (scheduled sampling, Bengio et
        al., 2015; both passes in parallel, Mihaylova & Martins, 2019); it rises to `feedback` over the first
        `feedback_steps` steps.
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
    patches: float = 0.0
    patch_share: float = 0.4
    future: float = 0.0
    geometric: float = 0.0
    geometric_share: float = 0.15
    geometric_length: float = 3.0
    future_mixup: float = 0.0
    noise: float = 0.0
    noise_size: float = 0.2
    middle: float = 0.0
    feedback: float = 0.0
    feedback_steps: int = 1000

    def __post_init__(self) -> None:
        hiding = ("span", "points", "run", "cut", "holes", "patches", "future", "geometric", "future_mixup")
        for name in (*hiding, "noise", "middle", "feedback", "patch_share", "geometric_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"corrupt.{name} must be between 0 and 1, got {getattr(self, name)}")
        if not self.geometric_length * (1 - self.geometric_share) >= 1:
            raise ValueError("corrupt: geometric_length must be at least 1 / (1 - geometric_share)")
        if not self.noise_size >= 0:
            raise ValueError(f"corrupt.noise_size must be from 0, got {self.noise_size}")
        if self.feedback_steps < 1:
            raise ValueError(f"corrupt.feedback_steps must be at least 1, got {self.feedback_steps}")


def corrupt(
    observed: Tensor,
    context_length: int,
    patch_length: int,
    config: CorruptConfig,
    generator: Generator,
    cut: float | None = None,
) -> Tensor:
    """Return which points (rows, L + F) the model may see; parameters as of `hide`."""
    return hide(observed, context_length, patch_length, config, generator, cut)[0]


def hide(
    observed: Tensor,
    context_length: int,
    patch_length: int,
    config: CorruptConfig,
    generator: Generator,
    cut: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return which points (rows, L + F) the model may see, and which windows (rows, 1) are masked (patches, spans).

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
        hidden = (uniform(1) < config.span) & (token >= first) & (token < first + length)
        if config.future_mixup > 0:
            hidden &= ~_shown_all_the_same(uniform(2), uniform(visible.shape[1]), config)
        visible &= ~hidden
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
    masked = torch.zeros_like(visible[:, :1])
    if config.patches > 0:
        chosen = uniform(1) < config.patches
        patches = uniform(visible.shape[1] // patch_length) < config.patch_share
        visible &= ~(chosen & patches.repeat_interleave(patch_length, 1))
        masked = masked | chosen
    if config.future > 0:
        length = log_uniform(1, 1 + min(config.max_span, tokens - 1)).floor() * patch_length
        ahead = (uniform(1) < config.future) & (position >= context_length - length)
        if config.future_mixup > 0:
            ahead &= ~_shown_all_the_same(uniform(2), uniform(visible.shape[1]), config)
        visible &= ~ahead
    if config.geometric > 0:
        chosen = uniform(1) < config.geometric
        visible &= ~(chosen & _geometric_spans(uniform(visible.shape[1]), config))
        masked = masked | chosen
    cut = config.cut if cut is None else cut
    if cut > 0:
        start = context_length - log_uniform(config.min_history, context_length)
        visible &= ~((uniform(1) < cut) & (position < start))
    return visible, masked


def _shown_all_the_same(of_window: Tensor, of_point: Tensor, config: CorruptConfig) -> Tensor:
    """Which points of hidden runs are part of the truth that is told; a window's rate is its second number."""
    return (of_window[:, :1] < config.future_mixup) & (of_point < of_window[:, 1:])


def _geometric_spans(dice: Tensor, config: CorruptConfig) -> Tensor:
    """Follow a chain of two states, shown and hidden, along `dice` (rows, length): where it is hidden.

    A low number hides whatever was, a high one shows, between them the state goes on: so the last one that was not
    between decides, and no loop is needed.
    """
    leave = 1 / config.geometric_length
    hides = dice < leave * config.geometric_share / (1 - config.geometric_share)
    decides = hides | (dice >= 1 - leave)
    hides[:, 0], decides[:, 0] = dice[:, 0] < config.geometric_share, True
    place = torch.arange(dice.shape[1], device=dice.device)
    return hides.gather(1, torch.where(decides, place, 0).cummax(1).values)


def _covered(begins: Tensor, length: Tensor, width: int) -> Tensor:
    """Which of `width` points lie in a run of `length` points that begins where `begins` says; runs may overlap."""
    rows, places = begins.shape
    end = (torch.arange(places, device=begins.device) + length).clamp_max(width)
    steps = torch.zeros(rows, width + 1, device=begins.device)
    steps[:, :places] += begins
    steps.scatter_add_(1, end, -begins.to(steps.dtype))
    return steps.cumsum(1)[:, :width] > 0.5
