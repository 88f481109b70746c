"""Random draws for a block of rows, always from the given generator, never with a round trip to the host."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Generator, Tensor

Kind = Callable[..., Tensor]
"""Makes some rows: ``(dice, *columns) -> (rows, …)``."""

PACK = 4
"""Fewest rows that a kind of a blend gets, if any: small blocks hold fewer kinds, rather than many of a row each."""


@dataclass(frozen=True)
class Dice:
    """The rows, the length and the source of chance of the series being made.

    Every draw has one line for each row and `width` columns: 1 for a parameter, `length` for a value at every time.

    Attributes
    ----------
    rows, length
        Shape of the series.
    generator
        Where all tensors come from, and on which device they live.
    host
        Decides how many rows each kind of a blend gets; seeded like `generator`, so that shapes are known without
        asking the device.
    """

    rows: int
    length: int
    generator: Generator
    host: random.Random

    @classmethod
    def of(cls, rows: int, length: int, generator: Generator) -> Dice:
        """Return the dice of a block."""
        return cls(rows, length, generator, random.Random(generator.initial_seed()))

    @property
    def device(self) -> torch.device:
        """Where the series are made."""
        return self.generator.device

    @cached_property
    def time(self) -> Tensor:
        """0, 1, …, length - 1 as floats, (length,)."""
        return torch.arange(self.length, device=self.device, dtype=torch.float32)

    def uniform(self, low: float = 0.0, high: float = 1.0, width: int = 1) -> Tensor:
        """Uniform in [low, high), (rows, width)."""
        return torch.empty(self.rows, width, device=self.device).uniform_(low, high, generator=self.generator)

    def log_uniform(self, low: float, high: float, width: int = 1) -> Tensor:
        """Uniform in the logarithm between `low` and `high`, or `low` where that is above, (rows, width)."""
        return self.uniform(math.log(low), math.log(max(low, high)), width).exp_()

    def normal(self, width: int = 1) -> Tensor:
        """Standard normal, (rows, width)."""
        return torch.randn(self.rows, width, generator=self.generator, device=self.device)

    def coin(self, probability: float | Tensor, width: int = 1) -> Tensor:
        """True with the given probability, (rows, width) bool."""
        return self.uniform(width=width) < probability

    def sign(self, probability: float = 0.5) -> Tensor:
        """1 with the given probability, else -1, (rows, 1)."""
        return self.coin(probability).float() * 2 - 1

    def some(self, probability: float, low: float, high: float) -> Tensor:
        """Log-uniform size of a part that only some rows have, 0 for the others, (rows, 1)."""
        return self.log_uniform(low, high) * self.coin(probability)

    def pick(self, values: Sequence[float], weights: Sequence[float] | None = None) -> Tensor:
        """One of the values for each row, (rows, 1); at equal chances, or by weights."""
        return self.constant(values)[self.place(weights or [1.0] * len(values))]

    def place(self, weights: Sequence[float]) -> Tensor:
        """Index of one of the weights for each row, (rows, 1) int64, by chances in proportion to them."""
        total = sum(weights)
        edges = self.constant([part / total for part in accumulate(weights)][:-1])
        return torch.searchsorted(edges, self.uniform(), right=True)

    def constant(self, values: Sequence[float]) -> Tensor:
        """A fixed table on the device; it travels there once."""
        return _constant(tuple(values), self.device)

    def times(self, many: int) -> Dice:
        """Return dice for `many` times the rows: several parts of each row are cheaper made together."""
        return self._of_rows(many * self.rows)

    def blend(self, kinds: Sequence[tuple[float, Kind]], *columns: Tensor) -> Tensor:
        """Make each row by one of several kinds.

        Only the rows of a kind are made by it, so that variety costs little. How many those are follows the weights,
        in packs of `PACK` rows or more; which ones is random.

        Parameters
        ----------
        kinds
            Pairs of weight and function ``(dice, *columns) -> (rows, …)``.
        columns
            (rows, …) tensors of which each kind gets its rows.
        """
        shares = self._deal([weight for weight, _ in kinds])
        if max(shares) == self.rows:
            return kinds[shares.index(self.rows)][1](self, *columns)
        order = self.uniform()[:, 0].argsort()
        dealt = [torch.split(column.index_select(0, order), shares) for column in columns]
        parts = [
            make(self._of_rows(share), *(column[place] for column in dealt))
            for place, ((_, make), share) in enumerate(zip(kinds, shares, strict=True))
            if share
        ]
        return torch.cat(parts).index_select(0, order.argsort())

    def _deal(self, weights: Sequence[float]) -> list[int]:
        """Rows of each kind: systematic sampling, so that the expected shares are the weights'."""
        packs, offset = max(self.rows // PACK, 1), self.host.random()
        total = sum(weights)
        reached = [min(int(part / total * packs + offset + 1e-9), packs) for part in accumulate(weights)]
        edges = [0, *(many * self.rows // packs for many in reached)]
        return [end - begin for begin, end in pairwise(edges)]

    def _of_rows(self, rows: int) -> Dice:
        return Dice(rows, self.length, self.generator, self.host)

    def maybe(self, probability: float, change: Kind, series: Tensor, *columns: Tensor) -> Tensor:
        """Change a share of the rows by ``change(dice, series, *columns)``."""
        kinds = ((probability, change), (1 - probability, keep))
        return self.blend(kinds, series, *columns)


@lru_cache(maxsize=256)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


def keep(dice: Dice, series: Tensor, *columns: Tensor) -> Tensor:
    """Return the series as they are."""
    return series


def standardize(series: Tensor) -> Tensor:
    """Centre and scale each row to mean 0 and deviation 1; a constant row becomes 0."""
    centred = series - series.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True).sqrt() + 1e-6)


def bounded(series: Tensor, reach: float | Tensor) -> Tensor:
    """Shrink rows that go farther than `reach` from 0, so that their exponential stays in range."""
    return series * (reach / series.abs().amax(-1, keepdim=True).clamp_min(1e-6)).clamp_max(1.0)
