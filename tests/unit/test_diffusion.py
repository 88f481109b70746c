"""The diffusion head: laws that are known are learned, draws are paths, nothing but `sample` is random."""

import pytest
import torch

from tsar.heads.diffusion import DiffusionHead, noise_from_digits, signal_and_noise

LEVELS = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
POINTS = 4


def skewed(noise, side):
    """Points that fall together, skewed to a side (…, 1), around that side."""
    common = 0.8 * noise[..., :1] + 0.6 * noise[..., 1:]
    return side * torch.exp(0.5 * common)


@pytest.fixture(scope="module")
def trained():
    """A head that has seen draws of two laws, told apart by its hidden state."""
    torch.manual_seed(0)
    head = DiffusionHead(2, POINTS, 9)
    head.initialize()
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    steps = 300
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        side = torch.where(torch.rand(256, 1, 1) < 0.5, -1.0, 1.0)
        target = skewed(torch.randn(256, 1, POINTS + 1), side)
        loss = law(head, side).loss(target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def law(head, side):
    return head.law(head(torch.cat([side, torch.ones_like(side)], -1), torch.zeros(side.shape[:2])), LEVELS)


def truth(side):
    return skewed(torch.randn(1, 20_000, POINTS + 1, generator=torch.Generator().manual_seed(5)), side)


@pytest.mark.slow
@pytest.mark.parametrize("side", [-1.0, 1.0])
@torch.no_grad()
def test_quantiles_cover_what_they_say(trained, side):
    quantiles = law(trained, torch.full((1, 1, 1), side)).quantile(LEVELS)[0, 0]
    covered = (truth(side)[0].unsqueeze(-1) < quantiles).float().mean(0)
    assert float((covered - LEVELS).abs().max()) < 0.12
    assert float((covered - LEVELS).abs().mean()) < 0.05
    assert float((covered - LEVELS).mean().abs()) < 0.03


@pytest.mark.slow
@torch.no_grad()
def test_the_points_of_a_draw_belong_together(trained):
    generator = torch.Generator().manual_seed(1)
    draws = law(trained, torch.ones(1, 1, 1)).sample(generator, 2000)[:, 0, 0]
    wanted = torch.corrcoef(truth(1.0)[0].T)
    assert float((torch.corrcoef(draws.T) - wanted).abs().max()) < 0.15
    assert float(wanted[0, 1]) > 0.5


@pytest.mark.slow
@torch.no_grad()
def test_the_density_is_about_that_of_the_law(trained):
    one = law(trained, torch.ones(1, 1, 1))
    grid = torch.linspace(0.5, 1.6, 12)
    density = torch.stack([one.log_prob(value.expand(1, 1, POINTS)) for value in grid]).exp().mean((1, 2, 3))
    points = truth(1.0)
    wanted = torch.stack([((points - value).abs() < 0.05).float().mean() / 0.1 for value in grid])
    assert float((density - wanted).abs().mean()) < 0.2 * float(wanted.mean())


@pytest.mark.slow
@torch.no_grad()
def test_quantiles_are_the_same_each_time_and_in_any_company(trained):
    both = law(trained, torch.tensor([[[-1.0]], [[1.0]]])).quantile(LEVELS)
    assert torch.equal(both, law(trained, torch.tensor([[[-1.0]], [[1.0]]])).quantile(LEVELS))
    torch.testing.assert_close(both[1:], law(trained, torch.ones(1, 1, 1)).quantile(LEVELS))
    assert (both.diff() >= 0).all()


def test_the_noise_of_training_is_normal_and_a_function_of_the_target():
    target = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    noise, time = noise_from_digits(target)
    again, _ = noise_from_digits(target)
    assert torch.equal(noise, again)
    quantiles = torch.quantile(noise, torch.tensor([0.025, 0.25, 0.5, 0.75, 0.975]), 0)
    wanted = torch.tensor([-1.96, -0.674, 0.0, 0.674, 1.96]).unsqueeze(1).expand(-1, 5)
    torch.testing.assert_close(quantiles, wanted, rtol=0, atol=0.15)
    together = torch.corrcoef(torch.cat([noise, time, target, noise.square()], 1).T)
    assert float((together - torch.eye(16)).abs().max()) < 0.08
    assert float((time.sort(0).values[:, 0] - torch.linspace(0, 1, 4000)).abs().max()) < 0.04


def test_the_schedule_keeps_the_variance():
    signal, spread = signal_and_noise(torch.linspace(0, 1, 9))
    torch.testing.assert_close(signal**2 + spread**2, torch.ones(9))
    assert (signal.diff() < 0).all()
