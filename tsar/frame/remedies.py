"""What to write instead: the line of code that turns what people have into the long frame that tsar reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import FrameError

SHOWN_COLUMNS = 20
OTHER_NAMES = {
    "item_id": ("unique_id", "series_id", "id"),
    "timestamp": ("ds", "date", "datetime", "time"),
    "target": ("y", "value", "sales"),
}
"""What other packages call the columns."""


def hint_without_a_frame(df: object) -> str:
    """Say how to make a frame of something else."""
    if isinstance(df, pd.Series) and isinstance(df.index, pd.DatetimeIndex | pd.PeriodIndex):
        series = "series" if isinstance(df.index, pd.DatetimeIndex) else "series.to_timestamp()"
        return f"{series}.rename_axis('timestamp').reset_index(name='target'), with id_column=None"
    if isinstance(df, str):
        return "read the file first, for example with pandas.read_csv(...)"
    if isinstance(df, int):
        return "the first argument is a frame; a horizon is prediction_length="
    return "make a long frame with one row per item and timestamp, for example with pandas.DataFrame(...)"


def missing_columns(df: Any, present: Sequence[str], missing: Sequence[str]) -> FrameError:
    """Make the error for columns that are not there: it lists those that are, and says how to get there."""
    shown = ", ".join(repr(name) for name in present[:SHOWN_COLUMNS]) or "none"
    more = f" and {len(present) - SHOWN_COLUMNS} more" if len(present) > SHOWN_COLUMNS else ""
    return FrameError(
        f"the frame has no column {', '.join(repr(name) for name in missing)}; its columns are {shown}{more}",
        code="frame.missing_column",
        hint=_hint_for_columns(df, present, missing),
    )


def _hint_for_columns(df: Any, present: Sequence[str], missing: Sequence[str]) -> str:
    index = df.index if isinstance(df, pd.DataFrame) else None
    if isinstance(index, pd.MultiIndex):
        return f"columns are wanted, not an index: df.rename_axis({list(missing[: index.nlevels])}).reset_index()"
    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
        frame = "df" if isinstance(index, pd.DatetimeIndex) else "df.to_timestamp()"
        frame += ".rename_axis('timestamp').reset_index()"
        if "target" not in missing or len(present) == 1:
            return f"columns are wanted, not an index: {frame}; id_column=None if the table is one series"
        return (
            f"one column per series is made long by {frame}.melt('timestamp', var_name='item_id', value_name='target')"
        )
    lower = {name.lower(): name for name in present}
    options = {"item_id": "id_column", "timestamp": "timestamp_column", "target": "target"}
    known = {
        options[name]: lower[other] for name in missing for other in OTHER_NAMES.get(name, ())[::-1] if other in lower
    }
    if known:
        return "name them: " + ", ".join(f"{option}={name!r}" for option, name in known.items())
    if list(missing) == ["item_id"]:
        return "name it with id_column=; id_column=None if the table is one series"
    return "name them with id_column=, timestamp_column= and target=; reset_index() turns an index into columns"


def hint_for_stamp(value: object, column: str) -> str:
    """Say how a stamp of another kind is read."""
    stamps = f"df[{column!r}]"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return f"whole numbers are wanted: {stamps}.astype('int64')"
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"\d{4}[ -]?Q[1-4]", text):
        return f"quarters are read by pandas.PeriodIndex({stamps}, freq='Q').to_timestamp()"
    if re.fullmatch(r"\d{4}-W\d{2}", text):
        return f"ISO weeks are read by pandas.to_datetime({stamps} + '-1', format='%G-W%V-%u')"
    if re.match(r"\d{1,2}\.\d{1,2}\.\d{4}", text):
        return f"read them first: pandas.to_datetime({stamps}, format='%d.%m.%Y')"
    return (
        "use date-times, ISO 8601 text such as '2024-01-31 13:00', or integers; pandas.to_datetime reads other text, "
        f"for example pandas.to_datetime({stamps}, format='%d/%m/%Y')"
    )
