"""Pictures of forecasts: what is drawn, whatever the type of the stamps."""

from __future__ import annotations

import datetime

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tsar import plot_forecast
from tsar.errors import FrameError

DAYS = pd.date_range("2024-03-01", periods=60, freq="D")
KINDS = {
    "date-times": lambda stamps: stamps,
    "zoned": lambda stamps: stamps.tz_localize("Europe/Berlin"),
    "text": lambda stamps: stamps.astype(str),
    "zoned text": lambda stamps: stamps.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    "dates": lambda stamps: pd.Index([stamp.date() for stamp in stamps], dtype=object),
    "integers": lambda stamps: pd.Index(np.arange(len(stamps))),
    "categories": lambda stamps: pd.CategoricalIndex(stamps.astype(str)),
}


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def make_history(stamps=DAYS, ids="a"):
    return pd.DataFrame({"item_id": ids, "timestamp": stamps, "target": np.arange(len(stamps), dtype=float)})


def make_forecast(history, length=5):
    """What `predict` returns: the days after the history, text as date-times."""
    stamps = history["timestamp"]
    if not pd.api.types.is_numeric_dtype(stamps.dtype):
        stamps = pd.to_datetime(stamps.astype(object))
    step = stamps.iloc[1] - stamps.iloc[0]
    future = pd.DataFrame({"item_id": "a", "timestamp": [stamps.iloc[-1] + step * k for k in range(1, length + 1)]})
    for name, value in (
        ("predictions", 60.0),
        ("0.1", 50.0),
        ("0.3", 55.0),
        ("0.5", 60.0),
        ("0.7", 65.0),
        ("0.9", 70.0),
    ):
        future[name] = value
    return future


def drawn(ax):
    """The lines by label, as x and y."""
    ax.figure.draw_without_rendering()
    return {line.get_label(): (line.get_xdata(orig=False), line.get_ydata()) for line in ax.lines}


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_history_of_any_stamps_meets_the_forecast(kind):
    history = make_history(KINDS[kind](DAYS))
    forecast = make_forecast(history)
    lines = drawn(plot_forecast(history.sample(frac=1, random_state=0), forecast, context=30))
    past, future = lines["history"], lines["median"]
    np.testing.assert_array_equal(past[1], np.arange(30.0, 60.0))
    np.testing.assert_allclose(np.diff(past[0]), 1.0, atol=1 / 23)  # a day, in one zone 23 hours
    assert future[0][0] == past[0][-1]
    np.testing.assert_allclose(np.diff(future[0]), 1.0, atol=1 / 23)
    assert future[1].tolist() == [59.0, 60.0, 60.0, 60.0, 60.0, 60.0]


def test_text_on_both_sides_and_what_came():
    history = make_history(DAYS.astype(str))
    forecast = make_forecast(history).astype({"timestamp": str})
    actual = forecast[["item_id", "timestamp"]].assign(target=61.0)
    lines = drawn(plot_forecast(history, forecast, actual=actual))
    np.testing.assert_array_equal(lines["actual"][0], lines["median"][0][1:])


def test_polars_frames_even_lazy_ones():
    history = make_history()
    lines = drawn(plot_forecast(pl.from_pandas(history).lazy(), pl.from_pandas(make_forecast(history))))
    assert lines["history"][1][-1] == 59.0


def test_legend_names_the_bands_and_hides_nothing():
    history = make_history()
    ax = plot_forecast(history, make_forecast(history), actual=history)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["history", "80 %", "40 %", "median", "actual"]
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1
    assert ax.get_legend().get_window_extent().x0 > ax.get_tightbbox().x0


def test_one_step_shows_a_line_and_a_band():
    history = make_history()
    ax = plot_forecast(history, make_forecast(history, length=1))
    assert len(drawn(ax)["median"][0]) == 2
    assert all(np.ptp(band.get_paths()[0].vertices[:, 0]) > 0 for band in ax.collections)


def test_items_by_name():
    stamps = pd.concat([make_history(), make_history(ids="b").assign(target=7.0)])
    forecast = pd.concat([make_forecast(make_history()), make_forecast(make_history()).assign(item_id="b")])
    ax = plot_forecast(stamps, forecast, item_id="b")
    assert set(drawn(ax)["history"][1]) == {7.0}
    assert ax.get_title(loc="left") == "b"
    with pytest.raises(FrameError) as caught:
        plot_forecast(stamps, forecast, item_id="c")
    assert caught.value.code == "frame.missing_column"


@pytest.mark.parametrize("item_id", ["$_{", "x" * 300, ("t", 1), datetime.date(2024, 1, 1), 7, ""])
def test_ids_of_any_kind_as_title(item_id):
    history = make_history(ids=pd.Series([item_id] * len(DAYS), dtype=object))
    forecast = make_forecast(history).assign(item_id=pd.Series([item_id] * 5, dtype=object))
    ax = plot_forecast(history, forecast)
    assert len(drawn(ax)["history"][0]) == 40
    assert ax.get_title(loc="left").rstrip("…") in str(item_id)
