"""The picture of a benchmark: one row of dots per set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#27313d", "#00000014"
# Distinct for colour-blind eyes (Okabe & Ito, 2008), and every model has its own shape as well.
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
SHAPES = ("o", "s", "D", "^", "v", "P", "X")
DOTTED_AT_MOST = 100.0
"""Ratios beyond this, or below its inverse, are drawn at the edge."""
TICKS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.2,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
)


def draw_relative_scores(relative: pd.DataFrame, baseline: str, metric: str, ax: Axes) -> None:
    """Draw scores relative to the baseline, sets with the best first model on top.

    Parameters
    ----------
    relative
        Table of sets (index) and models (columns), the baseline's all 1.
    baseline
        Its name; it is the line at 1.
    metric
        For the label.
    ax
        Where to draw.
    """
    models = [name for name in relative.columns if name != baseline]
    shown = relative[models].clip(1 / DOTTED_AT_MOST, DOTTED_AT_MOST)
    if models:
        shown = shown.sort_values(models[0], ascending=False, kind="stable")
    places = np.arange(len(shown))
    ax.axvline(1.0, color=INK, linewidth=1.2, label=baseline)
    for number, model in enumerate(models):
        color, shape = COLORS[number % len(COLORS)], SHAPES[number % len(SHAPES)]
        ax.plot(shown[model], places, shape, color=color, markersize=6, markeredgecolor="white", label=str(model))
    ax.set_yticks(places, [str(name) for name in shown.index], fontsize=8, parse_math=False)
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.grid(axis="y", color=FAINT)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    _scale(ax, shown.to_numpy())
    ax.set_xlabel(f"{metric} / {metric} of {baseline}, left of the line is better")
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _scale(ax: Axes, values: np.ndarray) -> None:
    """Ratios on a logarithmic axis with plain labels, so that half and double are equally far from 1."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.5, 2.0)
    low, high = min(low, 0.9) / 1.06, max(high, 1.1) * 1.06
    ticks = np.array(TICKS)
    spread = np.log(high / low)
    kept: list[float] = [1.0]
    for tick in sorted(ticks[(ticks >= low) & (ticks <= high)], key=lambda tick: abs(np.log(tick))):
        if min(abs(np.log(tick / one)) for one in kept) > spread / 12:
            kept.append(float(tick))
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(FixedLocator(sorted(kept)))
    ax.xaxis.set_minor_locator(NullLocator())
    formatter = ScalarFormatter()
    formatter.set_scientific(False)
    ax.xaxis.set_major_formatter(formatter)
