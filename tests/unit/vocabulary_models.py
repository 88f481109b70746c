"""Small models with a vocabulary, and windows for them."""

import numpy as np
import torch

from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder

NAMES = ("quantize", "quantile_bins", "two_level", "digits")
L = 32


def decoder(name: str = "quantize", **changes) -> Decoder:
    """A small model with random weights everywhere, so that what it says depends on all that it read."""
    torch.manual_seed(0)
    config = ModelConfig(
        **{
            "d_model": 16, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "d_ff": 16,
            "patch_length": 1, "output_length": 1, "context_length": L, "scaling": "window", "head": "categorical",
            "tokenizer": name, "num_bins": 100, **changes,
        }
    )  # fmt: skip
    model = Decoder(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.add_(0.3 * torch.randn_like(weight))
    return model


def contexts() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(3, L)).cumsum(1)
    values[0, :9], values[1, 14] = np.nan, np.nan
    return values
