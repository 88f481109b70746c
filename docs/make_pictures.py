"""Draw the pictures of the documentation: python docs/make_pictures.py

They are made by the package itself, from series that ship with statsmodels; `score_vs_compute.png` is made by
`pretrain/plot_compute.py`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from statsmodels.datasets import elnino, sunspots

from tsar import Forecaster, backtest, plot_backtest, plot_coverage, plot_forecast

FOLDER = Path(__file__).parent


def load_series() -> pd.DataFrame:
    """Sea-surface temperature, monthly, and sunspots, yearly: two tables of one series each, by name."""
    wide = elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()
    stamps = pd.date_range("1950-01-01", periods=len(wide), freq="MS")
    return pd.DataFrame({"item_id": "sea temperature", "timestamp": stamps, "target": wide})


def draw_forecast() -> None:
    """Quickstart: history, median and bands."""
    df = load_series()
    forecast = Forecaster(prediction_length=36).fit(df).predict()
    axes = plot_forecast(df[-180:], forecast)
    save(axes, "forecast.png")


def draw_sunspots() -> None:
    """The flow: a long and irregular period, far ahead."""
    data = sunspots.load_pandas().data
    stamps = pd.to_datetime(data["YEAR"].astype(int).astype(str) + "-01-01").astype("datetime64[s]")
    df = pd.DataFrame({"item_id": "sunspots", "timestamp": stamps, "target": data["SUNACTIVITY"]})
    axes = plot_forecast(df[-120:], Forecaster(prediction_length=44, freq="YS").fit(df).predict())
    save(axes, "sunspots.png")


def draw_backtest() -> None:
    """Backtesting: four windows, and over twenty how often what came lay at or below each level."""
    result = backtest(Forecaster(prediction_length=12), load_series(), windows=20)
    save(plot_coverage(result), "coverage.png")
    save(plot_backtest(result.select(range(16, 20))), "backtest.png")


def save(axes: object, name: str) -> None:
    """Write a picture of the width of a page."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].get_figure()
    figure.set_size_inches(8, 3.6)
    figure.savefig(FOLDER / name, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    matplotlib.use("Agg")
    draw_forecast()
    draw_sunspots()
    draw_backtest()
