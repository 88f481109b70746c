"""The simulated prior: every family by its contract, and what some of them promise in particular."""

import time

import pytest
import torch

from tsar.errors import CorpusError
from tsar.training.synth import DEFAULT_WEIGHTS, FAMILIES, make_series
from tsar.training.synth.draws import log_uniform, one_of, switch
from tsar.training.synth.parts import convolve, noise, season, slow, trend

ROWS, LENGTH = 48, 700


def draw(family: str, seed: int = 0, rows: int = ROWS, length: int = LENGTH) -> torch.Tensor:
    return make_series(family, rows, length, torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("family", FAMILIES)
class TestContract:
    def test_shape_type_and_range(self, family):
        for length in (40, LENGTH):
            series = draw(family, length=length)
            assert series.shape == (ROWS, length) and series.dtype == torch.float32
            assert torch.isfinite(series).all() and series.abs().max() <= 1e6

    def test_same_seed_same_series(self, family):
        assert torch.equal(draw(family, 3), draw(family, 3))
        assert not torch.equal(draw(family, 3), draw(family, 4))

    def test_rows_differ_and_few_are_constant(self, family):
        series = draw(family)
        assert (series.std(1) < 1e-6).float().mean() <= 0.1
        assert len(torch.unique(series, dim=0)) >= 0.9 * ROWS

    def test_global_generator_is_left_alone(self, family):
        before = torch.random.get_rng_state()
        draw(family)
        assert torch.equal(before, torch.random.get_rng_state())


def test_weights_name_the_families():
    assert DEFAULT_WEIGHTS.keys() == FAMILIES.keys()
    assert all(weight > 0 for weight in DEFAULT_WEIGHTS.values())


def test_unknown_family_is_refused_by_name():
    with pytest.raises(CorpusError, match="'unicorns'") as caught:
        draw("unicorns")
    assert caught.value.code == "corpus.missing"


def test_counts_are_whole_numbers_from_zero():
    series = draw("counts")
    assert (series >= 0).all() and torch.equal(series, series.round())


def test_solar_and_wind_power_are_never_negative_and_nights_are_exactly_zero():
    series = draw("sun_and_wind", rows=200)
    assert (series >= 0).all()
    assert ((series == 0).float().mean(1) > 0.2).float().mean() > 0.5


def test_daily_profiles_repeat_every_day():
    series = draw("daily_weekly", rows=200, length=24 * 28)
    centred = series - series.mean(1, keepdim=True)
    a_day = (centred[:, 24:] * centred[:, :-24]).mean(1) / centred.square().mean(1)
    half_a_day = (centred[:, 12:] * centred[:, :-12]).mean(1) / centred.square().mean(1)
    hourly = a_day > half_a_day + 0.3  # rows with 24 values a day; the others have 48, 96 or 288
    assert hourly.float().mean() > 0.3


@pytest.mark.parametrize("period", [4.0, 7.0, 12.0, 24.0])
def test_season_has_the_period_asked_for(period):
    wave = season(generator(), 100, 480, torch.full((100, 1), period))
    steady = [(row[int(period) :] - row[: -int(period)]).abs().mean() / row.std() for row in wave]
    assert torch.stack(steady).nanmedian() < 0.05  # most amplitudes do not wander; a profile without peaks is flat


def test_convolution_is_the_recursion_it_stands_for():
    shocks, phi = torch.randn(3, 50, generator=generator()), torch.tensor([[0.9], [0.5], [-0.3]])
    level, expected = torch.zeros(3, 1), []
    for step in range(50):
        level = phi * level + shocks[:, step : step + 1]
        expected.append(level)
    found = convolve(shocks, phi ** torch.arange(50))
    torch.testing.assert_close(found, torch.cat(expected, 1), atol=1e-4, rtol=1e-4)


def test_arima_stays_within_reach():
    assert draw("arima", rows=400, length=1088).abs().max() < 100


@pytest.mark.parametrize("part", [noise, trend])
def test_parts_are_of_similar_size(part):
    spread = part(generator(), 300, 500).std(1)
    assert 0.2 < spread.median() < 3


def test_slow_wanders_slowly():
    path = slow(generator(), 200, 500, 0.99, 0.999)
    assert path.diff(dim=1).abs().mean() < 0.3 * path.std()


def test_draws_have_their_laws():
    sizes = log_uniform(generator(), 20_000, 1, low=0.01, high=100.0)
    assert sizes.min() >= 0.01 and sizes.max() <= 100
    assert abs(float(sizes.log10().mean())) < 0.05
    assert set(one_of(generator(), 500, (4.0, 7.0)).flatten().tolist()) == {4.0, 7.0}
    options = [torch.zeros(8000, 2), torch.ones(8000, 2)]
    assert abs(float(switch(generator(), options, (1, 3)).mean()) - 0.75) < 0.02


@pytest.mark.slow
def test_drawing_is_fast_enough_to_feed_a_cpu():
    slowest = {}
    for family in FAMILIES:
        draw(family, rows=32, length=1088)
        began = time.perf_counter()
        draw(family, 1, rows=32, length=1088)
        slowest[family] = (time.perf_counter() - began) / 32
    assert max(slowest.values()) < 0.010, slowest  # seconds a series; about 0.0005 on an idle core
