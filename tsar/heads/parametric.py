"""Heads with a density: a Student t, or a mixture of normal laws, for each point (Woo et al., 2023, CloudOps)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from tsar.heads.base import AnchoredHead

LEAST_FREEDOM, MOST_FREEDOM = 2.0, 100.0
LEAST_SCALE = 1e-4
FREEDOM_NODES = 512
BISECTIONS = 60


class StudentTHead(AnchoredHead):
    """Location, scale and degrees of freedom (between `LEAST_FREEDOM` and `MOST_FREEDOM`) of each point."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int = 1) -> None:
        super().__init__(output_length, 3)
        self.points = nn.Linear(d_model, output_length * 3)
        self.gate_unit = nn.Linear(d_model, 2)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: at first around half the anchor."""
        self.start_at_half_the_anchor(self.points)
        nn.init.zeros_(self.points.bias)

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return location, scale and degrees of freedom (B, T, output_length, 3)."""
        raw, start, unit = self.read(hidden_BTD, self.points, anchor)
        loc = start + unit * raw[..., :1]
        scale = LEAST_SCALE + unit * F.softplus(raw[..., 1:2])
        freedom = LEAST_FREEDOM + (MOST_FREEDOM - LEAST_FREEDOM) * torch.sigmoid(raw[..., 2:] - 2)
        return torch.cat([loc, scale, freedom.expand_as(loc)], -1)

    def law(self, parameters: Tensor, levels: Tensor) -> StudentTLaw:
        """The law of these parameters."""
        return StudentTLaw(*parameters.unbind(-1))


class StudentTLaw:
    """Student's t of location, scale and degrees of freedom (…)."""

    def __init__(self, loc: Tensor, scale: Tensor, freedom: Tensor) -> None:
        self.loc, self.scale, self.freedom = loc, scale, freedom

    def loss(self, target: Tensor) -> Tensor:
        """Negative log density (…)."""
        return -self.log_prob(target)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…)."""
        half = self.freedom / 2
        square = ((target - self.loc) / self.scale) ** 2
        normaliser = torch.lgamma(half + 0.5) - torch.lgamma(half) - 0.5 * torch.log(math.pi * self.freedom)
        return normaliser - self.scale.log() - (half + 0.5) * torch.log1p(square / self.freedom)

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (…, Q), from a table in the inverse of the degrees of freedom; exact to about 1e-4 of the scale."""
        table = torch.from_numpy(_student_quantiles(tuple(levels.double().tolist()))).to(self.loc)  # (nodes, Q)
        low, high = 1 / MOST_FREEDOM, 1 / LEAST_FREEDOM
        place = ((1 / self.freedom - low) / (high - low)).clamp(0, 1) * (FREEDOM_NODES - 1)
        left = place.long().clamp_max(FREEDOM_NODES - 2)
        share = (place - left).unsqueeze(-1)
        standard = table[left] + share * (table[left + 1] - table[left])
        return self.loc.unsqueeze(-1) + self.scale.unsqueeze(-1) * standard

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Draws (num_samples, …): a normal over the root of a gamma, both from the generator."""
        shape = (num_samples, *self.loc.shape)
        normal = torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        half = (self.freedom / 2).expand(shape)
        gamma = torch._standard_gamma(half.contiguous(), generator=generator)
        return self.loc + self.scale * normal * torch.rsqrt(gamma / half)


@lru_cache(maxsize=8)
def _student_quantiles(levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles (`FREEDOM_NODES`, Q) of standard laws, the degrees of freedom evenly spaced in their inverse."""
    from scipy.stats import t as student  # slow to import, and only this head needs it

    inverse = np.linspace(1 / MOST_FREEDOM, 1 / LEAST_FREEDOM, FREEDOM_NODES)
    table: np.ndarray = student.ppf(np.array(levels), (1 / inverse)[:, None])
    return table


class MixtureHead(AnchoredHead):
    """Weights, locations and scales of some normal laws for each point."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int = 3) -> None:
        super().__init__(output_length, 3 * num_components)
        self.num_components = num_components
        self.points = nn.Linear(d_model, output_length * 3 * num_components)
        self.gate_unit = nn.Linear(d_model, 2)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: at first around half the anchor, the components side by side."""
        self.start_at_half_the_anchor(self.points)
        start = torch.zeros(self.output_length, 3, self.num_components)
        start[:, 1] = torch.linspace(-1, 1, self.num_components) if self.num_components > 1 else 0.0
        self.points.bias.copy_(start.flatten())

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return log weights, locations and scales (B, T, output_length, 3 K)."""
        raw, start, unit = self.read(hidden_BTD, self.points, anchor)
        logits, loc, scale = raw.chunk(3, -1)
        return torch.cat([logits.log_softmax(-1), start + unit * loc, LEAST_SCALE + unit * F.softplus(scale)], -1)

    def law(self, parameters: Tensor, levels: Tensor) -> MixtureLaw:
        """The law of these parameters."""
        return MixtureLaw(*parameters.chunk(3, -1))


class MixtureLaw:
    """A mixture of normal laws: log weights, locations and scales (…, K)."""

    def __init__(self, log_weight: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.log_weight, self.loc, self.scale = log_weight, loc, scale

    def loss(self, target: Tensor) -> Tensor:
        """Negative log density (…)."""
        return -self.log_prob(target)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…)."""
        square = ((target.unsqueeze(-1) - self.loc) / self.scale) ** 2
        parts = self.log_weight - self.scale.log() - square / 2 - math.log(2 * math.pi) / 2
        return torch.logsumexp(parts, -1)

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (…, Q) by bisection, between the lowest and highest of the components' own."""
        loc, scale, weight = self.loc.double(), self.scale.double(), self.log_weight.double().exp()
        scores = torch.special.ndtri(levels.double())
        own = loc.unsqueeze(-2) + scale.unsqueeze(-2) * scores[:, None]  # (…, Q, K)
        low, high = own.amin(-1), own.amax(-1)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = torch.special.ndtr((middle.unsqueeze(-1) - loc.unsqueeze(-2)) / scale.unsqueeze(-2))
            is_low = (below * weight.unsqueeze(-2)).sum(-1) < levels.double()
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        quantiles: Tensor = ((low + high) / 2).to(self.loc.dtype)
        return quantiles

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Draws (num_samples, …): a component, then its normal law."""
        shape = self.loc.shape[:-1]
        weight = self.log_weight.exp().reshape(-1, self.loc.shape[-1])
        chosen = torch.multinomial(weight, num_samples, replacement=True, generator=generator)
        chosen = chosen.T.reshape(num_samples, *shape, 1)
        loc, scale = (
            part.expand(num_samples, *part.shape).gather(-1, chosen).squeeze(-1) for part in (self.loc, self.scale)
        )
        noise = torch.randn(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)
        draws: Tensor = loc + scale * noise
        return draws
