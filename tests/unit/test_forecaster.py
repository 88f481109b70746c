"""`Forecaster` with the shipped tsar-tiny: what comes out, what never changes the numbers, and what is refused."""

from __future__ import annotations

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone

from tests.unit.panel_examples import HOURS, LEVELS, NAMES, NUMBERS, code_of, make_panel, make_series
from tsar import Forecaster, load_model
from tsar.errors import TsarError, TsarWarning
from tsar.registry import find_model


def predict(df, **options):
    options = {"prediction_length": 12} | options
    return Forecaster(**options).fit(df).predict()


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def forecast(panel):
    return predict(panel)


# ---------------------------------------------------------------------------------------------------------- the answer


def test_schema(panel, forecast):
    assert forecast.columns.tolist() == ["item_id", "timestamp", "target_name", "predictions", *NAMES]
    assert forecast["item_id"].tolist() == ["b"] * 12 + ["a"] * 12 + ["c"] * 12, "items in the order given"
    assert set(forecast["target_name"]) == {"target"}
    assert forecast.index.equals(pd.RangeIndex(36))
    for item_id, rows in forecast.groupby("item_id"):
        last = panel.loc[panel["item_id"] == item_id, "timestamp"].max()
        expected = pd.date_range(last, periods=13, freq="h")[1:]
        assert rows["timestamp"].tolist() == expected.tolist()
    assert forecast["timestamp"].dtype == panel["timestamp"].dtype


def test_numbers_are_finite_ordered_and_of_the_size_of_the_data(forecast):
    quantiles = forecast[NAMES].to_numpy()
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_array_equal(forecast["predictions"], forecast["0.5"])
    np.testing.assert_allclose(forecast["predictions"], np.repeat([10.0, 50.0, 0.1], 12), rtol=0.3)


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series(["b", "a", "c"], dtype=object),
        pd.Series(["b", "a", "c"], dtype="category"),
        pd.Series([7, -1, 2**60]),
        pd.Series([7, 1, 2], dtype="Int32"),
        pd.Series(["Ä", "", "日本 $_{"], dtype="string"),
        pd.Series([True, False]),
        pd.Series([("t", 1), ("t", 2), ("s", 1)], dtype=object),
        pd.to_datetime(pd.Series(["2024-01-01", "2023-01-01", "2025-01-01"])),
    ],
    ids=lambda ids: str(ids.dtype),
)
def test_ids_keep_their_type_and_do_not_change_the_numbers(panel, forecast, ids):
    code = pd.factorize(panel["item_id"])[0]
    kept = code < len(ids)
    renamed = panel[kept].assign(item_id=ids.take(code[kept]).array)
    result = predict(renamed, id_column="item_id")
    assert result["item_id"].dtype == ids.dtype
    assert result["item_id"].drop_duplicates().tolist() == ids.tolist()
    np.testing.assert_allclose(result[NUMBERS], forecast[NUMBERS][: len(result)], rtol=1e-5)


def test_shuffled_rows_and_renamed_columns(panel, forecast):
    first = ~panel["item_id"].duplicated()
    shuffled = pd.concat([panel[first], panel[~first].sample(frac=1, random_state=3)])
    renamed = shuffled.rename(columns={"item_id": "shop", "timestamp": "when", "target": "sold"})[
        ["sold", "when", "shop"]
    ]
    result = predict(renamed.assign(other="x"), id_column="shop", timestamp_column="when", target="sold")
    assert result.columns.tolist() == ["shop", "when", "target_name", *NUMBERS]
    assert set(result["target_name"]) == {"sold"}
    pd.testing.assert_frame_equal(result[NUMBERS], forecast[NUMBERS])


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float32", "Float64", "bool", "object"])
def test_targets_of_other_types(dtype):
    frame = make_series(stamps=HOURS[:96]).assign(target=np.arange(96) % 2)
    expected = predict(frame.astype({"target": float}), prediction_length=3)
    pd.testing.assert_frame_equal(predict(frame.astype({"target": dtype}), prediction_length=3), expected)


