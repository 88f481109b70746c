"""The model together with Theta and ETS: weights, alignment, units, threads and processes."""

from __future__ import annotations

import multiprocessing
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.refining.ensemble import PRIOR_WEIGHTS, _num_jobs, backtest_weights, cut_ends, join_classical


def monthly(size=72, seed=0):
    rng = np.random.default_rng(seed)
    step = np.arange(size)
    return 100 + 0.2 * step + 12 * np.sin(2 * np.pi * step / 12) + rng.normal(0, 1.5, size)


def frame(target, name="a"):
    stamps = pd.date_range("2018-01-31", periods=len(target), freq="ME")
    return pd.DataFrame({"item_id": name, "timestamp": stamps, "target": target})


def blind(horizon):
    """A model that always answers with far too low a centre, whatever the panel."""
    return lambda values, offsets: np.full((len(offsets) - 1, horizon, 3), -1000.0) + np.array([-1.0, 0.0, 1.0])


def test_weights_go_to_what_did_well():
    weights = backtest_weights(np.array([[1.0, 1.0, 1.0], [1.0, 4.0, 4.0], [4.0, 1.0, 4.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[[0, 3]], np.tile(PRIOR_WEIGHTS, (2, 1)))
    assert weights[1, 0] > 0.9
    assert weights[2, 1] > 0.7


def test_cut_ends():
    values, offsets = np.arange(10.0), np.array([0, 6, 7, 10])
    cut, starts = cut_ends(values, offsets, 2, 1)
    assert starts.tolist() == [0, 4, 4, 5]
    assert cut.tolist() == [0.0, 1.0, 2.0, 3.0, 7.0]


def test_ensemble_moves_the_centre_and_keeps_the_spread():
    sizes = {"a": 60, "b": 8, "c": 3}
    df = pd.concat(frame(monthly(size, seed), name) for seed, (name, size) in enumerate(sizes.items()))
    plain = Forecaster(prediction_length=6, non_negative=False).predict(df)
    both = Forecaster(prediction_length=6, non_negative=False, ensemble="classical").predict(df)
    spread = plain["0.9"] - plain["0.1"]
    np.testing.assert_allclose(both["0.9"] - both["0.1"], spread, rtol=1e-6)
    assert (both["predictions"] != plain["predictions"]).mean() > 0.9
    assert np.isfinite(both["predictions"]).all()
    alone = Forecaster(prediction_length=6, non_negative=False, ensemble="classical").predict(df[df.item_id == "a"])
    np.testing.assert_allclose(alone["predictions"], both["predictions"][both.item_id == "a"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [3, 6])
def test_a_missing_end_shifts_neither_the_forecast_nor_its_backtests(missing):
    series = monthly(84)
    past = series[:72].copy()
    past[-missing:] = np.nan
    decode = blind(6)
    joined = join_classical(decode(past, np.array([0, 72])), past, np.array([0, 72]), 12, decode)[0, :, 1]
    assert np.abs(joined - series[72:78]).mean() < 8.0  # the weight of the blind model is 0.8 % of its error of 1,100
    both = Forecaster(prediction_length=6, ensemble="classical").predict(frame(past))
    assert np.abs(both["predictions"] - series[72:78]).mean() < 4.0


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e-320])
def test_weights_do_not_depend_on_the_unit(scale):
    errors = np.array([[1.0, 4.0, 4.0], [4.0, 1.0, 2.0]])
    np.testing.assert_allclose(backtest_weights(errors * scale), backtest_weights(errors), rtol=1e-2)


def test_the_join_does_not_depend_on_a_unit_that_is_a_power_of_two():
    series, offsets = monthly(40) / 200, np.array([0, 40])

    def last_value(values, starts):
        return np.broadcast_to(values[starts[1:] - 1, None, None], (1, 4, 3)) * np.array([0.9, 1.0, 1.1])

    expected = join_classical(last_value(series, offsets), series, offsets, 12, last_value)
    for exponent in (1000, -1000):
        scaled = np.ldexp(series, exponent)
        joined = join_classical(last_value(scaled, offsets), scaled, offsets, 12, last_value)
        np.testing.assert_array_equal(np.ldexp(joined, -exponent), expected)
    largest = np.where(np.arange(40) % 2, -1.7e308, 1.7e308)
    assert np.isfinite(join_classical(last_value(largest / 2, offsets), largest, offsets, 1, last_value)).all()


def test_threads_give_the_same_numbers_and_leave_the_filters_of_warnings():
    before = list(warnings.filters)
    forecaster = Forecaster(prediction_length=3, ensemble="classical").fit(frame(monthly(30)))
    expected = forecaster.predict()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: forecaster.predict(), range(4)))
    for result in results:
        pd.testing.assert_frame_equal(result, expected)
    assert warnings.filters == before


def test_the_number_of_processes_can_be_limited():
    assert _num_jobs(1) == 1
    assert _num_jobs(2) == -1
    for jobs in (1, 3):
        with joblib.parallel_config(n_jobs=jobs):
            assert _num_jobs(2) == jobs


@pytest.mark.slow
def test_a_daemonic_process_starts_no_others():
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # its workers are daemonic
        assert pool.apply(_num_jobs, (2,)) == 1
