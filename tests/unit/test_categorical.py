"""The categorical law: probabilities, quantiles, draws, and what narrows it."""

import pytest
import torch
from torch import distributions

from tsar.heads.categorical import CategoricalHead, CategoricalLaw, sharpened

CENTRES = torch.linspace(-2, 2, 9, dtype=torch.float64)
LOGITS = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LAW = CategoricalLaw(LOGITS, CENTRES)


def test_probabilities_are_those_of_torch():
    index = torch.tensor([0, 3, 8, 4])
    wanted = distributions.Categorical(logits=LOGITS).log_prob(index)
    torch.testing.assert_close(LAW.log_prob(CENTRES[index] + 0.2), wanted)
    torch.testing.assert_close(LAW.loss(CENTRES[index]), -wanted)


def test_quantiles_are_the_smallest_values_that_reach_the_level():
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    quantiles = LAW.quantile(levels)
    below = (LOGITS.softmax(-1)[:, None] * (quantiles[..., None] >= CENTRES)).sum(-1)
    before = (LOGITS.softmax(-1)[:, None] * (quantiles[..., None] > CENTRES)).sum(-1)
    assert (below >= levels - 1e-12).all()
    assert (before < levels).all()


@pytest.mark.slow
def test_quantiles_cover_a_known_law():
    """A head that is fitted to draws of a normal law, by the loss alone, has its quantiles."""
    torch.manual_seed(0)
    logits = torch.zeros(61, dtype=torch.float64, requires_grad=True)
    centres, draws = torch.linspace(-4, 4, 61, dtype=torch.float64), torch.randn(20_000, dtype=torch.float64)
    optimizer = torch.optim.Adam([logits], 0.2)
    for _ in range(80):
        optimizer.zero_grad()
        CategoricalLaw(logits.expand(len(draws), -1), centres).loss(draws).mean().backward()
        optimizer.step()
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    quantiles = CategoricalLaw(logits.detach(), centres).quantile(levels)
    torch.testing.assert_close(quantiles, torch.special.ndtri(levels), atol=0.14, rtol=0)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (1.0, 3)])
def test_draws_follow_the_narrowed_law(temperature, top_k):
    draws = LAW.sample(torch.Generator().manual_seed(0), 20_000, temperature=temperature, top_k=top_k)
    assert draws.shape == (20_000, 4)
    share = (draws[..., None] == CENTRES).double().mean(0)
    wanted = sharpened(LOGITS, temperature, top_k).softmax(-1)
    torch.testing.assert_close(share, wanted, atol=0.015, rtol=0)
    if top_k:
        assert ((share > 0).sum(-1) == top_k).all()


def test_a_head_says_ids_or_values():
    head = CategoricalHead(4, 1, 9, 8)
    levels = torch.tensor([0.01, 0.99])
    assert head.law(torch.zeros(1, 8), levels).quantile(levels).tolist() == [[-6.0, 6.0]]
    head.says_ids = True
    assert head.law(torch.zeros(1, 8), levels).quantile(levels).tolist() == [[0.0, 7.0]]
