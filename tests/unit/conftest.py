"""Small random models for the unit tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder

SMALL = {
    "d_model": 16,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "d_ff": 24,
    "patch_length": 8,
    "output_length": 32,
    "context_length": 128,
    "max_span": 4,
}


@pytest.fixture(scope="session")
def small_decoder() -> Callable[..., Decoder]:
    """Make a small decoder in evaluation mode, none of whose weights is zero (a fresh one does not attend yet)."""

    def make(**sizes: Any) -> Decoder:
        decoder = Decoder(ModelConfig(**{**SMALL, **sizes}))
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, param in decoder.named_parameters():
                noise = torch.randn(param.shape, generator=generator)
                if param.ndim > 1:
                    size = 0.1 if "head" in name else 1.0  # forecasts of the size of the data
                    param.copy_(size * noise * param.shape[1] ** -0.5)
                else:
                    param.copy_((1.0 if "norm" in name else 0.0) + 0.2 * noise)
        return decoder.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def decoder(small_decoder: Callable[..., Decoder]) -> Decoder:
    """Return the small decoder that most tests share."""
    return small_decoder()
