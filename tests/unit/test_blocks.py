"""Every block and feed-forward layer: blind to the future and to padding, the same in steps and at once, saved."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from tsar import Forecaster
from tsar.decode import decode
from tsar.errors import ModelError, OptionError
from tsar.model.blocks import BLOCKS, FEED_FORWARDS
from tsar.model.blocks.mixing import convolve
from tsar.model.cache import Cache
from tsar.model.config import ModelConfig, num_active_parameters, num_parameters
from tsar.model.decoder import Decoder
from tsar.model.files import model_files, read_decoder
from tsar.storage import write_folder
from tsar.tokenizers.patch import Tokens

P, TOKENS = 8, 12
TRUNKS = {
    **{name: {"blocks": [name]} for name in BLOCKS if name != "attention"},
    "interleaved": {"blocks": ["attention", "channel"]},
    "hybrid": {"blocks": ["attention", "state_space"]},
    "experts": {"feed_forward": "experts", "num_experts": 4, "shared_expert": 16},
    "experts_of_state_spaces": {"blocks": ["state_space"], "feed_forward": "experts", "num_experts": 3},
    "no_qk_norm": {"qk_norm": False},
    "split_mixer": {"blocks": ["mixer"], "patch_splits": [4, 1]},
}


@pytest.fixture(params=TRUNKS.values(), ids=TRUNKS.keys(), scope="module")
def decoder(request, small_decoder) -> Decoder:
    return small_decoder(**{"state_size": 4, **request.param})


def windows(rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks (3, 96); the second row begins in its fourth patch, the third has gaps."""
    values = torch.randn(rows, TOKENS * P, generator=torch.Generator().manual_seed(0)).cumsum(1)
    seen = torch.ones(rows, TOKENS * P, dtype=torch.bool)
    seen[1, : 3 * P + 2] = False
    seen[2, 30:45] = False
    return values, seen


def test_every_block_and_feed_forward_is_asked():
    asked = {name for trunk in TRUNKS.values() for name in (*trunk.get("blocks", ()), trunk.get("feed_forward"))}
    assert {*BLOCKS, *FEED_FORWARDS} - {"swiglu"} <= asked


