"""Model config: what is refused, what goes to JSON and back, and the two functions that count."""

import dataclasses
import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tsar.errors import ModelError
from tsar.model.config import FORMAT_VERSION, ModelConfig, flops_per_token, num_parameters
from tsar.model.decoder import Decoder


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_kv_heads": 4},
        {"num_heads": 6, "num_kv_heads": 3, "head_dim": 10},
        {"patch_length": 4, "output_length": 12, "quantile_levels": (0.25, 0.5, 0.75)},
        {"d_model": 24, "num_layers": 1, "d_ff": 40},
    ],
)
def test_parameter_count_is_the_modules(sizes):
    config = ModelConfig(**sizes)
    with torch.device("meta"):
        decoder = Decoder(config)
    assert num_parameters(config) == sum(param.numel() for param in decoder.parameters())


def test_default_is_small():
    assert num_parameters(ModelConfig()) <= 4_000_000


def test_flops_are_what_torch_counts():
    config = ModelConfig(num_layers=2, d_model=64, d_ff=128, head_dim=16)
    tokens = 128
    decoder = Decoder(config)
    values = torch.randn(1, tokens * config.patch_length)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        decoder(decoder.tokenizer.encode(values, torch.ones_like(values, dtype=torch.bool)))
    counted = counter.get_total_flops() / tokens
    attention = flops_per_token(config, tokens) - flops_per_token(config, 0)
    whole_square = flops_per_token(config, tokens) + attention  # torch counts what the causal mask hides as well
    assert whole_square == pytest.approx(counted, rel=0.02)


def test_flops_grow_with_the_sequence_and_the_model():
    config = ModelConfig()
    assert 2 * num_parameters(config) == flops_per_token(config, 0) < flops_per_token(config, 64)
    assert flops_per_token(dataclasses.replace(config, num_layers=12), 64) > flops_per_token(config, 64)


def test_json_round_trip():
    config = ModelConfig(d_model=32, quantile_levels=(0.1, 0.5, 0.9), scaling="window", max_span=0)
    text = json.dumps(config.to_dict())
    assert json.loads(text)["format_version"] == FORMAT_VERSION
    assert ModelConfig.from_dict(json.loads(text)) == config


def test_one_pass_length():
    assert ModelConfig(patch_length=8, output_length=32, max_span=4).one_pass_length == 64
    assert ModelConfig(patch_length=8, output_length=32, max_span=0).one_pass_length == 32


def test_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().d_model = 3
    assert hash(ModelConfig(quantile_levels=[0.1, 0.5, 0.9])) == hash(ModelConfig(quantile_levels=(0.1, 0.5, 0.9)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"d_modle": 3}, "d_modle"),
        ({"format_version": FORMAT_VERSION + 1}, "format_version"),
        ({"format_version": None}, "format_version"),
        ({"d_model": 0}, "d_model"),
        ({"d_model": -4}, "d_model"),
        ({"d_model": 1 << 30}, "d_model"),
        ({"d_model": 32.0}, "d_model"),
        ({"d_model": "32"}, "d_model"),
        ({"num_layers": True}, "num_layers"),
        ({"num_layers": None}, "num_layers"),
        ({"max_span": -1}, "max_span"),
        ({"max_span": 1.5}, "max_span"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads"),
        ({"head_dim": 7}, "head_dim"),
        ({"output_length": 60}, "output_length"),
        ({"scaling": "max"}, "scaling"),
        ({"quantile_levels": []}, "quantile_levels"),
        ({"quantile_levels": [0.5]}, "quantile_levels"),
        ({"quantile_levels": [0.1, 0.9]}, "quantile_levels"),
        ({"quantile_levels": [0.1, 0.4, 0.9]}, "quantile_levels"),
        ({"quantile_levels": [0.9, 0.5, 0.1]}, "quantile_levels"),
        ({"quantile_levels": [0.0, 0.5, 1.0]}, "quantile_levels"),
        ({"quantile_levels": [0.1, 0.5, 0.8]}, "quantile_levels"),
        ({"quantile_levels": [float("nan"), 0.5, 0.9]}, "quantile_levels"),
        ({"quantile_levels": ["low", 0.5, 0.9]}, "low"),
        ({"quantile_levels": 0.5}, "iterable"),
        ({"norm_eps": "tiny"}, "norm_eps"),
        ({"norm_eps": -1.0}, "norm_eps"),
        ({"rope_base": 0.0}, "rope_base"),
        ({"rope_base": float("nan")}, "rope_base"),
    ],
)
def test_bad_values_are_refused_by_name(values, words):
    with pytest.raises(ModelError, match=words) as caught:
        ModelConfig.from_dict(values)
    assert caught.value.code == "model.bad_config"
