"""Horizon heads: the greedy schedule, what agrees between calls, and the loss."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.decode.horizons import greedy_schedule
from tsar.errors import ModelError
from tsar.export import export_onnx
from tsar.heads.horizons import HorizonHeads
from tsar.heads.quantile import pinball_loss
from tsar.model.config import ModelConfig

HORIZONS = (1, 8, 32)


@pytest.fixture(scope="module", params=[1, 8])
def decoder(request, small_decoder):
    return small_decoder(head="horizons", horizons=HORIZONS, patch_length=request.param)


def context(rows=2, length=48):
    return np.random.default_rng(3).normal(size=(rows, length)).cumsum(1)


@lru_cache
def fewest(length):
    return 0 if length == 0 else 1 + min(fewest(length - step) for step in HORIZONS if step <= length)


def test_no_other_split_has_fewer_parts():
    for length in range(1, 150):
        steps = greedy_schedule(length, HORIZONS)
        assert sum(steps) == length and len(steps) == fewest(length)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 32, 41, 73])
def test_a_horizon_takes_the_fewest_passes(decoder, length):
    passes = []
    with decoder.norm.register_forward_hook(lambda *_: passes.append(1)):
        quantiles = decode(decoder, context(), length)
    assert len(passes) == fewest(length)
    assert quantiles.shape == (2, length, 9)
    assert np.isfinite(quantiles).all() and (np.diff(quantiles) >= 0).all()


def test_a_longer_call_begins_with_what_the_largest_head_said(decoder):
    short, long = decode(decoder, context(), 40), decode(decoder, context(), 73)
    np.testing.assert_array_equal(short[:, :32], long[:, :32])
    np.testing.assert_array_equal(decode(decoder, context(), 64), long[:, :64])
    assert not np.allclose(short[:, 32:], long[:, 32:40]), "other heads answer there"


def test_batch_and_one_by_one_agree(decoder):
    together = decode(decoder, context(), 41)
    apart = np.concatenate([decode(decoder, row[None], 41) for row in context()])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_mean_over_heads():
    torch.manual_seed(0)
    head, levels = HorizonHeads(6, 8, 3, horizons=(1, 4, 8)), torch.tensor([0.1, 0.5, 0.9])
    head.initialize()
    target = torch.randn(2, 5, 8)
    law = head.law(head(torch.randn(2, 5, 6), torch.randn(2, 5)), levels)
    wanted = [pinball_loss(law.of(h).quantiles, target[..., :h], levels).mean() for h in (1, 4, 8)]
    torch.testing.assert_close(law.loss(target).mean(), torch.stack(wanted).mean())


@pytest.mark.parametrize("horizons", [(8, 64), (1, 8), (1, 6, 64), (1, 8, 8, 64), (1, 8.0, 64)])
def test_other_ladders_are_refused(horizons):
    with pytest.raises(ModelError, match="horizons"):
        ModelConfig(head="horizons", horizons=horizons)


def test_what_needs_one_pass_refuses_the_model(decoder, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ModelError, match="several passes"):
        export_onnx(decoder, tmp_path / "m.onnx", prediction_length=8)
    assert not decoder.can_cache
