"""Pictures of backtests: how well bands covered, and the forecasts of one item over what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tsar.backtesting.result import BacktestResult
from tsar.errors import FrameError
from tsar.plotting.style import BAND, INK, MEDIAN, dress, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_NAME = 22  # characters, so that the score beside it is shown


def plot_coverage(results: BacktestResult | dict[str, BacktestResult], *, ax: Axes | None = None) -> Axes:
    """Draw the share of what came at or below each quantile against its level; the diagonal is perfect.

    Parameters
    ----------
    results
        A backtest, or several by name, raw and calibrated for example. Actual values that are missing do not count.
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
    ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="perfect")
    for place, (name, result) in enumerate(named.items()):
        levels = np.sort(result.windows.levels)
        scores = result.scores
        shares = [scores[f"coverage_{round(float(level), 12)}"] for level in levels]
        ax.plot(levels, shares, marker="o", markersize=4, color=(MEDIAN, INK, BAND)[place % 3], label=name or None)
    ax.set(
        xlabel="level of the quantile", ylabel="share of what came at or below it", xlim=(0, 1), ylim=(0, 1),
        aspect="equal",
    )  # fmt: skip
    ax.set_title("Do the bands hold what they say?", loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
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
    width = f"{round(100 * (numbers.levels[high] - numbers.levels[low]))} %"
    for turn, window in enumerate(used):
        first = numbers.cuts[item, window] + numbers.gap
        ahead = panel.grid.stamps(panel.starts[item] + np.arange(first, first + horizon) * panel.grid.step)
        quantiles = numbers.quantiles[0, item, window]
        ax.axvline(ahead[0], color=INK, alpha=0.2, linewidth=0.8)  # windows may touch each other
        ax.fill_between(
            ahead, quantiles[:, low], quantiles[:, high], color=BAND, alpha=0.35, linewidth=0,
            label=None if turn else width,
        )  # fmt: skip
        ax.plot(ahead, numbers.median[0, item, window], color=MEDIAN, linewidth=1.4, label=None if turn else "median")
    dress(ax, title=_title(result, item, len(used)))
    return ax


def _title(result: BacktestResult, item: int, num_windows: int) -> str:
    """Item, what is drawn of it, and how good it was."""
    numbers = result.windows
    name, horizon = str(numbers.panel.item_ids[item]), numbers.median.shape[-1]
    if len(numbers.target_names) > 1:
        name = f"{name}, {numbers.target_names[0]}"
    scales = np.where(numbers.scales > 0, numbers.scales, np.nan)[0, item, :, None]
    errors = np.abs(numbers.actual - numbers.median)[0, item] / scales
    score = f", MASE {np.nanmean(errors):.2f}" if np.isfinite(errors).any() else ""
    return f"{shorten(name, LONGEST_NAME)}: {num_windows} x {horizon} steps{score}"