def test_frame_is_untouched(panel):
    before = panel.copy(deep=True)
    frame = panel.set_flags(allows_duplicate_labels=False)
    predict(frame)
    pd.testing.assert_frame_equal(frame, before, check_flags=False)


@pytest.mark.parametrize(
    ("kind", "make"),
    [(pl.DataFrame, pl.from_pandas), (pa.Table, lambda frame: pa.Table.from_pandas(frame, preserve_index=False))],
)
def test_polars_and_arrow_come_back_as_they_came(panel, forecast, kind, make):
    given = make(panel)
    result = predict(given)
    assert isinstance(result, kind)
    pd.testing.assert_frame_equal(result.to_pandas(), forecast, check_dtype=False)
    names = result.column_names if kind is pa.Table else result.columns
    for name in ("item_id", "timestamp"):
        assert (
            result.schema.field(name).type == given.schema.field(name).type
            if kind is pa.Table
            else (result.schema[name] == given.schema[name])
        )
    assert names == forecast.columns.tolist()


def test_lazy_polars(panel, forecast):
    np.testing.assert_array_equal(predict(pl.from_pandas(panel).lazy())[NUMBERS].to_numpy(), forecast[NUMBERS])


def test_without_ids():
    frame = make_series().drop(columns="item_id")
    result = predict(frame, id_column=None)
    assert set(result["item_id"]) == {"series_0"}
    pd.testing.assert_frame_equal(result[NUMBERS], predict(make_series())[NUMBERS])


# ------------------------------------------------------------------------------------------------------------- the time


@pytest.mark.parametrize("dtype", ["int64", "int16", "uint32", "Int64"])
def test_integer_stamps_stay_integers(dtype):
    frame = make_series().assign(timestamp=pd.array(np.arange(3, 3 + 2 * 240, 2), dtype=dtype))
    result = predict(frame)
    assert result["timestamp"].dtype == frame["timestamp"].dtype
    assert result["timestamp"].tolist() == list(range(483, 483 + 24, 2))
    np.testing.assert_array_equal(result[NUMBERS], predict(make_series())[NUMBERS])


def test_a_zone_over_a_change_of_clocks(forecast):
    zoned = pd.date_range("2024-03-21", periods=240, freq="h", tz="Europe/Berlin")
    result = predict(make_series("b", zoned))
    assert result["timestamp"].dtype == zoned.dtype
    assert (result["timestamp"].diff().dropna() == pd.Timedelta(hours=1)).all()
    np.testing.assert_allclose(result[NUMBERS], forecast[NUMBERS][:12], rtol=1e-5)
    days = pd.date_range("2023-10-01", periods=26, freq="D", tz="Europe/Berlin")
    ahead = predict(make_series("b", days), prediction_length=7)["timestamp"]
    assert set(ahead.dt.hour) == {0}, "midnight stays midnight"
    assert ahead.diff().max() == pd.Timedelta(hours=25)


@pytest.mark.parametrize(("freq", "season"), [("h", 24), ("D", 7), ("MS", 12), ("QS-OCT", 4), ("B", 5)])
def test_without_a_length_one_season_is_forecast(freq, season):
    frame = make_series(stamps=pd.date_range("2000-01-03", periods=80, freq=freq))
    assert len(predict(frame, prediction_length=None)) == season


def test_text_stamps():
    text = make_series().assign(timestamp=HOURS.astype(str))
    pd.testing.assert_frame_equal(predict(text), predict(make_series()))


def test_values_missing_as_nan_or_as_rows_are_the_same():
    frame = make_series()
    missing = [20, 21, 22, 100, 150]
    marked = frame.assign(target=frame["target"].mask(frame.index.isin(missing)))
    with pytest.warns(TsarWarning, match="missing rows inserted: 5"):
        result = predict(frame.drop(index=missing))
    pd.testing.assert_frame_equal(result, predict(marked))
    assert np.isfinite(result[NUMBERS].to_numpy()).all()
    assert not np.array_equal(result[NUMBERS], predict(frame)[NUMBERS])


