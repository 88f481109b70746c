"""impute: observed values stay bit for bit, both sides beat one side and straight lines, the frame comes in kind."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from statsmodels.datasets import elec_equip, elnino

from tsar import impute
from tsar.errors import FrameError, ModelError, OptionError, TsarWarning
from tsar.frame import normalize_frame
from tsar.tasks.impute import Gaps, blend, fill_quantiles

MONTHS = pd.date_range("1996-01-01", periods=600, freq="MS")
FULL = {"attention": "full", "scaling": "window", "output_length": 8, "max_span": 0}


def frame_of(values, item_id="a") -> pd.DataFrame:
    return pd.DataFrame({"item_id": item_id, "timestamp": MONTHS[: len(values)], "target": values})


def seasonal_series() -> dict[str, np.ndarray]:
    temperature = elnino.load_pandas().data.set_index("YEAR").to_numpy(dtype=float).ravel()[-240:]
    return {"elnino": temperature, "elec_equip": elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)}


def hide(length: int, share: float, run: int, seed: int = 0) -> np.ndarray:
    rng, hidden = np.random.default_rng(seed), np.zeros(length, dtype=bool)
    while hidden.mean() < share:
        start = rng.integers(1, length - run - 1)
        hidden[start : start + run] = True
    return hidden


def mean_error(filled: np.ndarray, values: np.ndarray, hidden: np.ndarray) -> float:
    return float(np.abs(filled - values)[hidden].mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elnino", "elec_equip"])
@pytest.mark.parametrize("share", [0.125, 0.25, 0.5])
def test_seasonal_gaps_are_filled_better_than_by_straight_lines_and_better_from_both_sides(name, share):
    values = seasonal_series()[name]
    hidden = hide(len(values), share, run=8)
    frame = frame_of(np.where(hidden, np.nan, values))
    error = {side: mean_error(impute(frame, sides=side)["target"].to_numpy(), values, hidden)
             for side in ("both", "left", "right")}  # fmt: skip
    known = np.flatnonzero(~hidden)
    straight = mean_error(np.interp(np.arange(len(values)), known, values[known]), values, hidden)
    assert error["both"] < 0.7 * straight
    assert error["both"] < (error["left"] + error["right"]) / 2


def test_observed_values_stay_and_rows_are_inserted():
    values = seasonal_series()["elec_equip"][:120]
    frame = frame_of(values).drop(index=[40, 41, 42]).sample(frac=1, random_state=0)
    frame.loc[frame.index == 70, "target"] = np.nan
    before = frame.copy()
    with pytest.warns(TsarWarning, match="missing rows inserted: 3"):
        out = impute(frame, quantile_levels=[0.1, 0.9])
    pd.testing.assert_frame_equal(frame, before)
    assert list(out.columns) == ["item_id", "timestamp", "target", "imputed", "0.1", "0.9"]
    assert (out["timestamp"] == MONTHS[:120]).all()
    imputed = np.isin(np.arange(120), [40, 41, 42, 70])
    assert out["imputed"].tolist() == imputed.tolist()
    np.testing.assert_array_equal(out["target"][~imputed], values[~imputed])
    np.testing.assert_array_equal(out["0.1"][~imputed], values[~imputed])
    assert (out["0.1"] < out["target"])[imputed].all()
    assert (out["target"] < out["0.9"])[imputed].all()


def test_a_frame_without_gaps_comes_back_as_it_is():
    frame = frame_of(seasonal_series()["elnino"])
    out = impute(frame)
    pd.testing.assert_frame_equal(out[["item_id", "timestamp", "target"]], frame)
    assert not out["imputed"].any()


def test_items_do_not_mix_and_ends_are_filled_from_the_side_there_is():
    first, second = seasonal_series()["elnino"].copy(), 1000 + seasonal_series()["elec_equip"]
    first[-5:] = np.nan
    second[:3] = np.nan
    both = impute(pd.concat([frame_of(first, "a"), frame_of(second, "b")], ignore_index=True))
    assert np.isfinite(both["target"]).all()
    for item_id, values in (("a", first), ("b", second)):
        alone = impute(frame_of(values, item_id))["target"].to_numpy()
        part = both[both["item_id"] == item_id]["target"].to_numpy()
        np.testing.assert_allclose(part, alone, rtol=1e-4)
    assert both["target"][both["item_id"] == "b"].min() > 900


def test_polars_in_polars_out_with_other_names():
    values = seasonal_series()["elnino"][:60].copy()
    values[20:25] = np.nan
    frame = pl.DataFrame({"unit": ["x"] * 60, "month": MONTHS[:60].to_list(), "heat": values})
    out = impute(frame, id_column="unit", timestamp_column="month", target="heat")
    assert isinstance(out, pl.DataFrame)
    assert out.columns == ["unit", "month", "heat", "imputed"]
    assert out["imputed"].sum() == 5
    assert out["heat"].null_count() == 0


def test_counts_are_never_filled_with_less_than_nothing():
    rng = np.random.default_rng(0)
    values = rng.poisson(0.3, size=200).astype(float)
    values[80:110] = np.nan
    band = impute(frame_of(values), quantile_levels=[0.01])["0.01"].to_numpy()
    assert band.min() >= 0
    assert impute(frame_of(values), quantile_levels=[0.01], non_negative=False)["0.01"].min() < 0


def test_what_nothing_tells_about_stays_missing_with_a_warning():
    frame = pd.concat([frame_of(np.full(30, np.nan), "empty"), frame_of(seasonal_series()["elnino"][:30], "b")])
    with pytest.warns(TsarWarning) as caught:
        out = impute(frame)
    assert any("30 missing values" in str(one.message) for one in caught)
    assert out["target"].isna().sum() == 30


@pytest.mark.parametrize("full", [False, True], ids=["forecaster", "infill"])
def test_long_short_and_constant_series(small_decoder, full):
    model = small_decoder(**FULL) if full else small_decoder()
    rng = np.random.default_rng(0)
    for length in (2, 9, 130, 700):
        values = rng.normal(size=length)
        values[length // 2 : length // 2 + max(length // 7, 1)] = np.nan
        filled = fill_quantiles(model, values, np.array([0, length]))
        assert (np.isfinite(filled).all(1) == np.isnan(values)).all()
    flat = np.where(np.arange(40) % 3, np.nan, 4.25)
    np.testing.assert_allclose(fill_quantiles(model, flat, np.array([0, 40]))[np.isnan(flat)], 4.25, rtol=1e-6)


def test_blend_meets_the_near_side_and_takes_what_there_is():
    gaps = Gaps(*(np.array([place]) for place in (50, 53, 0, 103)))
    missing = np.zeros(103, dtype=bool)
    missing[50:53] = True
    left, right = np.full((103, 3), 1.0), np.full((103, 3), 2.0)
    np.testing.assert_allclose(blend(left, right, missing, gaps)[50:53, 1], [1.25, 1.5, 1.75])
    np.testing.assert_allclose(blend(left, np.full((103, 3), np.nan), missing, gaps)[50:53, 1], 1.0)


def test_wrong_options_and_frames_have_their_codes(small_decoder):
    frame = frame_of(np.where(np.arange(60) == 30, np.nan, 1.0 * np.arange(60)))
    for options, kind, code in (
        ({"sides": "up"}, OptionError, "option.invalid"),
        ({"non_negative": "yes"}, OptionError, "option.invalid"),
        ({"quantile_levels": [1.5]}, OptionError, "option.quantile_level"),
        ({"model": "tsar-nothing"}, ModelError, "model.unknown_name"),
        ({"model": small_decoder(**FULL), "sides": "left"}, OptionError, "option.invalid"),
        ({"target": "sales"}, FrameError, "frame.missing_column"),
        ({"target": "imputed"}, OptionError, "option.invalid"),
        ({"device": "cuda:99"}, OptionError, "device.unavailable"),
    ):
        with pytest.raises(kind) as caught:
            impute(frame, **options)
        assert caught.value.code == code
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert normalize_frame(impute(frame)).report.missing_values == 0
