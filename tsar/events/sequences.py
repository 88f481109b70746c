"""A long frame of events as sequences of (type, gap), each column checked row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import FrameError, OptionError
from tsar.frame.columns import Columns, read_columns, read_ids, read_stamps, read_table
from tsar.types import FloatArray, IntArray, ObjectArray

NANO = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class EventSequences:
    """The events of I items, each in the order of time; events of one stamp in the order of their rows.

    Attributes
    ----------
    item_ids : (I,) object
    times : list of (N,) float64
        Seconds after `origin`, or the numbers that came where stamps are numbers.
    codes : list of (N,) int64
        Numbers of the types.
    event_types : (V,) object
        The types.
    origin : pandas.Timestamp or None
        The first stamp; None where stamps are numbers.
    """

    item_ids: ObjectArray
    times: list[FloatArray]
    codes: list[IntArray]
    event_types: ObjectArray
    origin: pd.Timestamp | None

    @property
    def num_events(self) -> int:
        """Events of all items."""
        return sum(len(times) for times in self.times)

    def gaps_of(self, item: int) -> FloatArray:
        """Time (N,) since the event before; NaN for the first."""
        return np.diff(self.times[item], prepend=np.nan)

    def to_stamps(self, times: FloatArray) -> Any:
        """Times as stamps of the kind that came."""
        if self.origin is None:
            return times
        return self.origin + pd.to_timedelta(np.round(times / NANO).astype(np.int64), unit="ns")


def read_events(
    df: Any,
    id_column: str | None,
    timestamp_column: str,
    type_column: str,
    known: EventSequences | None = None,
) -> EventSequences:
    """Read events; with `known`, types and kind of stamps have to be those of an earlier frame.

    Raises
    ------
    FrameError
        The codes of `read_table`, `read_ids` and `read_stamps`; ``event.null_type``, ``event.unknown_type``.
    """
    columns = read_columns(
        read_table(df, id_column, timestamp_column, type_column), id_column, timestamp_column, type_column
    )
    items, item_ids = read_ids(columns)
    stamps, origin = _read_times(columns)
    types = columns.target
    null = types.isna().to_numpy()
    if null.any():
        hint = "drop these rows, or give events of unknown type a type of their own"
        raise columns.error("the event type is missing in {row}", "event.null_type", int(np.argmax(null)), hint)
    if known is None:
        event_types = _sorted_types(types)
    else:
        event_types = known.event_types
        if (origin is None) != (known.origin is None):
            hint = "use date-times in both frames, or numbers in both"
            raise columns.error(
                "{row} has another kind of stamp than the events given to fit", "frame.bad_timestamp", 0, hint
            )
        if origin is not None and known.origin is not None:
            stamps, origin = _from_origin(columns, stamps, origin, known.origin)
    codes = pd.Index(event_types).get_indexer(pd.Index(types.astype(object)))
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        hint = "fit on a frame that has all types"
        raise columns.error(
            f"{{row}} has the event type {types.iloc[row]!r}, unknown to fit", "event.unknown_type", row, hint
        )
    order = np.lexsort((stamps, items))
    cuts = np.flatnonzero(np.diff(items[order])) + 1
    return EventSequences(
        item_ids=item_ids,
        times=np.split(stamps[order], cuts),
        codes=np.split(codes.astype(np.int64)[order], cuts),
        event_types=event_types,
        origin=origin,
    )


def _read_times(columns: Columns) -> tuple[FloatArray, pd.Timestamp | None]:
    """Numbers as they are; date-times as seconds after the first."""
    stamps = columns.stamps
    if pd.api.types.is_float_dtype(stamps.dtype):
        times = stamps.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isnan(times).any():
            row = int(np.argmax(np.isnan(times)))
            raise columns.error("the timestamp is missing in {row}", "frame.null_timestamp", row, "drop these rows")
        if np.isinf(times).any():
            row = int(np.argmax(np.isinf(times)))
            raise columns.error("the timestamp in {row} is not finite", "frame.bad_timestamp", row, "drop these rows")
        return times, None
    index = read_stamps(columns)
    if not isinstance(index, pd.DatetimeIndex):
        return index.to_numpy(dtype=np.float64), None
    origin = index.min()
    return np.asarray((index - origin) / pd.Timedelta(1, "s"), dtype=np.float64), origin


def _from_origin(
    columns: Columns, times: FloatArray, origin: pd.Timestamp, wanted: pd.Timestamp
) -> tuple[FloatArray, pd.Timestamp]:
    if (origin.tz is None) != (wanted.tz is None):
        hint = "use the time zone of the frame given to fit"
        raise columns.error("{row} has no time zone, or fit had none", "frame.mixed_time_zones", 0, hint)
    return times + (origin - wanted) / pd.Timedelta(1, "s"), wanted


def _sorted_types(types: pd.Series) -> ObjectArray:
    uniques = pd.unique(types.astype(object))
    try:
        return np.array(sorted(uniques), dtype=object)
    except TypeError:  # types of several kinds keep the order in which they come
        return np.array(uniques, dtype=object)


def read_duration(value: Any, origin: pd.Timestamp | None) -> float:
    """Return a duration in the unit of `EventSequences.times`.

    Raises
    ------
    OptionError
        ``option.invalid``.
    """
    try:
        duration = float(value) if origin is None else pd.Timedelta(value) / pd.Timedelta(1, "s")
        if (
            isinstance(value, bool)
            or not 0 < duration < np.inf
            or (origin is not None and isinstance(value, int | float))
        ):
            raise ValueError("it must be positive and finite, with a unit where stamps are date-times")
    except (TypeError, ValueError) as error:
        wanted = "a positive number" if origin is None else "a duration such as '2h' or pandas.Timedelta(hours=2)"
        raise OptionError(f"horizon must be {wanted}, got {value!r}.", code="option.invalid") from error
    return float(duration)


def require_events(sequences: EventSequences, least: int) -> Sequence[int]:
    """Return the items with at least so many events; refuse where there are none.

    Raises
    ------
    FrameError
        ``event.too_few``.
    """
    long = [item for item, times in enumerate(sequences.times) if len(times) >= least]
    if not long:
        raise FrameError(
            f"no item has {least} events",
            code="event.too_few",
            item_ids=list(sequences.item_ids[:1]),
            hint="give longer sequences, or a smaller rerank_events",
        )
    return long
