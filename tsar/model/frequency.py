"""Frequency token: one learned vector per resolution of the stamps, added to the embedding of every token.

Tiny Time Mixers (Ekambaram et al., 2024, section 3.1, "resolution prefix tuning") put such a vector in front of a
window. Added to each token it says the same, and positions, masks and caches stay as they are. Synthetic series have no
stamps: their vector, number 0, is also that of a series whose frequency is not known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tsar.freq.resolution import RESOLUTIONS


class FrequencyVectors(nn.Module):
    """A vector per resolution (`tsar.freq.resolution`); all zero to begin with."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(len(RESOLUTIONS), d_model))

    def forward(self, frequency: Tensor) -> Tensor:
        """Return the vectors (B, 1, D) of resolutions (B,) int64."""
        return self.vectors[frequency].unsqueeze(1)
