"""Assemble a forecast: the long frame of quantiles, of the library, ids and stamps that came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tsar.errors import OptionError
from tsar.frame.columns import ONE_SERIES, Source
from tsar.frame.panel import Panel
from tsar.types import FloatArray, IntArray


def quantile_column(level: float) -> str:
    """Name of the column of a quantile level: ``"0.1"``, ``"0.975"``; rounding errors are not part of the name."""
    return str(round(float(level), 12))


def make_forecast_frame(
    panel: Panel,
    quantiles: FloatArray,
    levels: Sequence[float] | FloatArray,
    median: FloatArray,
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target_name: str | Sequence[str] = "target",
    gap: int = 0,
) -> Any:
    """Make the long frame of a forecast.

    Parameters
    ----------
    panel : Panel
        What was forecast, I items.
    quantiles : (I, F, Q) float64
        In data units; NaN where nothing can be said.
    levels : (Q,)
        Their levels.
    median : (I, F) float64
        The point forecast.
    id_column, timestamp_column : str
        Names of the first two columns; None for the id column gives ``"item_id"``.
    target_name : str
        Name of the target, repeated in the column ``target_name``; or those of each item's series in turn.
    gap : int
        Stamps between the history and the first step of the forecast.

    Returns
    -------
    pandas.DataFrame, polars.DataFrame or pyarrow.Table
        The kind that came in, with the columns id, timestamp, ``target_name``, ``predictions`` and one per level, named
        by `quantile_column`. Items in the order of the panel, time ascending. Ids and stamps have the type and zone
        they came with; stamps that were text or Python objects are date-times.

    Raises
    ------
    OptionError
        ``option.invalid`` if two columns would have one name; ``option.quantile_level`` if a level comes twice;
        ``option.prediction_length`` if F is zero.
    FrequencyError
        ``frequency.out_of_range`` if a future stamp does not fit in the type of the stamps.
    """
    names = ["item_id" if id_column is None else id_column, timestamp_column, "target_name", "predictions"]
    level_names = [quantile_column(level) for level in levels]
    _check_names(names, level_names)
    num_items, prediction_length = median.shape
    frame = pd.DataFrame(quantiles.reshape(num_items * prediction_length, len(level_names)), columns=level_names)
    frame.insert(0, names[1], panel.future_timestamps(prediction_length, gap))
    frame.insert(1, names[2], _target_column(target_name, num_items, prediction_length))
    frame.insert(2, names[3], median.reshape(-1))
    items = np.repeat(np.arange(num_items), prediction_length)
    return to_kind(frame, names[0], panel.source, items)


def make_sample_frame(
    panel: Panel,
    paths: FloatArray,
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target_name: str | Sequence[str] = "target",
    gap: int = 0,
) -> Any:
    """Make the long frame of sample paths (I, S, F) of a panel.

    The columns are id, timestamp, ``target_name``, ``sample`` (from 0) and ``predictions``; item by item, sample by
    sample, time ascending. Kind, types and errors as in `make_forecast_frame`.
    """
    name = "item_id" if id_column is None else id_column
    _check_names([name, timestamp_column, "target_name", "sample", "predictions"], [])
    num_items, num_samples, horizon = paths.shape
    place = np.arange(num_items * horizon).reshape(num_items, 1, horizon)
    stamps = panel.future_timestamps(horizon, gap).take(np.broadcast_to(place, paths.shape).ravel())
    frame = pd.DataFrame({timestamp_column: stamps})
    frame["target_name"] = _target_column(target_name, num_items, num_samples * horizon)
    frame["sample"] = np.tile(np.repeat(np.arange(num_samples), horizon), num_items)
    frame["predictions"] = paths.ravel()
    return to_kind(frame, name, panel.source, np.repeat(np.arange(num_items), num_samples * horizon))


def make_panel_frame(
    panel: Panel,
    columns: Mapping[str, Any],
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    rows: IntArray | None = None,
) -> Any:
    """Make a long frame of the panel's own stamps with new columns.

    Parameters
    ----------
    panel : Panel
        What the columns tell about.
    columns : mapping of name to (N,) array
        One value for each of the panel's.
    id_column, timestamp_column : str
        Names of the first two columns; None for the id column gives ``"item_id"``.
    rows : (R,) int64
        Places of the values that get a row, with columns (R,); None: all.

    Returns
    -------
    pandas.DataFrame, polars.DataFrame or pyarrow.Table
        The kind that came in, as `make_forecast_frame` gives it.

    Raises
    ------
    OptionError
        ``option.invalid`` if two columns would have one name.
    """
    names = ["item_id" if id_column is None else id_column, timestamp_column]
    _check_names(names, list(columns))
    items = np.repeat(np.arange(panel.num_items), panel.lengths)
    stamps = panel.timestamps()
    if rows is not None:
        items, stamps = items[rows], stamps[rows]
    frame = pd.DataFrame({timestamp_column: stamps, **columns})
    return to_kind(frame, names[0], panel.source, items)


def _target_column(target_name: str | Sequence[str], num_series: int, rows: int) -> Any:
    """Return the name for all rows, or (num_series * rows,) names that alternate from series to series."""
    if isinstance(target_name, str):
        return target_name
    return np.resize(np.asarray(target_name, dtype=object), num_series).repeat(rows)


def _check_names(names: list[str], level_names: list[str]) -> None:
    if len(set(level_names)) < len(level_names):
        raise OptionError(f"quantile levels come twice: {', '.join(level_names)}", code="option.quantile_level")
    validate_columns(names + level_names)


def validate_columns(names: Sequence[str]) -> None:
    """Raise ``option.invalid`` if two columns of a frame that is to be made would have one name."""
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise OptionError(
            f"the result would have two columns named {twice[0]!r}",
            code="option.invalid",
            hint="rename the id, timestamp or target column",
        )


def to_kind(frame: pd.DataFrame, id_column: str, source: Source, items: IntArray) -> Any:
    """Turn a frame whose first column are stamps into the kind of `source`, with the ids of `items` (N,) in front."""
    if source.kind == "pandas":
        return _to_pandas(frame, id_column, source, items)
    if source.kind == "polars":
        return _to_polars(frame, id_column, source, items)
    return _to_pyarrow(frame, id_column, source, items)


def _to_pandas(frame: pd.DataFrame, id_column: str, source: Source, items: IntArray) -> pd.DataFrame:
    if source.stamp_dtype is not None:
        frame[frame.columns[0]] = frame.iloc[:, 0].astype(source.stamp_dtype)
    frame.insert(0, id_column, ONE_SERIES if source.ids is None else source.ids.array.take(items))
    return frame


def _to_polars(frame: pd.DataFrame, id_column: str, source: Source, items: IntArray) -> Any:
    import polars as pl

    stamps = frame.iloc[:, 0]
    if isinstance(getattr(stamps.dtype, "tz", None), timezone):  # of text with an offset; polars knows named zones only
        frame[frame.columns[0]] = stamps.dt.tz_convert("UTC")
    result = pl.from_pandas(frame)
    if source.stamp_dtype is not None:
        result = result.with_columns(pl.col(frame.columns[0]).cast(source.stamp_dtype))
    ids = pl.repeat(ONE_SERIES, len(items), eager=True) if source.ids is None else source.ids.gather(items)
    return result.insert_column(0, ids.alias(id_column))


def _to_pyarrow(frame: pd.DataFrame, id_column: str, source: Source, items: IntArray) -> pa.Table:
    result = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    if source.stamp_dtype is not None:
        result = result.set_column(0, frame.columns[0], result.column(0).cast(source.stamp_dtype))
    ids = pa.repeat(ONE_SERIES, len(items)) if source.ids is None else source.ids.take(pa.array(items))
    return result.add_column(0, id_column, ids)


def make_item_frame(panel: Panel, columns: Mapping[str, Any], *, id_column: str | None = "item_id") -> Any:
    """Make a frame of one row per item, of the kind that came in: the id, then `columns`, each (I,).

    Raises
    ------
    OptionError
        ``option.invalid`` if a column has the name of the ids.
    """
    name = "item_id" if id_column is None else id_column
    validate_columns([name, *columns])
    frame = pd.DataFrame(dict(columns))
    source = replace(panel.source, stamp_dtype=None)
    return to_kind(frame, name, source, np.arange(panel.num_items))
