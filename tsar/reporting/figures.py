"""Drawings as SVG within the page: their colours are those of its style sheet, so they follow light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsar.plotting.style import BAND, INK, MEDIAN, shorten
from tsar.types import BoolArray, FloatArray, IntArray, ObjectArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE, COOL = "#dfe3e8", "#3b6ea5"
LONGEST_NAME = 28  # characters beside an axis
_VARIABLES = {INK: "--ink", MEDIAN: "--median", BAND: "--band", LINE: "--line", COOL: "--cool"}
_DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MOST_POINTS = 1200
"""Points of a line that is drawn; longer ones keep the lowest and the highest value of each stretch."""

_COLORS: Any = {
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK,
    "legend.labelcolor": INK, "font.size": 9.0, "axes.linewidth": 0.6, "svg.fonttype": "none",
}  # fmt: skip
_numbers = count()


def make_svg(draw: Callable[[Axes], Any], *, width: float = 6.4, height: float = 2.6) -> str:
    """Return a drawing as an ``<svg>`` element; `draw` fills the axes, sizes are in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_COLORS):
        figure = Figure(figsize=(width, height), layout="constrained")  # without pyplot: no window, no global state
        ax = figure.subplots()
        draw(ax)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(buffer.getvalue(), f"f{next(_numbers)}-")


def _for_page(text: str, prefix: str) -> str:
    """Cut an SVG file down to what belongs within HTML: names of its own, colours of the page, no addresses."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    text = f'<svg {box.group(0) if box else ""} aria-hidden="true">{rest}'
    text = re.sub(r'\bid="([^"]*)"', rf'id="{prefix}\1"', text)
    text = re.sub(r'(?:xlink:)?href="#([^"]*)"', rf'href="#{prefix}\1"', text)
    text = re.sub(r"url\(#([^)]*)\)", rf"url(#{prefix}\1)", text)
    for color, name in _VARIABLES.items():
        text = text.replace(color, f"var({name})")
    return text


def draw_forecast(
    ax: Axes, past_stamps: Any, past: FloatArray, stamps: Any, quantiles: FloatArray, levels: FloatArray,
    median: FloatArray,
) -> None:  # fmt: skip
    """History (N,), then the median (F,) and the bands of quantiles (F, Q) at ascending levels."""
    ax.plot(_plain(past_stamps), past, color=INK, linewidth=1.1)
    stamps, joint = _plain(stamps), _plain(past_stamps)[-1:]
    ahead = joint.append(stamps)  # the forecast grows out of the last value, so that a single step can be seen
    for low, high in zip(range(len(levels) // 2), range(len(levels) - 1, -1, -1), strict=False):
        lower, upper = (np.append(past[-1], quantiles[:, place]) for place in (low, high))
        ax.fill_between(ahead, lower, upper, color=BAND, alpha=0.2, linewidth=0)
    ax.plot(ahead, np.append(past[-1], median), color=MEDIAN, linewidth=1.6)
    _dress(ax)


def draw_steps(ax: Axes, errors: Mapping[str, tuple[IntArray, FloatArray]]) -> None:
    """Error at each step of the horizon, a line per model, the first emphasised; far worse ones leave the picture."""
    from matplotlib.ticker import MaxNLocator

    for place, (name, (steps, values)) in enumerate(errors.items()):
        ax.plot(
            steps, values, label=name, color=(MEDIAN, INK, COOL)[min(place, 2)], linewidth=2.0 if place == 0 else 1.1,
            linestyle=_DASHES[place % len(_DASHES)], marker="o" if len(steps) < 3 else None, markersize=4,
        )  # fmt: skip
    ax.set(xlabel="step ahead", ylabel="MASE")
    own = next(iter(errors.values()))[1]
    highest = max((float(np.nanmax(values)) for _, values in errors.values() if np.isfinite(values).any()), default=1.0)
    if np.isfinite(own).any():  # a baseline that is far off must not flatten the others
        highest = min(highest, 4 * max(float(np.nanmax(own)), 1.0))
    ax.set_ylim(0, 1.05 * highest)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    _dress(ax)


def draw_anomalies(ax: Axes, points: pd.DataFrame, *, timestamp_column: str, target: str) -> None:
    """One item of `tsar.detect_anomalies`: values, the expected band, and what was flagged."""
    stamps = _plain(pd.Index(points[timestamp_column]))
    values, flagged = points[target].to_numpy(dtype=float), points["is_anomaly"].to_numpy(dtype=bool)
    kept = thin(values, flagged)
    lower, upper = (points[name].to_numpy(dtype=float)[kept] for name in ("lower", "upper"))
    ax.fill_between(stamps[kept], lower, upper, color=BAND, alpha=0.3, linewidth=0, label="expected")
    ax.plot(stamps[kept], values[kept], color=INK, linewidth=0.8, label="value")
    ax.plot(stamps[flagged], values[flagged], "o", color=MEDIAN, markersize=4, label="anomaly")
    known = values[np.isfinite(values)]
    if len(known):  # a band that starts wide must not squeeze the values
        room = 0.15 * (float(np.ptp(known)) or 1.0)
        ax.set_ylim(known.min() - room, known.max() + room)
    _dress(ax)


def draw_observed(ax: Axes, stamps: list[Any], seen: list[BoolArray], names: ObjectArray) -> None:
    """A bar per item, with holes where nothing was observed; `stamps` has one more than `seen`, where the last ends."""
    for place, (own, is_seen) in enumerate(zip(stamps, seen, strict=True)):
        plain = _plain(own)
        ax.plot(plain[[0, -1]], [place, place], color=LINE, linewidth=5, solid_capstyle="butt")
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_seen, [False]]).astype(int)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            ax.plot(plain[[start, stop]], [place, place], color=COOL, linewidth=5, solid_capstyle="butt")
    ax.set_yticks(range(len(names)), [shorten(str(name), LONGEST_NAME) for name in names], parse_math=False)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    _dress(ax, grid=False)


def thin(values: FloatArray, always: BoolArray) -> IntArray:
    """Places of the lowest and highest value of each stretch of a long series, and those in `always`."""
    if len(values) <= MOST_POINTS:
        return np.arange(len(values))
    kept = [np.flatnonzero(always)]
    for part in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        known = part[np.isfinite(values[part])]
        kept.append(known[[values[known].argmin(), values[known].argmax()]] if len(known) else part[:1])
    return np.unique(np.concatenate(kept))


def _plain(stamps: Any) -> Any:
    """Stamps as an index that matplotlib draws as the clock on the wall shows them."""
    index = pd.Index(stamps)
    return index.tz_localize(None) if isinstance(index, pd.DatetimeIndex) and index.tz is not None else index


def _dress(ax: Axes, *, grid: bool = True) -> None:
    from matplotlib.dates import ConciseDateFormatter, DateLocator

    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis="y", color=LINE, linewidth=0.6)
        ax.set_axisbelow(True)
    ax.margins(x=0.01)
    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, DateLocator):
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