def test_missing_end_is_forecast_from_where_the_rows_end():
    frame = make_series()
    frame.loc[frame.index[-5:], "target"] = np.nan
    result = predict(frame)
    assert result["timestamp"].iloc[0] == HOURS[-1] + pd.Timedelta(hours=1)
    assert np.isfinite(result[NUMBERS].to_numpy()).all()


# ---------------------------------------------------------------------------------------------------------- odd series


@pytest.mark.parametrize("value", [0.0, 5.0, -3.25, 0.1, 1e30, 1e-30, 1e300, -5e-324, np.finfo(float).max])
def test_constants_are_exact(value):
    result = predict(make_series(stamps=HOURS[:50]).assign(target=value), prediction_length=80)
    assert (result[NUMBERS].to_numpy() == value).all()


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_powers_of_two_are_exactly_equivariant(panel, forecast, scale):
    scaled = predict(panel.assign(target=panel["target"] * scale))
    np.testing.assert_array_equal(scaled[NUMBERS], forecast[NUMBERS] * scale)


@pytest.mark.parametrize("scale", [1e30, -1e30, 1e-30, -1.0, 1e300, 1e-300])
def test_any_scale_and_sign_is_finite(panel, forecast, scale):
    scaled = predict(panel.assign(target=panel["target"] * scale))
    assert np.isfinite(scaled[NUMBERS].to_numpy()).all()
    assert (np.diff(scaled[NAMES].to_numpy(), axis=1) >= 0).all()
    if scale > 0:
        np.testing.assert_allclose(scaled[NUMBERS], forecast[NUMBERS] * scale, rtol=1e-4)


def test_extreme_values_together():
    target = np.where(np.arange(100) % 2, 1.7e308, -1.7e308)
    frame = make_series(stamps=HOURS[:100]).assign(target=target)
    result = predict(frame, prediction_length=70, quantile_levels=[0.001, *LEVELS, 0.95, 0.9999])
    assert np.isfinite(result[NUMBERS].to_numpy()).all()
    assert (np.diff(result.iloc[:, 4:].to_numpy(), axis=1) >= 0).all()


def test_one_row():
    with pytest.warns(TsarWarning, match="only one observed value"):
        result = predict(make_series(stamps=HOURS[:1]), freq="h")
    assert len(result) == 12
    assert (result[NUMBERS].to_numpy() == make_series(stamps=HOURS[:1])["target"].iloc[0]).all()


def test_an_item_without_values_is_missing_with_a_warning(panel, forecast):
    empty = make_series("empty", HOURS[:10]).assign(target=np.nan)
    with pytest.warns(TsarWarning, match=r"no observed value in 1 of 4 items \('empty'\)"):
        result = predict(pd.concat([empty, panel], ignore_index=True))
    assert result["item_id"].tolist()[:12] == ["empty"] * 12
    assert result[NUMBERS][:12].isna().all(axis=None)
    assert result["timestamp"].iloc[0] == HOURS[10]
    np.testing.assert_allclose(result[NUMBERS][12:], forecast[NUMBERS], rtol=1e-5)


def test_an_item_without_values_in_the_context_is_missing_with_a_warning(panel, forecast):
    ended = make_series("ended")
    ended.loc[ended.index[-50:], "target"] = np.nan
    frame = pd.concat([panel[panel["item_id"] == "c"], ended])
    with pytest.warns(
        TsarWarning, match="no observed value within the context in 1 of 2 items, first 'ended'"
    ) as caught:
        result = predict(frame, context_length=50)
    assert [Path(warning.filename).name for warning in caught] == ["test_forecaster.py"], "points at the caller"
    assert result[NUMBERS][12:].isna().all(axis=None)
    np.testing.assert_allclose(result[NUMBERS][:12], forecast[NUMBERS][24:], rtol=1e-5)
    assert np.isfinite(predict(frame, context_length=51)[NUMBERS].to_numpy()).all()


