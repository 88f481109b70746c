"""Pictures of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import pandas as pd

from tsar.errors import FrameError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MEDIAN, BAND = "#27313d", "#c8501e", "#e8853d"


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

    future = _item(forecast, item_id, id_column)
    item_id = future[id_column].iloc[0] if item_id is None and id_column in future else item_id
    past = _item(history, item_id, id_column).sort_values(timestamp_column)
    past = past.iloc[-(context or max(4 * len(future), 40)) :]
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    ax.plot(past[timestamp_column], past[target].astype(float), color=INK, linewidth=1.2, label="history")
    for low, high, strength in _bands(future):
        ax.fill_between(
            future[timestamp_column], future[low].astype(float), future[high].astype(float), color=BAND, alpha=strength,
            linewidth=0, label=f"{round(100 * (float(high) - float(low)))} %",
        )  # fmt: skip
    ax.plot(future[timestamp_column], future["predictions"].astype(float), color=MEDIAN, linewidth=1.6, label="median")
    if actual is not None:
        came = _item(actual, item_id, id_column)
        ax.plot(came[timestamp_column], came[target].astype(float), color=INK, linewidth=1, linestyle=":", label="actual")
    ax.set_title(str(item_id) if item_id is not None else target, loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#00000014")
    ax.margins(x=0.01)
    ax.legend(frameon=False, fontsize=8, ncols=6, loc="upper left")
    return ax


def _item(frame: Any, item_id: Any, id_column: str) -> pd.DataFrame:
    """Return the rows of one item (the first if None) as pandas."""
    table: pd.DataFrame = nw.from_native(frame).to_pandas()
    if id_column not in table.columns:
        return table
    item_id = table[id_column].iloc[0] if item_id is None and len(table) else item_id
    rows = table[table[id_column] == item_id]
    if rows.empty:
        raise FrameError(
            f"There is no item {item_id!r} to draw.", code="frame.missing_column", hint="Give item_id= of the frame."
        )
    return rows


def _bands(future: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Pairs of level columns that lie symmetrically around the median, widest first, with their opacity."""
    levels = sorted((name for name in map(str, future.columns) if _is_level(name)), key=float)
    pairs = [(low, high) for low, high in zip(levels, levels[::-1], strict=True) if float(low) < float(high)]
    return [(low, high, 0.14 + 0.14 * place / max(len(pairs), 1)) for place, (low, high) in enumerate(pairs)]


def _is_level(name: str) -> bool:
    try:
        return 0 < float(name) < 1
    except ValueError:
        return False
