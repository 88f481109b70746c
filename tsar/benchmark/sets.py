"""Evaluation sets: series cut into a past, which a forecaster sees, and the actual values that it is scored on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from tsar.errors import BenchmarkError, FrequencyError
from tsar.freq import make_grid
from tsar.types import FloatArray, IntArray, ObjectArray

Dates: TypeAlias = np.ndarray[Any, np.dtype[np.datetime64]]

START_OF_UNDATED = "1900-01-01"
KEPT_OF_UNDATABLE = 300
"""Last values that are kept of a series whose stamps leave the years 1678 to 2261 of nanosecond date-times."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationSet:
    """Series with a known ending. A series that is forecast from several places is in it several times.

    Attributes
    ----------
    name : str
        What the scores call it.
    item_ids : (I,) object
        Need not differ, so that windows of one series can share one.
    starts : (I,) datetime64[ms]
        First stamp of each past; NaT where nobody knows. It need not be a date of the frequency.
    freqs : tuple of str or None
        Pandas alias of each series; None where nobody knows.
    pasts : tuple of (N,) float64
        What the forecaster sees; NaN where missing, at least one value long.
    actual : (I, F) float64
        What came next; NaN where missing, which no score counts.
    seasonality : int
        Lag of the seasonal naive forecast and of the scale of MASE.
    groups : (I,) int64
        Scores are means over groups. By default all series are one group (as GluonTS pools them); fev averages over
        windows and targets, so `from_fev` numbers these.

    Raises
    ------
    BenchmarkError
        ``benchmark.bad_set`` for a set without series or without any actual value, for infinite values, and for parts
        that do not fit together; ``benchmark.short_series`` for a series without a past.
    """

    name: str
    item_ids: ObjectArray
    starts: Dates
    freqs: tuple[str | None, ...]
    pasts: tuple[FloatArray, ...]
    actual: FloatArray
    seasonality: int
    groups: IntArray = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.groups):
            object.__setattr__(self, "groups", np.zeros(len(self.pasts), np.int64))
        self._validate()

    @property
    def num_items(self) -> int:
        """Number of series I, windows counted one by one."""
        return len(self.pasts)

    @property
    def prediction_length(self) -> int:
        """Number of actual values F of each series."""
        return int(self.actual.shape[1])

    def sample(self, limit: int | None, seed: int = 0) -> EvaluationSet:
        """Return at most `limit` of the series, drawn with a seed, in their order; None: all."""
        if limit is None or self.num_items <= limit:
            return self
        rows = np.sort(pd.Series(np.arange(self.num_items)).sample(limit, random_state=seed).to_numpy())
        return replace(
            self,
            item_ids=self.item_ids[rows],
            starts=self.starts[rows],
            freqs=tuple(self.freqs[row] for row in rows),
            pasts=tuple(self.pasts[row] for row in rows),
            actual=self.actual[rows],
            groups=self.groups[rows],
        )

    def fingerprint(self) -> str:
        """Return a hash of all that a forecast can depend on, so that stored forecasts are found again."""
        shape = (self.prediction_length, self.seasonality, [len(past) for past in self.pasts])
        digest = hashlib.sha256(repr(shape).encode())
        for past in self.pasts:
            digest.update(np.ascontiguousarray(past).tobytes())
        return digest.hexdigest()

    def history_frames(self) -> Iterator[tuple[IntArray, str | None, pd.DataFrame]]:
        """Yield the pasts as long frames, one for each frequency, since a forecaster takes one at a time.

        Yields
        ------
        rows : (J,) int64
            Which series are in the frame.
        freq : str or None
            None if it is unknown; stamps are integers then.
        frame : pandas.DataFrame
            ``item_id`` (the row, for ids need not differ), ``timestamp`` and ``target``, series one after the other.
            Series without a start begin in 1900. Of those that leave the years of nanosecond stamps (long yearly ones)
            the last 300 values are kept.
        """
        for freq, rows in _rows_by_freq(self.freqs).items():
            pasts = [self.pasts[row] for row in rows]
            yield rows, freq, _make_frame(rows, pasts, self.starts[rows], freq)

    def _validate(self) -> None:
        num = len(self.pasts)
        if num == 0:
            raise self._error("has no series")
        sizes = {len(self.item_ids), len(self.starts), len(self.freqs), len(self.actual), len(self.groups)}
        if sizes != {num} or self.actual.ndim != 2:
            raise self._error("has parts of different length")
        if self.prediction_length < 1 or self.seasonality < 1:
            raise self._error("needs a prediction_length and a seasonality of at least 1")
        empty = [row for row, past in enumerate(self.pasts) if not len(past)]
        if empty:
            raise short_series(self.name, self.item_ids[empty].tolist(), self.prediction_length)
        both = enumerate(zip(self.pasts, self.actual, strict=True))
        infinite = [row for row, parts in both if any(np.isinf(part).any() for part in parts)]
        if infinite:
            raise self._error("has infinite values", self.item_ids[infinite].tolist())
        if not np.isfinite(self.actual).any():
            raise self._error("has no actual value that could be scored")

    def _error(self, problem: str, item_ids: Sequence[Any] = ()) -> BenchmarkError:
        return BenchmarkError(f"The set {self.name} {problem}.", code="benchmark.bad_set", item_ids=item_ids)