# ------------------------------------------------------------------------------------------------- levels and horizons


def test_levels_come_as_asked(panel, forecast):
    asked = [0.975, 0.5, 0.025, 0.1, 1 / 3, 0.001, 0.999]
    result = predict(panel, quantile_levels=asked)
    assert result.columns[4:].tolist() == ["0.975", "0.5", "0.025", "0.1", "0.333333333333", "0.001", "0.999"]
    np.testing.assert_array_equal(result[["0.1", "0.5", "predictions"]], forecast[["0.1", "0.5", "predictions"]])
    ascending = result[["0.001", "0.025", "0.1", "0.333333333333", "0.5", "0.975", "0.999"]].to_numpy()
    assert (np.diff(ascending, axis=1) >= 0).all()


def test_levels_without_the_median(panel, forecast):
    result = predict(panel, quantile_levels=[0.9])
    assert result.columns[3:].tolist() == ["predictions", "0.9"]
    np.testing.assert_array_equal(result[["predictions", "0.9"]], forecast[["predictions", "0.9"]])


def test_levels_and_length_of_a_call_win(panel, forecast):
    forecaster = Forecaster(prediction_length=12).fit(panel)
    result = forecaster.predict(prediction_length=3, quantile_levels=[0.25])
    assert result.columns[4:].tolist() == ["0.25"]
    assert len(result) == 9
    assert forecaster.get_params()["prediction_length"] == 12
    pd.testing.assert_frame_equal(forecaster.predict(), forecast)


def test_predict_quantiles_is_predict_as_numbers(panel, forecast):
    numbers = Forecaster(prediction_length=12).fit(panel).predict_quantiles(quantile_levels=[0.9, 0.1])
    assert numbers.levels.tolist() == [0.1, 0.9]
    np.testing.assert_array_equal(numbers.quantiles.reshape(-1, 2), forecast[["0.1", "0.9"]])


@pytest.mark.parametrize("horizon", [1, 2, 16, 17, 63, 64, 65, 128, 200, 512, 576, 577, 720])
def test_horizons(horizon):
    result = predict(make_series(), prediction_length=horizon)
    quantiles = result[NAMES].to_numpy()
    assert quantiles.shape == (horizon, 9)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (np.abs(quantiles - 10) < 10).all()
    assert result["timestamp"].iloc[-1] == HOURS[-1] + pd.Timedelta(hours=horizon)


def test_shorter_forecast_is_the_start_of_a_longer_one():
    """Within one answer of the model exactly; a longer one leans on other hidden tokens, so it is near, not equal."""
    longest = predict(make_series(), prediction_length=64)[NUMBERS].to_numpy()
    for horizon in (1, 16, 40, 63):
        shorter = predict(make_series(), prediction_length=horizon)[NUMBERS].to_numpy()
        np.testing.assert_allclose(shorter, longest[:horizon], rtol=1e-5)


# ------------------------------------------------------------------------------------------------- the same whatever


def test_predict_is_pure(panel):
    forecaster = Forecaster(prediction_length=5).fit(panel)
    before, values = dict(vars(forecaster)), forecaster.panel_.values.copy()
    once = forecaster.predict()
    other = forecaster.predict(make_series("z", HOURS[:100]), prediction_length=2, quantile_levels=[0.3])
    assert vars(forecaster) == before
    assert all(vars(forecaster)[name] is value for name, value in before.items())
    np.testing.assert_array_equal(forecaster.panel_.values, values)
    assert other["item_id"].tolist() == ["z", "z"]
    pd.testing.assert_frame_equal(forecaster.predict(), once)


def test_predict_of_a_frame_equals_fit_and_predict(panel, forecast):
    pd.testing.assert_frame_equal(Forecaster(prediction_length=12).predict(panel), forecast)


