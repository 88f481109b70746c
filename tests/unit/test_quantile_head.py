"""Quantile head and pinball loss: quantiles never cross, whatever comes in, and the loss is its definition."""

import numpy as np
import pytest
import torch

from tsar.heads.base import LOG_SPREAD_LIMIT
from tsar.heads.quantile import QuantileHead, pinball_loss

DECILES = torch.arange(1, 10) / 10


def wild_head(size: float, seed: int = 0) -> QuantileHead:
    """Return a head with random weights of the given size."""
    torch.manual_seed(seed)
    head = QuantileHead(d_model=8, output_length=6, num_levels=9)
    for param in head.parameters():
        torch.nn.init.normal_(param, std=size)
    return head.requires_grad_(False)


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("hidden_size", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantiles_never_cross(size, hidden_size, dtype):
    head = wild_head(size)
    quantiles = head(hidden_size * torch.randn(5, 7, 8, dtype=dtype), 30 * torch.randn(5, 7, dtype=dtype))
    assert quantiles.shape == (5, 7, 6, 9)
    assert quantiles.dtype == torch.float32
    assert torch.isfinite(quantiles).all()
    assert (quantiles.diff(dim=-1) >= 0).all()


def test_ordinary_quantiles_are_distinct():
    quantiles = wild_head(0.3)(torch.randn(5, 7, 8), torch.randn(5, 7))
    assert (quantiles.diff(dim=-1) > 0).all()


def test_unit_stays_within_its_limit():
    head = wild_head(0.0)
    for extreme, bound in ((1e6, LOG_SPREAD_LIMIT), (-1e6, -LOG_SPREAD_LIMIT)):
        head.gate_unit.bias.copy_(torch.tensor([0.0, extreme]))
        width = head(torch.zeros(1, 1, 8), torch.zeros(1, 1)).diff(dim=-1)
        torch.testing.assert_close(width, torch.full_like(width, np.log(2) * np.exp(bound)), rtol=1e-3, atol=1e-6)


def test_an_open_gate_is_a_random_walk_from_the_anchor():
    head = wild_head(0.0)
    head.gate_unit.bias.copy_(torch.tensor([50.0, 0.0]))
    anchor = torch.randn(2, 3)
    median = head(torch.randn(2, 3, 8), anchor)[..., 4]
    torch.testing.assert_close(median, anchor.unsqueeze(-1).expand_as(median))


def test_a_fresh_head_starts_at_half_the_anchor_with_a_band_of_equal_widths():
    head = QuantileHead(d_model=64, output_length=4, num_levels=9)
    head.initialize()
    with torch.no_grad():
        quantiles = head(torch.zeros(1, 1, 64), torch.ones(1, 1))[0, 0]
    torch.testing.assert_close(quantiles[:, 4], torch.full((4,), 0.5))
    torch.testing.assert_close(quantiles.diff(dim=-1), torch.full((4, 8), float(np.log1p(np.exp(-1.5)))))


def test_positions_are_independent():
    head, hidden, anchor = wild_head(0.5), torch.randn(2, 5, 8), torch.randn(2, 5)
    whole = head(hidden, anchor)
    for token in range(5):
        torch.testing.assert_close(
            head(hidden[:, token : token + 1], anchor[:, token : token + 1])[:, 0], whole[:, token]
        )


def test_pinball_is_its_definition():
    rng = np.random.default_rng(0)
    quantiles, target, levels = rng.normal(size=(4, 3, 9)), rng.normal(size=(4, 3)), np.arange(1, 10) / 10
    expected = np.zeros((4, 3))
    for i, j, q in np.ndindex(4, 3, 9):
        error = target[i, j] - quantiles[i, j, q]
        expected[i, j] += 2 / 9 * (levels[q] * error if error >= 0 else (levels[q] - 1) * error)
    loss = pinball_loss(*(torch.from_numpy(array) for array in (quantiles, target, levels)))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


def test_pinball_is_the_absolute_error_where_all_quantiles_agree():
    guess, target = torch.randn(50, 1).expand(50, 9), torch.randn(50)
    torch.testing.assert_close(pinball_loss(guess, target, DECILES), (guess[:, 0] - target).abs())


def test_pinball_is_least_at_the_quantiles_of_the_law():
    sample = torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = DECILES.double()
    best = torch.quantile(sample, levels)
    least = pinball_loss(best.expand(len(sample), -1), sample, levels).mean()
    for level in range(9):
        for shift in (-0.05, 0.05):
            other = best.clone()
            other[level] += shift
            assert pinball_loss(other.expand(len(sample), -1), sample, levels).mean() > least


def test_gradient_of_pinball():
    generator = torch.Generator().manual_seed(0)
    quantiles = torch.randn(4, 9, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.randn(4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, t: pinball_loss(q, t, DECILES.double()), (quantiles, target))


def test_gradient_of_the_head():
    head = wild_head(0.3).double()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 2, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    anchor = torch.randn(1, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    names, weights = zip(
        *((name, param.clone().requires_grad_()) for name, param in head.named_parameters()), strict=True
    )

    def answer(hidden, anchor, *weights):
        return torch.func.functional_call(head, dict(zip(names, weights, strict=True)), (hidden, anchor))

    assert torch.autograd.gradcheck(answer, (hidden, anchor, *weights))


def test_autocast_leaves_the_answer_in_full_precision():
    head, hidden, anchor = wild_head(0.3), torch.randn(2, 3, 8).bfloat16(), torch.randn(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantiles = head(hidden, anchor)
    assert torch.equal(quantiles, head(hidden, anchor))
