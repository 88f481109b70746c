"""Whatever the constraints and the forecast: every quantile and every sample obeys, and order holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tsar.constraints import normalize_constraints, resolve_bounds
from tsar.forecast import Forecast
from tsar.frame import normalize_frame

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
NUMBERS = st.floats(-1e6, 1e6)


@st.composite
def constraints(draw):
    low, high = sorted([draw(NUMBERS), draw(NUMBERS)])
    chosen = {
        "lower": draw(st.sampled_from([None, low, {"a": low}])),
        "upper": draw(st.sampled_from([None, high + 1, {"b": high + 1}])),
        "integer": draw(st.sampled_from([False, True, "auto"])),
        "closed_hours": draw(st.lists(st.integers(0, 23), max_size=4)),
        "closed_weekdays": draw(st.lists(st.integers(0, 6), max_size=3)),
        "closed": draw(st.sampled_from([None, "auto"])),
    }
    return normalize_constraints(chosen)


@settings(max_examples=60, deadline=None)
@given(constraints(), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e5]))
def test_every_quantile_and_sample_obeys(wanted, seed, scale):
    rng = np.random.default_rng(seed)
    hours = pd.date_range("2024-01-01", periods=24 * 35, freq="h")
    shop = np.where(hours.hour < 8, 0, rng.integers(1, 9, size=len(hours)))  # closed at night, counts
    parts = [("a", shop), ("b", rng.normal(size=len(hours)))]
    frame = pd.concat([pd.DataFrame({"item_id": name, "timestamp": hours, "target": y}) for name, y in parts])
    panel = normalize_frame(frame)
    bounds = resolve_bounds(wanted, panel, 30)
    quantiles = np.sort(scale * rng.standard_t(2, size=(2, 30, 5)), -1)
    forecast = Forecast(quantiles, LEVELS, None, bounds)
    future = hours[-1] + pd.to_timedelta(np.arange(1, 31), unit="h")
    values = {
        "quantiles": np.moveaxis(forecast.at([0.01, 0.1, 0.4, 0.5, 0.9, 0.999]), -1, 1),
        "samples": forecast.sample(17, item_ids=["a", "b"]),
    }
    assert (np.diff(values["quantiles"], axis=1) >= 0).all()
    is_closed = np.isin(future.hour, wanted.closed_hours) | np.isin(future.dayofweek, wanted.closed_weekdays)
    learned = (future.hour < 8) if wanted.closed == "auto" else np.zeros(30, dtype=bool)
    for drawn in values.values():
        for place, item in enumerate("ab"):
            shut = is_closed | learned if item == "a" else is_closed
            got, open_steps = drawn[place], drawn[place][:, ~shut]
            assert (got[:, shut] == 0).all()
            lower, upper = (
                bound.get(item) if isinstance(bound, dict) else bound for bound in (wanted.lower, wanted.upper)
            )
            assert lower is None or (open_steps >= lower).all()
            assert upper is None or (open_steps <= upper).all()
            if wanted.integer is True or (wanted.integer == "auto" and item == "a"):
                assert (got == np.rint(got)).all()


def test_mapped_samples_have_the_mapped_quantiles():
    quantiles = np.linspace(-3, 8, 5)[None, None].repeat(4, 1)
    panel = normalize_frame(pd.DataFrame({"item_id": 1, "timestamp": range(9), "target": range(9)}))
    bounds = resolve_bounds(normalize_constraints({"lower": 0, "upper": 5, "integer": "auto"}), panel, 4)
    forecast = Forecast(quantiles, LEVELS, None, bounds)
    paths = forecast.sample(5)
    np.testing.assert_array_equal(np.sort(paths, 1)[0].T, forecast.at([0.1, 0.3, 0.5, 0.7, 0.9])[0])
