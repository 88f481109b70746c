"""The soft prompt: silent when fresh, and blind to padding, batches and caches when trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.model.cache import Cache
from tsar.model.config import num_parameters
from tsar.model.decoder import Decoder


def contexts(rows=3, length=96):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, length)).cumsum(1) + 5 * np.sin(np.arange(length) / 4)


@pytest.fixture(scope="module")
def prompted(small_decoder):
    return small_decoder(prompt_length=5)


def test_a_fresh_prompt_changes_nothing(decoder):
    fresh = Decoder(replace(decoder.config, prompt_length=5)).eval()
    fresh.load_state_dict(decoder.state_dict(), strict=False)
    np.testing.assert_allclose(decode(fresh, contexts(), 40), decode(decoder, contexts(), 40), rtol=1e-3, atol=1e-3)


def test_a_trained_prompt_changes_the_forecast(prompted, decoder):
    assert not np.allclose(decode(prompted, contexts(), 8), decode(decoder, contexts(), 8))
    assert num_parameters(prompted.config) == sum(param.numel() for param in prompted.parameters())


def test_padding_and_neighbours_do_not_change_the_forecast(prompted):
    context = contexts()
    padded = np.concatenate([np.full((3, 32), np.nan), context], 1)
    alone = np.concatenate([decode(prompted, row[None], 70) for row in context])
    np.testing.assert_allclose(decode(prompted, padded, 70), alone, rtol=1e-4, atol=1e-4)


def test_cached_is_uncached(prompted):
    values = torch.from_numpy(contexts())
    tokens = prompted.tokenizer.encode(values, torch.ones_like(values, dtype=torch.bool))
    with torch.inference_mode():
        whole = prompted(tokens)
        cache = Cache.empty(prompted.config.num_layers)
        first = prompted.tokenizer.encode(values[:, :64], torch.ones(3, 64, dtype=torch.bool))
        prompted.trunk(first, cache=cache)
        rest = prompted(tokens.after(cache.num_tokens), cache=cache)
    torch.testing.assert_close(rest, whole[:, -rest.shape[1] :], rtol=1e-4, atol=1e-4)
