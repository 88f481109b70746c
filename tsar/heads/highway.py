"""An autoregression beside the network: what is linear in the last points goes around the trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Highway(nn.Module):
    """Linear autoregression of the last points of a patch, added to every quantile (LSTNet, Lai et al., 2018).

    Parameters
    ----------
    patch_length
        P.
    num_points
        How many of a patch's last points it reads, at most P.
    output_length
        Points that it predicts, each with weights of its own.
    """

    def __init__(self, patch_length: int, num_points: int, output_length: int) -> None:
        super().__init__()
        self.points = slice(patch_length - num_points, patch_length)
        self.weights = nn.Linear(num_points, output_length)

    @torch.no_grad()
    def initialize(self) -> None:
        """Add nothing to begin with."""
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Return what to add to the quantiles (B, T, output_length, 1), in z; points not observed count as 0."""
        with torch.autocast(patches.device.type, enabled=False):
            added: Tensor = self.weights(patches[..., self.points].to(self.weights.weight.dtype))
        return added.unsqueeze(-1)
