"""The network of event sequences: (type, gap) tokens on the decoder's own blocks, a law of the gap, a law of the type.

An event is one token: what it was, how long after the one before, and when in the window. The next event follows from
the last state by the chain rule: first its gap, a mixture of log-normals, then its type, given the gap. So likelihood,
distribution function and waiting time after a silence are closed forms. Marked events as (type, gap) tokens are in
Antoniades et al. (2024, Neuroformer); the intensity-free law of the gap is that of Shchur et al. (2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.blocks.attention import AttentionBlock
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.model.layers import PatchEmbedding, RMSNorm, rotary_table

NUM_CLOCKS = 6
NARROWEST, WIDEST = math.log(0.05), math.log(5.0)  # of a component, in deviations of all log gaps
LARGEST_Z = 8.0
GAP_FEATURES = 4


@dataclass(frozen=True, kw_only=True)
class EventConfig:
    """Sizes of the networks of events.

    Attributes
    ----------
    num_types
        V, types that the networks can tell apart.
    d_model, num_layers, num_components
        Width and depth of the trunk, and log-normals in the law of a gap.
    context_length
        Events that the network looks at; half of them are history of a forecast.
    rerank_events
        The time that the energy judges, in mean gaps.
    """

    num_types: int
    d_model: int = 32
    num_layers: int = 2
    num_components: int = 8
    context_length: int = 64
    rerank_events: int = 20

    def __post_init__(self) -> None:
        for name, least in (("num_types", 1), ("d_model", 1), ("num_layers", 1), ("num_components", 1),
                            ("context_length", 4), ("rerank_events", 1)):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")


class Gaps(NamedTuple):
    """Log-normal mixture of a gap, (…, K) each, in units of normalised log gaps."""

    log_weight: Tensor
    mean: Tensor
    log_deviation: Tensor


def make_config(d_model: int, num_layers: int) -> ModelConfig:
    """Return sizes of a small trunk; tokens are events, so patches have one point."""
    return ModelConfig(
        d_model=d_model, num_layers=num_layers, num_heads=4, num_kv_heads=2, head_dim=max(8, d_model // 4 // 2 * 2),
        d_ff=2 * d_model, patch_length=1, output_length=1,
    )  # fmt: skip


class EventTrunk(nn.Module):
    """Embedding of events and transformer blocks: states (B, T, D) of `codes` (B, T) and normalised log gaps (B, T)."""

    def __init__(self, num_types: int, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.types = nn.Embedding(num_types, config.d_model)
        self.embedding = PatchEmbedding(GAP_FEATURES + 2 * NUM_CLOCKS, config.d_model)
        self.blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)

    def forward(self, codes: Tensor, z: Tensor, clock: Tensor, caches: list[LayerCache] | None = None) -> Tensor:
        """Read events; `clock` (B, T) is their time in mean gaps; with `caches` one follows those read before."""
        known = 0 if caches is None or caches[0].keys is None else caches[0].keys.shape[2]
        x = self.types(codes) + self.embedding(torch.cat([gap_features(z), clock_features(clock)], -1))
        positions = torch.arange(known, known + codes.shape[1], device=codes.device)
        rotary = rotary_table(positions, self.config.head_dim, self.config.rope_base)
        mask = None
        if known:  # one new event, which sees all before it
            mask = torch.ones(1, 1, 1, known + 1, dtype=torch.bool, device=codes.device)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotary, mask, None if caches is None else caches[layer])
        normal: Tensor = self.norm(x)
        return normal


def gap_features(z: Tensor) -> Tensor:
    """Features (…, 4) of normalised log gaps, NaN where the gap is not known."""
    known = torch.isfinite(z)
    z = torch.where(known, z, 0.0).clamp(-LARGEST_Z, LARGEST_Z)
    return torch.stack([z, z.relu(), torch.tanh(2 * z), known.to(z.dtype)], -1)


def clock_features(clock: Tensor) -> Tensor:
    """Sines and cosines (…, 12) of the time at several rates, so that attention can see how long ago an event was."""
    rates = 2.0 ** -torch.arange(NUM_CLOCKS, device=clock.device, dtype=clock.dtype)
    angle = clock.unsqueeze(-1) * rates
    return torch.cat([angle.sin(), angle.cos()], -1)


class EventModel(nn.Module):
    """Law of the next event given those before.

    Parameters
    ----------
    num_types
        V.
    config
        Sizes of the trunk.
    num_components
        K log-normals.

    Attributes
    ----------
    known_types
        Of the V types those that occur, the first ones; the others have no probability.
    """

    log_mean: Tensor
    log_deviation: Tensor
    mean_gap: Tensor
    smallest: Tensor

    def __init__(self, num_types: int, config: ModelConfig, num_components: int) -> None:
        super().__init__()
        self.known_types = num_types
        self.trunk = EventTrunk(num_types, config)
        self.gap_head = nn.Linear(config.d_model, 3 * num_components)
        self.type_head = nn.Sequential(
            nn.Linear(config.d_model + GAP_FEATURES, config.d_model), nn.SiLU(), nn.Linear(config.d_model, num_types)
        )
        for name in ("log_mean", "log_deviation", "mean_gap", "smallest"):
            self.register_buffer(name, torch.tensor(1.0))
        with torch.no_grad():
            self.gap_head.weight.mul_(0.1)
            self.gap_head.bias[num_components : 2 * num_components] = torch.linspace(-1.5, 1.5, num_components)

    @torch.no_grad()
    def measure(self, gaps: Tensor) -> None:
        """Take the scale of log gaps from the observed gaps (N,); a gap of zero counts as half the smallest other."""
        positive = gaps[gaps > 0]
        if not len(positive):
            positive = torch.ones(1, dtype=gaps.dtype)
        self.smallest = (positive.min() / 2).float()
        log = gaps.clamp(min=float(self.smallest)).log()
        self.log_mean, self.mean_gap = log.mean().float(), gaps.mean().clamp(min=float(self.smallest)).float()
        self.log_deviation = (log.std() if len(log) > 1 else torch.tensor(1.0)).clamp(min=1e-3).float()

    @torch.no_grad()
    def rescale(self, gaps: Tensor, mean_gap: float) -> None:
        """Take over another unit of time: what was learned about a mean gap now holds for this one."""
        factor = mean_gap / float(self.mean_gap)
        self.mean_gap, self.log_mean = self.mean_gap * factor, self.log_mean + math.log(factor)
        positive = gaps[gaps > 0]
        smallest = float(self.smallest) * factor
        self.smallest = torch.tensor(min([smallest, float(positive.min()) / 2] if len(positive) else [smallest]))

    def normalize(self, gaps: Tensor) -> Tensor:
        """Normalised log gaps; NaN stays."""
        return ((gaps.clamp(min=float(self.smallest))).log() - self.log_mean) / self.log_deviation

    def clock(self, gaps: Tensor) -> Tensor:
        """Time (B, T) since the first event of the window, in mean gaps."""
        return (torch.nan_to_num(gaps, nan=0.0) / self.mean_gap).cumsum(-1)

    def gap_law(self, states: Tensor) -> Gaps:
        """Law of the gap after each state."""
        logits, mean, spread = self.gap_head(states).chunk(3, -1)
        return Gaps(F.log_softmax(logits, -1), mean, spread.clamp(NARROWEST, WIDEST))

    def type_law(self, states: Tensor, z: Tensor) -> Tensor:
        """Logarithms of the probabilities (…, known types) of the types, given the normalised log gap (…)."""
        logits = self.type_head(torch.cat([states, gap_features(z)], -1))
        return F.log_softmax(logits[..., : self.known_types], -1)

    def log_likelihood(
        self, codes: Tensor, gaps: Tensor, last: Tensor, silence: Tensor, shift: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Log density of events, and log probability that nothing came afterwards.

        Parameters
        ----------
        codes, gaps
            (B, T).
        last, silence
            (B,) the last event of each row, and how long nothing came after it; NaN where that is not known.
        shift
            Added to the clock, in mean gaps.

        Returns
        -------
        density : (B, T - 1)
            Of every event but the first, given those before.
        silent : (B,)
            Zero where the silence is not known.
        """
        z = self.normalize(gaps)
        states = self.trunk(codes, z, self.clock(gaps) + shift)
        final = states[torch.arange(len(codes), device=codes.device), last]
        waited = self.normalize(torch.nan_to_num(silence, nan=1.0))
        silent = torch.logsumexp(survival(self.gap_law(final), waited), -1)
        silent = torch.where(torch.isfinite(silence) & (silence > 0), silent, 0.0)
        states, following = states[:, :-1], z[:, 1:]
        law = self.gap_law(states)
        scaled = (following.unsqueeze(-1) - law.mean) * torch.exp(-law.log_deviation)
        log_normal = -0.5 * scaled.square() - law.log_deviation - 0.5 * math.log(2 * math.pi)
        gap_density = torch.logsumexp(law.log_weight + log_normal, -1)
        log_gap = following * self.log_deviation + self.log_mean
        type_law = self.type_law(states, following).gather(-1, codes[:, 1:].unsqueeze(-1)).squeeze(-1)
        return gap_density - self.log_deviation.log() - log_gap + type_law, silent


def survival(law: Gaps, z: Tensor) -> Tensor:
    """Logarithm (…, K) of each component's weight times its probability of a gap longer than `z` (…)."""
    scaled = (z.unsqueeze(-1) - law.mean) * torch.exp(-law.log_deviation)
    alive: Tensor = law.log_weight + torch.special.log_ndtr(-scaled)
    return alive
