"""The corpus: real series on a device, sampled as windows at their own rate or aggregated to a slower one.

All series lie end to end as prefix sums, so the mean over any run of k points is one difference of two gathered
numbers: plain windows (k = 1) and aggregated ones (hours to days, months to quarters) share one path without a loop
or a host round trip. Sums over the run would serve no better than means: every window is standardised before use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from tsar.errors import CorpusError
from tsar.freq.resolution import resolution
from tsar.training.forbidden import refuse_forbidden
from tsar.training.manifest import balanced_weights, frequency_class, load_manifest, manifest_weights
from tsar.training.mapped import is_mapped, read_mapped
from tsar.training.pack import read_pack
from tsar.training.shards import Shard, Split, make_shard, on_grid, read_shard, standardize_series

Menu = Mapping[str, Mapping[int, float]]
Weights = Mapping[tuple[str, str], float]

AGGREGATION: Menu = {
    "8ms": {2: 0.2, 4: 0.15},
    "s": {10: 0.15, 60: 0.2},
    "10s": {6: 0.2, 30: 0.15},
    "min": {5: 0.12, 15: 0.12, 60: 0.11},
    "5min": {3: 0.12, 6: 0.08, 12: 0.15},
    "10min": {3: 0.15, 6: 0.2},
    "15min": {2: 0.15, 4: 0.2},
    "30min": {2: 0.35},
    "h": {2: 0.06, 3: 0.05, 4: 0.05, 6: 0.05, 24: 0.11, 168: 0.03},
    "4h": {6: 0.35},
    "D": {7: 0.2, 30: 0.1, 91: 0.05},
    "B": {5: 0.2, 21: 0.1, 63: 0.05},
    "W": {4: 0.13, 13: 0.07},
    "ME": {3: 0.13, 12: 0.07},
    "QE": {4: 0.2},
}
"""Chance of each aggregation factor by frequency (without its anchor); the rest of the chance is no aggregation."""

MIN_WINDOW = 32
"""Points of the (aggregated) series that a window holds at least, if the series has them."""

MIN_AGGREGATED = 24
"""A series is aggregated only if this many points are left."""


@dataclass(frozen=True)
class Corpus:
    """Standardised series of many sources on one device.

    Attributes
    ----------
    source_names
        Names of the sources.
    sums
        (N + 1,) float64; sums[n] is the sum of the first n values, missing ones counted as zero.
    counts
        (N + 1,) int32; counts[n] is how many of the first n values are known.
    offsets
        (S + 1,) int64; series s is values offsets[s] to offsets[s + 1].
    source
        (S,) int64 index into `source_names`.
    freqs
        (S,) pandas aliases, ``""`` where unknown.
    source_weights
        (sources,) float64, the chance of each source.
    draws
        (S,) float64, cumulative chance of each series.
    factors, factor_draws
        (rows, K) aggregation factors and their cumulative chances.
    menu
        (S,) int64, the row of each series in `factors`.
    """

    source_names: tuple[str, ...]
    sums: Tensor
    counts: Tensor
    offsets: Tensor
    source: Tensor
    freqs: tuple[str, ...]
    source_weights: Tensor
    draws: Tensor
    menu: Tensor
    factors: Tensor
    factor_draws: Tensor

    @classmethod
    def from_standardized(
        cls,
        source_names: Sequence[str],
        source: NDArray[np.int64],
        freqs: Sequence[str],
        lengths: NDArray[np.int64],
        values: NDArray[np.float32],
        weights: Weights | None = None,
        *,
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Build a corpus from standardised values.

        Parameters
        ----------
        source_names
            Names of the sources.
        source
            (S,) index into `source_names`, ascending.
        freqs
            (S,) pandas aliases, ``""`` where unknown.
        lengths
            (S,) points of each series; none is empty.
        values
            (N,) series end to end; NaN = missing.
        weights
            (source, class of frequencies) to relative weight; None: `balanced_weights`.
        device
            Where the tensors are kept and windows are made.
        aggregation
            Chance of each factor by frequency; ``{}`` turns aggregation off.

        Raises
        ------
        CorpusError
            ``corpus.missing`` if there is no series, ``corpus.bad_manifest`` as `series_chances`.
        """
        if not len(lengths):
            raise CorpusError("The corpus has no series.", code="corpus.missing")
        known = np.isfinite(values)
        sums, counts = _prefix_sums(on_grid(np.where(known, values, 0))), _prefix_sums(known.astype(np.int32))
        return cls.from_prefix_sums(
            source_names, source, freqs, lengths, sums, counts, weights, device=device, aggregation=aggregation
        )

    @classmethod
    def from_prefix_sums(
        cls,
        source_names: Sequence[str],
        source: NDArray[np.int64],
        freqs: Sequence[str],
        lengths: NDArray[np.int64],
        sums: NDArray[np.float64],
        counts: NDArray[Any],
        weights: Weights | None = None,
        *,
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Build a corpus from prefix sums and counts (N + 1,), perhaps mapped files; else as `from_standardized`."""
        if not len(lengths):
            raise CorpusError("The corpus has no series.", code="corpus.missing")
        names_of_series = [source_names[index] for index in source.tolist()]
        weights = weights or balanced_weights(names_of_series, freqs, lengths)
        chances = series_chances(names_of_series, freqs, lengths, weights)
        factors, factor_chances, menu = _menu_table(freqs, aggregation)
        arrays = {
            "sums": sums,
            "counts": counts,
            "offsets": _prefix_sums(lengths.astype(np.int64)),
            "source": source.astype(np.int64),
            "source_weights": np.bincount(source, chances, len(source_names)),
            "draws": np.cumsum(chances),
            "menu": menu,
            "factors": factors,
            "factor_draws": np.cumsum(factor_chances, 1),
        }
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return cls(source_names=tuple(source_names), freqs=tuple(freqs), **tensors)

    @classmethod
    def from_shards(
        cls,
        shards: Sequence[Shard],
        weights: Weights | None = None,
        *,
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Build a corpus from shards, each series standardised by itself; arguments as in `from_standardized`."""
        if not shards:
            raise CorpusError("The corpus has no shards.", code="corpus.missing")
        return cls.from_standardized(
            [shard.source for shard in shards],
            np.repeat(np.arange(len(shards)), [len(shard.lengths) for shard in shards]),
            [freq for shard in shards for freq in shard.freqs],
            np.concatenate([shard.lengths for shard in shards]),
            np.concatenate([standardize_series(shard.values, shard.lengths) for shard in shards]),
            weights,
            device=device,
            aggregation=aggregation,
        )

    @classmethod
    def from_parquet(
        cls,
        folder: str | Path,
        manifest: str | Path | None = None,
        *,
        split: Split = "train",
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Read a folder of shards.

        Parameters
        ----------
        folder
            Holds one parquet file per source.
        manifest
            Names the sources to read and their weights; None: every parquet file of the folder, with balanced weights.
        split
            ``"train"``, ``"validation"`` (the series held back from training) or ``"all"``.

        Raises
        ------
        CorpusError
            ``corpus.missing`` without folder or shards, ``corpus.bad_shard``, ``corpus.forbidden`` for a source that
            must not be trained on.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CorpusError(f"There is no corpus folder at {folder}.", code="corpus.missing")
        weights = None
        if manifest is None:
            paths = sorted(folder.glob("*.parquet"))
            refuse_forbidden([path.stem for path in paths])
        else:
            sources = load_manifest(manifest).sources
            paths = [folder / source.file for source in sources]
            weights = manifest_weights(sources)
        if not paths:
            raise CorpusError(f"{folder} has no parquet files.", code="corpus.missing")
        shards = [read_shard(path, split) for path in paths]
        return cls.from_shards(shards, weights, device=device, aggregation=aggregation)

    @classmethod
    def from_pack(
        cls,
        path: str | Path,
        *,
        split: Split = "train",
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Read a file that `tsar.training.pack.write_pack` wrote; the weights are in it.

        Raises
        ------
        CorpusError
            As `tsar.training.pack.read_pack`; ``corpus.forbidden`` for a source that must not be trained on.
        """
        pack = read_pack(Path(path), split)
        refuse_forbidden(pack.source_names)
        return cls.from_standardized(
            pack.source_names,
            pack.source,
            pack.freqs,
            pack.lengths,
            pack.values,
            pack.weights,
            device=device,
            aggregation=aggregation,
        )

    @classmethod
    def from_arrays(
        cls,
        series: Iterable[tuple[str, str | None, NDArray[np.floating]]],
        weights: Weights | None = None,
        *,
        device: torch.device | str = "cpu",
        aggregation: Menu = AGGREGATION,
    ) -> Corpus:
        """Build a corpus from ``(source, freq, array)`` triples; ±inf and NaN are missing values, no array is empty."""
        by_source: dict[str, list[tuple[str, NDArray[np.floating]]]] = {}
        for name, freq, array in series:
            by_source.setdefault(name, []).append((freq or "", array))
        shards = [
            make_shard(name, map(str, range(len(rows))), [freq for freq, _ in rows], [one for _, one in rows])
            for name, rows in by_source.items()
        ]
        return cls.from_shards(shards, weights, device=device, aggregation=aggregation)

    @property
    def num_series(self) -> int:
        """Number of series S."""
        return len(self.freqs)

    @property
    def num_points(self) -> int:
        """Number of values N, missing ones included."""
        return self.sums.shape[0] - 1

    def sample(self, rows: int, length: int, generator: Generator) -> Tensor:
        """Draw windows.

        A source and class of frequencies is drawn by its weight, a series of these in proportion to the square root of
        its length, then an aggregation factor, a phase, and the window's end. The end may lie anywhere that leaves the
        window at least `MIN_WINDOW` points (or the whole series, if shorter).

        Parameters
        ----------
        rows, length
            Shape of the result.
        generator
            Lives on the corpus' device; the same state gives the same windows.

        Returns
        -------
        Tensor
            (rows, length) float32, right-aligned; NaN where no value, or fewer than half of an aggregated run, is
            known, and left of the series' start.
        """
        series, dice = self._draw(rows, generator)
        return self._windows(series, dice, length)

    def sample_resolutions(self, rows: int, generator: Generator) -> Tensor:
        """Return the resolution (rows,) int64 of each window that `sample` draws from the same state of a generator.

        See `tsar.freq.resolution`; that of the aggregated series.
        """
        series, dice = self._draw(rows, generator)
        return self._resolutions(series, dice)

    def validation_windows(self, count_per_source: int, length: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the same number of windows from every source that has series.

        Returns
        -------
        tuple of Tensor
            Windows (N, length) as `sample` makes them, and the source and the resolution (N,) int64 of each.
        """
        device = self.sums.device
        generator = Generator(device).manual_seed(seed)
        present = torch.nonzero(self.source_weights > 0).squeeze(1).repeat_interleave(count_per_source)
        dice = torch.rand(4, len(present), generator=generator, device=device, dtype=torch.float64)
        before = self.source_weights.cumsum(0) - self.source_weights
        series = self._series_at(before[present] + dice[0] * self.source_weights[present])
        return self._windows(series, dice[1:], length), self.source[series], self._resolutions(series, dice[1:])

    def _draw(self, rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw series (rows,), and what decides of their windows (3, rows)."""
        dice = torch.rand(4, rows, generator=generator, device=self.sums.device, dtype=torch.float64)
        return self._series_at(dice[0] * self.draws[-1]), dice[1:]

    def _resolutions(self, series: Tensor, dice: Tensor) -> Tensor:
        size = self.offsets[series + 1] - self.offsets[series]
        factors = self._draw_factor(series, size, dice[0]).tolist()
        numbers = [resolution(self.freqs[one], factor) for one, factor in zip(series.tolist(), factors, strict=True)]
        return torch.tensor(numbers, dtype=torch.int64, device=series.device)

    def _series_at(self, place: Tensor) -> Tensor:
        return torch.searchsorted(self.draws, place, right=True).clamp_max(self.num_series - 1)

    def _windows(self, series: Tensor, dice: Tensor, length: int) -> Tensor:
        """Return windows of the given series (rows,); `dice` (3, rows) decides factor, phase and end."""
        start = self.offsets[series]
        size = self.offsets[series + 1] - start
        factor = self._draw_factor(series, size, dice[0])
        phase = torch.minimum((dice[1] * factor).long(), factor - 1)
        points = (size - phase) // factor
        least = points.clamp_max(MIN_WINDOW)
        end = torch.minimum(least + (dice[2] * (points - least + 1)).long(), points)
        edge = end[:, None] - torch.arange(length, -1, -1, device=end.device)
        edge = (start + phase)[:, None] + edge.clamp_min(0) * factor[:, None]
        total = self.sums[edge].diff(dim=1)
        known = self.counts[edge].diff(dim=1)
        enough = (known > 0) & (2 * known >= factor[:, None])
        return torch.where(enough, total / known, torch.nan).float()

    def _draw_factor(self, series: Tensor, size: Tensor, dice: Tensor) -> Tensor:
        row = self.menu[series]
        choice = (self.factor_draws[row] <= dice[:, None]).sum(1).clamp_max(self.factors.shape[1] - 1)
        factor = self.factors[row, choice]
        return torch.where(size // factor >= MIN_AGGREGATED, factor, 1)


def load_corpus(path: str | Path, *, split: Split = "train", device: torch.device | str = "cpu") -> Corpus:
    """Load a folder of parquet shards, with the ``manifest.json`` in it if there is one, or a packed corpus (a file).

    A folder that `tsar.training.mapped.write_mapped` wrote stays on the disk, and what windows need is read from there.

    Raises
    ------
    CorpusError
        ``corpus.missing`` if there is nothing at `path`; else as `Corpus.from_parquet` and `tsar.training.pack`.
    """
    path = Path(path)
    if is_mapped(path):
        mapped = read_mapped(path, split)
        return Corpus.from_prefix_sums(*mapped.arrays, mapped.weights, device=device)
    if path.is_dir():
        manifest = path / "manifest.json"
        return Corpus.from_parquet(path, manifest if manifest.is_file() else None, split=split, device=device)
    if path.is_file():
        return Corpus.from_pack(path, split=split, device=device)
    raise CorpusError(
        f"There is no corpus at {path}.",
        code="corpus.missing",
        hint="Set corpus to a folder of parquet shards or a packed corpus, or to null to train on synthetic series.",
    )


def series_chances(
    sources: Sequence[str], freqs: Sequence[str], lengths: NDArray[np.int64], weights: Weights
) -> NDArray[np.float64]:
    """Return the chance of each series (S,): its group's weight, shared by the square roots of the lengths.

    Raises
    ------
    CorpusError
        ``corpus.bad_manifest`` if a series has no weight, or all weights are zero.
    """
    groups = [(source, frequency_class(freq)) for source, freq in zip(sources, freqs, strict=True)]
    unknown = sorted(set(groups) - set(weights))
    if unknown:
        raise CorpusError(
            "Series of these sources and classes of frequencies have no weight.",
            code="corpus.bad_manifest",
            item_ids=["/".join(group) for group in unknown],
        )
    place = {group: row for row, group in enumerate(weights)}
    row = np.array([place[group] for group in groups])
    root = np.sqrt(lengths)
    chances = np.array(list(weights.values()))[row] * root / np.bincount(row, root)[row]
    if not chances.sum() > 0:
        raise CorpusError("No series of the corpus has a weight above zero.", code="corpus.bad_manifest")
    return np.asarray(chances / chances.sum())


def _prefix_sums(values: NDArray[Any]) -> NDArray[Any]:
    out = np.zeros(len(values) + 1, dtype=values.dtype)
    np.cumsum(values, out=out[1:])
    return out


def _menu_table(
    freqs: Sequence[str], aggregation: Menu
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return factors and chances (frequencies + 1, K), padded with factor 1, and the row of each series (S,)."""
    width = 1 + max((len(menu) for menu in aggregation.values()), default=0)
    factors = np.ones((len(aggregation) + 1, width), dtype=np.int64)
    chances = np.zeros((len(aggregation) + 1, width))
    for row, menu in enumerate(aggregation.values()):
        factors[row, 1 : 1 + len(menu)] = list(menu)
        chances[row, 1 : 1 + len(menu)] = list(menu.values())
    chances[:, 0] = 1 - chances.sum(1)
    row_of = {name: row for row, name in enumerate(aggregation)}
    return factors, chances, np.array([row_of.get(_menu_name(freq), len(aggregation)) for freq in freqs])


def _menu_name(freq: str) -> str:
    """Return the alias without its anchor and counted from the period's end: ``"QS-OCT"`` is ``"QE"``."""
    base = freq.split("-")[0]
    return {"MS": "ME", "QS": "QE", "YS": "YE"}.get(base, base)
