"""Pictures of backtests: how well bands covered, and the forecasts of one item over what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tsar.backtest_result import BacktestResult
from tsar.errors import FrameError
from tsar.plotting import BAND, INK, MEDIAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_coverage(results: BacktestResult | dict[str, BacktestResult], *, ax: Axes | None = None) -> Axes:
    """Draw the share of what came at or below each quantile against its level; the diagonal is perfect.

    Parameters
    ----------
    results
        A backtest, or several by name, raw and calibrated for example.
    ax
        Where to draw; None: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
    named = results if isinstance(results, dict) else {"": results}
    ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for place, (name, result) in enumerate(named.items()):
        levels = np.sort(result.windows.levels)
        scores = result.scores
        shares = [scores[f"coverage_{round(float(level), 12)}"] for level in levels]
        ax.plot(levels, shares, marker="o", markersize=4, color=(MEDIAN, INK, BAND)[place % 3], label=name or None)
    ax.set(xlabel="level", ylabel="share at or below", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.spines[["top", "right"]].set_visible(False)
    if len(named) > 1:
        ax.legend(frameon=False, fontsize=8)
    return ax


def plot_backtest(result: BacktestResult, *, item_id: Any = None, ax: Axes | None = None) -> Axes:
    """Draw one item's history with the forecast of every window over it: median and widest band.

    Parameters
    ----------
    result
        The backtest.
    item_id
        Which item; None: the first that has a window.
    ax
        Where to draw; None: a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FrameError
        ``frame.missing_column`` if there is no window of such an item.
    """
    import matplotlib.pyplot as plt

    numbers = result.windows
    panel, horizon = numbers.panel, numbers.median.shape[-1]
    items = [place for place in range(panel.num_items) if (numbers.cuts[place] >= 0).any()]
    items = items if item_id is None else [place for place in items if panel.item_ids[place] == item_id]
    if not items:
        raise FrameError(
            f"There is no window of item {item_id!r} to draw.",
            code="frame.missing_column",
            hint="Give another item_id=",
        )
    item, used = items[0], np.flatnonzero(numbers.cuts[items[0]] >= 0)
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    shown = max(int(numbers.cuts[item, used[0]]) - 2 * horizon, 0)
    places = np.arange(shown, panel.lengths[item])
    stamps = panel.grid.stamps(panel.starts[item] + places * panel.grid.step)
    ax.plot(stamps, panel.values[panel.offsets[item] + places], color=INK, linewidth=1.2, label="history")
    low, high = int(np.argmin(numbers.levels)), int(np.argmax(numbers.levels))
    for turn, window in enumerate(used):
        first = numbers.cuts[item, window] + numbers.gap
        ahead = panel.grid.stamps(panel.starts[item] + np.arange(first, first + horizon) * panel.grid.step)
        quantiles = numbers.quantiles[0, item, window]
        width = f"{round(100 * (numbers.levels[high] - numbers.levels[low]))} %"
        ax.fill_between(
            ahead, quantiles[:, low], quantiles[:, high], color=BAND, alpha=0.35, linewidth=0,
            label=None if turn else width,
        )  # fmt: skip
        ax.plot(ahead, numbers.median[0, item, window], color=MEDIAN, linewidth=1.4, label=None if turn else "median")
    ax.set_title(str(panel.item_ids[item]), loc="left", fontsize=10, parse_math=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    return ax
