"""`Forecaster` with the shipped weights: what every call promises, from the frame to the frame."""

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from tsar import Forecaster, list_models, load_model
from tsar.baselines import seasonal_naive
from tsar.errors import CODES, ModelError, NotFittedError, OptionError, ReleaseError, TsarError, TsarWarning
from tsar.model.config import num_parameters
from tsar.storage import read_folder

LEVELS = [str(level) for level in np.round(np.arange(0.1, 0.95, 0.1), 1)]


def make_panel(items: int = 3, length: int = 150) -> pd.DataFrame:
    dice = np.random.default_rng(0)
    season = 10 * np.sin(2 * np.pi * np.arange(length) / 7)
    frames = [
        pd.DataFrame(
            {
                "item_id": f"shop {place}",
                "timestamp": pd.date_range("2024-01-01", periods=length - 20 * place, freq="D"),
                "target": (50 + place * season + dice.normal(0, 1, length))[: length - 20 * place],
            }
        )
        for place in range(items)
    ]
    return pd.concat(frames[::-1], ignore_index=True)


PANEL = make_panel()


def predict(df=PANEL, horizon=14, **options) -> pd.DataFrame:
    return Forecaster(prediction_length=horizon, **options).fit(df).predict()


def test_schema_order_and_stamps():
    forecast = predict()
    assert list(forecast.columns) == ["item_id", "timestamp", "target_name", "predictions", *LEVELS]
    assert forecast["item_id"].drop_duplicates().tolist() == ["shop 2", "shop 1", "shop 0"]
    first = forecast.groupby("item_id", sort=False)["timestamp"].first()
    last = PANEL.groupby("item_id", sort=False)["timestamp"].last()
    assert (first - last == pd.Timedelta("1D")).all() and len(forecast) == 3 * 14
    assert np.isfinite(forecast[LEVELS]).all(axis=None) and (np.diff(forecast[LEVELS]) >= 0).all()
    assert forecast["predictions"].equals(forecast["0.5"].rename("predictions"))


def test_rows_names_and_kinds_do_not_matter():
    before, expected = PANEL.copy(), predict()[LEVELS].to_numpy()
    ids = pd.unique(PANEL["item_id"])
    shuffled = pd.concat([PANEL[PANEL["item_id"] == item].sample(frac=1, random_state=1) for item in ids])
    assert np.array_equal(predict(shuffled)[LEVELS], expected)
    renamed = PANEL.rename(columns={"item_id": "shop", "timestamp": "day", "target": "sales"})
    names = {"id_column": "shop", "timestamp_column": "day", "target": "sales"}
    assert np.array_equal(predict(renamed, **names)[LEVELS], expected)
    numbered = PANEL.assign(item_id=PANEL["item_id"].str[-1].astype("int32"))
    assert np.array_equal(predict(numbered)[LEVELS], expected) and predict(numbered)["item_id"].dtype == "int32"
    from_polars = predict(pl.from_pandas(PANEL))
    assert isinstance(from_polars, pl.DataFrame) and np.array_equal(from_polars.select(LEVELS).to_numpy(), expected)
    pd.testing.assert_frame_equal(PANEL, before)


def test_alone_as_in_any_batch():
    together = predict().set_index("item_id")
    single = predict(batch_size=1).set_index("item_id")
    np.testing.assert_allclose(single[LEVELS], together[LEVELS], rtol=1e-4)
    for item, rows in PANEL.groupby("item_id"):
        np.testing.assert_allclose(predict(rows)[LEVELS], together.loc[item, LEVELS], rtol=1e-4)


def test_predict_is_pure_and_threads_agree():
    forecaster = Forecaster(prediction_length=7).fit(PANEL)
    before = dict(vars(forecaster))
    expected = forecaster.predict()
    forecaster.predict(make_panel(1), prediction_length=3, quantile_levels=[0.5])
    assert vars(forecaster) == before
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: forecaster.predict(), range(16)):
            pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("factor", [2.0**40, 2.0**-40, 1e30, 1e-30])
def test_scale_equivariance(factor):
    scaled = predict(PANEL.assign(target=PANEL["target"] * factor))[LEVELS].to_numpy()
    np.testing.assert_allclose(scaled / factor, predict()[LEVELS], rtol=1e-3)


def test_the_future_cannot_matter():
    is_past = PANEL["timestamp"] < "2024-04-01"
    expected = predict(PANEL[is_past])
    poisoned = PANEL.assign(target=PANEL["target"].where(is_past, 1e12))
    pd.testing.assert_frame_equal(predict(poisoned[is_past]), expected)


@pytest.mark.parametrize("horizon", [1, 64, 65, 576, 600])
def test_any_horizon_and_levels(horizon):
    forecaster = Forecaster(prediction_length=horizon, quantile_levels=[0.99, 0.025, 0.5]).fit(make_panel(1))
    forecast = forecaster.predict()
    assert len(forecast) == horizon and list(forecast.columns[-3:]) == ["0.99", "0.025", "0.5"]
    assert (forecast["0.025"] < forecast["0.5"]).all() and (forecast["0.5"] < forecast["0.99"]).all()
    assert forecaster.predict_quantiles().quantiles.shape == (1, horizon, 3)


