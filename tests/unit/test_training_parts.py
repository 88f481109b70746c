"""Objective and optimizer: no leak from the future, rows on their own, Muon and AdamW as their definitions."""

import numpy as np
import pytest
import torch
from torch import nn

from tsar.model.decoder import Decoder
from tsar.training.objectives import MIN_HISTORY, NextPatches
from tsar.training.optim import (
    MuonAdamW,
    OptimConfig,
    clip_gradients,
    make_optimizer,
    orthogonalize,
    schedule,
)

L, F, P = 64, 32, 8  # F and P as in the small decoder


@pytest.fixture
def objective(small_decoder) -> NextPatches:
    return NextPatches(small_decoder().requires_grad_(True))


def batch(rows: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks; the second begins late, the third has gaps, the fourth a hidden run."""
    generator = torch.Generator().manual_seed(seed)
    windows = torch.randn(rows, L + F, generator=generator).cumsum(1)
    windows[1, :29] = torch.nan
    windows[2, 30:37] = torch.nan
    visible = torch.isfinite(windows)
    visible[:, L:] = False
    visible[3, 24:40] = False
    return windows, visible


def answer_of(
    objective: NextPatches, windows: torch.Tensor, visible: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss and the quantiles that the decoder gave on the way; their gradient is kept."""
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    with objective.decoder.head.register_forward_hook(keep):
        loss = objective(windows, visible)
    return loss, seen[0]


def test_loss_is_finite_positive_and_reaches_every_weight(objective):
    loss = objective(*batch())
    assert loss.shape == (5,)
    assert (loss > 0).all()
    loss.mean().backward()
    for name, param in objective.named_parameters():
        assert torch.isfinite(param.grad).all(), name
        assert param.grad.abs().max() > 0, name


@pytest.mark.parametrize("poison", [1e30, -1e30, torch.inf, torch.nan])
def test_no_leak_from_what_is_not_visible(objective, poison):
    windows, visible = batch()
    _, clean = answer_of(objective, windows, visible)
    _, poisoned = answer_of(objective, torch.where(visible, windows, poison), visible)
    assert torch.equal(clean, poisoned)


def test_every_answer_uses_its_past_only(objective):
    windows, visible = batch()
    windows, visible = windows[:1], visible[:1]
    _, clean = answer_of(objective, windows, visible)
    for token in range(1, L // P):
        other = windows.clone()
        other[:, token * P :] += 1e3
        _, changed = answer_of(objective, other, visible)
        assert torch.equal(clean[:, :token], changed[:, :token])
        assert not torch.equal(clean[:, token:], changed[:, token:])


def test_unknown_targets_and_tokens_without_history_get_no_gradient(objective):
    windows, visible = batch()
    windows[0, 50:60] = torch.nan
    visible[0, 50:60] = False
    windows[4] = 7.0  # never varies: no scale, no loss
    loss, quantiles = answer_of(objective, windows, visible)
    loss.sum().backward()
    touched = (quantiles.grad != 0).any(-1)  # (rows, tokens, points)
    target = torch.arange(L // P)[:, None] * P + P + torch.arange(F)
    assert torch.equal(touched[0], (target < 50) | (target >= 60))
    assert not touched[4].any()
    assert loss[4] == 0
    shift = 29 // P * P  # the second window was moved left by its leading patches
    assert torch.equal(touched[1, 1:], (target[1:] + shift) < L + F)
    assert 29 + MIN_HISTORY > 4 * P, "its first token has too little history for a loss"
    assert not touched[1, 0].any()


def test_hidden_points_are_targets(objective):
    windows, visible = batch()
    loss, quantiles = answer_of(objective, windows, visible)
    loss.sum().backward()
    assert (quantiles.grad[3, 24 // P - 1, : 2 * P] != 0).all()


def test_extreme_unknowns_leave_gradients_finite(objective):
    windows, visible = batch()
    windows[:2] *= 1e-20
    windows[2:] *= 1e15
    objective(windows, visible).sum().backward()
    assert all(torch.isfinite(param.grad).all() for param in objective.parameters())


def test_rows_are_independent(objective):
    windows, visible = batch()
    together = objective(windows, visible)
    for row in range(5):
        alone = objective(windows[row : row + 1], visible[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-6)


def test_leading_padding_does_not_change_the_answers(objective):
    windows, visible = batch()
    pad = torch.full((5, 2 * P), torch.nan)
    _, plain = answer_of(objective, windows, visible)
    _, padded = answer_of(
        objective, torch.cat([pad, windows], 1), torch.cat([torch.zeros(5, 2 * P).bool(), visible], 1)
    )
    torch.testing.assert_close(padded[:, : L // P], plain, rtol=1e-4, atol=1e-5)


def test_loss_does_not_depend_on_unit_and_origin(objective):
    windows, visible = batch()
    expected = objective(windows, visible)
    torch.testing.assert_close(objective(windows * 1024, visible), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(objective(windows + 50, visible), expected, rtol=1e-2, atol=1e-3)


def test_smooth_series_weigh_more(small_decoder):
    plain = NextPatches(small_decoder(), smooth_weight=0.0)
    weighted = NextPatches(small_decoder(), smooth_weight=1.0)
    trend = torch.linspace(0, 5, L + F)[None]
    noise = torch.randn(1, L + F, generator=torch.Generator().manual_seed(0))
    shown = (torch.arange(L + F) < L)[None]
    gain = [float(weighted(one, shown) / plain(one, shown)) for one in (trend, noise)]
    assert gain[0] > 3 * gain[1]


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_orthogonalize_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    out = orthogonalize(torch.randn(3, *shape))
    values = torch.linalg.svdvals(out)
    assert values.min() > 0.3
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(torch.randn(1, 8, 8), full_matrices=False)
    rotation = left @ right
    torch.testing.assert_close(
        orthogonalize(rotation) / orthogonalize(rotation).norm() * 8**0.5, rotation, atol=0.05, rtol=0
    )


def test_orthogonalize_takes_zeros_and_any_size():
    assert (orthogonalize(torch.zeros(1, 4, 4)) == 0).all()
    matrix = torch.randn(1, 6, 6)
    torch.testing.assert_close(orthogonalize(1e6 * matrix), orthogonalize(matrix), atol=1e-4, rtol=1e-3)


def trained(optimizer_of, steps: int = 20) -> list[torch.Tensor]:
    """Weights of a small network after some steps on fixed data."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = optimizer_of(network)
    inputs, targets = torch.randn(32, 6), torch.randn(32, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(inputs), targets).backward()
        optimizer.step()
    return list(network.parameters())


def test_adamw_is_that_of_torch():
    config = OptimConfig(kind="adamw", lr=1e-2, weight_decay=0.3)

    def torchs(network):
        matrices = [param for param in network.parameters() if param.ndim > 1]
        vectors = [param for param in network.parameters() if param.ndim == 1]
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=1e-2, betas=config.betas, eps=config.eps, weight_decay=0.3)

    ours, theirs = trained(lambda network: make_optimizer(network, config)), trained(torchs)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-6)


def test_muon_steps_are_orthogonal_and_as_large_as_adamws():
    torch.manual_seed(0)
    param = nn.Parameter(torch.randn(32, 48))
    before = param.detach().clone()
    config = OptimConfig(kind="muon", lr=0.1, weight_decay=0.0)
    param.grad = 1e3 * torch.randn(32, 48)
    MuonAdamW([{"params": [param], "muon": True}], config).step()
    update = (param.detach() - before) / -0.1
    assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.2)
    values = torch.linalg.svdvals(update) / (0.2 * 48**0.5)
    assert 0.3 < values.min() < values.max() < 1.3
    assert (update * param.grad).sum() > 0, "downhill"


def test_muon_takes_the_matrices_of_the_blocks_only(small_decoder):
    decoder: Decoder = small_decoder().requires_grad_(True)
    for kind in ("muon", "adamw"):
        optimizer = make_optimizer(NextPatches(decoder), OptimConfig(kind=kind, weight_decay=0.1))
        by_muon = {id(param) for group in optimizer.param_groups if group["muon"] for param in group["params"]}
        wanted = {id(param) for param in decoder.blocks.parameters() if param.ndim > 1} if kind == "muon" else set()
        assert by_muon == wanted
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(decoder.parameters()))
        for group in optimizer.param_groups:
            assert {param.ndim > 1 for param in group["params"]} == {group["weight_decay"] > 0}


def test_clipping():
    params = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(1))]
    params[0].grad, params[1].grad = torch.tensor([3.0, 0, 0]), torch.full((2, 2), 2.0)
    assert clip_gradients(params, 1.0) == pytest.approx(5.0)
    assert torch.cat([params[0].grad, params[1].grad.flatten()]).norm() == pytest.approx(1.0, rel=1e-5)
    before = params[0].grad.clone()
    clip_gradients(params, 10.0)
    assert torch.equal(params[0].grad, before), "a short gradient is left alone"
    params[1].grad[0, 0] = torch.nan
    clip_gradients(params, 1.0)
    assert (params[0].grad == 0).all()
    assert (params[1].grad == 0).all()


def test_schedule_warms_up_stays_and_decays():
    config = OptimConfig(warmup=0.1, decay=0.4, final=0.05)
    rates = np.array([schedule(progress, config) for progress in np.linspace(0, 1, 101)])
    assert 0 < rates[0] < 0.01
    np.testing.assert_allclose(rates[5], 0.5, rtol=1e-9)
    np.testing.assert_allclose(rates[10:61], 1.0)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[60:]) < 0).all()
    assert rates[-1] == pytest.approx(0.05)
    np.testing.assert_allclose(rates[70], 0.05 + 0.95 * 0.5)
    assert schedule(1.5, config) == pytest.approx(0.05)
    assert {schedule(p, OptimConfig(warmup=0.0, decay=0.0)) for p in (0.0, 0.5, 1.0)} == {1.0}
