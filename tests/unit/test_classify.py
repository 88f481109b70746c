"""Classifier and regressor: scikit-learn's own checks, and what they can tell apart."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar import TimeSeriesClassifier, TimeSeriesRegressor
from tsar.errors import OptionError
from tsar.tasks.classify import series_from_frame


@pytest.mark.slow
@parametrize_with_checks(
    [
        TimeSeriesClassifier(length=16),
        TimeSeriesClassifier(length=16, head="logistic"),
        TimeSeriesRegressor(length=16),
    ]
)
def test_scikit_learn_checks(estimator, check, record_property):
    check(estimator)
    record_property("checks of scikit-learn", 1)


def waves(per_class=12, length=80):
    """Sine and sawtooth, at random levels, scales and phases."""
    generator = np.random.default_rng(0)
    time = np.arange(length) / 16 + generator.random((2 * per_class, 1))
    shapes = np.concatenate([np.sin(2 * np.pi * time[:per_class]), 2 * (time[per_class:] % 1) - 1])
    X = generator.normal(size=(len(time), 1)) + generator.uniform(1, 5, (len(time), 1)) * shapes
    return X + 0.5 * generator.normal(size=X.shape), np.repeat(["sine", "saw"], per_class)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["ridge", "logistic", "nearest_mean"])
def test_shapes_are_told_apart_at_any_phase(head):
    X, y = waves()
    score = cross_val_score(TimeSeriesClassifier(head=head, length=128), X, y, cv=2).mean()
    assert score >= 0.9
    assert score > cross_val_score(KNeighborsClassifier(1), X, y, cv=2).mean()


@pytest.mark.slow
def test_a_real_labelled_set_is_better_than_one_nearest_neighbour():
    aeon = pytest.importorskip("aeon.datasets")
    X, y = aeon.load_classification("GunPoint", split="train")
    X_test, y_test = aeon.load_classification("GunPoint", split="test")
    score = TimeSeriesClassifier().fit(X, y).score(X_test, y_test)
    assert score > 0.97  # 1-NN 0.913, with DTW 0.907
    assert score > KNeighborsClassifier(1).fit(X[:, 0], y).score(X_test[:, 0], y_test)


def test_lists_of_any_length_and_channels():
    X, y = waves()
    ragged = [np.stack([row[: 60 + k % 20], -row[: 60 + k % 20]]) for k, row in enumerate(X)]
    model = TimeSeriesClassifier(length=64).fit(ragged, y)
    assert model.score(ragged, y) > 0.9
    np.testing.assert_array_equal(model.predict(ragged[3:4]), model.predict(ragged)[3:4])
    with pytest.raises(OptionError, match="1 channels, those given to fit had 2"):
        model.predict(list(X))


def test_channels_of_an_array_are_those_of_a_list():
    X, y = waves()
    both = np.stack([X, X[:, ::-1]], axis=1)
    first = TimeSeriesRegressor(length=32).fit(both, np.arange(len(y))).predict(both)
    second = TimeSeriesRegressor(length=32).fit(list(both), np.arange(len(y))).predict(list(both))
    np.testing.assert_allclose(first, second)


def test_a_number_is_estimated():
    X, _ = waves()
    spread = X.std(axis=1)
    model = TimeSeriesRegressor(length=64).fit(X[::2], spread[::2])
    assert model.score(X[1::2], spread[1::2]) > 0.6


def test_a_frame_becomes_a_list():
    import pandas as pd

    df = pd.DataFrame({"item_id": list("aab"), "timestamp": pd.to_datetime(["2020", "2021", "2020"]), "target": 1.0})
    with pytest.warns(UserWarning, match="one"):
        series, ids = series_from_frame(df, freq="YS")
    assert [len(one) for one in series] == [2, 1]
    assert ids.tolist() == ["a", "b"]


def test_unknown_choices_are_refused():
    X, y = waves(3, 20)
    with pytest.raises(OptionError, match="head must be one of"):
        TimeSeriesClassifier(head="forest").fit(X, y)
    with pytest.raises(OptionError, match="length must be"):
        TimeSeriesRegressor(length=0).fit(X, np.arange(6.0))