def test_constant_short_and_empty_items():
    days = pd.date_range("2024-01-01", periods=30, freq="D")
    odd = pd.concat(
        [
            pd.DataFrame({"item_id": "constant", "timestamp": days, "target": 7.0}),
            pd.DataFrame({"item_id": "one row", "timestamp": days[:1], "target": 3.0}),
            pd.DataFrame({"item_id": "unknown", "timestamp": days, "target": np.nan}),
        ]
    )
    with pytest.warns(TsarWarning):
        forecast = predict(odd, 5).set_index("item_id")[LEVELS]
    assert (forecast.loc["constant"] == 7).all(axis=None) and (forecast.loc["one row"] == 3).all(axis=None)
    assert forecast.loc["unknown"].isna().all(axis=None)


def test_sklearn_conventions():
    forecaster = Forecaster(prediction_length=5, quantile_levels=[0.5], device="cpu")
    assert clone(forecaster).get_params() == forecaster.get_params()
    assert forecaster.set_params(prediction_length=2).prediction_length == 2
    assert forecaster.fit(PANEL) is forecaster and "prediction_length=2" in repr(forecaster)


def test_saved_forecaster_predicts_the_same_in_a_new_process(tmp_path):
    forecaster = Forecaster(prediction_length=9, quantile_levels=[0.2, 0.5]).fit(PANEL)
    forecaster.save(tmp_path / "kept")
    script = "from tsar import Forecaster; import sys\nForecaster.load(sys.argv[1]).predict().to_pickle(sys.argv[2])"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", script, tmp_path / "kept", tmp_path / "out.pkl"], check=True, env=environment)
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "out.pkl"), forecaster.predict(), check_exact=True)
    (tmp_path / "kept" / "model" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ReleaseError) as caught:
        Forecaster.load(tmp_path / "kept")
    assert caught.value.code == "release.bad_hash"


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"horizon": 0}, OptionError, "option.prediction_length"),
        ({"horizon": 2.5}, OptionError, "option.prediction_length"),
        ({"quantile_levels": [0.5, 1.0]}, OptionError, "option.quantile_level"),
        ({"batch_size": 0}, OptionError, "option.invalid"),
        ({"context_length": -1}, OptionError, "option.invalid"),
        ({"model": "no-such-model"}, ModelError, "model.unknown_name"),
        ({"device": "cuda:99"}, OptionError, "device.unavailable"),
    ],
)
def test_bad_options_have_codes(options, kind, code):
    with pytest.raises(kind) as caught:
        predict(**options)
    assert caught.value.code == code


def test_predict_before_fit_is_refused():
    with pytest.raises(NotFittedError) as caught:
        Forecaster().predict()
    assert caught.value.code == "forecaster.not_fitted"


@pytest.mark.parametrize("release", list_models(), ids=lambda release: release.name)
def test_every_release_is_whole_and_forecasts_a_season(release):
    files = read_folder(release.path)
    assert {"card.md", "eval.json", "corpus.json", "train.yaml"} <= files.keys()
    decoder = load_model(release.path)
    assert release.parameters == num_parameters(decoder.config)
    assert release.name != "tsar-tiny" or release.parameters <= 4_000_000
    history = make_panel(3)
    past = history[history.groupby("item_id").cumcount(ascending=False) >= 14]
    forecast = Forecaster(model=release.path, prediction_length=14).fit(past).predict().set_index("item_id")
    actual = history[history["item_id"] == "shop 2"]["target"].to_numpy()
    naive = seasonal_naive(actual[:-14], 14, 7)
    assert np.abs(forecast.loc["shop 2", "predictions"] - actual[-14:]).mean() < np.abs(naive - actual[-14:]).mean()


values = st.one_of(st.floats(-1e30, 1e30), st.sampled_from([0.0, 1.0, np.nan, np.inf, 1e-300]), st.integers(-5, 5))
rows = st.tuples(st.sampled_from(["a", "ü", "", "b"]), st.integers(0, 25), values)


@settings(deadline=None, max_examples=40)
@given(st.lists(rows, max_size=40), st.sampled_from([None, "D", "h", "MS", "W"]), st.integers(1, 70))
def test_a_coded_error_or_a_sound_forecast(given_rows, freq, horizon):
    frame = pd.DataFrame(given_rows, columns=["item_id", "step", "target"])
    frame["timestamp"] = pd.Timestamp("2023-05-01") + pd.to_timedelta(frame.pop("step"), "D")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TsarWarning)
            forecast = predict(frame, horizon, freq=freq)
    except TsarError as error:
        assert error.code in CODES
        return
    items = frame["item_id"].drop_duplicates().tolist()
    assert forecast["item_id"].tolist() == [item for item in items for _ in range(horizon)]
    seen = frame.groupby("item_id")["target"].apply(lambda target: target.notna().any())
    known = forecast["item_id"].map(seen).to_numpy()
    assert np.isfinite(forecast[LEVELS].to_numpy()[known]).all() and forecast[LEVELS][~known].isna().all(axis=None)
    assert (np.diff(forecast[LEVELS].to_numpy()[known]) >= 0).all()
