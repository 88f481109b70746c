"""Training windows from a user's own series: from any place, short series counting for more than their points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor

from tsar.training.augment import standardize
from tsar.training.objectives import MIN_HISTORY
from tsar.types import FloatArray, IntArray

TEMPER = 0.5
"""A series is drawn in proportion to its length to this power."""


@dataclass(frozen=True, eq=False)
class OwnWindows:
    """Draws windows of ``context_length + output_length`` points from a panel.

    Attributes
    ----------
    values
        (N,) float32, centred and scaled series by series so that single precision keeps their digits.
    offsets
        (I + 1,) where each begins.
    chance
        (I,) how often each is drawn; series that hold no lesson never are.
    context_length, output_length
        Points of a window that are read and that are only predicted.
    reach
        How many of the last ones count: a window may end where only these are known.
    """

    values: Tensor
    offsets: Tensor
    chance: Tensor
    context_length: int
    output_length: int
    reach: int

    @classmethod
    def make(
        cls, values: FloatArray, offsets: IntArray, *, context_length: int, output_length: int, reach: int
    ) -> OwnWindows:
        """Prepare a panel; `context_length` is a multiple of the patch length."""
        scaled = np.full(len(values), np.nan, dtype=np.float32)
        chance = np.zeros(len(offsets) - 1)
        for item, (start, end) in enumerate(pairwise(offsets)):
            series = values[start:end]
            seen = np.isfinite(series)
            if seen.sum() > MIN_HISTORY and np.ptp(series[seen]) > 0:
                middle = np.median(series[seen])
                spread = np.abs(
                    series[seen] / 2 - middle / 2
                ).max()  # halves: the difference of two large ones is finite
                scaled[start:end] = (series / 2 - middle / 2) / spread
                chance[item] = float(seen.sum()) ** TEMPER
        return cls(
            torch.from_numpy(scaled), torch.from_numpy(np.asarray(offsets)), torch.from_numpy(chance),
            context_length, output_length, reach,
        )  # fmt: skip

    @property
    def num_usable(self) -> int:
        """Number of series that windows are drawn from."""
        return int((self.chance > 0).sum())

    def draw(self, rows: int, generator: Generator) -> Tensor:
        """Return windows (rows, L + output_length), standardised; NaN where nothing is known."""
        item = torch.multinomial(self.chance, rows, replacement=True, generator=generator)
        start, end = self.offsets[item], self.offsets[item + 1]
        ahead = self.output_length - self.reach
        first_end = torch.minimum(start + self.reach + MIN_HISTORY, end)
        room = end - first_end + 1
        stop = first_end + (torch.rand(rows, generator=generator, dtype=torch.float64) * room).long() + ahead
        place = stop[:, None] + torch.arange(-self.context_length - self.output_length, 0)
        inside = (place >= start[:, None]) & (place < end[:, None])
        windows = torch.where(inside, self.values[place.clamp(0, len(self.values) - 1)], torch.nan)
        return standardize(windows)
