"""The corruption pipeline: each named probability does what its paper says, and targets stay clean."""

import pytest
import torch

from tsar.model.modes import FORECAST, MASKED, MIDDLE, PREFIX, SUFFIX
from tsar.training.corrupt import CorruptConfig, corrupt
from tsar.training.views import add_noise, make_view, move_middles

L, F, P, ROWS = 256, 32, 8, 400
NOTHING = {"span": 0.0, "points": 0.0, "run": 0.0, "cut": 0.0}


def config(**kinds: float) -> CorruptConfig:
    return CorruptConfig(**{**NOTHING, **kinds})


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, L + F, generator=dice(9)).cumsum(1)


def hidden_by(settings: CorruptConfig) -> torch.Tensor:
    return ~corrupt(torch.ones(ROWS, L + F, dtype=torch.bool), L, P, settings, dice())[:, :L]


def run_lengths(hidden: torch.Tensor) -> torch.Tensor:
    """Lengths of the hidden runs that begin and end inside of their window."""
    edges = torch.nn.functional.pad(hidden.int(), (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero(), (edges == -1).nonzero()
    inside = (begins[:, 1] > 0) & (ends[:, 1] < hidden.shape[1])
    return (ends - begins)[inside, 1]


def test_masked_patches_are_whole_and_of_the_right_share():
    hidden = hidden_by(config(patches=1.0, patch_share=0.4)).view(ROWS, -1, P)
    assert (hidden.all(-1) == hidden.any(-1)).all()
    assert float(hidden.float().mean()) == pytest.approx(0.4, abs=0.02)
    half = hidden_by(config(patches=0.5)).any(1)
    assert float(half.float().mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("length", "share"), [(3.0, 0.15), (10.0, 0.4)])
def test_geometric_spans_have_geometric_lengths(length, share):
    hidden = hidden_by(config(geometric=1.0, geometric_length=length, geometric_share=share))
    assert float(hidden.float().mean()) == pytest.approx(share, abs=0.03)
    runs = run_lengths(hidden).float()
    assert float(runs.mean()) == pytest.approx(length, rel=0.1)
    assert float(runs.std()) == pytest.approx((length * (length - 1)) ** 0.5, rel=0.15), "of a geometric law"


def test_spans_too_many_for_their_length_are_refused():
    with pytest.raises(ValueError, match="geometric_length"):
        CorruptConfig(geometric_length=1.1, geometric_share=0.5)


@pytest.mark.parametrize("name", ["span", "future_mixup", "noise", "middle", "feedback", "patch_share"])
def test_probabilities_are_probabilities(name):
    with pytest.raises(ValueError, match=name):
        CorruptConfig(**{name: 1.5})


def test_the_future_is_the_end_of_the_history():
    hidden = hidden_by(config(future=1.0, max_span=4))
    lengths = hidden.sum(1)
    assert set((lengths // P).tolist()) == {1, 2, 3, 4}
    assert torch.equal(hidden, torch.arange(L) >= L - lengths[:, None])


def test_future_mixup_shows_part_of_what_is_hidden():
    plain, mixed = config(span=1.0), config(span=1.0, future_mixup=1.0)
    views = [make_view(windows(), L, P, one, dice()).visible[:, :L] for one in (plain, mixed)]
    hidden = [~view for view in views]
    assert hidden[0].any(1).all()
    assert (hidden[0] | ~hidden[1]).all(), "nothing is hidden that was not"
    long = hidden[0].sum(1) > 60
    rates = (hidden[1].sum(1) / hidden[0].sum(1))[long]
    assert rates.min() < 0.2
    assert rates.max() > 0.8
    assert float(rates.mean()) == pytest.approx(0.5, abs=0.1)


def test_noise_is_on_the_inputs_only_and_in_units_of_each_window():
    series = windows() * torch.logspace(-6, 6, ROWS)[:, None]
    series[0, :50] = torch.nan
    view = make_view(series, L, P, config(noise=0.5, noise_size=0.3), dice())
    assert view.windows is series
    assert torch.equal(torch.isnan(view.extra.inputs), torch.isnan(series))
    error = (view.extra.inputs - series)[1:]
    size = error.std(1) / series[1:].std(1)
    assert float((size > 1e-5).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert size.max() < 0.36
    assert size.max() > 0.25
    assert torch.equal(add_noise(series[1:], config(noise=1.0, noise_size=0.0), dice()), series[1:])


def test_a_middle_is_moved_to_the_end():
    series = torch.arange(L + F).float().expand(ROWS, -1)
    moved, roles = move_middles(series, L, P, config(middle=0.6, max_span=6), dice())
    assert torch.equal(moved.sort(1).values, series), "a permutation"
    chosen = roles[:, 0] == PREFIX
    assert float(chosen.float().mean()) == pytest.approx(0.6, abs=0.08)
    assert torch.equal(moved[~chosen], series[~chosen])
    assert (roles[~chosen] == FORECAST).all()
    for values, role in zip(moved[chosen], roles[chosen], strict=True):
        prefix, suffix, middle = (values[role == one] for one in (PREFIX, SUFFIX, MIDDLE))
        assert torch.equal(torch.cat([prefix, middle, suffix]), series[0]), "each part in its order"
        assert torch.equal(torch.cat([prefix, suffix, middle]), values)
        assert F <= len(middle) <= F + 6 * P
        assert min(len(prefix), len(suffix)) >= P


def test_a_window_too_short_for_a_middle_stays():
    series = torch.randn(3, P + F)
    moved, roles = move_middles(series, P, P, config(middle=1.0), dice())
    assert torch.equal(moved, series)
    assert (roles == FORECAST).all()


def test_a_middle_is_never_visible_and_masked_windows_say_so():
    settings = config(middle=0.5, patches=0.5)
    view = make_view(windows(), L, P, settings, dice(), modes=True)
    roles = view.extra.roles
    assert not (view.visible & (roles == MIDDLE)).any()
    assert {FORECAST, MASKED, PREFIX, SUFFIX, MIDDLE} == set(roles.unique().tolist())
    whole = (roles == FORECAST).all(1)
    assert view.visible[whole][:, :L].all()
    masked = (roles == MASKED).all(1)
    assert (~view.visible[masked][:, :L]).any(1).all()


def test_feedback_rises_to_its_rate():
    settings = config(feedback=0.4, feedback_steps=10)
    shares = [
        float(make_view(windows(), L, P, settings, dice(), step=step).extra.fed.float().mean())
        for step in (0, 5, 10, 1000)
    ]
    assert shares == pytest.approx([0, 0.2, 0.4, 0.4], abs=0.02)


def test_a_view_depends_on_its_generator_only_and_a_plain_one_is_as_it_always_was():
    settings = CorruptConfig(patches=0.3, noise=0.5, middle=0.3, feedback=0.1)
    first, again, other = (
        make_view(windows(), L, P, settings, dice(seed), modes=True, twice=True, step=5000) for seed in (1, 1, 2)
    )
    for name in ("inputs", "roles", "fed", "other_visible", "other_inputs"):
        assert torch.equal(getattr(first.extra, name), getattr(again.extra, name)), name
        assert not torch.equal(getattr(first.extra, name), getattr(other.extra, name)), name
    assert not torch.equal(first.visible, first.extra.other_visible)
    plain = make_view(windows(), L, P, CorruptConfig(), dice())
    assert plain.extra is None
    assert torch.equal(plain.visible, corrupt(torch.isfinite(windows()), L, P, CorruptConfig(), dice()))


def test_rows_are_shared_with_all_that_belongs_to_them():
    settings = CorruptConfig(noise=0.5, middle=0.3, feedback=0.1)
    view = make_view(windows(), L, P, settings, dice(), modes=True, twice=True)
    part = view.take(slice(1, None, 2))
    assert torch.equal(part.windows, view.windows[1::2])
    assert torch.equal(part.extra.roles, view.extra.roles[1::2])
    assert torch.equal(part.extra.other_inputs, view.extra.other_inputs[1::2])
