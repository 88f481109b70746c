"""The panel: all series of a frame, end to end on regular grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import OptionError
from tsar.frame.columns import Source, refuse_other_stamps
from tsar.frame.covariates import Covariates
from tsar.freq import TimeGrid
from tsar.types import FloatArray, IntArray, ObjectArray


@dataclass(frozen=True, kw_only=True)
class FrameReport:
    """What `normalize_frame` found and repaired.

    Attributes
    ----------
    num_rows, num_items : int
        Size of the frame that came in.
    freq_inferred : bool
        Whether the frequency was inferred from the stamps rather than given.
    was_sorted : bool
        Whether the rows came item by item with time ascending.
    inserted_rows, items_with_gaps : int
        Rows inserted to close gaps, and the number of items they went into.
    missing_values : int
        Missing targets in the rows that came in.
    unobserved_items, single_value_items : int
        Items without any observed value, and with just one.
    """

    num_rows: int
    num_items: int
    freq_inferred: bool
    was_sorted: bool
    inserted_rows: int
    items_with_gaps: int
    missing_values: int
    unobserved_items: int
    single_value_items: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One item of a panel.

    Attributes
    ----------
    item_id : object
        As in the frame.
    start : pandas.Timestamp or int
        First stamp.
    freq : str or None
        Canonical alias; None for integer stamps.
    target : (C, N) float64
        Read-only view of the panel's values, NaN where missing; C is 1.
    """

    item_id: Any
    start: Any
    freq: str | None
    target: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """All series of a frame, end to end, each on a regular grid of one common frequency.

    Attributes
    ----------
    item_ids : (I,) object
        In order of first appearance.
    values : (N,) float64
        Read-only; NaN where missing, never infinite.
    offsets : (I + 1,) int64
        Item ``i`` has ``values[offsets[i]:offsets[i + 1]]``, at least one value.
    starts : (I,) int64
        Position of each first stamp on `grid`.
    grid : TimeGrid
        Frequency, type and time zone of the stamps.
    report : FrameReport
        What was found and repaired.
    source : Source
        What it takes to answer with the same kind of frame, ids and stamps.
    covariates : Covariates or None
        Columns that go along with the values, None if none was asked for.

    Notes
    -----
    Normalising the frame of a panel again gives the same panel (``tests/property/test_frame_property.py``).
    """

    item_ids: ObjectArray
    values: FloatArray
    offsets: IntArray
    starts: IntArray
    grid: TimeGrid
    report: FrameReport
    source: Source
    covariates: Covariates | None = None

    @property
    def freq(self) -> str | None:
        """Canonical alias such as ``"h"``, ``"W-SUN"``, ``"QS-OCT"``; None for integer stamps."""
        return self.grid.freq

    @property
    def num_items(self) -> int:
        """Number of items I."""
        return len(self.item_ids)

    @property
    def lengths(self) -> IntArray:
        """Number of values of each item (I,), missing ones included."""
        return np.diff(self.offsets)

    def series(self, item: int) -> Series:
        """Return the item at a place, without copying its values."""
        return Series(
            item_id=self.item_ids[item],
            start=self.grid.stamps(self.starts[item : item + 1])[0],
            freq=self.freq,
            target=self.values[None, self.offsets[item] : self.offsets[item + 1]],
        )

    def place_starts_of(self, other: Panel) -> IntArray:
        """Return where on the grid of this panel each series of another one starts, (I,) of the other.

        Raises
        ------
        FrameError
            ``frame.bad_timestamp`` if the stamps of one are integers, or have no time zone, and those of the other do.
        """
        stamps, own = other.grid.stamps(other.starts), self.grid.stamps(self.starts[:1])
        refuse_other_stamps(stamps, own, "the second frame")
        return self.grid.place(stamps.astype(own.dtype), np.arange(len(stamps) + 1))

    def timestamps(self) -> pd.Index:
        """Return the stamp of every value (N,), inserted rows included."""
        periods = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)
        return self.grid.stamps(np.repeat(self.starts, self.lengths) + periods * self.grid.step)

    def future_timestamps(self, prediction_length: int, gap: int = 0) -> pd.Index:
        """Return the stamps of the periods that follow each item.

        Parameters
        ----------
        prediction_length : int
            Number of periods F.
        gap : int
            Periods between each item and the first of them.

        Returns
        -------
        pandas.Index
            (I * F,) item by item, time ascending, in the type and zone of the stamps that came in (text: date-times).

        Raises
        ------
        OptionError
            ``option.prediction_length`` if it is below one.
        FrequencyError
            ``frequency.out_of_range`` if a stamp does not fit in the type.
        """
        if prediction_length < 1:
            raise OptionError(
                f"prediction_length must be a positive integer, got {prediction_length!r}",
                code="option.prediction_length",
                hint="for example prediction_length=24",
            )
        return self.grid.future_stamps(self.starts + (self.lengths - 1 + gap) * self.grid.step, prediction_length)
