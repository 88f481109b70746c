"""Any period is followed, of any shape, and nothing changes where there is none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.errors import OptionError
from tsar.refining.seasonal import follow_period

SHAPES = ("sine", "sawtooth", "profile")
HORIZON = 64


def make_series(period, shape, length, noise=0.1):
    """A repeated profile of deviation 1 around 10, without and with noise."""
    rng = np.random.default_rng(period)
    phase = (np.arange(length) + rng.integers(period)) % period
    if shape == "sine":
        profile = np.sin(2 * np.pi * np.arange(period) / period + 0.8)
    else:
        profile = np.arange(period, dtype=float) if shape == "sawtooth" else rng.normal(size=period)
    clean = 10 + (profile[phase] - profile.mean()) / profile.std()
    return clean, clean + noise * rng.normal(size=length)


def skills(cases, **options):
    """1 - error / deviation of each case (period, shape), zero-shot, all in one panel."""
    parts, truths = [], []
    for number, (period, shape) in enumerate(cases):
        length = max(1024, 8 * period)
        clean, noisy = make_series(period, shape, length + HORIZON)
        parts.append(pd.DataFrame({"item_id": number, "timestamp": np.arange(length), "target": noisy[:length]}))
        truths.append(clean[length:])
    forecaster = Forecaster(prediction_length=HORIZON, symmetrize=False, **options)
    median = forecaster.predict(pd.concat(parts))["predictions"].to_numpy().reshape(-1, HORIZON)
    return 1 - np.abs(median - np.stack(truths)).mean(1)  # the deviation is 1


@pytest.mark.slow
def test_every_period_from_2_to_400_is_followed():
    cases = [(period, SHAPES[period % 3]) for period in range(2, 401)]
    skill = skills(cases)
    missed = {case: round(float(value), 2) for case, value in zip(cases, skill, strict=True) if value < 0.5}
    assert missed == {}
    assert np.median(skill) > 0.85


def test_odd_periods_are_followed_and_the_model_alone_does_not():
    cases = [(period, "profile") for period in (3, 7, 71, 131, 263)]
    assert (skills(cases) > 0.8).all()
    alone = skills(cases, follow_period=False)
    assert (alone[:2] > 0.8).all() and (alone[2:] < 0.5).all()


def no_model(values, offsets, prediction_length):
    """A model that knows the mean and nothing else."""
    means = [np.nanmean(values[start:end]) for start, end in pairwise(offsets)]
    return np.array(means)[:, None, None] + np.zeros((1, prediction_length, 1)) + np.array([-1.0, 0.0, 1.0])


def follow(series, model=no_model, horizon=50):
    values, offsets = np.concatenate(series), np.cumsum([0, *map(len, series)])
    before = model(values, offsets, horizon)
    return before, follow_period(before, values, offsets, model)


def test_series_without_a_period_stay_as_they_are_to_the_bit():
    rng = np.random.default_rng(0)
    series = [
        rng.normal(size=500),
        rng.normal(size=500).cumsum(),
        np.full(300, 7.0),
        np.array([1.0]),
        np.full(9, np.nan),
    ]
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="Mean of empty"):
        before, after = follow(series)
    np.testing.assert_array_equal(before, after)


def test_a_period_that_ended_is_not_followed():
    noisy = make_series(50, "profile", 1000)[1]
    noisy[800:] = 10 + 0.1 * np.random.default_rng(1).normal(size=200)
    before, after = follow([noisy])
    np.testing.assert_array_equal(before, after)


def test_a_better_model_is_left_alone():
    clean, noisy = make_series(50, "profile", 1074)

    def oracle(values, offsets, prediction_length):
        answers = []
        for start, end in pairwise(offsets):  # all begin with the series, so their length says where they end
            unit = values[end - 1] / noisy[end - start - 1]  # what it is shown may be scaled
            answer = np.full(prediction_length, np.nan)
            known = clean[end - start :][:prediction_length]
            answer[: len(known)] = unit * known
            answers.append(answer)
        return np.array(answers)[..., None] + np.array([-1.0, 0.0, 1.0])

    before, after = follow([noisy[:1024]], oracle)
    np.testing.assert_array_equal(before, after)


def test_cycles_are_scale_free_independent_of_other_items_and_bridge_gaps():
    clean, noisy = make_series(50, "profile", 1074)
    other = make_series(33, "sawtooth", 700)[1]
    truth = clean[1024:]
    with_gap = noisy[:1024].copy()
    with_gap[930:960] = np.nan
    alone = follow([noisy[:1024]])[1]
    np.testing.assert_allclose(follow([other, noisy[:1024]])[1][1:], alone, rtol=1e-12)
    np.testing.assert_allclose(follow([noisy[:1024] * 2.0**900])[1] / 2.0**900, _centred(alone), atol=1.0)
    for quantiles in (alone, follow([with_gap])[1]):
        assert np.abs(quantiles[0, :, 1] - truth).mean() < 0.3
        assert (np.diff(quantiles, axis=-1) > 0).all()
        assert (quantiles[0, :, 2] - quantiles[0, :, 0]).mean() < 1.0  # of 2: the spread shrinks with the error


def _centred(quantiles):
    return np.repeat(quantiles[..., 1:2], 3, -1)


def test_the_option_is_checked():
    with pytest.raises(OptionError, match="follow_period"):
        Forecaster(follow_period="auto").predict(pd.DataFrame({"item_id": 0, "timestamp": range(5), "target": 1.0}))


def test_a_missing_end_keeps_the_level():
    clean, noisy = make_series(50, "profile", 1074)
    gone = noisy[:1024] + 100
    gone[950:] = np.nan  # more than a cycle
    quantiles = follow([gone])[1]
    assert np.abs(quantiles[0, :, 1] - clean[1024:] - 100).mean() < 2.0
