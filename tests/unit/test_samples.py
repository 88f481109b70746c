"""Sample paths: marginals of the forecast, steps that go together, the same paths in any company."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.special import ndtri

from tsar import Forecaster, aggregate_samples, backtest
from tsar.baselines import Drift
from tsar.conformal import fit_calibration
from tsar.errors import OptionError, TsarError
from tsar.forecast import Forecast
from tsar.metrics import energy_score
from tsar.samples import Dependence, autoregressive, item_generator, nearest_correlation, sum_paths

LEVELS = np.arange(1, 10) / 10


def normal_forecast(items=3, horizon=6):
    spread = np.arange(1, horizon + 1)[:, None] * ndtri(LEVELS)
    return Forecast(np.repeat((10 + spread)[None], items, 0), LEVELS)


def walks(items=4, length=90, seed=0):
    values = np.random.default_rng(seed).normal(size=(items, length)).cumsum(1)
    ids, stamps = np.repeat(np.arange(items), length), np.tile(np.arange(length), items)
    return pd.DataFrame({"item_id": ids, "timestamp": stamps, "target": values.ravel()})


@pytest.mark.parametrize("num_samples", [1, 2, 99, 200])
def test_marginals_are_the_quantiles(num_samples):
    forecast = normal_forecast()
    paths = forecast.sample(num_samples)
    expected = forecast.at(((np.arange(num_samples) + 0.5) / num_samples).tolist())
    np.testing.assert_array_equal(np.sort(paths, axis=1), np.moveaxis(expected, -1, 1))


@pytest.mark.parametrize("lag", [0.0, 0.5, 0.95])
def test_steps_go_together_as_told(lag):
    forecast = Forecast(normal_forecast(1).quantiles, LEVELS, dependence=Dependence(autoregressive(lag, 6), lag))
    paths = forecast.sample(4000)[0]
    np.testing.assert_allclose(np.corrcoef(paths.T), autoregressive(lag, 6), atol=0.05)


def test_correlation_is_found_in_a_backtest():
    """Errors of a random walk's forecast are a random walk: correlation sqrt(i / j) of steps i <= j."""
    result = backtest(Drift(prediction_length=4, freq=1), walks(200, 100), windows=10)
    found = fit_calibration(result).dependence.over(4)
    step = np.arange(1, 5)
    expected = np.sqrt(np.minimum.outer(step, step) / np.maximum.outer(step, step))
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_few_windows_are_shrunk_and_none_give_the_default():
    rng = np.random.default_rng(0)
    few = Dependence.fit(rng.normal(size=(3, 24)))
    assert np.linalg.eigvalsh(few.correlation).min() > 0
    none = Dependence.fit(np.full((5, 3), np.nan))
    np.testing.assert_allclose(none.over(3), Dependence.default().over(3))


def test_longer_horizons_continue_as_an_autoregression():
    longer = Dependence(autoregressive(0.6, 3), 0.6).over(8)
    np.testing.assert_allclose(longer, autoregressive(0.6, 8), atol=1e-12)
    assert np.linalg.eigvalsh(longer).min() > 0


def test_nearest_correlation_is_one():
    fixed = nearest_correlation(np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]))
    np.testing.assert_allclose(np.diagonal(fixed), 1)
    assert np.linalg.eigvalsh(fixed).min() > 0


@pytest.fixture(scope="module")
def forecaster(tiny_release):
    return Forecaster(str(tiny_release), prediction_length=8, freq=1, random_state=3)


def test_paths_of_an_item_are_the_same_in_any_company(forecaster):
    df = walks()
    whole = forecaster.fit(df).sample(num_samples=7)
    backwards = pd.concat([df[df["item_id"] == item] for item in (3, 1, 0, 2)])
    small = Forecaster(**{**forecaster.get_params(), "batch_size": 1})
    for frame, one in ((backwards, forecaster), (df, small), (df[df["item_id"] == 2], forecaster)):
        other = one.sample(frame, num_samples=7)
        merged = other.merge(whole, on=["item_id", "sample", "timestamp"], suffixes=("", "_whole"))
        assert len(merged) == len(other)
        np.testing.assert_allclose(merged["predictions"], merged["predictions_whole"], rtol=1e-4, atol=1e-4)


def test_seed_and_id_make_the_paths():
    draws = {item_generator(item, seed).normal() for item in (1, "1", 2) for seed in (0, 1)}
    assert len(draws) == 6
    assert item_generator(np.int64(1)).normal() == item_generator(1, 0).normal()
    assert item_generator("a").normal() == pytest.approx(-0.3467724485890202, abs=1e-12), "the same on every machine"


