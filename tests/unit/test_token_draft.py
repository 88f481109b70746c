"""Drafts that are verified: the law of a path stays exactly that of the model, in fewer passes on seasonal series."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

import tsar.decode.token_draft
from tests.unit.vocabulary_models import L, contexts, decoder
from tsar.decode.token_draft import sample_drafted_paths, verify
from tsar.decode.token_rollout import id_tokens, sample_paths
from tsar.errors import ModelError, OptionError

CLASSES, STEPS, DRAWS = 5, 3, 8000


@pytest.fixture(scope="module")
def model():
    return decoder(num_bins=CLASSES, token_lags=3)


@pytest.fixture(scope="module")
def window():
    values = torch.from_numpy(contexts()[2:])
    return values, torch.isfinite(values)


@pytest.fixture(scope="module")
def exact(model, window) -> np.ndarray:
    """Probability of each of the 125 paths of three ids, from the model itself."""
    values, seen = (part[:, -(L - STEPS) :] for part in window)
    ids = model.tokenizer.encode(values, seen).patches[..., 0]
    futures = torch.tensor(list(itertools.product(range(2, 2 + CLASSES), repeat=STEPS)))
    read = torch.cat([ids.expand(len(futures), -1), futures], 1)
    hidden = model.trunk(id_tokens(read, torch.ones_like(read, dtype=torch.bool), model))
    logits = model.head(hidden, hidden[..., 0])[:, -STEPS - 1 : -1, 0, 2:]
    law = logits.double().log_softmax(-1).gather(-1, futures.unsqueeze(-1) - 2).squeeze(-1)
    return law.sum(1).exp().numpy()


def p_value(paths: torch.Tensor, model, window, exact: np.ndarray) -> float:
    """Of a chi-square test that the paths follow the exact law; rare paths are counted together."""
    values, seen = (part[:, -(L - STEPS) :] for part in window)
    scale = model.vocabulary.find_scale(values, seen)
    classes = model.vocabulary.ids(paths[0], torch.ones_like(paths[0], dtype=torch.bool), scale) - 2
    cell = (classes * torch.tensor([CLASSES**2, CLASSES, 1])).sum(1)
    counts = np.bincount(cell.numpy(), minlength=CLASSES**STEPS)
    rare = exact * DRAWS < 8
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(exact[~rare], exact[rare].sum()) * counts.sum()
    return float(stats.chisquare(observed, expected).pvalue)


def drafted(model, window, seed: int, **options):
    return sample_drafted_paths(
        model, *window, STEPS, season_length=4, num_samples=DRAWS, seed=seed, **{"draft_length": 2, **options}
    )


@pytest.mark.parametrize("draft_length", [1, 3])
def test_the_law_is_unchanged(model, window, exact, draft_length):
    result = drafted(model, window, 7, draft_length=draft_length)
    assert 0.05 < result.accepted < 0.95, "some drafts are kept, some are not"
    assert p_value(result.values, model, window, exact) > 0.001


def test_plain_sampling_has_this_law(model, window, exact):
    with torch.inference_mode():
        drawn = sample_paths(model, *window, STEPS, num_samples=DRAWS, seed=5)
    assert p_value(drawn, model, window, exact) > 0.001


def test_the_test_would_notice(model, window, exact, monkeypatch):
    def careless(p, q, said, dice, number):
        accepted, _ = verify(p, q, said, dice, number)
        law = p[torch.arange(len(p)), accepted]
        return accepted, tsar.decode.token_draft.inverse(law, number)  # drawn anew from p, not from what p has beyond q

    monkeypatch.setattr(tsar.decode.token_draft, "verify", careless)
    assert p_value(drafted(model, window, 7).values, model, window, exact) < 1e-6


def test_verify_on_given_laws():
    p = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]).double().expand(3, -1, -1)
    q = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.0, 0.5]]]).double().expand(3, -1, -1)
    said = torch.tensor([[0, 2], [2, 2], [0, 0]])
    accepted, following = verify(p, q, said, torch.full((3, 2), 0.99).double(), torch.full((3,), 0.5).double())
    assert accepted.tolist() == [2, 0, 1]
    assert following.tolist() == [1, 1, 2]


@pytest.mark.parametrize("name", ["quantize", "two_level", "digits"])
def test_paths_of_any_vocabulary_and_many_windows(name):
    values = torch.from_numpy(contexts())
    arguments = (decoder(name), values, torch.isfinite(values), 6)
    result = sample_drafted_paths(*arguments, season_length=5, num_samples=3)
    assert result.values.shape == (3, 3, 6)
    assert torch.isfinite(result.values).all()
    assert torch.equal(result.values, sample_drafted_paths(*arguments, season_length=5, num_samples=3).values)


def test_a_greedy_path_is_that_without_drafts():
    values = torch.from_numpy(contexts())
    arguments = (decoder(), values, torch.isfinite(values), 6)
    with torch.inference_mode():
        plain = sample_paths(*arguments, num_samples=2, top_k=1)
    torch.testing.assert_close(sample_drafted_paths(*arguments, season_length=5, num_samples=2, top_k=1).values, plain)


def test_what_cannot_be_is_refused(small_decoder):
    values = torch.zeros(1, L)
    for changes in ({"horizon": L}, {"horizon": 0}, {"season_length": 0}, {"draft_length": 0}):
        options = {"horizon": 4, "season_length": 4, **changes}
        with pytest.raises(OptionError):
            sample_drafted_paths(decoder(), values, values == 0, options.pop("horizon"), **options)
    with pytest.raises(ModelError):
        sample_drafted_paths(small_decoder(), values, values == 0, 4, season_length=4)
