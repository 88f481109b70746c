"""Quantile head: hidden state -> quantiles of the next `output_length` points, in z, never crossing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOG_SPREAD_LIMIT = 6.0


class QuantileHead(nn.Module):
    """Median plus cumulated positive widths, in a unit and around an anchor that the head chooses itself.

    ``z_q = gate * anchor + exp(log_unit) * (centre + widths up to q)``: `anchor` is the last observed value in z, so a
    random walk is gate = 1; `log_unit` lets a smooth series have a band of a hundredth of its deviation without
    asking the last linear layer for that precision. Widths are softplus sums, so quantiles cannot cross.
    """

    def __init__(self, d_model: int, output_length: int, num_levels: int) -> None:
        super().__init__()
        self.output_length = output_length
        self.num_levels = num_levels
        self.quantiles = nn.Linear(d_model, output_length * num_levels)
        self.gate_unit = nn.Linear(d_model, 2)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: at first half the anchor, with a narrow band of equal widths."""
        nn.init.normal_(self.quantiles.weight, std=0.1 * self.quantiles.in_features**-0.5)
        nn.init.constant_(self.quantiles.bias, -1.5)
        self.quantiles.bias.view(self.output_length, -1)[:, self.num_levels // 2] = 0.0
        nn.init.zeros_(self.gate_unit.weight)
        nn.init.zeros_(self.gate_unit.bias)

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return the quantiles (B, T, output_length, Q) in z.

        Parameters
        ----------
        hidden_BTD
            (B, T, D) last hidden states.
        anchor
            (B, T) last observed value in z, or (B, T, output_length) a value for each point.
        """
        with torch.autocast(hidden_BTD.device.type, enabled=False):  # the answer itself is worth full precision
            hidden_BTD = hidden_BTD.to(self.quantiles.weight.dtype)
            raw = self.quantiles(hidden_BTD).unflatten(-1, (self.output_length, self.num_levels))
            gate_unit = self.gate_unit(hidden_BTD)
        gate = torch.sigmoid(gate_unit[..., 0])
        unit = torch.exp(LOG_SPREAD_LIMIT * torch.tanh(gate_unit[..., 1] / LOG_SPREAD_LIMIT))
        middle = self.num_levels // 2
        below, centre, above = raw.split([middle, 1, middle], dim=-1)
        below = -F.softplus(below).flip(-1).cumsum(-1).flip(-1)
        above = F.softplus(above).cumsum(-1)
        spread = torch.cat([below, torch.zeros_like(centre), above], -1)
        anchor = anchor.unsqueeze(-1) if anchor.dim() == gate.dim() else anchor
        start = (gate.unsqueeze(-1) * anchor.to(gate.dtype)).unsqueeze(-1)
        quantiles: Tensor = start + unit[..., None, None] * (centre + spread)
        return quantiles


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