@pytest.mark.parametrize("padded", [True, False])
def test_the_future_leaves_earlier_outputs_as_they_are(decoder, padded):
    values, seen = windows()
    if not padded:
        values, seen = values[::2], seen[::2]
    before = decoder(decoder.tokenizer.encode(values, seen))
    generator = torch.Generator().manual_seed(1)
    for token in range(1, TOKENS):
        other, other_seen = values.clone(), seen.clone()
        other[:, token * P :] = 1e4 * torch.randn(other[:, token * P :].shape, generator=generator)
        other_seen[:, token * P + 1 :: 2] = False
        after = decoder(decoder.tokenizer.encode(other, other_seen))
        if decoder.config.feed_forward == "experts":  # how many tokens an expert has may change the rounding
            torch.testing.assert_close(before[:, :token], after[:, :token], rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(before[:, :token], after[:, :token])
        assert not torch.allclose(before[:, token:], after[:, token:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pad", [1, 5])
def test_padding_at_the_left_is_inert(decoder, pad):
    values, seen = windows()
    rubbish = 1e6 * torch.randn(3, pad * P)
    hidden = torch.zeros(3, pad * P, dtype=torch.bool)
    whole = decoder(decoder.tokenizer.encode(torch.cat([rubbish, values], 1), torch.cat([hidden, seen], 1)))
    alone = decoder(decoder.tokenizer.encode(values, seen))
    torch.testing.assert_close(whole[0, pad:], alone[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(whole[:, pad + 3 :], alone[:, 3:], rtol=1e-3, atol=1e-3)
    assert torch.isfinite(whole).all()


@pytest.mark.parametrize("cuts", [[6], [1, 2, 3], list(range(1, TOKENS))])
def test_reading_in_steps_with_a_cache_is_reading_at_once(decoder, cuts):
    if decoder.config.patch_splits:  # a cache counts whole tokens
        assert not decoder.can_cache
        return
    assert decoder.can_cache
    tokens = decoder.tokenizer.encode(*windows())
    whole = decoder(tokens)
    cache = Cache.empty(decoder.config.num_layers)
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, TOKENS], strict=True):
        step = slice(begin, end)
        parts.append(decoder(Tokens(tokens.patches[:, step], tokens.mask[:, step], tokens.state.at(step)), cache=cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-3, atol=1e-4)


def test_a_cache_is_cut_back_and_its_rows_repeated(decoder):
    if not decoder.can_cache:
        pytest.skip("no cache")
    tokens = decoder.tokenizer.encode(*windows())
    cache = Cache.empty(decoder.config.num_layers)
    decoder.trunk(tokens, cache=cache)
    rows = torch.tensor([2, 2, 0])
    chosen = decoder.tokenizer.encode(*(part[rows] for part in windows()))
    rest = decoder(chosen.after(5), cache=cache.select(rows, 5))
    torch.testing.assert_close(rest, decoder(chosen)[:, 5:], rtol=1e-3, atol=1e-4)


def test_rows_of_a_batch_are_independent_and_the_last_ones_can_be_asked_alone(decoder):
    values, seen = windows()
    whole = decoder(decoder.tokenizer.encode(values, seen))
    for row in range(3):
        alone = decoder(decoder.tokenizer.encode(values[row : row + 1], seen[row : row + 1]))
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-3, atol=1e-4)
    for last in (1, 4):
        asked = decoder(decoder.tokenizer.encode(values, seen), last=last)
        torch.testing.assert_close(asked, whole[:, -last:], rtol=1e-3, atol=1e-4)


def test_files_give_the_same_decoder(decoder):
    files = model_files(decoder.config, decoder.state_dict())
    assert json.loads(files["config.json"])["blocks"] == list(decoder.config.blocks)
    copy = read_decoder(files, "memory")
    assert copy.config == decoder.config
    tokens = decoder.tokenizer.encode(*windows())
    assert torch.equal(copy(tokens), decoder(tokens))


@pytest.mark.parametrize("horizon", [7, 130])
def test_any_horizon_is_decoded(decoder, horizon):
    context = np.random.default_rng(0).normal(size=(2, 96)).cumsum(1)
    quantiles = decode(decoder, context, horizon)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_parameters_are_counted(decoder):
    assert num_parameters(decoder.config) == sum(param.numel() for param in decoder.parameters())
    assert num_active_parameters(decoder.config) <= num_parameters(decoder.config)


def test_a_fresh_trunk_writes_nothing(decoder):
    fresh = Decoder(decoder.config).eval()
    states: list[torch.Tensor] = []
    fresh.trunk(fresh.tokenizer.encode(*windows()), states=states)
    assert len(states) == 1 + decoder.config.num_layers
    assert all(torch.equal(states[0], state) for state in states)


def test_every_weight_is_taught(decoder):
    fresh = Decoder(decoder.config)
    fresh.load_state_dict(decoder.state_dict())
    tokens = fresh.tokenizer.encode(*windows())
    fresh(Tokens(tokens.patches, tokens.mask, tokens.state, group=torch.tensor([0, 1, 0]))).square().mean().backward()
    for name, param in fresh.named_parameters():
        assert param.grad is not None, name
        assert torch.isfinite(param.grad).all(), name
        assert param.grad.any(), name


def test_convolution_is_its_sum():
    for reach in (7, 3, 11):
        kernel, inputs = torch.randn(2, reach), torch.randn(3, 7, 4)
        wanted = torch.zeros(3, 7, 4)
        for t in range(7):
            for s in range(max(t - reach + 1, 0), t + 1):
                for d in range(4):
                    wanted[:, t, d] += kernel[d // 2, t - s] * inputs[:, s, d]
        torch.testing.assert_close(convolve(kernel, inputs, 7), wanted)
        torch.testing.assert_close(convolve(kernel, inputs, 2), wanted[:, -2:])


def test_a_prompt_without_attention_is_refused(small_decoder, tmp_path):
    decoder = small_decoder(blocks=["state_space"])
    write_folder(tmp_path / "release", dict(model_files(decoder.config, decoder.state_dict())), name="release")
    times = pd.date_range("2024-01-01", periods=200, freq="D")
    df = pd.DataFrame({"item_id": "a", "timestamp": times, "target": np.sin(np.arange(200.0))})
    with pytest.raises(OptionError, match="attention") as caught:
        Forecaster(model=str(tmp_path / "release"), prediction_length=8, mode="prompt").fit(df)
    assert caught.value.code == "option.invalid"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"blocks": ["convolution"]}, "convolution"),
        ({"blocks": []}, "blocks"),
        ({"feed_forward": "sparse"}, "sparse"),
        ({"feed_forward": "experts", "num_experts": 2, "experts_per_token": 3}, "experts_per_token"),
        ({"num_experts": 0}, "num_experts"),
        ({"shared_expert": True}, "shared_expert"),
        ({"feed_forward": "experts", "expert_balance": "luck"}, "luck"),
        ({"state_size": -1}, "state_size"),
        ({"qk_norm": "no"}, "qk_norm"),
        ({"attention": "full", "scaling": "window", "output_length": 16, "blocks": ["mixer"]}, "past"),
    ],
)
def test_bad_trunks_are_refused_by_name(values, words):
    with pytest.raises(ModelError, match=words) as caught:
        ModelConfig.from_dict(values)
    assert caught.value.code == "model.bad_config"
