"""Full attention: both sides of a gap are seen, what is hidden is not, and training asks for what is hidden."""

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.decode.infill import infill, infill_panel
from tsar.errors import ModelError
from tsar.model.config import ModelConfig, num_parameters
from tsar.tokenizers.gap import GapTokenizer, interpolate
from tsar.training.corrupt import CorruptConfig, corrupt
from tsar.training.objectives import HiddenPoints, NextPatches, make_objective

L, P = 64, 8
FULL = {"attention": "full", "scaling": "window", "output_length": P, "max_span": 0}
HOLES = CorruptConfig(span=0.0, points=0.0, run=0.0, cut=0.0, holes=1.0)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "period"])
def full(small_decoder, request):
    return small_decoder(**FULL, period=request.param)


def walk(rows: int = 3, length: int = L, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, length)).cumsum(1)


def test_the_config_says_what_a_model_is_for(full):
    assert full.config.task == "infill"
    assert ModelConfig().task == "forecast"
    assert ModelConfig.from_dict(full.config.to_dict()) == full.config
    assert sum(weight.numel() for weight in full.parameters()) == num_parameters(full.config)


@pytest.mark.parametrize("wrong", [{"attention": "both"}, FULL | {"scaling": "causal"}, FULL | {"output_length": 16}])
def test_full_attention_needs_its_own_output_and_whole_window_scales(wrong):
    with pytest.raises(ModelError) as caught:
        ModelConfig(patch_length=P, **wrong)
    assert caught.value.code == "model.bad_config"


def test_interpolation_is_that_of_numpy():
    values = torch.from_numpy(walk(20))
    seen = torch.rand(20, L, generator=torch.Generator().manual_seed(1)) > 0.6
    seen[3] = False
    filled, distance = interpolate(torch.where(seen, values, torch.nan), seen)
    for row in range(20):
        known = np.flatnonzero(seen[row].numpy())
        if not len(known):
            assert (filled[row] == 0).all()
            continue
        np.testing.assert_allclose(filled[row], np.interp(np.arange(L), known, values[row, known].numpy()))
        np.testing.assert_array_equal(distance[row], np.abs(np.arange(L)[:, None] - known).min(1))
    assert torch.equal(filled[seen], values[seen])


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 1e30])
def test_what_is_hidden_does_not_matter(poison):
    values = torch.from_numpy(walk())
    seen = torch.ones_like(values, dtype=torch.bool)
    seen[:, 20:37] = False
    tokenizer = GapTokenizer(patch_length=P, period=True)
    clean, poisoned = (tokenizer.encode(torch.where(seen, values, other), seen) for other in (0.0, poison))
    assert torch.equal(clean.patches, poisoned.patches)
    assert torch.equal(clean.anchor, poisoned.anchor)


def test_a_gap_is_filled_from_both_sides(full):
    values = walk()
    values[:, 24:32] = np.nan
    filled = infill(full, values)[:, 24:32]
    for side in (slice(10, 20), slice(40, 50)):
        other = values.copy()
        other[:, side] += 1.0
        assert (infill(full, other)[:, 24:32] != filled).all()


def test_filling_is_the_same_backwards_mirrored_and_in_other_units(full):
    values = walk()
    values[:, 24:32] = values[1, 3:5] = np.nan
    filled = infill(full, values)
    np.testing.assert_allclose(infill(full, values[:, ::-1].copy())[:, ::-1], filled, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(infill(full, -values)[..., ::-1], -filled, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(infill(full, 1e6 * values + 1e7) / 1e6 - 10, filled, rtol=1e-3, atol=1e-3)
    assert (np.diff(filled, axis=-1) >= 0).all()


def test_empty_and_constant_windows(full):
    values = np.full((3, L), np.nan)
    values[1, ::3] = 7.5
    values[2, 5] = -1e300
    filled = infill(full, values)
    assert np.isnan(filled[0]).all()
    np.testing.assert_allclose(filled[1], 7.5, rtol=1e-12)
    np.testing.assert_allclose(filled[2], -1e300, rtol=1e-12)


def test_a_panel_is_filled_series_by_series(full):
    lengths = [5, L, full.config.context_length, 3 * full.config.context_length + 11]
    parts = [walk(1, length, seed)[0] for seed, length in enumerate(lengths)]
    for part in parts:
        part[2:4] = np.nan
        part[-9:-6] = np.nan
    values, offsets = np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)])
    wanted = np.isnan(values)
    together = infill_panel(full, values, offsets, wanted)
    assert (np.isfinite(together).all(1) == wanted).all()
    for part, start, stop in zip(parts, offsets[:-1], offsets[1:], strict=True):
        alone = infill_panel(full, part, np.array([0, len(part)]), np.isnan(part))
        np.testing.assert_allclose(alone, together[start:stop], rtol=1e-4, atol=1e-4)
    last = infill(full, parts[3][None, -full.config.context_length :])[0, -9:-6]
    np.testing.assert_allclose(together[-9:-6], last, rtol=1e-4, atol=1e-4)


def test_it_does_not_forecast(full):
    with pytest.raises(ModelError) as caught:
        decode(full, walk(), 4)
    assert caught.value.code == "model.wrong_task"


def test_holes_hide_the_share_asked_for_in_runs_of_many_lengths():
    observed = torch.ones(2000, 256 + P, dtype=torch.bool)
    visible = corrupt(observed, 256, P, HOLES, torch.Generator().manual_seed(0))[:, :256]
    share = 1 - visible.float().mean(1)
    assert 0.25 < share.mean() < 0.4
    assert (share > 0.5).float().mean() > 0.1
    assert (share < 0.1).float().mean() > 0.05
    edges = (visible[:, 1:] & ~visible[:, :-1]).sum(1).clamp_min(1)
    length = (~visible).sum(1) / edges
    assert (length < 3).float().mean() > 0.15
    assert (length > 30).float().mean() > 0.15
    assert (~visible[:, 0]).any()
    assert (~visible[:, -1]).any()


def test_the_objective_asks_for_hidden_known_points_alone(small_decoder):
    objective = make_objective(small_decoder(**FULL).requires_grad_(True))
    assert isinstance(objective, HiddenPoints)
    assert isinstance(make_objective(small_decoder()), NextPatches)
    windows = torch.from_numpy(walk(4, L + P)).float()
    visible = torch.ones(4, L + P, dtype=torch.bool)
    visible[:, 20:30] = visible[:, L:] = False
    windows[1, 24:27] = torch.nan
    loss = objective(windows, visible)
    moved = windows.clone()
    moved[0, 24] += 1.0  # hidden: the target moves, and what the model sees does not
    moved[1, L:] += 5.0  # behind the window: never asked for
    after = objective(moved, visible)
    assert (loss > 0).all()
    assert after[0] != loss[0]
    assert torch.equal(after[1:], loss[1:])
    nothing = objective(windows, visible | (torch.arange(L + P) < L))
    assert (nothing == 0).all()
    loss.mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in objective.parameters())
