"""Quantile head: hidden state -> quantiles of the next `output_length` points, in z, never crossing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from tsar.heads.base import AnchoredHead


class QuantileHead(AnchoredHead):
    """Median plus cumulated positive widths. Widths are softplus sums, so quantiles cannot cross."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int = 1) -> None:
        super().__init__(output_length, num_levels)
        self.quantiles = nn.Linear(d_model, output_length * num_levels)
        self.gate_unit = nn.Linear(d_model, 2)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: at first half the anchor, with a narrow band of equal widths."""
        self.start_at_half_the_anchor(self.quantiles)
        nn.init.constant_(self.quantiles.bias, -1.5)
        self.quantiles.bias.view(self.output_length, -1)[:, self.width // 2] = 0.0

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return the quantiles (B, T, output_length, Q) in z.

        Parameters
        ----------
        hidden_BTD
            (B, T, D) last hidden states.
        anchor
            (B, T) last observed value in z, or (B, T, output_length) a value for each point.
        """
        raw, start, unit = self.read(hidden_BTD, self.quantiles, anchor)
        middle = self.width // 2
        below, centre, above = raw[..., :middle], raw[..., middle : middle + 1], raw[..., middle + 1 :]
        below = -F.softplus(below).flip(-1).cumsum(-1).flip(-1)
        above = F.softplus(above).cumsum(-1)
        spread = torch.cat([below, torch.zeros_like(centre), above], -1)
        quantiles: Tensor = start + unit * (centre + spread)
        return quantiles

    def law(self, parameters: Tensor, levels: Tensor) -> QuantileLaw:
        """The law with these quantiles."""
        return QuantileLaw(parameters, levels)


class QuantileLaw:
    """A law known by some quantiles: linear between them, and beyond, in the score of a normal law (`Forecast.at`).

    Parameters
    ----------
    quantiles
        (…, Q), ascending.
    levels
        (Q,) theirs.
    """

    def __init__(self, quantiles: Tensor, levels: Tensor) -> None:
        self.quantiles = quantiles
        self.levels = levels

    def loss(self, target: Tensor) -> Tensor:
        """Pinball loss (…), see `pinball_loss`."""
        return pinball_loss(self.quantiles, target, self.levels)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…)."""
        scores = torch.special.ndtri(self.levels).to(self.quantiles.dtype)
        place = torch.searchsorted(self.quantiles.contiguous(), target.unsqueeze(-1).contiguous())
        left = (place - 1).clamp(0, len(scores) - 2)
        low, high = (self.quantiles.gather(-1, left + step).squeeze(-1) for step in (0, 1))
        slope = (scores[left + 1] - scores[left]).squeeze(-1) / (high - low)
        score = scores[left].squeeze(-1) + slope * (target - low)
        log_density: Tensor = slope.log() - score**2 / 2 - math.log(2 * math.pi) / 2
        return log_density

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (…, Q')."""
        if levels is self.levels:
            return self.quantiles
        known, wanted = (torch.special.ndtri(given).to(self.quantiles.dtype) for given in (self.levels, levels))
        left = (torch.searchsorted(known, wanted, right=True) - 1).clamp(0, len(known) - 2)
        share = (wanted - known[left]) / (known[left + 1] - known[left])
        low, high = self.quantiles[..., left], self.quantiles[..., left + 1]
        wanted_quantiles: Tensor = low + share * (high - low)
        return wanted_quantiles

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Draws (num_samples, …) by the inverse of the distribution function."""
        shape = (num_samples, *self.quantiles.shape[:-1])
        scores = torch.randn(shape, generator=generator, dtype=self.quantiles.dtype, device=self.quantiles.device)
        known = torch.special.ndtri(self.levels).to(scores.dtype)
        left = (torch.searchsorted(known, scores, right=True) - 1).clamp(0, len(known) - 2)
        share = (scores - known[left]) / (known[left + 1] - known[left])
        quantiles = self.quantiles.expand(num_samples, *self.quantiles.shape)
        low, high = (quantiles.gather(-1, (left + step).unsqueeze(-1)).squeeze(-1) for step in (0, 1))
        draws: Tensor = low + share * (high - low)
        return draws


def pinball_loss(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss over the levels, elementwise over the rest (Koenker & Bassett, 1978).

    Parameters
    ----------
    quantiles
        (…, Q).
    target
        (…).
    levels
        (Q,).

    Returns
    -------
    Tensor
        (…), twice the pinball loss averaged over levels; equals the absolute error where all quantiles agree.
    """
    error = target.unsqueeze(-1) - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)
