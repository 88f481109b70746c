"""Several ids a point: a coarse place and a fine one, or the sign, the power of ten and the digits of a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tsar.tokenizers.quantize import LIMIT
from tsar.tokenizers.vocabulary import VocabularyTokenizer

LEAST_POWER, MOST_POWER = -3, 2
MANTISSA = 3


class TwoLevel(VocabularyTokenizer):
    """A coarse bin of [-15, 15], then a fine one within it: 64 x 64 values from 128 classes.

    `num_bins` is rounded up to a square.
    """

    @property
    def side(self) -> int:
        """Classes of either token."""
        return math.isqrt(self.num_bins - 1) + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Coarse, fine."""
        return self.side, self.side

    @property
    def bounds(self) -> tuple[float, float]:
        """The outermost values."""
        return -LIMIT, LIMIT

    def split(self, z: Tensor) -> Tensor:
        """The nearest of all values, as its coarse and its fine place."""
        last = self.side**2 - 1
        place = torch.round((z.to(torch.float64) + LIMIT) * (last / (2 * LIMIT))).clamp(0, last).long()
        return torch.stack([place // self.side, place % self.side], -1)

    def join(self, classes: Tensor) -> Tensor:
        """The value at this place."""
        place = classes[..., 0] * self.side + classes[..., 1]
        return place.to(torch.float64) * (2 * LIMIT / (self.side**2 - 1)) - LIMIT


class Digits(VocabularyTokenizer):
    """Sign, power of ten and three digits: ``- 10^1 * 2.04``; the error is relative, from 0.00001 to 999 scales.

    The power comes before the digits, so that what is said first matters most. Zero is written with the least power.
    """

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sign, power, digits."""
        return (2, MOST_POWER - LEAST_POWER + 1, *[10] * MANTISSA)

    @property
    def bounds(self) -> tuple[float, float]:
        """The outermost values."""
        largest = 10.0 ** (MOST_POWER + 1) - 10.0 ** (MOST_POWER + 1 - MANTISSA)
        return -largest, largest

    def split(self, z: Tensor) -> Tensor:
        """The nearest number of that many digits."""
        size = z.to(torch.float64).abs().clamp_max(self.bounds[1])
        power = torch.floor(torch.log10(size.clamp_min(10.0**LEAST_POWER))).long().clamp(LEAST_POWER, MOST_POWER)
        whole = torch.round(size / _steps(z.device)[power - LEAST_POWER]).long()
        carried = whole >= 10**MANTISSA  # 9.996 is 1.00 of the next power
        power, whole = power + carried, torch.where(carried, 10 ** (MANTISSA - 1), whole)
        digits = [whole // 10 ** (MANTISSA - 1 - place) % 10 for place in range(MANTISSA)]
        return torch.stack([(z < 0).long(), power - LEAST_POWER, *digits], -1)

    def join(self, classes: Tensor) -> Tensor:
        """The number."""
        weights = torch.tensor([10 ** (MANTISSA - 1 - place) for place in range(MANTISSA)], device=classes.device)
        whole = (classes[..., 2:] * weights).sum(-1).to(torch.float64)
        return whole * _steps(classes.device)[classes[..., 1]] * torch.where(classes[..., 0] > 0, -1.0, 1.0)


def _steps(device: torch.device) -> Tensor:
    """What the last digit is worth, for each power."""
    powers = range(LEAST_POWER - (MANTISSA - 1), MOST_POWER - (MANTISSA - 1) + 1)
    return torch.tensor([10.0**power for power in powers], dtype=torch.float64, device=device)
