"""Decoder: causal, blind to padding, the same with and without a cache; attention against its written-out reference."""

import pytest
import torch
import torch.nn.functional as F

from tsar.heads.quantile import QuantileHead
from tsar.model.cache import Cache
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder, attention_mask
from tsar.model.layers import Attention, RMSNorm, apply_rotary, rotary_table
from tsar.tokenizers.patch import Tokens

P, TOKENS = 8, 12


def windows(seed: int = 0, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks (3, 96); the second row begins in its fourth patch, the third has gaps."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, TOKENS * P, generator=generator).cumsum(1)
    seen = torch.ones(rows, TOKENS * P, dtype=torch.bool)
    seen[1, : 3 * P + 2] = False
    seen[2, 30:45] = False
    return values, seen


def encode(decoder: Decoder, values: torch.Tensor, seen: torch.Tensor) -> Tokens:
    return decoder.tokenizer.encode(values, seen)


def test_shape(decoder):
    quantiles = decoder(encode(decoder, *windows()))
    assert quantiles.shape == (3, TOKENS, 32, 9)
    assert torch.isfinite(quantiles).all()
    assert (quantiles.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("padded", [True, False])
def test_the_future_leaves_earlier_outputs_bit_identical(decoder, padded):
    values, seen = windows()
    if not padded:  # without padding there is no mask: the other attention path
        values, seen = values[::2], seen[::2]
    before = decoder(encode(decoder, values, seen))
    for token in range(1, TOKENS):
        other, other_seen = values.clone(), seen.clone()
        other[:, token * P :] = 1e4 * torch.randn(other[:, token * P :].shape)
        other_seen[:, token * P + 1 :: 2] = False
        after = decoder(encode(decoder, other, other_seen))
        assert torch.equal(before[:, :token], after[:, :token])
        assert not torch.equal(before[:, token:], after[:, token:])


def test_whole_window_scaling_sees_the_whole_window(small_decoder):
    decoder = small_decoder(scaling="window")
    values, seen = windows()
    before = decoder(encode(decoder, values, seen))
    values[:, -1] += 10
    assert not torch.allclose(before[:, 4], decoder(encode(decoder, values, seen))[:, 4])


@pytest.mark.parametrize("pad", [1, 5, 20])
def test_padding_at_the_left_is_inert(decoder, pad):
    values, seen = windows()
    rubbish = 1e6 * torch.randn(3, pad * P)
    padded = encode(decoder, torch.cat([rubbish, values], 1), torch.cat([torch.zeros(3, pad * P).bool(), seen], 1))
    whole = decoder(padded)
    torch.testing.assert_close(whole[0, pad:], decoder(encode(decoder, values, seen))[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole[:, pad + 3 :], decoder(encode(decoder, values, seen))[:, 3:], rtol=1e-4, atol=1e-4)
    assert torch.isfinite(whole).all()


@pytest.mark.parametrize("cuts", [[6], [1, 2, 3], [11], list(range(1, TOKENS))])
def test_reading_in_steps_with_a_cache_is_reading_at_once(decoder, cuts):
    tokens = encode(decoder, *windows())
    whole = decoder(tokens)
    cache = Cache.empty(decoder.config.num_layers)
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, TOKENS], strict=True):
        step = slice(begin, end)
        part = Tokens(tokens.patches[:, step], tokens.mask[:, step], tokens.state.at(step))
        parts.append(decoder(part, cache=cache))
        assert cache.num_tokens == end
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_cache_without_a_mask_is_the_cache_of_whole_windows(decoder):
    values, _ = windows()
    tokens = encode(decoder, values, torch.ones_like(values, dtype=torch.bool))
    unmasked = Tokens(tokens.patches, None, tokens.state)
    cache = Cache.empty(decoder.config.num_layers)
    decoder.trunk(Tokens(tokens.patches[:, :7], None, tokens.state.at(slice(0, 7))), cache=cache)
    rest = decoder(unmasked.after(7), cache=cache)
    torch.testing.assert_close(rest, decoder(tokens)[:, 7:], rtol=1e-4, atol=1e-5)


def test_selecting_from_a_cache_rewinds_and_repeats_rows(decoder):
    tokens = encode(decoder, *windows())
    cache = Cache.empty(decoder.config.num_layers)
    decoder.trunk(tokens, cache=cache)
    rows = torch.tensor([2, 2, 0])
    rewound = cache.select(rows, 5)
    assert (rewound.num_tokens, cache.num_tokens) == (5, TOKENS)
    chosen = Tokens(tokens.patches[rows], tokens.mask[rows], tokens.state.__class__(*(
        getattr(tokens.state, name)[rows] for name in ("loc", "scale", "step", "last", "count")
    )))  # fmt: skip
    torch.testing.assert_close(decoder(chosen.after(5), cache=rewound), decoder(chosen)[:, 5:], rtol=1e-4, atol=1e-5)
    assert cache.num_tokens == TOKENS, "the original is left as it was"
    assert Cache.empty(2).select(rows, 3).num_tokens == 0


@pytest.mark.parametrize("last", [1, 4, TOKENS])
def test_last_runs_the_head_on_the_last_positions_only(decoder, last, monkeypatch):
    tokens = encode(decoder, *windows())
    whole = decoder(tokens)
    asked = []
    forward = QuantileHead.forward
    monkeypatch.setattr(QuantileHead, "forward", lambda self, h, a: (asked.append(h.shape[1]), forward(self, h, a))[1])
    torch.testing.assert_close(decoder(tokens, last=last), whole[:, -last:], rtol=1e-5, atol=1e-5)
    assert asked == [last]


def test_rows_of_a_batch_are_independent(decoder):
    values, seen = windows()
    whole = decoder(encode(decoder, values, seen))
    for row in range(3):
        alone = decoder(encode(decoder, values[row : row + 1], seen[row : row + 1]))
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-4, atol=1e-5)


