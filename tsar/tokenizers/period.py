"""The period of a window, computed rather than learned, and where each token stands in it.

The period is the first high peak of the autocorrelation of what is observed, after a linear trend is taken off. Giving
it to a small model as coordinates follows TinyCast (2026), which takes it from a periodogram; the
autocorrelation does not split a sharp profile among harmonics. Its peaks at the multiples make it precise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tsar.scaling import first_observed_index

NUM_FEATURES = 8
LEAST_PERIODS = 2.5
"""A period must be seen this many times."""

LEAST_STRENGTH = 0.1
"""Smallest autocorrelation at the period."""

HIGH_PEAK = 0.9
"""The first peak of at least this share of the highest one is the period; the others are its multiples."""

HILL = 0.2
"""How far from the first high peak, as a share of its lag, the top is looked for."""

DIP = 0.5
"""Peaks count after the autocorrelation has once fallen below this share of the highest one."""

LEAST_REST = 1e-6
"""What a straight line leaves of the deviations must be more than this share of them: less is rounding."""

LEVEL_ROUNDING = 4.0
"""And more than this many units in the last place of the largest value."""

LEAST_PAIRS = 8
DOUBLINGS = 5
SEARCH = 3
"""How far around a doubled period its peak is looked for, in points."""


@dataclass(frozen=True)
class Period:
    """The period of each window of a batch.

    Attributes
    ----------
    length
        (B,) in points, not always whole; 0 where there is none.
    strength
        (B,) autocorrelation at it, 0 … 1.
    origin
        (B,) index of the first observed point, from which phases count.
    """

    length: Tensor
    strength: Tensor
    origin: Tensor

    def at(self, rows: Tensor) -> Period:
        """Return the periods of some windows."""
        return Period(self.length[rows], self.strength[rows], self.origin[rows])


@torch.no_grad()
def find_period(values: Tensor, observed: Tensor) -> Period:
    """Find the period of each window.

    Parameters
    ----------
    values
        (B, N); what is not observed is ignored.
    observed
        (B, N) bool.

    Notes
    -----
    Unit, origin, sign and a linear trend of the values do not matter, and neither does padding.
    """
    size = values.shape[1]
    seen = observed.to(values.dtype)
    count = seen.sum(1, keepdim=True)
    filled = torch.where(observed, values, 0.0)
    largest = filled.abs().amax(1, keepdim=True)
    centred, rest = _without_trend(filled / torch.where(largest > 0, largest, 1.0), seen, count.clamp_min(1))
    size_of_rest = rest.square().sum(1, keepdim=True).sqrt()
    rounding = LEVEL_ROUNDING * torch.finfo(values.dtype).eps * count.sqrt()  # of the level, which is at most 1 here
    varies = size_of_rest > torch.maximum(rounding, LEAST_REST * centred.square().sum(1, keepdim=True).sqrt())
    rest = (rest / torch.where(varies, size_of_rest, 1.0)).float()
    seen, count = seen.float(), count.float()
    pairs = _autocorrelation(seen).round()
    correlation = _autocorrelation(rest) * count / pairs.clamp_min(LEAST_PAIRS)
    lag = torch.arange(size, device=values.device)
    usable = (lag * LEAST_PERIODS <= count) & (pairs >= LEAST_PAIRS) & varies
    usable[:, 2:-1] &= (correlation[:, 2:-1] > correlation[:, 1:-2]) & (correlation[:, 2:-1] >= correlation[:, 3:])
    usable[:, :2] = False
    usable[:, -1:] = False
    highest = torch.where(usable, correlation, -1.0).amax(1, keepdim=True)
    usable &= (correlation < DIP * highest).cummax(1).values  # smooth series have ripples on the first slope
    peaks = torch.where(usable, correlation, -1.0)
    highest = peaks.amax(1, keepdim=True)
    high = usable & (peaks >= HIGH_PEAK * highest) & (highest > LEAST_STRENGTH)
    first = first_observed_index(high, keepdim=True)
    near = usable & ((lag - first).abs() <= HILL * first)  # the top of the hill that the first high peak stands on
    top = torch.where(near, correlation, -1.0).argmax(1)
    length = torch.where(high.any(1), top, 0)
    strength = torch.where(length > 0, correlation.gather(1, length[:, None])[:, 0].clamp(0, 1), 0.0)
    length = _refine(length.float(), correlation, pairs >= count / 4)
    return Period(length, strength, first_observed_index(observed))


def period_features(period: Period, num_tokens: int, patch_length: int) -> Tensor:
    """Eight numbers for each token (B, T, 8): phase at its end with one harmonic, step of the phase, period, strength.

    All are zero where there is no period; phases are weighted by its strength.
    """
    length = period.length.clamp_min(1).float()[:, None]
    strength = period.strength[:, None]
    end = torch.arange(1, num_tokens + 1, device=length.device) * patch_length
    angle = 2 * torch.pi * ((end - period.origin[:, None]).float() % length) / length
    step = 2 * torch.pi * (patch_length % length) / length
    columns = [
        angle.sin() * strength, angle.cos() * strength, (2 * angle).sin() * strength, (2 * angle).cos() * strength,
        step.sin() * strength, step.cos() * strength, length.log() / 3, strength,
    ]  # fmt: skip
    features = torch.stack([column.expand(-1, num_tokens) for column in columns], -1)
    return torch.where((period.length > 0)[:, None, None], features, 0.0)


def _refine(length: Tensor, correlation: Tensor, usable: Tensor) -> Tensor:
    """Read the period (B,) off its 2nd, 4th, 8th, … multiple, where an error of a point is divided by as many."""
    multiple = torch.ones_like(length)
    around = torch.arange(-SEARCH, SEARCH + 1, device=length.device)
    for _ in range(DOUBLINGS):
        lags = (2 * multiple * length).round().long()[:, None] + around
        inside = (lags >= 1) & (lags < correlation.shape[1]) & (length[:, None] > 2 * SEARCH / (2 * multiple[:, None]))
        place = lags.clamp(0, correlation.shape[1] - 1)
        inside &= usable.gather(1, place)
        peaks = torch.where(inside, correlation.gather(1, place), -1.0)
        best = peaks.argmax(1, keepdim=True)
        known = inside.all(1) & (length > 0)
        multiple = torch.where(known, 2 * multiple, multiple)
        length = torch.where(known, lags.gather(1, best)[:, 0] / multiple, length)
    return length


def _without_trend(filled: Tensor, seen: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals (B, N) of the mean and of a straight line through what is observed, 0 elsewhere."""
    time = torch.linspace(-1, 1, filled.shape[1], device=filled.device, dtype=filled.dtype)
    mean = filled.sum(1, keepdim=True) / count
    centred = (filled - mean) * seen
    offset = (time - (time * seen).sum(1, keepdim=True) / count) * seen
    slope = (centred * offset).sum(1, keepdim=True) / offset.square().sum(1, keepdim=True).clamp_min(1e-12)
    return centred, centred - slope * offset


def _autocorrelation(series: Tensor) -> Tensor:
    """Sums of products at every lag (B, N), by FFT."""
    spectrum = torch.fft.rfft(series, 2 * series.shape[1])
    sums: Tensor = torch.fft.irfft(spectrum.abs().square())[:, : series.shape[1]]
    return sums
