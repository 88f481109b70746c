"""Pictures of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tsar.plotting.style import BAND, INK, MEDIAN, dress, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
