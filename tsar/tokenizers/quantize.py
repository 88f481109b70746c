"""One id a point: bins, evenly spaced (Ansari et al., 2024, Chronos) or as dense as the values are."""

from __future__ import annotations

import torch
from torch import Tensor

from tsar.tokenizers.vocabulary import VocabularyTokenizer

LIMIT = 15.0
EVEN_SHARE = 0.01  # of the even grid in fitted centres: keeps them apart, and reaches the tails


class Quantize(VocabularyTokenizer):
    """`num_bins` evenly spaced centres on [-15, 15], in units of the mean absolute value, as Chronos has them."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """One token a point."""
        return (self.num_bins,)

    @property
    def bounds(self) -> tuple[float, float]:
        """The outermost centres."""
        return -LIMIT, LIMIT

    def split(self, z: Tensor) -> Tensor:
        """The nearest centre."""
        place = torch.round((z.to(torch.float64) + LIMIT) * ((self.num_bins - 1) / (2 * LIMIT)))
        return place.clamp(0, self.num_bins - 1).long().unsqueeze(-1)

    def join(self, classes: Tensor) -> Tensor:
        """The centre."""
        return classes[..., 0].to(torch.float64) * (2 * LIMIT / (self.num_bins - 1)) - LIMIT


class QuantileBins(VocabularyTokenizer):
    """Centres that stand as dense as the values of the training data; kept in the checkpoint with the weights.

    Before `fit` they are those of `Quantize`.
    """

    centres: Tensor

    def __init__(self, num_bins: int = 4096) -> None:
        super().__init__(num_bins)
        self.register_buffer("centres", torch.linspace(-LIMIT, LIMIT, num_bins))

    @property
    def sizes(self) -> tuple[int, ...]:
        """One token a point."""
        return (self.num_bins,)

    @property
    def bounds(self) -> tuple[float, float]:
        """The outermost centres."""
        return float(self.centres[0]), float(self.centres[-1])

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Put the centres at evenly spaced quantiles of the sample, mixed with a little of the even grid."""
        ordered = z.to(torch.float64).clamp(-LIMIT, LIMIT).sort().values
        place = (torch.arange(self.num_bins, device=z.device) + 0.5) / self.num_bins * len(ordered) - 0.5
        place = place.to(torch.float64).clamp(0, len(ordered) - 1)
        low, high = ordered[place.floor().long()], ordered[place.ceil().long()]
        quantiles = low + place.frac() * (high - low)
        even = torch.linspace(-LIMIT, LIMIT, self.num_bins, dtype=torch.float64, device=z.device)
        self.centres.copy_((1 - EVEN_SHARE) * quantiles + EVEN_SHARE * even)

    def split(self, z: Tensor) -> Tensor:
        """The nearest centre."""
        centres = self.centres.to(torch.float64)
        edges = (centres[1:] + centres[:-1]) / 2
        return torch.bucketize(z.to(torch.float64).contiguous(), edges).unsqueeze(-1)

    def join(self, classes: Tensor) -> Tensor:
        """The centre."""
        return self.centres.to(torch.float64)[classes[..., 0]]
