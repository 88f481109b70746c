"""Mode vectors: one learned vector per role of a token, added to its embedding.

Training on several tasks at once (Raffel et al., 2020, T5's prefixes; Tay et al., 2023, UL2's mode tokens) has to tell
the model which one a token belongs to. A forecast is the first mode, so that a model asked without a mode forecasts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MODES = ("forecast", "masked", "prefix", "suffix", "middle")
"""Roles of a token: plain history; history with masked patches or spans; the three parts of a series with a gap."""
FORECAST, MASKED, PREFIX, SUFFIX, MIDDLE = range(len(MODES))


class ModeVectors(nn.Module):
    """A vector per mode; all zero to begin with."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(len(MODES), d_model))

    def forward(self, modes: Tensor | None) -> Tensor:
        """Return the vectors (B, T, D) of `modes` (B, T) int64; None: that of a forecast, (D,)."""
        return self.vectors[FORECAST] if modes is None else self.vectors[modes]
