"""Picture of an explanation: the history, tinted by how much each segment moved the forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsar.plotting.style import BAND, INK, MEDIAN, dress, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOWERS = "#4a7fb5"
DARKEST = 0.75
SHOWN_COVARIATES = 6


def plot_explanation(
    explanation: Any,
    history: Any,
    *,
    item_id: Any = None,
    forecast: Any = None,
    id_column: str = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    ax: Axes | None = None,
) -> Axes:
    """Draw one item's history over bands tinted by the effect of each segment, in the mean over the horizon.

    Orange segments raised the forecast in the mean, blue ones lowered it; the darker, the more they moved it up or
    down at all. The number above a segment is its effect in widths of the forecast's outermost band. Covariates
    are listed below with theirs.

    Parameters
    ----------
    explanation
        What `explain` returned.
    history
        Frame that was explained.
    item_id
        Which item; None: the first of the explanation.
    forecast
        Frame as returned by ``predict``: its median is drawn too.
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
        ``frame.missing_column`` if a frame has no such item.
    """
    import matplotlib.pyplot as plt

    rows = rows_of(explanation, item_id, id_column, timestamp_column)
    item_id = rows[id_column].iloc[0] if item_id is None else item_id
    past = rows_of(history, item_id, id_column, timestamp_column, like=rows[timestamp_column])
    segments = _mean_over_blocks(rows[rows["kind"] == "segment"], timestamp_column)
    past = past[past[timestamp_column] >= segments[timestamp_column].min()]
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    stamps = past[timestamp_column]
    ends = [*segments[timestamp_column].iloc[1:], stamps.iloc[-1]]
    strongest = float(np.nanmax([*segments["effect"], 0.0])) or 1.0
    for start, end, (_, segment) in zip(segments[timestamp_column], ends, segments.iterrows(), strict=True):
        share = float(np.nan_to_num(segment["effect"] / strongest))
        color = BAND if segment["change"] >= 0 else LOWERS
        ax.axvspan(start, end, facecolor=color, alpha=DARKEST * share, linewidth=0)
        ax.annotate(
            f"{segment['relative_effect']:.2f}", (start + (end - start) / 2, 0.98),
            xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=8, color=INK,
        )  # fmt: skip
    ax.plot(stamps, past[target].astype(float), color=INK, linewidth=1.2, label="history")
    if forecast is not None:
        ahead = rows_of(forecast, item_id, id_column, timestamp_column, like=stamps)
        ax.plot(
            ahead[timestamp_column], ahead["predictions"].astype(float), color=MEDIAN, linewidth=1.6, label="median"
        )
    dress(ax, title=str(item_id))
    covariates = _mean_over_blocks(rows[rows["kind"] == "covariate"], timestamp_column).nlargest(
        SHOWN_COVARIATES, "effect"
    )
    if len(covariates):
        listed = ", ".join(f"{row['name']} {row['relative_effect']:.2f}" for _, row in covariates.iterrows())
        ax.set_xlabel(f"effect of covariates: {listed}", loc="left", fontsize=8, parse_math=False)
    return ax


def _mean_over_blocks(rows: pd.DataFrame, timestamp_column: str) -> pd.DataFrame:
    """One row per name, in order of first stamp: effects in the mean over steps."""
    steps = rows["last_step"] - rows["first_step"] + 1
    numbers = ["change", "effect", "relative_effect"]
    weighted = rows[numbers].mul(steps, axis=0).assign(steps=steps, name=rows["name"])
    sums = weighted.groupby("name", sort=False).sum(min_count=1)
    means = sums[numbers].div(sums["steps"], axis=0)
    means[timestamp_column] = rows.groupby("name", sort=False)[timestamp_column].min()
    return means.reset_index().sort_values(timestamp_column, kind="stable", ignore_index=True)
