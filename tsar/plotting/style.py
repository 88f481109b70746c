"""What all pictures share: colours, axes, titles, and the rows of one item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tsar.errors import FrameError
from tsar.frame.columns import collect, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MEDIAN, BAND = "#27313d", "#c8501e", "#e8853d"
LONGEST_TITLE = 48  # characters that fit beside the legend


def dress(ax: Axes, title: str) -> None:
    """Title and legend side by side above the axes, where they hide nothing, and as little ink as possible."""
    from matplotlib.dates import ConciseDateFormatter, DateLocator

    ax.set_title(shorten(title), loc="left", fontsize=10, parse_math=False)  # an id may hold dollar signs
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#00000014")
    ax.margins(x=0.01)
    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, DateLocator):
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=locator.tz))  # type: ignore[no-untyped-call]
    ax.legend(
        frameon=False, fontsize=8, ncols=9, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0,
        handlelength=1.4, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


def shorten(text: str, length: int = LONGEST_TITLE) -> str:
    """Return at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def rows_of(
    frame: Any, item_id: Any, id_column: str, timestamp_column: str, like: pd.Series | None = None
) -> pd.DataFrame:
    """Return the rows of one item (the first if None) as pandas, in order of time, stamps in the type of `like`."""
    table: pd.DataFrame = collect(open_frame(frame)).to_pandas()
    if id_column in table.columns:
        item_id = table[id_column].iloc[0] if item_id is None and len(table) else item_id
        table = table[table[id_column].isin([item_id])]
    if table.empty:
        raise FrameError(
            f"There is no item {item_id!r} to draw.", code="frame.missing_column", hint="Give item_id= of the frame."
        )
    stamps = _parsed(table[timestamp_column])
    if like is not None and pd.api.types.is_datetime64_any_dtype(like.dtype):
        stamps = stamps.astype(like.dtype)
    return table.assign(**{timestamp_column: stamps}).sort_values(timestamp_column)


def _parsed(stamps: pd.Series) -> pd.Series:
    """Stamps that are text, categories or Python objects as the date-times, or integers, that they mean."""
    if pd.api.types.is_datetime64_any_dtype(stamps.dtype) or pd.api.types.is_numeric_dtype(stamps.dtype):
        return stamps
    plain = stamps.astype(object).infer_objects()
    if pd.api.types.infer_dtype(plain) == "string":
        return pd.to_datetime(plain, format="ISO8601")
    return plain if pd.api.types.is_numeric_dtype(plain.dtype) else pd.to_datetime(plain)
