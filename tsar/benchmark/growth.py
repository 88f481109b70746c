"""How the time of a forecast grows with the number of series, the context and the horizon: numbers and a picture."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tsar.benchmark.picture import COLORS, FAINT
from tsar.benchmark.speed import Work, make_series_frame, median_seconds
from tsar.forecaster import Forecaster
from tsar.model.decoder import Decoder
from tsar.storage import write_atomically

CENTRE = Work(batch=32, context_length=512, prediction_length=64)
STEPS = {
    "batch": (1, 4, 16, 64, 256),
    "context_length": (64, 128, 256, 512, 1024, 2048, 4096),
    "prediction_length": (8, 64, 256, 512, 1024),
}
NAMES = {"batch": "series", "context_length": "points of each", "prediction_length": "steps ahead"}


def measure_growth(model: str | Path | Decoder = "tsar-tiny", *, repeats: int = 3, seed: int = 0) -> pd.DataFrame:
    """Time `Forecaster.predict` along each axis from `CENTRE`.

    Returns
    -------
    pandas.DataFrame
        ``axis``, ``value``, ``seconds`` (median).
    """
    rows = []
    for axis, values in STEPS.items():
        for value in values:
            work = replace(CENTRE, **{axis: value})
            frame = make_series_frame(work, seed)
            forecaster = Forecaster(model, prediction_length=work.prediction_length)
            seconds = median_seconds(partial(forecaster.predict, frame), repeats)
            rows.append({"axis": axis, "value": value, "seconds": seconds})
    return pd.DataFrame(rows)


def draw_growth(growth: pd.DataFrame, path: Path) -> None:
    """Draw what `measure_growth` found, a panel for each axis, with a line of proportional growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes: Any = figure.subplots(1, len(STEPS), sharey=True)
    for ax, (axis, part) in zip(axes, growth.groupby("axis", sort=False), strict=True):
        x, y = part["value"].to_numpy(float), part["seconds"].to_numpy()
        ax.loglog(x, y, "o-", color=COLORS[1])
        ax.loglog(x, y[-1] * x / x[-1], color="#888888", linewidth=0.8, linestyle="--", label="proportional")
        ax.set_xlabel(NAMES[str(axis)])
        ax.grid(color=FAINT)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False, fontsize=8)
    others = f"{CENTRE.batch} series of {CENTRE.context_length} points, {CENTRE.prediction_length} steps ahead"
    figure.suptitle(f"Forecaster.predict; where not varied: {others}", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or "png", dpi=150)
    write_atomically(path, content.getvalue())
