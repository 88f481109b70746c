"""Event sequences: closed forms against quadrature and draws, the frame's rules, and skill on Hawkes processes."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from pretrain import check_rerank
from tests.unit.hawkes import BASE, DECAY, JUMPS, log_likelihood, poisson_log_likelihood, simulate, to_frame
from tsar import EventForecaster
from tsar.errors import FrameError, NotFittedError, OptionError, ReleaseError
from tsar.events.distance import pairwise_distances, sequence_distance
from tsar.events.network import EventModel, Gaps, make_config, survival
from tsar.events.rollout import draw_gap
from tsar.model.cache import LayerCache

SMALL = {"max_steps": 4, "d_model": 16, "num_layers": 1, "context_length": 16, "num_samples": 20, "rerank_events": 5}


@pytest.fixture(scope="module")
def events():
    random = np.random.default_rng(0)
    return to_frame([simulate(random, 60.0) for _ in range(4)])


@pytest.fixture(scope="module")
def fitted(events):
    return EventForecaster(**SMALL, rerank="energy").fit(events, end=60.0)


def as_dates(events):
    start = pd.Timestamp("2026-03-01", tz="Europe/Paris")
    return events.assign(timestamp=start + pd.to_timedelta(events["timestamp"], unit="min"))


def make_model():
    torch.manual_seed(0)
    model = EventModel(2, make_config(16, 2), 4).eval().requires_grad_(False)
    model.measure(torch.as_tensor(np.random.default_rng(0).exponential(2.0, 200)))
    return model


# ------------------------------------------------------------------------------------------------------- the network


def test_density_of_the_next_event_integrates_to_one():
    model = make_model()
    codes, gaps = torch.tensor([[0, 1, 0]]), torch.tensor([[torch.nan, 0.3, 1.5]])
    grid = torch.logspace(-5, 4, 4000)
    mass = 0.0
    for kind in (0, 1):
        all_codes = torch.cat([codes, torch.tensor([[kind]])], 1).repeat(len(grid), 1)
        all_gaps = torch.cat([gaps.repeat(len(grid), 1), grid[:, None]], 1)
        density, _ = model.log_likelihood(
            all_codes, all_gaps, torch.full((len(grid),), 3), torch.full((len(grid),), torch.nan)
        )
        mass += float(torch.trapezoid(density[:, -1].exp(), grid))
    assert mass == pytest.approx(1, abs=2e-3)


def test_silence_has_the_probability_of_a_longer_gap():
    model = make_model()
    law = Gaps(torch.log(torch.tensor([[0.3, 0.7]])), torch.tensor([[-1.0, 0.5]]), torch.tensor([[-0.5, 0.2]]))
    random = torch.rand(2, 200_000, generator=torch.Generator().manual_seed(0))
    many = Gaps(*(part.expand(200_000, 2) for part in law))
    z = draw_gap(model, many, *random, 0.0)
    bound = model.normalize(torch.tensor([1.2]))
    alive = float(survival(law, bound).exp().sum())
    assert float((z > bound).float().mean()) == pytest.approx(alive, abs=0.005)
    waited = draw_gap(model, many, *random, 1.2)
    assert float(waited.min()) >= float(bound) - 1e-3
    longer = z[z > bound]
    for level in (0.1, 0.5, 0.9):
        assert float(waited.quantile(level)) == pytest.approx(float(longer.quantile(level)), abs=0.03)


def test_a_cached_step_equals_reading_all():
    model = make_model()
    for block in model.trunk.blocks:  # blocks of a fresh network write something
        torch.nn.init.normal_(block.attention.output.weight, std=0.3)
    codes, gaps = torch.tensor([[0, 1, 0, 0, 1, 1]]), torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    z, clock = model.normalize(gaps), model.clock(gaps)
    caches = [LayerCache() for _ in model.trunk.blocks]
    parts = [model.trunk(codes[:, :3], z[:, :3], clock[:, :3], caches)]
    parts += [model.trunk(codes[:, [i]], z[:, [i]], clock[:, [i]], caches) for i in range(3, 6)]
    torch.testing.assert_close(torch.cat(parts, 1), model.trunk(codes, z, clock))


def test_the_past_does_not_see_the_future():
    model = make_model()
    codes, gaps = torch.tensor([[0, 1, 0, 1]]), torch.tensor([[1.0, 2.0, 0.5, 0.1]])
    other = torch.tensor([[0, 1, 0, 0]]), torch.tensor([[1.0, 2.0, 0.5, 9.0]])
    ends = torch.tensor([3]), torch.tensor([torch.nan])
    density, changed = model.log_likelihood(codes, gaps, *ends)[0], model.log_likelihood(*other, *ends)[0]
    torch.testing.assert_close(density[:, :2], changed[:, :2])
    assert density[0, 2] != changed[0, 2]


# ----------------------------------------------------------------------------------------------------------- answers


def test_prediction_sums_up_the_samples(fitted):
    counts = fitted.predict(horizon=20.0)
    assert list(counts.columns) == ["item_id", "event_type", "predictions", "0.1", "0.5", "0.9"]
    assert len(counts) == 8
    drawn = fitted.sample(horizon=20.0)
    mean = drawn.groupby(["item_id", "event_type"]).size() / 20
    np.testing.assert_allclose(counts.set_index(["item_id", "event_type"])["predictions"], mean)
    assert (counts["0.1"] <= counts["0.5"]).all()
    assert (counts["0.5"] <= counts["0.9"]).all()


def test_one_sequence_is_one_of_the_paths(fitted):
    one = fitted.predict_sequence(horizon=20.0)
    drawn = fitted.sample(horizon=20.0)
    for item, events in one.groupby("item_id"):
        stamps = tuple(events["timestamp"])
        paths = drawn[drawn["item_id"] == item].groupby("sample")["timestamp"]
        assert stamps in {tuple(path) for _, path in paths}
    assert len(fitted.predict_sequence(num_events=3)) == 12


def test_number_of_events(fitted):
    np.testing.assert_allclose(fitted.predict(num_events=7).groupby("item_id")["predictions"].sum(), 7)
    assert (fitted.sample(num_events=40, num_samples=3).groupby(["item_id", "sample"]).size() == 40).all()


def test_paths_begin_after_start_and_end_with_the_horizon(fitted):
    stamps = fitted.sample(horizon=5.0, start=65.0)["timestamp"]
    assert stamps.between(65.0 - 1e-3, 70.0).all()


def test_same_seed_same_answer_whatever_the_other_items(fitted, events):
    again = clone(fitted).fit(events, end=60.0)
    pd.testing.assert_frame_equal(fitted.sample(horizon=5.0), again.sample(horizon=5.0))
    alone = fitted.predict(events[events["item_id"] == "item_2"], horizon=5.0)
    together = fitted.predict(horizon=5.0).query("item_id == 'item_2'").reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together)
    shuffled = fitted.predict(events.sample(frac=1, random_state=0), horizon=5.0)
    pd.testing.assert_frame_equal(
        shuffled.sort_values(["item_id", "event_type"], ignore_index=True), fitted.predict(horizon=5.0)
    )


def test_dates_are_the_same_as_numbers(fitted, events):
    dated = clone(fitted).fit(as_dates(events), end=pd.Timestamp("2026-03-01 01:00", tz="Europe/Paris"))
    drawn = dated.sample(horizon="5min")
    assert str(drawn["timestamp"].dt.tz) == "Europe/Paris"
    last = as_dates(events).groupby("item_id")["timestamp"].max()
    ahead = drawn["timestamp"] - drawn["item_id"].map(last)
    assert ahead.between(pd.Timedelta(0), pd.Timedelta("5min")).all()
    assert dated.score(as_dates(events)) == pytest.approx(fitted.score(events) - np.log(60), abs=0.2)


def test_saved_and_loaded(fitted, events, tmp_path):
    fitted.save(tmp_path / "events")
    loaded = EventForecaster.load(tmp_path / "events")
    pd.testing.assert_frame_equal(loaded.sample(horizon=5.0), fitted.sample(horizon=5.0))
    assert loaded.score(events) == fitted.score(events)
    dated = clone(fitted).set_params(rerank=None).fit(as_dates(events))
    dated.save(tmp_path / "events")
    again = EventForecaster.load(tmp_path / "events")
    pd.testing.assert_frame_equal(again.sample(horizon="5min"), dated.sample(horizon="5min"))
    (tmp_path / "events" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ReleaseError, match="bad_hash"):
        EventForecaster.load(tmp_path / "events")


def test_simultaneous_and_single_events(events):
    twice = pd.concat([events, events.head(5), pd.DataFrame([("alone", 3.0, "a")], columns=events.columns)])
    counts = EventForecaster(**SMALL).fit(twice).predict(horizon=4.0)
    assert np.isfinite(counts["predictions"]).all()
    assert "alone" in set(counts["item_id"])


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("event_type", None, "event.null_type"),
        ("timestamp", np.nan, "frame.null_timestamp"),
        ("timestamp", np.inf, "frame.bad_timestamp"),
        ("item_id", None, "frame.null_id"),
    ],
)
def test_missing_values_are_refused(events, column, value, code):
    broken = events.copy()
    broken.loc[3, column] = value
    with pytest.raises(FrameError) as caught:
        EventForecaster(**SMALL).fit(broken)
    assert caught.value.code == code


def test_unknown_type_and_too_few_events(fitted, events):
    with pytest.raises(FrameError, match=r"event\.unknown_type"):
        fitted.predict(events.assign(event_type="c"), horizon=1.0)
    with pytest.raises(FrameError, match=r"event\.too_few"):
        EventForecaster(**SMALL).fit(events.groupby("item_id").head(1))
    with pytest.raises(FrameError, match=r"event\.too_few"):
        EventForecaster(**{**SMALL, "rerank_events": 500}, rerank="energy").fit(events)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"horizon": 1.0, "num_events": 2}, {"horizon": -1.0}, {"horizon": "x"}, {"num_events": 0}, {"num_events": 1.5},
     {"horizon": 1.0, "start": 10.0}, {"horizon": 1.0, "start": "x"}, {"horizon": 1e7}],
)  # fmt: skip
def test_wrong_options_of_predict(fitted, wrong):
    with pytest.raises(OptionError, match=r"option\.invalid"):
        fitted.predict(**wrong)


@pytest.mark.parametrize("wrong", [{"rerank": "yes"}, {"d_model": 0}, {"max_steps": 1.5}, {"context_length": 2}])
def test_wrong_options_of_fit(events, wrong):
    with pytest.raises(OptionError, match=r"option\.invalid"):
        EventForecaster(**{**SMALL, **wrong}).fit(events)


def test_unfitted():
    with pytest.raises(NotFittedError):
        EventForecaster().predict(horizon=1.0)


# ------------------------------------------------------------------------------------------------ distance and skill


def brute_distance(left, right, cost):
    """Over all ways to match in order."""
    best = cost * (len(left) + len(right))
    for size in range(1, min(len(left), len(right)) + 1):
        for some in itertools.combinations(left, size):
            for others in itertools.combinations(right, size):
                moved = sum(abs(a - b) for a, b in zip(some, others, strict=True))
                best = min(best, moved + cost * (len(left) + len(right) - 2 * size))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_the_cheapest_matching(seed):
    random = np.random.default_rng(seed)
    left, right = np.sort(random.random(4)) * 5, np.sort(random.random(5)) * 5
    codes, others = random.integers(2, size=4), random.integers(2, size=5)
    wanted = sum(brute_distance(left[codes == k], right[others == k], 1.0) for k in (0, 1))
    assert sequence_distance(left, codes, right, others, 1.0) == pytest.approx(wanted)


def test_all_pairs_at_once_are_as_one_by_one():
    random = np.random.default_rng(0)
    times, codes = np.sort(random.random((6, 9)) * 5, 1), random.integers(3, size=(6, 9))
    inside = times < random.uniform(0, 5, (6, 1))
    inside[0] = False
    wanted = [
        [sequence_distance(times[i, inside[i]], codes[i, inside[i]], times[j, inside[j]], codes[j, inside[j]], 0.7)
         for j in range(6)] for i in range(6)
    ]  # fmt: skip
    np.testing.assert_allclose(pairwise_distances(times, codes, inside, 0.7), wanted)


def test_simulated_hawkes_has_the_rate_of_theory():
    random = np.random.default_rng(0)
    theory = np.linalg.solve(np.eye(2) - JUMPS / DECAY, BASE)
    _, codes = simulate(random, 20_000.0)
    np.testing.assert_allclose(np.bincount(codes) / 20_000, theory, rtol=0.06)


@pytest.mark.slow
def test_hawkes_is_learned_better_than_by_a_poisson_process():
    random = np.random.default_rng(0)
    train, test = ([simulate(random, 150.0) for _ in range(number)] for number in (40, 20))
    forecaster = EventForecaster(max_steps=150).fit(to_frame(train), end=150.0)
    rates = np.array([sum((codes == kind).sum() for _, codes in train) for kind in (0, 1)]) / 6000
    number = sum(len(times) - 1 for times, _ in test)
    poisson = sum(poisson_log_likelihood(*one, rates) for one in test) / number
    truth = sum(log_likelihood(*one) for one in test) / number
    score = forecaster.score(to_frame(test))
    assert poisson + 0.7 * (truth - poisson) < score < truth + 0.02
    rate = forecaster.predict(to_frame(test), horizon=60.0, start=150.0)["predictions"].mean() / 60
    assert rate == pytest.approx(rates.mean(), rel=0.25)


@pytest.mark.slow
def test_re_ranked_counts_are_nearer_than_plain_ones():
    """Items keep to schedules of their own: what a window has forgotten, the whole history tells."""
    process, random = check_rerank.PROCESSES["self_correcting"], np.random.default_rng([0, 7])
    forecaster = check_rerank.fit(process, random, 0, 64, 200)
    horizon = check_rerank.REACH * float(forecaster.model_.mean_gap)
    tests = check_rerank.draw_tests(process, random, 60, horizon, 64)
    plain, ranked = check_rerank.compare(forecaster, tests, 50, 0, 64)[:, :, 0]  # squared errors of the mean counts
    better = plain - ranked
    assert better.mean() > 3 * better.std(ddof=1) / np.sqrt(len(better))