@pytest.mark.parametrize("batch_size", [1, 2, np.int64(3)])
def test_batch_size_does_not_matter(panel, forecast, batch_size):
    np.testing.assert_allclose(predict(panel, batch_size=batch_size)[NUMBERS], forecast[NUMBERS], rtol=1e-5)


def test_alone_as_in_a_panel(panel, forecast):
    for item_id in "abc":
        alone = predict(panel[panel["item_id"] == item_id])
        np.testing.assert_allclose(alone[NUMBERS], forecast.loc[forecast["item_id"] == item_id, NUMBERS], rtol=1e-5)


def test_context_length_is_what_is_read():
    frame = make_series(stamps=pd.date_range("2024-01-01", periods=500, freq="h"))
    short = predict(frame, context_length=96)
    pd.testing.assert_frame_equal(short[NUMBERS], predict(frame[-96:])[NUMBERS])
    assert not np.array_equal(short[NUMBERS], predict(frame)[NUMBERS])


def test_the_future_of_another_frame_cannot_matter(panel, forecast):
    """Leakage: the forecast knows the rows it was given and nothing else, whatever was forecast before."""
    cutoff = HOURS[150]
    poisoned = panel.assign(target=panel["target"].where(panel["timestamp"] <= cutoff, 1e9))
    forecaster = Forecaster(prediction_length=12)
    forecaster.fit(poisoned).predict()
    expected = predict(panel[panel["timestamp"] <= cutoff])
    pd.testing.assert_frame_equal(forecaster.predict(poisoned[poisoned["timestamp"] <= cutoff]), expected)
    pd.testing.assert_frame_equal(forecaster.fit(poisoned[poisoned["timestamp"] <= cutoff]).predict(), expected)


def test_rows_of_another_item_do_not_matter(panel, forecast):
    later = make_series("a", pd.date_range(HOURS[190], periods=300, freq="h"), 1e6, 9)
    result = predict(pd.concat([panel, later], ignore_index=True))
    for item_id in "bc":
        rows = result["item_id"] == item_id
        np.testing.assert_allclose(result.loc[rows, NUMBERS], forecast.loc[rows, NUMBERS], rtol=1e-5)
    assert not np.allclose(result.loc[result["item_id"] == "a", "0.5"], forecast.loc[forecast["item_id"] == "a", "0.5"])


