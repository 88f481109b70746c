"""Examples and neighbours: a rare pattern that is shown is followed; without, nothing changes."""

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.errors import OptionError
from tsar.refining.context import find_matches

HORIZON = 24


def rare_pattern(seed, length=200):
    """Noise, then a chirp that ends in a step the model cannot know of."""
    generator = np.random.default_rng(seed)
    time = np.arange(32)
    chirp = np.sin(0.02 * time**2) * 3
    after = np.concatenate([np.full(8, 6.0), np.full(8, -4.0), np.full(8, 5.0)])
    values = np.concatenate([generator.normal(scale=0.3, size=length), chirp, after])
    return 10 + (1 + generator.random()) * (values + generator.normal(scale=0.1, size=len(values)))


def frame(series):
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range("2020", periods=len(v), freq="D"), "target": v})
        for name, v in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def error(forecast, actual):
    return np.abs(forecast["predictions"].to_numpy() - actual).mean()


def test_a_rare_pattern_shown_in_examples_lowers_the_error():
    whole = rare_pattern(0)
    query, actual = frame({"q": whole[:-HORIZON]}), whole[-HORIZON:]
    examples = frame({f"e{seed}": rare_pattern(seed) for seed in range(1, 6)})
    forecaster = Forecaster(prediction_length=HORIZON).fit(query)
    alone = error(forecaster.predict(), actual)
    shown = error(forecaster.predict(examples=examples), actual)
    assert shown < 0.3 * alone
    noise = {f"n{seed}": np.random.default_rng(seed).normal(size=256) for seed in range(5)}
    assert error(forecaster.predict(examples=frame(noise)), actual) == pytest.approx(alone, rel=0.05)


def test_quantiles_move_together():
    whole = rare_pattern(0)
    forecaster = Forecaster(prediction_length=HORIZON).fit(frame({"q": whole[:-HORIZON]}))
    examples = frame({f"e{seed}": rare_pattern(seed) for seed in range(1, 6)})
    alone, shown = forecaster.predict(), forecaster.predict(examples=examples)
    width, moved = ((table["0.9"] - table["0.1"]).to_numpy() for table in (alone, shown))
    assert not np.allclose(alone["0.5"], shown["0.5"])
    np.testing.assert_allclose(moved, width, rtol=1e-9)


def test_matches_are_those_of_plain_correlation():
    generator = np.random.default_rng(3)
    series, end = generator.normal(size=300).cumsum(), generator.normal(size=20).cumsum()
    end = (end - end.mean()) / end.std()
    best = find_matches(end, [series], 10, 1)[0]
    plain = [np.corrcoef(series[k : k + 20], end)[0, 1] for k in range(300 - 20 - 10 + 1)]
    assert best.end == 20 + int(np.argmax(plain))
    assert best.correlation == pytest.approx(max(plain))


def test_a_match_ends_before_what_must_be_known():
    series = np.sin(np.arange(100.0))
    matches = find_matches((series[-20:] - series[-20:].mean()) / series[-20:].std(), [series], 10, 5)
    assert matches
    assert all(match.end <= 90 for match in matches)


@pytest.mark.parametrize("neighbours", [-1, 1.5, True, "2"])
def test_a_strange_number_is_refused(neighbours):
    history = frame({"q": np.arange(30.0)})
    with pytest.raises(OptionError, match="neighbours must be"):
        Forecaster(prediction_length=2).predict(history, neighbours=neighbours)


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
@pytest.mark.parametrize("values", [np.full(30, 2.0), np.full(30, np.nan), np.arange(3.0), np.arange(1.0)])
def test_strange_histories_are_left_alone(values):
    history = frame({"q": values})
    forecaster = Forecaster(prediction_length=4, freq="D").fit(history)
    pd.testing.assert_frame_equal(forecaster.predict(), forecaster.predict(neighbours=3))


def test_a_series_among_its_own_examples_counts_once():
    history = frame({"q": np.random.default_rng(0).normal(size=200)})
    forecaster = Forecaster(prediction_length=8).fit(history)
    once, twice = forecaster.predict(neighbours=3), forecaster.predict(neighbours=3, examples=history)
    pd.testing.assert_frame_equal(once, twice)
