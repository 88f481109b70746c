"""The choices of inference of `Forecaster`: several contexts, mirror symmetry, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from tsar import Forecaster
from tsar.errors import TsarError

NAMES = [str(level) for level in np.arange(1, 10) / 10]
NUMBERS = ["predictions", *NAMES]


def make_series(item_id="a", size=240, seed=0):
    """A noisy daily cycle."""
    rng = np.random.default_rng(seed)
    wave = 10 + np.sin(2 * np.pi * np.arange(size) / 24) + 0.1 * rng.normal(size=size)
    hours = pd.date_range("2024-01-01", periods=size, freq="h")
    return pd.DataFrame({"item_id": item_id, "timestamp": hours, "target": wave})


def predict(df, **options):
    return Forecaster(**{"prediction_length": 12} | options).fit(df).predict()


ARRAYS = [np.array([64, 128]), np.int64(64), np.array(64)]


@pytest.mark.parametrize("context_length", [[64, 128], (64, 128), *ARRAYS], ids=repr)
def test_several_contexts_are_averaged_saved_and_cloned(context_length, tmp_path):
    df = make_series()
    forecaster = Forecaster(prediction_length=np.int64(12), context_length=context_length).fit(df)
    result = forecaster.predict()
    parts = [predict(df, context_length=int(length))[NUMBERS] for length in np.atleast_1d(context_length)]
    np.testing.assert_allclose(result[NUMBERS], sum(part.to_numpy() for part in parts) / len(parts), rtol=1e-6)
    pd.testing.assert_frame_equal(clone(forecaster).fit(df).predict(), result)
    forecaster.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "saved").predict(), result)


def test_the_mirrored_series_has_the_mirrored_forecast():
    df = pd.concat([make_series("a"), make_series("b", 40, 1)], ignore_index=True)
    df["target"] -= df.target.mean()  # both signs, so that nothing is clipped
    upright, mirrored = predict(df), predict(df.assign(target=-df.target))
    np.testing.assert_allclose(mirrored[NAMES[::-1]], -upright[NAMES], rtol=1e-5, atol=1e-7)
    plain = predict(df, symmetrize=False)
    assert not np.allclose(plain[NAMES], upright[NAMES], rtol=1e-3)


@pytest.mark.parametrize(
    "option",
    [
        {"symmetrize": 1}, {"ensemble": "x"}, {"downsample": 0}, {"downsample": "no"}, {"context_length": []},
        {"context_length": [64, 0]}, {"context_length": "abc"}, {"non_negative": None},
        {"context_length": [None]}, {"context_length": np.array([[64]])}, {"context_length": np.array(True)},
        {"context_length": np.array(64.0)}, {"context_length": [[64], [64, 32]]}, {"symmetrize": np.array(True)},
        {"non_negative": np.array([True, False])}, {"non_negative": np.array("auto")}, {"non_negative": 1},
        {"ensemble": np.array(["classical", "x"])},
    ],
    ids=repr,
)  # fmt: skip
def test_choices_of_inference_are_checked(option, tmp_path):
    for call in (
        lambda forecaster: forecaster.fit(make_series()),
        lambda forecaster: forecaster.save(tmp_path / "saved"),
    ):
        with pytest.raises(TsarError) as caught:
            call(Forecaster(**option))
        assert caught.value.code == "option.invalid"


@pytest.mark.parametrize("option", ["symmetrize", "non_negative"])
@pytest.mark.parametrize("value", [True, False])
def test_booleans_of_numpy_are_booleans(option, value):
    df = make_series(size=80).assign(target=np.arange(80) % 3)
    pd.testing.assert_frame_equal(predict(df, **{option: np.bool_(value)}), predict(df, **{option: value}))


@pytest.mark.parametrize("size", [10**12, 10**30])
def test_sizes_beyond_any_series_change_nothing(size):
    df = make_series(size=80)
    plain = predict(df)
    pd.testing.assert_frame_equal(predict(df, downsample=size), plain)
    pd.testing.assert_frame_equal(predict(df, context_length=size), plain)
    pd.testing.assert_frame_equal(predict(df, batch_size=size), plain)


@pytest.mark.parametrize("context_length", [3, 96, 1024, 4096])
def test_any_context_gives_ordered_quantiles_of_the_size_of_the_data(context_length):
    quantiles = predict(make_series(size=5000), prediction_length=48, context_length=context_length)[NAMES].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (np.abs(quantiles - 10) < 3).all()


def test_a_missing_end_is_no_context_of_its_own():
    df = make_series(size=200)
    df.loc[160:, "target"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = [predict(df, context_length=lengths, follow_period=False) for lengths in ([16, 128], [128, 16])]
    for result in both:
        pd.testing.assert_frame_equal(result, predict(df, context_length=128, follow_period=False))


def test_a_device_is_saved_by_name(tmp_path):
    forecaster = Forecaster(prediction_length=3, device=torch.device("cpu")).fit(make_series(size=80))
    forecaster.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    assert loaded.device == "cpu"
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())


@pytest.mark.parametrize(
    "option", [{"random_state": np.random.RandomState(0)}, {"freq": object()}], ids=["random_state", "freq"]
)
def test_what_no_file_can_hold_is_refused(option, tmp_path):
    with pytest.raises(TsarError) as caught:
        Forecaster(**option).save(tmp_path / "saved")
    assert caught.value.code == "option.invalid"
    assert not (tmp_path / "saved").exists()


def test_only_a_saved_forecaster_is_replaced(tmp_path):
    forecaster = Forecaster(prediction_length=3)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"kind": "benchmark", "sha256": {}}')
    for name in ("thesis", "file", "other"):
        with pytest.raises(TsarError) as caught:
            forecaster.save(tmp_path / name)
        assert caught.value.code == "option.invalid"
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    for length in (3, 5):  # into an empty folder, and over an earlier forecaster
        forecaster.set_params(prediction_length=length).save(tmp_path / "empty")
        assert Forecaster.load(tmp_path / "empty").prediction_length == length


def test_one_level_gives_that_level_and_no_made_up_median():
    forecaster = Forecaster(prediction_length=3).fit(make_series(size=80))
    one, all_levels = forecaster.predict_quantiles(quantile_levels=[0.1]), forecaster.predict_quantiles()
    np.testing.assert_array_equal(one.at([0.1]), all_levels.at([0.1]))
    with pytest.raises(TsarError) as caught:
        _ = one.median
    assert caught.value.code == "option.quantile_level"
    np.testing.assert_array_equal(forecaster.predict_quantiles(quantile_levels=[0.5]).median, all_levels.median)
