"""The staged trunk: shapes, nothing leaks, padding changes nothing."""

import copy

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.errors import ModelError
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.stages import pooled, share_out, spread

LENGTH = 128


@pytest.fixture(scope="module")
def decoder(small_decoder):
    return small_decoder(stages=(4, 2, 1), num_layers=4)


def tokens(decoder, values):
    return decoder.tokenizer.encode(values, torch.isfinite(values))


def values():
    return torch.randn(2, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).cumsum(1)


def test_pooling_and_spreading():
    x = torch.arange(7.0).view(1, 7, 1)
    assert pooled(x, 2).flatten().tolist() == [0.5, 2.5, 4.5]
    assert spread(pooled(x, 2), x, 2).flatten().tolist() == [0, 0.5, 0.5, 2.5, 2.5, 4.5, 4.5]
    assert spread(pooled(x[:, :3], 4), x[:, :3], 4).flatten().tolist() == [0, 0, 0]


def test_layers_are_shared_out():
    assert [list(part) for part in share_out(5, 3)] == [[0], [1, 2], [3, 4]]
    assert [list(part) for part in share_out(2, 3)] == [[], [0], [1]]


def test_all_weights_count(decoder):
    assert num_parameters(decoder.config) == sum(weight.numel() for weight in decoder.parameters())
    decoder = copy.deepcopy(decoder).requires_grad_(True)
    decoder(tokens(decoder, values())).sum().backward()
    assert all((weight.grad != 0).any() for weight in decoder.parameters())


def test_no_token_sees_a_later_one(decoder):
    before = tokens(decoder, values())
    for token in range(1, 16):
        changed = values()
        changed[:, token * 8 :] += 3
        states = [], []
        answers = [decoder.trunk(t, states=s) for t, s in zip((before, tokens(decoder, changed)), states, strict=True)]
        for one, other in zip((*states[0], answers[0]), (*states[1], answers[1]), strict=True):
            torch.testing.assert_close(one[:, :token], other[:, :token])
        assert not torch.allclose(answers[0][:, token:], answers[1][:, token:])


def test_padding_and_company_change_nothing(decoder):
    rows = values().numpy()
    rows[1, :37] = np.nan
    alone = [decode(decoder, rows[:1], 200), decode(decoder, rows[1:, 32:], 200)]
    np.testing.assert_allclose(decode(decoder, rows, 200), np.concatenate(alone), rtol=1e-4, atol=1e-4)
    assert not decoder.can_cache


def test_an_embedding_finds_a_state_for_every_layer(decoder):
    states = []
    decoder.trunk(tokens(decoder, values()), states=states)
    assert [state.shape for state in states] == [(2, 16, 16)] * 5


@pytest.mark.parametrize("stages", [(4, 2), (1, 2), (2, 2, 1), (2.0, 1)])
def test_other_stages_are_refused(stages):
    with pytest.raises(ModelError, match="stages"):
        ModelConfig(stages=stages)
