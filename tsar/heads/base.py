"""What every head offers: parameters of a law for each point, and the law, to be scored, asked and drawn from."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Generator, Tensor, nn

LOG_SPREAD_LIMIT = 6.0


class Law(Protocol):
    """A distribution for each point of a batch of shape (…), in z."""

    def loss(self, target: Tensor) -> Tensor:
        """What training lowers, (…), of `target` (…)."""
        ...

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…) of `target` (…)."""
        ...

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (…, Q) at `levels` (Q,), ascending where the levels are."""
        ...

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Independent draws (num_samples, …)."""
        ...


class Head(nn.Module):
    """A module from hidden states to the parameters of a law.

    It is made of d_model, output_length, num_levels and num_components. `forward` takes hidden states (B, T, D) and the
    anchor, the last observed value in z, (B, T) or (B, T, output_length); it gives (B, T, output_length, width).
    """

    def initialize(self) -> None:
        """Draw fresh weights."""
        raise NotImplementedError

    def law(self, parameters: Tensor, levels: Tensor) -> Law:
        """Return the law that the parameters stand for; `levels` (Q,) are those of the model's config."""
        raise NotImplementedError


class AnchoredHead(Head):
    """A head that chooses a unit and how much of the last observed value it starts from.

    ``gate * anchor + exp(log_unit) * what the points say``: a random walk is gate = 1; `log_unit` lets a smooth series
    have a band of a hundredth of its deviation without asking the last linear layer for that precision.
    """

    gate_unit: nn.Linear

    def __init__(self, output_length: int, width: int) -> None:
        super().__init__()
        self.output_length = output_length
        self.width = width

    def read(self, hidden_BTD: Tensor, points: nn.Linear, anchor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the points say (B, T, P, width), where they start (B, T, P or 1, 1), and the unit (B, T, 1, 1)."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):  # the answer itself is worth full precision
            hidden_BTD = hidden_BTD.to(points.weight.dtype)
            raw = points(hidden_BTD).unflatten(-1, (self.output_length, self.width))
            gate_unit = self.gate_unit(hidden_BTD)
        gate = torch.sigmoid(gate_unit[..., 0])
        unit = torch.exp(LOG_SPREAD_LIMIT * torch.tanh(gate_unit[..., 1] / LOG_SPREAD_LIMIT))
        anchor = anchor.unsqueeze(-1) if anchor.dim() == gate.dim() else anchor
        start = (gate.unsqueeze(-1) * anchor.to(gate.dtype)).unsqueeze(-1)
        return raw, start, unit[..., None, None]

    @torch.no_grad()
    def start_at_half_the_anchor(self, points: nn.Linear) -> None:
        """Draw small weights of the points, and none of gate and unit."""
        nn.init.normal_(points.weight, std=0.1 * points.in_features**-0.5)
        nn.init.zeros_(self.gate_unit.weight)
        nn.init.zeros_(self.gate_unit.bias)