def test_frame_of_samples(forecaster):
    df = walks(2)
    samples = forecaster.fit(df).sample(num_samples=3, prediction_length=5)
    assert samples.columns.tolist() == ["item_id", "timestamp", "target_name", "sample", "predictions"]
    assert samples["sample"].tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [0] * 5 + [1] * 5 + [2] * 5
    assert samples["timestamp"].tolist() == list(range(90, 95)) * 6
    quantiles = forecaster.predict(prediction_length=5, quantile_levels=[0.5])
    middle = samples[samples["item_id"] == 0].groupby("timestamp")["predictions"].median()
    np.testing.assert_allclose(middle, quantiles.query("item_id == 0")["predictions"])


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.Table])
def test_sums_over_periods(forecaster, kind):
    frame = walks(2)
    given = {pd.DataFrame: lambda f: f, pl.DataFrame: pl.from_pandas, pa.Table: pa.Table.from_pandas}[kind](frame)
    samples = forecaster.sample(given, num_samples=50)
    weeks = aggregate_samples(samples, 3, quantile_levels=[0.1, 0.9])
    assert type(weeks) is kind
    table = pl.from_arrow(weeks).to_pandas() if kind is pa.Table else pl.DataFrame(weeks).to_pandas()
    assert table["steps"].tolist() == [3, 3, 2] * 2
    assert table["timestamp"].tolist() == [90, 93, 96] * 2
    plain = pl.DataFrame(samples).to_pandas() if kind is not pa.Table else samples.to_pandas()
    first = plain[(plain["item_id"] == 0) & (plain["timestamp"] < 93)].groupby("sample")["predictions"].sum()
    np.testing.assert_allclose(table["0.9"][0], first.quantile(0.9))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_a_single_path_each_is_summed_item_by_item(forecaster, kind):
    samples = forecaster.sample(kind(walks(3)), num_samples=1)
    weeks = aggregate_samples(samples, 3, quantile_levels=[0.5])
    plain, table = (pl.DataFrame(frame).to_pandas() for frame in (samples, weeks))
    assert table["item_id"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["steps"].tolist() == [3, 3, 2] * 3
    sums = plain.groupby("item_id")["predictions"].sum()
    np.testing.assert_allclose(table.groupby("item_id")["predictions"].sum(), sums)


def test_bands_of_sums_need_the_dependence():
    """The week of a random walk: with independent steps the band of the sum would be far too narrow."""
    rng = np.random.default_rng(0)
    actual = rng.normal(size=(4000, 7)).cumsum(1)
    law = Forecast((np.sqrt(np.arange(1, 8))[:, None] * ndtri(LEVELS))[None], LEVELS)
    step = np.arange(1, 8)
    right = Dependence(np.sqrt(np.minimum.outer(step, step) / np.maximum.outer(step, step)), 0.9)
    shares = {}
    for name, dependence in (("right", right), ("independent", Dependence(np.eye(7), 0.0))):
        paths = Forecast(law.quantiles, LEVELS, dependence=dependence).sample(500)
        low, high = np.quantile(sum_paths(paths, 7)[0, :, 0], [0.1, 0.9])
        shares[name] = np.mean((actual.sum(1) >= low) & (actual.sum(1) <= high))
        shares[f"{name} energy"] = energy_score(actual[:40], np.repeat(paths[:, ::5], 40, 0))
    assert abs(shares["right"] - 0.8) < 0.03
    assert shares["independent"] < 0.6
    assert shares["right energy"] < shares["independent energy"]


@pytest.mark.parametrize("num_samples", [0, -1, 2.0, True, "many"])
def test_number_of_samples_is_checked(num_samples):
    with pytest.raises(TsarError, match="num_samples"):
        normal_forecast().sample(num_samples)


def test_aggregates_are_checked(forecaster):
    samples = forecaster.sample(walks(2), num_samples=3)
    for frame, every in ((samples, 0), (samples.iloc[1:], 2)):
        with pytest.raises(TsarError):
            aggregate_samples(frame, every)
    with pytest.raises(TsarError, match=r"frame\.empty"):
        aggregate_samples(samples.iloc[:0], 2)
    with pytest.raises(TsarError, match=r"frame\.missing_column"):
        aggregate_samples(walks(2), 2)
    with pytest.raises(TsarError, match=r"frame\.not_a_frame"):
        aggregate_samples(samples["predictions"].tolist(), 2)
    with pytest.raises(TsarError, match="not whole"):
        aggregate_samples(samples.assign(sample=samples["sample"] % 2), 2)


@pytest.mark.parametrize(
    ("method", "option"),
    [("sample", {"num_samples": 0}), ("predict", {"neighbours": -1}), ("predict_quantiles", {"adapt_steps": 1.5})],
)
def test_numbers_are_checked_before_anything_is_read(method, option):
    forecaster = Forecaster(model="a model that is not there", target=["a", "b"], channel_adapter="pca")
    with pytest.raises(OptionError, match=next(iter(option))):
        getattr(forecaster, method)("no frame", **option)
