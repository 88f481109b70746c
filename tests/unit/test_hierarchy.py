"""Reconciled forecasts add up, and are those of the library for it."""

import tracemalloc
from inspect import signature

import numpy as np
import pytest

from tsar.errors import OptionError
from tsar.hierarchy import METHODS, reconcile, shrunk_covariance, summing_matrix

ITEMS = ["total", "north", "south", "n1", "n2", "s1", "s2", "s3"]
PARENTS = {"total": ["north", "south"], "north": ["n1", "n2"], "south": ["s1", "s2", "s3"]}
BOTTOM = slice(3, None)


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    summing = summing_matrix(PARENTS, ITEMS)
    residuals = summing @ rng.normal(size=(5, 40)) + 0.3 * rng.normal(size=(8, 40)) * np.arange(1, 9)[:, None]
    return summing, rng.normal(10, 3, size=(8, 6)), residuals


def test_summing_matrix():
    summing = summing_matrix(PARENTS, ITEMS)
    np.testing.assert_array_equal(summing[:3], [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(summing[BOTTOM], np.eye(5))


def test_a_hierarchy_of_thousands_takes_no_memory_but_its_matrix():
    bottom = [f"shop {number}" for number in range(3000)]
    parents = {"all": ["north", "south"], "north": bottom[:1000], "south": bottom[1000:]}
    tracemalloc.start()
    summing = summing_matrix(parents, [*parents, *bottom])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summing.sum(1).tolist() == [3000, 1000, 2000, *[1] * 3000]
    assert peak < 3 * summing.nbytes


@pytest.mark.parametrize("method", METHODS)
def test_sums_are_coherent_and_coherent_forecasts_stay(case, method):
    summing, forecast, residuals = case
    result = reconcile(forecast, summing, method=method, residuals=residuals)
    np.testing.assert_allclose(result, summing @ result[BOTTOM], atol=1e-10)
    assert not np.allclose(forecast, summing @ forecast[BOTTOM])
    again = reconcile(result, summing, method=method, residuals=residuals)
    np.testing.assert_allclose(again, result, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_sample_paths_add_up_path_by_path(case, method):
    summing, _, residuals = case
    paths = np.random.default_rng(0).normal(size=(8, 5, 6))
    result = reconcile(paths, summing, method=method, residuals=residuals)
    np.testing.assert_allclose(result, np.einsum("ib,bsf->isf", summing, result[BOTTOM]), atol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_is_that_of_the_library(case, method):
    methods = pytest.importorskip("hierarchicalforecast.methods")
    summing, forecast, residuals = case
    library = {
        "bottom_up": methods.BottomUp(),
        "ols": methods.MinTrace(method="ols"),
        "wls_struct": methods.MinTrace(method="wls_struct"),
        "mint_shrink": methods.MinTrace(method="mint_shrink", mint_shr_ridge=0.0),
    }[method]
    actual = np.zeros((8, 40))
    known = {"y_insample": actual, "y_hat_insample": actual - residuals}
    if "idx_bottom" in signature(library.fit_predict).parameters:  # before hierarchicalforecast 1.4
        known["idx_bottom"] = np.arange(8)[BOTTOM]
    expected = library.fit_predict(S=summing, y_hat=forecast, **known)["mean"]
    result = reconcile(forecast, summing, method=method, residuals=residuals)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_shrinkage_keeps_the_diagonal_and_is_positive_definite():
    residuals = np.random.default_rng(0).normal(size=(30, 12))  # more series than points
    covariance = shrunk_covariance(residuals)
    np.testing.assert_allclose(np.diagonal(covariance), residuals.var(1, ddof=1))
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda s, f, r: reconcile(f, s, method="top_down"),
        lambda s, f, r: reconcile(f[:-1], s, method="ols"),
        lambda s, f, r: reconcile(f, s),
        lambda s, f, r: reconcile(f, s, residuals=np.full_like(r, np.nan)),
        lambda s, f, r: reconcile(f, s[:, :2] * 0, method="bottom_up"),
        lambda s, f, r: summing_matrix({"total": ["nobody"]}, ["total", "a"]),
        lambda s, f, r: summing_matrix({"total": ["total"]}, ["total", "a"]),
    ],
)
def test_refusals(case, call):
    with pytest.raises(OptionError):
        call(*case)


def test_a_series_that_was_always_right_is_taken_at_its_word(case):
    summing, forecast, residuals = case
    for steady in (0.0, 0.1):  # of the second, mean and values differ by rounding
        residuals[4] = steady
        result = reconcile(forecast, summing, residuals=residuals)
        np.testing.assert_allclose(result[4], forecast[4], atol=1e-3)
        np.testing.assert_allclose(result, summing @ result[BOTTOM], atol=1e-9)
    alike = reconcile(forecast, summing, residuals=np.ones((8, 9)))
    np.testing.assert_allclose(alike, reconcile(forecast, summing, method="ols"), atol=1e-9)


@pytest.mark.parametrize("size", [2.0**600, 2.0**-600])
def test_the_size_of_residuals_does_not_matter(case, size):
    summing, forecast, residuals = case
    expected = reconcile(forecast, summing, residuals=residuals)
    np.testing.assert_array_equal(reconcile(forecast, summing, residuals=residuals * size), expected)
