"""Each finding on a series that has it, and none on one that has not."""

import time

import numpy as np
import pandas as pd
import pytest
from statsmodels.datasets import elnino

import tsar
from tsar.diagnosis import NAMES, diagnose_panel
from tsar.errors import OptionError

T = np.arange(60)
NOISE = np.random.default_rng(0).normal(size=60)
GAPS = np.where(T % 3 == 0, NOISE, np.nan)
EXAMPLES = {
    "plain": (NOISE, ""),
    "seasonal": (elnino.load_pandas().data.to_numpy()[-5:, 1:].ravel(), ""),
    "all_missing": (np.full(60, np.nan), "all_missing"),
    "too_short": (NOISE[:5], "too_short"),
    "one_value": (NOISE[:1], "too_short"),
    "mostly_missing": (GAPS, "mostly_missing,stale_end"),
    "stale_end": (np.where(T < 50, NOISE, np.nan), "stale_end"),
    "constant": (np.full(60, 3.3), "constant"),
    "zeros": (np.zeros(60), "constant"),
    "tiny_spread": (1e6 + 1e-6 * NOISE, "tiny_spread"),
    "intermittent": (np.where(T % 4 == 0, 3.0 + T % 5, 0.0), "intermittent"),
    "growth": (np.exp(0.2 * T + 0.02 * NOISE), "exponential_growth"),
    "trend": (5 * T + NOISE, "strong_trend"),
    "falling": (-5 * T + NOISE, "strong_trend"),
    "tiny": (-5e-324 * (1 + T % 2), ""),
    "huge": (1e30 * NOISE, "out_of_range"),
    "largest": (1.7e308 * np.sign(NOISE), "out_of_range"),
}


def frame(names):
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range("2020", periods=len(v), freq="D"), "target": v})
        for name, v in ((name, EXAMPLES[name][0]) for name in names)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_findings(name):
    values, wanted = EXAMPLES[name]
    found = diagnose_panel(values, np.array([0, len(values)]))
    assert found.names[0] == wanted


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_frame_has_a_row_an_item_in_the_order_given():
    names = list(EXAMPLES)[::-1]
    table = tsar.diagnose(frame(names), freq="D")
    assert table["item_id"].tolist() == names
    assert dict(zip(table["item_id"], table["diagnosis"], strict=True)) == {k: v[1] for k, v in EXAMPLES.items()}
    assert set(NAMES) <= set(table.columns)
    row = table.set_index("item_id").loc["stale_end"]
    assert (row["length"], row["num_observed"], row["num_trailing_missing"]) == (60, 50, 10)


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_the_fallback_is_what_the_forecaster_does():
    history = frame(["constant", "all_missing", "plain"])
    fallback = tsar.diagnose(history, freq="D").set_index("item_id")["fallback"]
    assert fallback.to_dict() == {"constant": "last_value", "all_missing": "missing", "plain": ""}
    forecast = tsar.Forecaster(prediction_length=4, freq="D").fit(history).predict().set_index("item_id")
    assert (forecast.loc["constant", "predictions"] == 3.3).all()
    assert forecast.loc["all_missing", "predictions"].isna().all()


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_a_forecast_tells_of_its_fallbacks():
    history = frame(["constant", "all_missing", "plain", "trend"])
    forecast = tsar.Forecaster(prediction_length=4, freq="D").predict_quantiles(history)
    assert forecast.diagnosis.tolist() == ["constant: last_value", "all_missing: missing", "", "strong_trend"]


def test_polars_frame_comes_back_as_polars():
    pl = pytest.importorskip("polars")
    table = tsar.diagnose(pl.from_pandas(frame(["plain", "trend"])))
    assert table["diagnosis"].to_list() == ["", "strong_trend"]


def test_a_season_makes_more_series_too_short():
    table = tsar.diagnose(frame(["plain"]), season_length=31)
    assert table["diagnosis"].tolist() == ["too_short"]
    for wrong in (0, True, 7.0):
        with pytest.raises(OptionError, match="season_length"):
            tsar.diagnose(frame(["plain"]), season_length=wrong)


def test_scale_does_not_change_the_findings():
    for name in ("plain", "trend", "growth", "intermittent"):
        values, wanted = EXAMPLES[name]
        assert diagnose_panel(values * 2.0**-40, np.array([0, 60])).names[0] == wanted


@pytest.mark.slow
def test_a_hundred_thousand_items_take_seconds():
    values = np.random.default_rng(1).normal(size=100_000 * 24)
    start = time.perf_counter()
    found = diagnose_panel(values, np.arange(0, len(values) + 1, 24))
    assert time.perf_counter() - start < 10  # about one second on an idle core
    assert len(found.names) == 100_000
