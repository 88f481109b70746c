"""The choices of inference of `Forecaster`: several contexts, mirror symmetry, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
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


@pytest.mark.parametrize("context_length", [[64, 128], (64, 128), np.array([64, 128]), np.int64(64)], ids=repr)
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
    ],
    ids=repr,
)  # fmt: skip
def test_choices_of_inference_are_checked(option):
    with pytest.raises(TsarError) as caught:
        Forecaster(**option).fit(make_series())
    assert caught.value.code == "option.invalid"