def test_a_fresh_decoder_does_not_attend_yet():
    decoder = Decoder(ModelConfig(d_model=16, num_layers=2, num_heads=2, head_dim=8, d_ff=16)).eval()
    assert all((block.attention.output.weight == 0).all() for block in decoder.blocks)
    assert all((block.feed_forward.down.weight == 0).all() for block in decoder.blocks)


def test_same_seed_same_weights():
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([param.flatten() for param in Decoder(ModelConfig(d_model=8, num_layers=1)).parameters()])

    assert torch.equal(weights(), weights())


def reference_attention(layer: Attention, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Attention written out, each query head with its own copy of its group's keys and values."""
    batch, tokens, _ = x.shape
    heads, groups, width = layer.num_heads, layer.num_kv_heads, layer.head_dim
    q, k, v = layer.query_key_value(x).split([heads * width, groups * width, groups * width], -1)
    q = layer.query_norm(q.view(batch, tokens, heads, width))
    k = layer.key_norm(k.view(batch, tokens, groups, width)).repeat_interleave(heads // groups, 2)
    v = v.view(batch, tokens, groups, width).repeat_interleave(heads // groups, 2)
    angle = torch.arange(tokens)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    rotation = torch.polar(torch.ones_like(angle), angle)[:, None]

    def rotate(heads_BTHK: torch.Tensor) -> torch.Tensor:
        turned = torch.complex(*heads_BTHK.chunk(2, -1)) * rotation
        return torch.cat([turned.real, turned.imag], -1)

    score = torch.einsum("bihk,bjhk->bhij", rotate(q), rotate(k)) / width**0.5
    share = score.masked_fill(~allowed, -torch.inf).softmax(-1)
    return layer.output(torch.einsum("bhij,bjhk->bihk", share, v).reshape(batch, tokens, -1))


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_grouped_attention_is_attention_with_repeated_keys_and_values(num_kv_heads, masked):
    torch.manual_seed(0)
    layer = Attention(ModelConfig(d_model=16, num_heads=4, num_kv_heads=num_kv_heads, head_dim=8)).requires_grad_(False)
    layer.query_norm.weight.uniform_(0.5, 2)
    layer.key_norm.weight.uniform_(0.5, 2)
    x = torch.randn(2, 7, 16)
    allowed = torch.ones(7, 7).tril().bool()
    mask = None
    if masked:
        keys = torch.ones(2, 7, dtype=torch.bool)
        keys[0, :3] = False
        mask = allowed = attention_mask(keys, 7)
    out = layer(x, rotary_table(torch.arange(7), 8, 10000.0), mask, None)
    torch.testing.assert_close(out, reference_attention(layer, x, allowed), rtol=1e-5, atol=1e-6)


def test_attention_mask_is_causal_and_hides_padding():
    keys = torch.tensor([[False, False, True, True], [True, True, True, True]])
    mask = attention_mask(keys, 3)[:, 0].int()
    assert mask[0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], "padding sees itself, nobody else does"
    assert mask[1].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert attention_mask(keys[1:], 4) is None


def test_rotary_scores_depend_on_the_distance_only():
    query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    def score(i: int, j: int) -> float:
        tables = [rotary_table(torch.tensor([place]), 16, 10000.0) for place in (i, j)]
        turned = [apply_rotary(x, *table, torch.ones(1, 16)) for x, table in zip((query, key), tables, strict=True)]
        return float((turned[0] * turned[1]).sum())

    near = [score(i, i - 3) for i in (3, 10, 100, 1000)]
    assert near == pytest.approx([near[0]] * 4, rel=1e-3, abs=1e-3)
    assert abs(score(10, 2) - near[0]) > 1e-2


def test_rotary_keeps_lengths_and_the_first_position():
    x = torch.randn(2, 9, 3, 8)
    turned = apply_rotary(x, *rotary_table(torch.arange(9), 8, 10000.0), torch.ones(3, 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, 0], x[:, 0])


def test_rms_norm_is_its_definition_and_keeps_the_dtype():
    norm = RMSNorm(6, 1e-6)
    x = torch.randn(4, 6)
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())
    assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_trains_in_bfloat16_autocast(small_decoder):
    decoder = small_decoder().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantiles = decoder(encode(decoder, *windows()))
        loss = F.mse_loss(quantiles, torch.zeros_like(quantiles))
    loss.backward()
    assert quantiles.dtype == torch.float32
    assert all(torch.isfinite(param.grad).all() for param in decoder.parameters())