def test_threads_share_a_forecaster(panel):
    forecaster = Forecaster(prediction_length=30).fit(panel)
    frames = [make_series(str(seed), scale=seed + 1.0, seed=seed) for seed in range(16)]
    serial = [forecaster.predict(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        for result, expected in zip(pool.map(forecaster.predict, frames), serial, strict=True):
            pd.testing.assert_frame_equal(result, expected)


def test_random_state_and_global_seeds_do_not_matter(panel, forecast):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    pd.testing.assert_frame_equal(predict(panel, random_state=5), forecast)


# ------------------------------------------------------------------------------------------------------------- sklearn


def test_the_constructor_only_stores():
    options = dict.fromkeys(Forecaster().get_params(), object())
    forecaster = Forecaster(**options)
    assert vars(forecaster) == options, "nothing is checked, copied or added"


def test_clone_get_and_set_params(panel):
    forecaster = Forecaster(prediction_length=3, quantile_levels=[0.2]).fit(panel)
    other = clone(forecaster)
    assert other.get_params() == forecaster.get_params()
    assert not hasattr(other, "panel_")
    assert other.set_params(prediction_length=4) is other
    assert (other.prediction_length, forecaster.prediction_length) == (4, 3)
    assert repr(other) == "Forecaster(prediction_length=4, quantile_levels=[0.2])"
    with pytest.raises(ValueError, match="horizon"):
        other.set_params(horizon=3)


def test_fit_returns_itself_and_forgets_what_was(panel):
    forecaster = Forecaster(prediction_length=2)
    assert forecaster.fit(panel, None) is forecaster
    assert forecaster.n_features_in_ == 1
    forecaster.fit(make_series("only"))
    assert forecaster.predict()["item_id"].unique().tolist() == ["only"]


def test_pickle_and_copy(panel, forecast):
    forecaster = Forecaster(prediction_length=12).fit(panel)
    for other in (pickle.loads(pickle.dumps(forecaster)), copy.deepcopy(forecaster)):
        pd.testing.assert_frame_equal(other.predict(), forecast)


def test_not_fitted():
    assert code_of(Forecaster().predict) == "forecaster.not_fitted"
    assert code_of(Forecaster().predict_quantiles) == "forecaster.not_fitted"


@pytest.mark.parametrize(
    ("option", "code"),
    [
        *[({"prediction_length": value}, "option.prediction_length") for value in (0, -1, 2.0, "3", True, np.nan, [1])],
        *[({"context_length": value}, "option.invalid") for value in (0, -1, 2.0, "3", True, "auto")],
        *[({"batch_size": value}, "option.invalid") for value in (0, -1, 2.0, "3", True, None)],
        *[
            ({"quantile_levels": value}, "option.quantile_level")
            for value in ([], [0.0], [1.0], [0.5, 0.5], [-0.1], [np.nan], ["x"], 0.5, None, "0.5", [[0.1, 0.2]])
        ],
        *[({"device": value}, "device.unavailable") for value in ("warp", "cuda:99", "", None, 3.5)],
        ({"model": "tsar-giant"}, "model.unknown_name"),
        ({"model": "./nowhere"}, "model.unknown_name"),
        ({"model": Path("nowhere")}, "model.unknown_name"),
        ({"model": ""}, "model.unknown_name"),
        ({"model": None}, "model.unknown_name"),
        ({"model": 3}, "model.unknown_name"),
        ({"freq": "rubbish"}, "frequency.unknown_alias"),
        ({"freq": "D"}, "frequency.off_grid"),
        ({"id_column": "shop"}, "frame.missing_column"),
        ({"timestamp_column": "when"}, "frame.missing_column"),
        ({"target": "sold"}, "frame.missing_column"),
        ({"target": "timestamp"}, "option.invalid"),
        ({"timestamp_column": "predictions"}, "frame.missing_column"),
    ],
    ids=repr,
)
def test_bad_options_have_codes(option, code):
    frame = make_series(stamps=HOURS[:30])
    assert code_of(predict, frame, **option) == code


def test_bad_options_of_a_call_have_codes():
    forecaster = Forecaster().fit(make_series(stamps=HOURS[:30]))
    assert code_of(forecaster.predict, prediction_length=0) == "option.prediction_length"
    assert code_of(forecaster.predict, quantile_levels=[2]) == "option.quantile_level"
    assert code_of(forecaster.predict, [1, 2]) == "frame.not_a_frame"
    assert code_of(Forecaster().fit, None) == "frame.not_a_frame"


def test_names_taken_by_the_forecast_are_refused():
    frame = make_series(stamps=HOURS[:30]).rename(columns={"item_id": "0.5"})
    assert code_of(predict, frame, id_column="0.5") == "option.invalid"


def test_an_absent_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert code_of(predict, make_series(stamps=HOURS[:30]), device="cuda") == "device.unavailable"


def test_an_unknown_model_lists_the_names():
    with pytest.raises(TsarError) as caught:
        predict(make_series(stamps=HOURS[:30]), model="tsar-giant")
    assert "tsar-tiny" in str(caught.value)


# ------------------------------------------------------------------------------------------------------ models, folders


def test_a_path_or_a_decoder_is_a_model(panel, forecast):
    folder = find_model("tsar-tiny")
    for model in (folder, str(folder), load_model("tsar-tiny")):
        pd.testing.assert_frame_equal(predict(panel, model=model), forecast)


def test_no_warnings_of_others(panel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(panel)
