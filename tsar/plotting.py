"""Pictures of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import pandas as pd

from tsar.errors import FrameError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MEDIAN, BAND = "#27313d", "#c8501e", "#e8853d"
LONGEST_TITLE = 48  # characters that fit beside the legend


def plot_forecast(
    history: Any,
    forecast: Any,
    *,
    item_id: Any = None,
    actual: Any = None,
    context: int | None = None,
    id_column: str = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    ax: Axes | None = None,
) -> Axes:
    """Draw one item's history, its forecast's median and its bands, widest lightest.

    Parameters
    ----------
    history, forecast
        Frames as given to ``fit`` and returned by ``predict``.
    item_id
        Which item; None: the first of the forecast.
    actual
        Frame like `history` with what came, drawn over the bands.
    context
        Steps of history shown; None: four horizons, at least 40 steps.
    id_column, timestamp_column, target
        Names of the columns.
    ax
        Where to draw; None: a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FrameError
        ``frame.missing_column`` if the forecast has no such column or item.
    """
    import matplotlib.pyplot as plt

    future = rows_of(forecast, item_id, id_column, timestamp_column)
    item_id = future[id_column].iloc[0] if item_id is None and id_column in future else item_id
    stamps = future[timestamp_column]
    past = rows_of(history, item_id, id_column, timestamp_column, like=stamps)
    past = past.iloc[-(context or max(4 * len(future), 40)) :]
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    ax.plot(past[timestamp_column], past[target].astype(float), color=INK, linewidth=1.2, label="history")
    joint = past.tail(1)  # the forecast grows out of the last value, so that even a single step can be seen
    stamps = pd.concat([joint[timestamp_column], stamps])
    levels = _levels(future)
    joined = {name: pd.concat([joint[target], future[name]]).astype(float) for name in ("predictions", *levels)}
    for low, high, color in _bands(levels):
        label = f"{round(100 * (float(high) - float(low)))} %"
        ax.fill_between(stamps, joined[low], joined[high], color=color, linewidth=0, label=label)
    ax.plot(stamps, joined["predictions"], color=MEDIAN, linewidth=1.6, label="median")
    if actual is not None:
        came = rows_of(actual, item_id, id_column, timestamp_column, like=future[timestamp_column])
        values = came[target].astype(float)
        ax.plot(came[timestamp_column], values, color=INK, linewidth=1, linestyle=":", label="actual")
    dress(ax, title=target if item_id is None else str(item_id))
    return ax


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
    native = nw.from_native(frame)
    table: pd.DataFrame = (native.collect() if isinstance(native, nw.LazyFrame) else native).to_pandas()
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


def _levels(future: pd.DataFrame) -> list[str]:
    return sorted((name for name in map(str, future.columns) if _is_level(name)), key=float)


def _bands(levels: list[str]) -> list[tuple[str, str, tuple[float, ...]]]:
    """Pairs of level columns that lie around the median, widest first, with their colours, the widest palest."""
    from matplotlib.colors import to_rgb

    pairs = [(low, high) for low, high in zip(levels, levels[::-1], strict=True) if float(low) < float(high)]
    tints = [0.25 + 0.5 * place / max(len(pairs) - 1, 1) for place in range(len(pairs))]
    colors = [tuple(1 - tint * (1 - part) for part in to_rgb(BAND)) for tint in tints]
    return [(low, high, color) for (low, high), color in zip(pairs, colors, strict=True)]


def _is_level(name: str) -> bool:
    try:
        return 0 < float(name) < 1
    except ValueError:
        return False
