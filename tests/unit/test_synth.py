"""Synthetic series: every family keeps the registry's promises, and the parts do what their names say."""

import math
import random
import time

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tsar.errors import CorpusError
from tsar.training.synth import DEFAULT_WEIGHTS, FAMILIES, LARGEST, make_series
from tsar.training.synth.calendar_days import dates_of, holidays, trading_days
from tsar.training.synth.causal import LONGEST_LAG, edge
from tsar.training.synth.counts import draw_counts, poisson
from tsar.training.synth.dice import PACK, Dice, bounded, standardize
from tsar.training.synth.filters import (
    autoregression,
    coloured,
    convolve,
    fade,
    fast_size,
    fourier_sum,
    per_segment,
    segments,
    wander,
)
from tsar.training.synth.noise import as_published, gaussian, noise, shocks, student
from tsar.training.synth.seasonal import TABLE, calendar, profile, read, season, turns
from tsar.training.synth.state_space import stationary_arma
from tsar.training.synth.trend import SEGMENTS, trend

ROWS, LENGTH = 32, 512


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dice(rows: int = ROWS, length: int = LENGTH, seed: int = 0) -> Dice:
    return Dice.of(rows, length, generator(seed))


class Watch(TorchDispatchMode):
    """Notes the calls whose result has to come back from the device before anything else can be queued."""

    ASKING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        name = call._schema.name
        places = args[1] if name == "aten::index" else ()
        if name in self.ASKING or any(place is not None and place.dtype == torch.bool for place in places):
            self.asked.append(name)
        return call(*args, **(kwargs or {}))


def is_constant(series: torch.Tensor) -> torch.Tensor:
    return series.amax(-1) - series.amin(-1) <= 1e-6 * series.abs().amax(-1)


def autocorrelation(series: torch.Tensor, lag: int) -> torch.Tensor:
    centred = standardize(series.double())
    return (centred[:, lag:] * centred[:, :-lag]).mean(-1)


# Every family


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("rows", "length"), [(ROWS, LENGTH), (1, 64), (7, 130), (3, 16)])
def test_shape_type_and_finiteness(family, rows, length):
    for seed in range(3):
        series = make_series(family, rows, length, generator(seed))
        assert series.shape == (rows, length)
        assert series.dtype == torch.float32
        assert torch.isfinite(series).all()
        assert series.abs().max() <= LARGEST


@pytest.mark.parametrize("family", FAMILIES)
def test_the_generator_alone_decides(family):
    torch.manual_seed(1)
    random.seed(1)
    first = make_series(family, ROWS, LENGTH, generator(5))
    torch.manual_seed(2)
    random.seed(2)
    assert torch.equal(make_series(family, ROWS, LENGTH, generator(5)), first)
    assert not torch.equal(make_series(family, ROWS, LENGTH, generator(6)), first)
    advanced = generator(5)
    advanced_first = make_series(family, ROWS, LENGTH, advanced)
    assert torch.equal(advanced_first, first)
    assert not torch.equal(make_series(family, ROWS, LENGTH, advanced), first), "the generator moves on"


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_differ_and_few_are_constant(family):
    series = torch.cat([make_series(family, ROWS, LENGTH, generator(seed)) for seed in range(6)])
    assert is_constant(series).float().mean() < 0.03
    assert len({tuple(row.tolist()) for row in series}) >= 0.97 * len(series)
    assert is_constant(series[:, -48:]).float().mean() < 0.4, "short crops show something too"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_call_asks_the_device(family):
    """No value is read back and no shape depends on one: either would make a GPU wait."""
    with Watch() as watch:
        make_series(family, ROWS, 128, generator())
    assert watch.asked == []


def test_asking_the_device_would_be_seen():
    with Watch() as watch:
        ones = torch.ones(3)
        ones.sum().item()
        ones.nonzero()
        ones[ones > 0]
    assert len(watch.asked) >= 3


def test_the_tables_name_the_same_families():
    assert list(FAMILIES) == list(DEFAULT_WEIGHTS)
    assert all(weight > 0 for weight in DEFAULT_WEIGHTS.values())


