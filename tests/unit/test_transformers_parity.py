"""With copied random weights our trunks are the Llama and the Mixtral of transformers, logit for logit."""

import pytest
import torch
from torch import Tensor, nn

from tsar.model.cache import Cache
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens

transformers = pytest.importorskip("transformers")
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50, "rms_norm_eps": 1e-5}  # fmt: skip
TOKENS = 11


def our_trunk(theirs: nn.Module, **parts) -> Decoder:
    """A decoder of ours with their weights; hidden states go in, and come out after the last norm."""
    config = ModelConfig(
        d_model=32, num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, d_ff=48, patch_length=4, output_length=8,
        norm_eps=1e-5, qk_norm=False, **parts,
    )  # fmt: skip
    decoder = Decoder(config).eval().requires_grad_(False)
    for ours, layer in zip(decoder.blocks, theirs.model.layers, strict=True):
        attention = layer.self_attn
        projections = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
        ours.attention.query_key_value.weight.copy_(torch.cat(projections))
        ours.attention.output.weight.copy_(attention.o_proj.weight)
        ours.attention_norm.weight.copy_(layer.input_layernorm.weight)
        ours.feed_forward_norm.weight.copy_(layer.post_attention_layernorm.weight)
        copy_feed_forward(ours.feed_forward, layer.mlp)
    decoder.norm.weight.copy_(theirs.model.norm.weight)
    decoder.embedding = nn.Identity()
    decoder.embedding.skip = nn.Linear(1, 1)
    return decoder


def copy_feed_forward(ours: nn.Module, theirs: nn.Module) -> None:
    if hasattr(theirs, "experts"):
        ours.router.weight.copy_(theirs.gate.weight)
        ours.gate_up.copy_(theirs.experts.gate_up_proj)
        ours.down.copy_(theirs.experts.down_proj)
    else:
        ours.gate_up.weight.copy_(torch.cat([theirs.gate_proj.weight, theirs.up_proj.weight]))
        ours.down.weight.copy_(theirs.down_proj.weight)


def randomize(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for param in model.parameters():
        noise = torch.randn(param.shape, generator=generator)
        param.data.copy_(1 + 0.3 * noise if param.ndim == 1 else noise * param.shape[-1] ** -0.5)


def our_logits(decoder: Decoder, theirs: nn.Module, x: Tensor, cache: Cache | None = None) -> Tensor:
    state = decoder.tokenizer.encode(torch.randn(len(x), 4), torch.ones(len(x), 4, dtype=torch.bool)).state
    return theirs.lm_head(decoder.trunk(Tokens(x, None, state), cache=cache))


@pytest.fixture(params=["llama", "mixtral"])
def pair(request):
    torch.manual_seed(0)
    if request.param == "llama":
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, attn_implementation="eager"))
        parts = {}
    elif int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("Mixtral's experts are one tensor since transformers 5")
    else:
        experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 10000.0}
        config = transformers.MixtralConfig(**SIZES, **experts, attn_implementation="eager")
        theirs = transformers.MixtralForCausalLM(config)
        parts = {"feed_forward": "experts", "num_experts": 4}
    randomize(theirs)
    theirs.eval().requires_grad_(False)
    return theirs, our_trunk(theirs, **parts)


def test_logits_are_those_of_transformers(pair):
    theirs, ours = pair
    x = torch.randn(2, TOKENS, 32)
    wanted = theirs(inputs_embeds=x).logits
    torch.testing.assert_close(our_logits(ours, theirs, x), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.1


def test_logits_of_a_cache_are_those_of_transformers(pair):
    theirs, ours = pair
    x = torch.randn(2, TOKENS, 32)
    cache = Cache.empty(3)
    parts = [our_logits(ours, theirs, part, cache) for part in x.split([4, 1, 6], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), theirs(inputs_embeds=x).logits, rtol=1e-4, atol=1e-4)