def short_series(name: str, item_ids: Sequence[Any], prediction_length: int) -> BenchmarkError:
    """Return the error for series that leave no past before what is to be forecast."""
    return BenchmarkError(
        f"The set {name} has series that are not longer than what is to be forecast ({prediction_length} values)",
        code="benchmark.short_series",
        item_ids=item_ids,
        hint="Leave these series out, or forecast fewer steps.",
    )


def _rows_by_freq(freqs: tuple[str | None, ...]) -> dict[str | None, IntArray]:
    """Return the rows of each frequency, in the order in which they first appear."""
    rows: dict[str | None, list[int]] = {}
    for row, freq in enumerate(freqs):
        rows.setdefault(freq, []).append(row)
    return {freq: np.asarray(places, np.int64) for freq, places in rows.items()}


def _make_frame(rows: IntArray, pasts: Sequence[FloatArray], starts: Dates, freq: str | None) -> pd.DataFrame:
    """Make the long frame of series of one frequency, in whole columns."""
    lengths = np.array([len(past) for past in pasts])
    if freq is None:
        stamps = pd.Index(_count_within(lengths))
    else:
        stamps, lengths = _make_stamps(starts, lengths, freq)
    target = np.concatenate([past[len(past) - length :] for past, length in zip(pasts, lengths, strict=True)])
    return pd.DataFrame({"item_id": np.repeat(rows, lengths), "timestamp": stamps, "target": target})


def _make_stamps(starts: Dates, lengths: IntArray, freq: str) -> tuple[pd.Index, IntArray]:
    """Return the stamps of all series, end to end, and how many values of each they are for."""
    unit: Literal["ms", "ns"] = "ms"
    try:
        grid = make_grid(freq, np.dtype("datetime64[ms]"))
    except FrequencyError as error:
        if error.code != "frequency.unsupported":
            raise
        unit = "ns"  # for steps finer than a millisecond
        grid = make_grid(freq, np.dtype("datetime64[ns]"))
    lowest, highest = (np.datetime64(limit, "ms") for limit in (pd.Timestamp.min, pd.Timestamp.max))
    undatable = (starts < lowest) | (starts > highest)
    starts = np.where(np.isnat(starts) | undatable, np.datetime64(START_OF_UNDATED, "ms"), starts)
    distinct, inverse = np.unique(starts, return_inverse=True)  # series mostly start together
    offset = cast(Any, to_offset(grid.freq))
    dates = pd.DatetimeIndex([offset.rollforward(pd.Timestamp(start)) for start in distinct]).as_unit(unit)
    first = grid.place(dates, np.arange(len(dates) + 1))[inverse]
    last = grid.stamps(first + (lengths - 1) * grid.step)
    undatable |= np.asarray(last > pd.Timestamp.max)
    if undatable.any():
        dated = pd.DatetimeIndex([offset.rollforward(pd.Timestamp(START_OF_UNDATED))]).as_unit(unit)
        lengths = np.where(undatable, np.minimum(lengths, KEPT_OF_UNDATABLE), lengths)
        first = np.where(undatable, grid.place(dated, np.arange(2))[0], first)
    return grid.stamps(np.repeat(first, lengths) + _count_within(lengths) * grid.step), lengths


def _count_within(lengths: IntArray) -> IntArray:
    """Count from 0 within each series: (2, 3) gives 0 1 0 1 2."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
