"""Simulated event sequences of several kinds, exact and seeded: to learn from, and to check forecasts against.

A process is a frozen dataclass; `draw` gives the times in (0, duration] and the types of one sequence. What an item has
of its own (its rate, its regimes) is drawn anew with each sequence and never told to a forecaster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tsar.types import FloatArray, IntArray

Sequence = tuple[FloatArray, IntArray]
"""Ascending times and types (N,)."""


class Process(Protocol):
    """A law of event sequences."""

    @property
    def num_types(self) -> int:
        """Types V; they are 0 to V - 1."""

    def draw(self, random: np.random.Generator, duration: float) -> Sequence:
        """One sequence in (0, duration]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hawkes:
    """Events that call for more events (Hawkes, 1971), by thinning (Ogata, 1981).

    Attributes
    ----------
    base : (V,)
        Rates without history.
    jumps : (V, V)
        ``jumps[k, j]``: by how much an event j lifts the rate of k.
    decay
        Rate at which the lift fades.
    spread
        Items differ: each has its base rates times a gamma variable of mean 1 and this deviation; 0: all alike.
    quiet, stay
        On-off modulation: the base rate is multiplied by `quiet` in every other regime, and regimes last `stay` on
        average; ``quiet=1``: none.
    """

    base: FloatArray
    jumps: FloatArray
    decay: float
    spread: float = 0.0
    quiet: float = 1.0
    stay: float = 1.0

    @property
    def num_types(self) -> int:
        """Types V."""
        return len(self.base)

    def draw(self, random: np.random.Generator, duration: float) -> Sequence:
        """One sequence in (0, duration]."""
        base = self.base * _level(random, self.spread)
        is_on = bool(random.random() < 0.5)
        switch = random.exponential(self.stay) if self.quiet != 1 else np.inf
        excited, now = np.zeros(self.num_types), 0.0
        times: list[float] = []
        codes: list[int] = []
        while True:
            current = base if is_on else base * self.quiet
            bound = (current + excited).sum()
            gap = random.exponential(1 / bound)
            end = min(switch, duration)
            if now + gap > end:
                excited = excited * np.exp(-self.decay * (end - now))
                now = end
                if now >= duration:
                    return np.array(times), np.array(codes, dtype=np.int64)
                is_on, switch = not is_on, now + random.exponential(self.stay)
                continue
            now += gap
            excited = excited * np.exp(-self.decay * gap)
            code = int(np.searchsorted((current + excited).cumsum(), random.random() * bound))
            if code < self.num_types:
                times.append(now)
                codes.append(code)
                excited = excited + self.jumps[:, code]


@dataclass(frozen=True, kw_only=True, eq=False)
class SelfCorrecting:
    """Each type keeps to a schedule: its rate grows with time and falls with each event (Isham and Westcott, 1979).

    Attributes
    ----------
    drift : (V,)
        Growth of the logarithm of the rate.
    pull : (V,)
        By how much an event lowers it; ``drift / pull`` events come in a unit of time.
    spread
        Items differ in their drift, as in `Hawkes`.
    """

    drift: FloatArray
    pull: FloatArray
    spread: float = 0.0

    @property
    def num_types(self) -> int:
        """Types V."""
        return len(self.drift)

    def draw(self, random: np.random.Generator, duration: float) -> Sequence:
        """One sequence in (0, duration]."""
        drift = self.drift * _level(random, self.spread)
        parts = [self._draw_type(random, duration, *one) for one in zip(drift, self.pull, strict=True)]
        return merge(parts)

    @staticmethod
    def _draw_type(random: np.random.Generator, duration: float, drift: float, pull: float) -> FloatArray:
        now, level = 0.0, np.log(drift / pull) - pull * random.random()
        times: list[float] = []
        while True:
            gap = np.log1p(random.exponential() * drift * np.exp(-level)) / drift
            now += gap
            if now > duration:
                return np.array(times)
            times.append(now)
            level += drift * gap - pull


