"""Overlap between a corpus and held-out sets: windows of 12 values that are equal up to shift and scale.

A window is compared by a hash of its standardised values rounded to two decimals. Windows that look alike without being
copies are left out: those with a missing value, and those with fewer than `MIN_DIFFERENT` different values or changes
from one value to the next (constant ones, straight lines, spikes, small counts). Smooth curves of one family, such as
exponential approaches to a level, still match by chance. Aggregated, revised or coarsely rounded copies, and series
shorter than a window, are not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tsar.training.shards import Shard

WINDOW = 12
"""Values in a window."""

MIN_DIFFERENT = 10
"""Different values, and different changes, that a window needs to be told from others."""

MANY = 3
"""A series with this many matches is hardly a coincidence."""

_CHUNK = 200_000
_MULTIPLIERS = np.random.default_rng(12).integers(1, 2**63, WINDOW, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True)
class Overlap:
    """What one source shares with one held-out set.

    Attributes
    ----------
    windows
        Windows of the source that the held-out set has too.
    series
        Series of the source with such a window.
    suspects
        Ids of the series with `MANY` of them or more.
    """

    windows: int
    series: int
    suspects: tuple[str, ...]


class HeldOutWindows:
    """The windows of the held-out sets, ready to be looked up.

    Parameters
    ----------
    sets
        One shard per held-out set.
    """

    def __init__(self, sets: Iterable[Shard]) -> None:
        self.names: list[str] = []
        hashes = []
        for shard in sets:
            self.names.append(shard.source)
            found = [chunk for _, chunk in _window_hashes(shard)]
            hashes.append(np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64))
        self._hashes = hashes
        self._all = np.unique(np.concatenate(hashes)) if hashes else np.empty(0, dtype=np.uint64)

    def __len__(self) -> int:
        """Return the number of different windows."""
        return len(self._all)

    def overlaps(self, shard: Shard) -> dict[str, Overlap]:
        """Return what `shard` shares with each held-out set; sets without a match are left out."""
        places, hits = [], []
        for place, chunk in _window_hashes(shard):
            known = _contains(self._all, chunk)
            places.append(place[known])
            hits.append(chunk[known])
        if not hits:
            return {}
        series = np.searchsorted(shard.offsets, np.concatenate(places), side="right") - 1
        hashes = np.concatenate(hits)
        found = {}
        for name, own in zip(self.names, self._hashes, strict=True):
            matches = np.bincount(series[_contains(own, hashes)], minlength=len(shard.lengths))
            if matches.any():
                suspects = tuple(shard.item_ids[index] for index in np.flatnonzero(matches >= MANY))
                found[name] = Overlap(int(matches.sum()), int((matches > 0).sum()), suspects)
        return found


def make_overlap_report(shards: Iterable[Shard], held_out: Iterable[Shard]) -> dict[str, object]:
    """Return the overlap of every shard with every held-out set as plain values for JSON.

    Pairs without a match are left out; ``sources`` and ``held_out`` name everything that was compared.
    """
    reference = HeldOutWindows(held_out)
    compared: list[str] = []
    matches: dict[str, Mapping[str, object]] = {}
    for shard in shards:
        compared.append(shard.source)
        found = reference.overlaps(shard)
        if found:
            matches[shard.source] = {
                name: {"windows": one.windows, "series": one.series, "suspects": list(one.suspects)}
                for name, one in found.items()
            }
    return {
        "window": WINDOW,
        "min_different": MIN_DIFFERENT,
        "held_out": reference.names,
        "held_out_windows": len(reference),
        "sources": compared,
        "matches": matches,
    }


def _window_hashes(shard: Shard) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
    """Yield places and hashes of the windows that can be told from others, a chunk at a time."""
    if len(shard.values) < WINDOW:
        return
    windows = sliding_window_view(shard.values, WINDOW)
    series = np.repeat(np.arange(len(shard.lengths)), shard.lengths)
    within = series[: len(windows)] == series[WINDOW - 1 :]
    for start in range(0, len(windows), _CHUNK):
        place = start + np.flatnonzero(within[start : start + _CHUNK])
        rounded, usable = _round(windows[place])
        yield place[usable], _hash(rounded[usable])


def _round(windows: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return standardised windows in hundredths, and which of them can be told from others."""
    centred = windows - windows.mean(1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
    usable = np.isfinite(deviation[:, 0]) & (deviation[:, 0] > 1e-6 * np.abs(windows).max(1))
    scaled = np.where(usable[:, None], centred / np.where(usable[:, None], deviation, 1.0), 0.0)
    rounded = np.rint(100 * scaled).astype(np.int64)
    for numbers in (rounded, np.diff(rounded, axis=1)):
        usable &= (np.diff(np.sort(numbers, axis=1), axis=1) > 0).sum(1) + 1 >= MIN_DIFFERENT
    return rounded, usable


def _hash(rounded: NDArray[np.int64]) -> NDArray[np.uint64]:
    mixed = (rounded.astype(np.uint64) * _MULTIPLIERS).sum(1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray(mixed * _MULTIPLIERS[0])


def _contains(ascending: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(wanted), dtype=bool)
    place = np.searchsorted(ascending, wanted)
    return np.asarray(ascending[np.minimum(place, len(ascending) - 1)] == wanted)