def test_an_unknown_family_is_refused():
    with pytest.raises(CorpusError, match="no synthetic family 'arma'") as caught:
        make_series("arma", 1, 64, generator())
    assert caught.value.code == "corpus.missing"
    assert "arima" in str(caught.value)


@pytest.mark.parametrize("family", ["counts", "intermittent"])
def test_counts_are_whole_and_not_negative(family):
    series = make_series(family, 128, LENGTH, generator())
    assert torch.equal(series, series.round())
    assert series.min() >= 0
    if family == "intermittent":
        assert (series == 0).float().mean() > 0.4


@pytest.mark.parametrize("family", ["sun", "rain", "wind"])
def test_clipped_families_rest_at_their_floor(family):
    series = make_series(family, 128, LENGTH, generator())
    at_rest = (series == series.amin(-1, keepdim=True)).float().mean(-1)
    assert (at_rest > 0.05).float().mean() > {"sun": 0.8, "rain": 0.8, "wind": 0.2}[family]


def test_utilisation_is_a_percentage():
    series = make_series("utilisation", 128, LENGTH, generator())
    inside = (series > -5) & (series < 105)  # later noise may add odd values
    assert inside.float().mean() > 0.99


@pytest.mark.parametrize("family", ["exponential_smoothing", "trend_season_noise", "daily_weekly", "sun"])
def test_short_lags_do_not_explain_seasonal_families(family):
    """Some rows repeat themselves after a calendar period far better than halfway through it."""
    series = make_series(family, 256, 1088, generator()).diff()
    periods = [7, 12, 24, 48, 96]
    found = [(autocorrelation(series, period) - autocorrelation(series, period // 2)) > 0.5 for period in periods]
    assert torch.stack(found).any(0).float().mean() > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_speed(family):
    """At most 0.3 ms a series on one quiet thread; four times that here, where other work may run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for seed in range(15):
            began = time.perf_counter()
            make_series(family, 32, 1088, generator(seed))
            times.append((time.perf_counter() - began) / 32)
    finally:
        torch.set_num_threads(threads)
    assert min(times) < 1.2e-3


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_families_run_on_a_gpu_without_waiting_for_it(family):
    device = torch.device("cuda")
    first = make_series(family, 64, 576, torch.Generator(device).manual_seed(1))  # fills the tables of constants
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = make_series(family, 64, 576, torch.Generator(device).manual_seed(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(first, again)
    assert torch.isfinite(again).all()


# Draws


def test_draws_stay_within_their_bounds():
    many = dice(4000)
    assert 2 <= many.uniform(2.0, 5.0).min() < 2.1 < 4.9 < many.uniform(2.0, 5.0).max() <= 5
    logs = many.log_uniform(0.01, 100.0)
    assert 0.01 <= logs.min() < logs.max() <= 100.01
    assert abs((logs < 1).float().mean() - 0.5) < 0.05
    assert (many.log_uniform(20.0, 10.0) == many.log_uniform(20.0, 20.0)).all(), "no room above the lower bound"
    assert abs(many.coin(0.3).float().mean() - 0.3) < 0.03
    assert set(many.sign(0.5).flatten().tolist()) == {-1.0, 1.0}
    sizes = many.some(0.25, 1.0, 2.0)
    assert abs((sizes > 0).float().mean() - 0.25) < 0.03
    assert ((sizes == 0) | ((sizes >= 1) & (sizes <= 2.001))).all()


def test_pick_follows_the_weights():
    drawn = dice(20_000).pick((1.0, 5.0, 9.0), (1, 2, 7))
    for value, share in ((1.0, 0.1), (5.0, 0.2), (9.0, 0.7)):
        assert abs((drawn == value).float().mean() - share) < 0.02


def label(number: float):
    return lambda dice, *columns: torch.full((dice.rows, dice.length), number)


@pytest.mark.parametrize("rows", [1, 3, PACK, 32, 100])
def test_blend_shares_follow_the_weights(rows):
    kinds = ((1.0, label(0)), (2.0, label(1)), (7.0, label(2)))
    blended = torch.cat([dice(rows, 4, seed).blend(kinds)[:, 0] for seed in range(400)])
    for number, share in enumerate((0.1, 0.2, 0.7)):
        assert abs((blended == number).float().mean() - share) < 0.05
    if rows >= 10 * PACK:
        once = dice(rows, 4).blend(kinds)[:, 0]
        assert len(once.unique()) == 3
        assert (once[:-1] != once[1:]).sum() > 5, "the kinds are not in blocks"


def test_blend_hands_every_kind_its_own_rows():
    rows = torch.arange(40.0)[:, None]
    kinds = ((1.0, lambda dice, column: column * 2), (1.0, lambda dice, column: column * 2))
    assert torch.equal(dice(40).blend(kinds, rows), rows * 2)


def test_maybe_leaves_the_other_rows_alone():
    series = torch.randn(400, 8, generator=generator(1))
    changed = dice(400).maybe(0.25, lambda dice, series: series + 100, series)
    moved = (changed - series > 50).all(-1)
    assert abs(moved.float().mean() - 0.25) < 0.02
    assert torch.equal(changed[~moved], series[~moved])


def test_bounded_shrinks_only_what_reaches_too_far():
    series = torch.tensor([[1.0, -2.0], [10.0, 5.0]])
    assert torch.equal(bounded(series, 4.0), torch.tensor([[1.0, -2.0], [4.0, 2.0]]))


# Filters


@pytest.mark.parametrize("size", [1, 7, 16, 33, 100, 1151, 2176, 4223])
def test_fast_sizes_have_small_factors(size):
    found = fast_size(size)
    assert size <= found <= max(1.35 * size, 16)
    for factor in (2, 3, 5):
        while found % factor == 0:
            found //= factor
    assert found == 1


def test_convolve_is_the_causal_sum():
    series, response = torch.randn(2, 3, 50, generator=generator())
    slow = torch.stack([(series[:, : t + 1] * response[:, : t + 1].flip(1)).sum(1) for t in range(50)], 1)
    torch.testing.assert_close(convolve(series, response), slow, atol=1e-4, rtol=1e-4)


def test_fade_is_the_recursion():
    series, decay = torch.randn(4, 60, generator=generator()), torch.tensor([[0.0], [0.3], [0.9], [1.0]])
    expected, last = [], torch.zeros(4, 1)
    for t in range(60):
        last = decay * last + series[:, t : t + 1]
        expected.append(last)
    torch.testing.assert_close(fade(series, decay), torch.cat(expected, 1), atol=1e-4, rtol=1e-4)


def test_autoregression_has_its_law_from_the_first_point():
    decay = torch.full((4000, 1), 0.8)
    series = autoregression(dice(4000, 64), decay)
    torch.testing.assert_close(series.var(0), torch.ones(64), atol=0.15, rtol=0)
    for lag in (1, 3):
        together = (series[:, lag:] * series[:, :-lag]).mean()
        assert abs(together - 0.8**lag) < 0.03


def test_coloured_noise_has_the_asked_spectrum():
    band = coloured(dice(200, 1024), lambda omega: ((omega > 0.5) & (omega < 1.0)).float().expand(200, -1))
    power = torch.fft.rfft(band).abs().square().mean(0)
    omega = torch.linspace(0, math.pi, len(power))
    assert power[(omega > 0.45) & (omega < 1.05)].sum() / power.sum() > 0.97
    assert abs(band.var() - 1) < 0.1


def test_fourier_sum_is_a_sum_of_cosines():
    omega = torch.tensor([[0.3]]).expand(50, 1)
    series = fourier_sum(dice(50, 101), omega)
    assert abs(series.square().mean() - 1) < 0.1
    repeat = 2 * math.cos(0.3) * series[:, 1:-1] - series[:, :-2]  # what every wave of this frequency obeys
    torch.testing.assert_close(repeat, series[:, 2:], atol=1e-4, rtol=0)


def test_wander_changes_over_its_scale():
    series = wander(dice(2000, 256), torch.full((2000, 1), 50.0))
    assert abs(series.var() - 1) < 0.1
    near = (series[:, 5:] * series[:, :-5]).mean()
    far = (series[:, 100:] * series[:, :-100]).mean()
    assert near > 0.95
    assert abs(far) < 0.1


def test_segments_count_up_and_age():
    number, age = segments(dice(500, 400), torch.full((500, 1), 20.0))
    new = number.diff() == 1
    assert ((number.diff() == 0) | new).all()
    assert (age[:, 1:][new] == 0).all()
    assert (age.diff()[~new] == 1).all()
    assert (age >= 0).all()
    assert 15 < 400 / number[:, -1].float().mean() < 25
    values = per_segment(torch.arange(8.0).expand(500, 8), number)
    assert torch.equal(values, (number % 8).float())


# Noise, seasons, trends


@pytest.mark.parametrize("kind", [noise, shocks, gaussian, student])
def test_noise_is_centred_and_of_unit_size(kind):
    drawn = kind(dice(800, 512, seed=3))
    assert abs(drawn.mean()) < 0.05
    assert 0.6 < drawn.std() < 1.6
    assert drawn.abs().max() < 100


def test_student_noise_has_heavier_tails_than_gaussian():
    far = [(kind(dice(400, 512)).abs() > 5).float().mean() for kind in (student, gaussian)]
    assert far[0] > 100 * far[1]
    assert far[0] > 1e-3


def test_published_values_are_mostly_on_a_grid():
    series = torch.randn(200, 2000, generator=generator(2)).cumsum(1)
    distinct = torch.tensor([len(row.unique()) for row in as_published(dice(200, 2000), series)])
    assert 0.1 < (distinct < 500).float().mean() < 0.7
    assert ((as_published(dice(200, 2000), series) - series).abs().mean(-1) == 0).float().mean() > 0.2


@pytest.mark.parametrize("period", [2, 4, 7, 12, 24, 96])
def test_a_season_repeats_after_its_period(period):
    series = season(dice(300, 960, seed=period), torch.full((300, 1), float(period)))
    shifted = (series[:, period:] - series[:, :-period]).abs().mean(-1)
    strict = shifted < 1e-3  # neither its size nor its shape changes
    assert strict.float().mean() > 0.4
    at_period = autocorrelation(series[strict], period)
    assert (at_period > 0.8).float().mean() > 0.97
    if period > 2:
        others = torch.stack([autocorrelation(series[strict], lag) for lag in range(1, period)])
        assert (others.amax(0) < at_period).float().mean() > 0.9, "and not before"


def test_no_season_without_a_period():
    assert (season(dice(20), torch.zeros(20, 1)) == 0).all()


def test_profiles_are_standardised():
    table = profile(dice(300), torch.full((300, 1), 24.0))
    assert table.shape == (300, TABLE)
    torch.testing.assert_close(table.mean(-1), torch.zeros(300), atol=1e-3, rtol=0)
    torch.testing.assert_close(table.square().mean(-1), torch.ones(300), atol=1e-2, rtol=0)


def test_every_step_of_a_period_meets_a_place_of_its_own():
    for period in (2, 4, 7, 12, 24, 31, 52, 168):
        turn = turns(dice(50, 2112), torch.full((50, 1), float(period)))
        slots = torch.arange(TABLE)[None] * period // TABLE
        met = read(slots.float().expand(50, -1), turn)
        assert torch.equal(met[:, period:], met[:, :-period])
        assert all(len(row[:period].unique()) == period for row in met)


def test_calendar_periods():
    periods = calendar(dice(5000))
    assert periods.shape == (5000, 3)
    assert (periods[:, 0] >= 2).all()
    assert ((periods[:, 1:] == 0) | (periods[:, 1:] >= 2)).all()
    for period in (4, 7, 12, 24):
        assert (periods[:, 0] == period).float().mean() > 0.05


@pytest.mark.parametrize("over", [20.0, 200.0, 2000.0])
def test_trends_change_by_about_one_over_their_horizon(over):
    series = trend(dice(600, 1024), torch.full((600, 1), over))
    span = min(int(over), 1023)
    change = (series[:, span:] - series[:, :-span]).abs().mean(-1).median() * over / span
    assert 0.1 < change < 4


def test_stationary_arma_has_no_trend_and_does_not_explode():
    series = stationary_arma(dice(400, 1024))
    assert series.abs().max() < 40
    halves = series[:, :512].std(-1) / series[:, 512:].std(-1)
    assert (halves.log().abs() < 0.7).float().mean() > 0.85
    starts = series[:, :64].square().mean(), series[:, -64:].square().mean()
    assert abs(math.log(starts[0] / starts[1])) < 0.3, "no run-in at the start"


# Counts, calendar, causes


@pytest.mark.parametrize("mean", [0.2, 3.0, 40.0])
def test_poisson_counts_have_mean_and_variance_of_the_rate(mean):
    drawn = poisson(dice(200, 1000), torch.full((200, 1000), mean))
    assert abs(drawn.mean() / mean - 1) < 0.03
    assert abs(drawn.var() / mean - 1) < 0.06
    assert torch.equal(drawn, drawn.round())


def test_some_counts_vary_more_than_poisson():
    drawn = draw_counts(dice(400, 1000), torch.full((400, 1000), 20.0))
    ratio = drawn.var(-1) / 20
    assert 0.2 < (ratio < 1.3).float().mean() < 0.7
    assert (ratio > 3).float().mean() > 0.2
    assert abs(drawn.mean() / 20 - 1) < 0.15


def test_dates_follow_the_calendar():
    dates = dates_of(dice(10, 4 * 365 + 1), torch.arange(4 * 365 + 1).expand(10, -1))
    assert torch.equal(dates.weekday[:, 7:], dates.weekday[:, :-7])
    assert (dates.weekday[:, 0] == 0).all()
    first = dates.day_of_month == 0
    assert (first.sum(-1) == 48).all()
    assert ((dates.days_left == 0).sum(-1) - 48 <= 1).all(), "both last days of a leap year"
    assert (dates.days_left[:, :-1][first[:, 1:]] == 0).all()
    assert dates.day_of_month.max() == 31, "a leap year has a 32nd of December"
    assert set(dates.day_of_year.unique().tolist()) == set(range(366))
    assert (dates.year[:, -1] - dates.year[:, 0] >= 3).all()


def test_holidays_come_once_a_year():
    days = dice(200, 6 * 365)
    effect = holidays(days, dates_of(days, days.time.expand(200, -1)), width=1.0)
    year = autocorrelation(effect[:, : 4 * 365 + 366], 365)[effect.std(-1) > 0.01]
    assert year.median() > 0.3


def test_months_with_more_trading_days_sell_more():
    many = dice(300, 480)
    effect = trading_days(many, many.time.long().expand(300, -1))
    february = effect[:, 1::12].abs().mean()
    assert february < effect[:, 0::12].abs().mean(), "28 days are four weeks, whatever the days' weights"
    assert effect.abs().max() < 20


def test_an_edge_depends_on_the_past_alone():
    source = torch.randn(64, 300, generator=generator(4))
    poked = source.clone()
    poked[:, 200:] += 1e-3 * torch.randn(64, 100, generator=generator(5))
    before, after = edge(dice(64, 300), source), edge(dice(64, 300), poked)
    torch.testing.assert_close(before[:, :200], after[:, :200], atol=1e-2, rtol=1e-2)
    best = torch.stack([(standardize(source)[:, : 300 - lag] * before[:, lag:]).mean(-1).abs() for lag in range(49)])
    assert len(best.argmax(0).unique()) > 10, "lags differ"
    assert best.argmax(0).max() <= LONGEST_LAG


def test_there_are_enough_segments():
    assert SEGMENTS & (SEGMENTS - 1) == 0