@dataclass(frozen=True, kw_only=True, eq=False)
class Renewal:
    """Gamma gaps whose mean wanders slowly, and types that follow one another by a Markov chain.

    Attributes
    ----------
    mean
        Mean gap.
    shape
        Of the gamma law: above 1 more even than a Poisson process, below 1 in bursts.
    chain : (V, V)
        ``chain[j, k]``: probability that k follows j.
    memory, swing
        The logarithm of the mean is a stationary first-order autoregression, event by event: its coefficient, and its
        deviation.
    spread
        Items differ in their mean gap, as in `Hawkes`.
    """

    mean: float
    shape: float
    chain: FloatArray
    memory: float = 0.0
    swing: float = 0.0
    spread: float = 0.0

    @property
    def num_types(self) -> int:
        """Types V."""
        return len(self.chain)

    def draw(self, random: np.random.Generator, duration: float) -> Sequence:
        """One sequence in (0, duration]."""
        mean = self.mean / _level(random, self.spread)
        level, code = self.swing * random.normal(), int(random.integers(self.num_types))
        now = 0.0
        times: list[float] = []
        codes: list[int] = []
        while True:
            now += random.gamma(self.shape) / self.shape * mean * np.exp(level)
            if now > duration:
                return np.array(times), np.array(codes, dtype=np.int64)
            code = int(np.searchsorted(self.chain[code].cumsum(), random.random() * self.chain[code].sum()))
            times.append(now)
            codes.append(code)
            level = self.memory * level + np.sqrt(1 - self.memory**2) * self.swing * random.normal()


def merge(parts: list[FloatArray]) -> Sequence:
    """One sequence of the times of each type."""
    times = np.concatenate(parts)
    codes = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.argsort(times, kind="stable")
    return times[order], codes[order].astype(np.int64)


def _level(random: np.random.Generator, spread: float) -> float:
    """Gamma variable of mean 1 and deviation `spread`."""
    return float(random.gamma(spread**-2) * spread**2) if spread else 1.0


def draw_hawkes(random: np.random.Generator, num_types: int) -> Hawkes:
    """Any Hawkes process that stays finite: an event calls for 0 to 0.8 others on average."""
    decay = float(np.exp(random.uniform(-1.0, 1.0)))
    jumps = random.exponential(size=(num_types, num_types)) * (random.random((num_types, num_types)) < 0.6)
    radius = max(np.abs(np.linalg.eigvals(jumps)).max(), 1e-3)
    jumps = jumps * (decay * random.uniform(0.0, 0.8) / radius)
    return Hawkes(
        base=random.gamma(1.0, 0.5, num_types) + 0.02, jumps=jumps, decay=decay, spread=random.uniform(0, 0.6)
    )


def draw_switching(random: np.random.Generator, num_types: int) -> Hawkes:
    """A Hawkes process with quiet and busy regimes."""
    plain = draw_hawkes(random, num_types)
    quiet, stay = float(random.uniform(0.05, 0.4)), float(np.exp(random.uniform(2.0, 4.0)))
    return Hawkes(base=plain.base * 2, jumps=plain.jumps / 2, decay=plain.decay, quiet=quiet, stay=stay)


def draw_self_correcting(random: np.random.Generator, num_types: int) -> SelfCorrecting:
    """Types that keep to schedules, looser or stricter."""
    pull = np.exp(random.uniform(-1.5, 1.0, num_types))
    drift = pull * (random.gamma(1.5, 0.3, num_types) + 0.05)
    return SelfCorrecting(drift=drift, pull=pull, spread=random.uniform(0, 0.5))


def draw_renewal(random: np.random.Generator, num_types: int) -> Renewal:
    """Gaps bursty to even, types in any order."""
    return Renewal(
        mean=1.0, shape=float(np.exp(random.uniform(-0.7, 1.5))),
        chain=random.dirichlet(np.full(num_types, 0.7), num_types), memory=float(random.uniform(0.5, 0.98)),
        swing=float(random.uniform(0, 0.7)), spread=random.uniform(0, 0.6),
    )  # fmt: skip


KINDS: dict[str, Callable[[np.random.Generator, int], Process]] = {
    "hawkes": draw_hawkes,
    "switching": draw_switching,
    "self_correcting": draw_self_correcting,
    "renewal": draw_renewal,
}
"""Laws of processes, by name: a random process of at most so many types."""
