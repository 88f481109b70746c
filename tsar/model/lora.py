"""Low-rank adaptation: the matrices of the blocks plus a learned product of two thin ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from tsar.model.decoder import Decoder
from tsar.model.layers import RMSNorm

DOWN, UP = ".lora_down", ".lora_up"
MOST_TRAINED = 0.02
"""Share of the weights that a rank chosen by `rank_within` stays below, norms included."""


class LowRank(nn.Module):
    """Add ``up @ down`` to a matrix; `up` starts at zero, so at first nothing changes (Hu et al., 2022).

    Parameters
    ----------
    rows, columns
        Shape of the matrix.
    rank
        Columns of `up` and rows of `down`.
    generator
        Draws `down`.
    """

    def __init__(self, rows: int, columns: int, rank: int, generator: Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns, generator=generator) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted matrix (rows, columns)."""
        adapted: Tensor = weight + self.up @ self.down
        return adapted


def block_matrices(decoder: Decoder) -> Iterator[tuple[str, nn.Linear]]:
    """Name and module of every projection of attention and of the feed-forward layers."""
    for name, module in decoder.named_modules():
        if name.startswith("blocks.") and isinstance(module, nn.Linear):
            yield name, module


def rank_within(decoder: Decoder) -> int:
    """Return the largest rank, at least 1, for which less than `MOST_TRAINED` of all weights is trained."""
    total = sum(param.numel() for param in decoder.parameters())
    norms = sum(m.weight.numel() for m in decoder.modules() if isinstance(m, RMSNorm))
    per_rank = sum(module.in_features + module.out_features for _, module in block_matrices(decoder))
    return max(int((MOST_TRAINED * total - norms - 1) // per_rank), 1)


def add_lora(decoder: Decoder, rank: int, generator: Generator) -> None:
    """Put a `LowRank` on every matrix of the blocks, in place."""
    for _, linear in list(block_matrices(decoder)):
        low_rank = LowRank(linear.out_features, linear.in_features, rank, generator).to(linear.weight.device)
        parametrize.register_parametrization(linear, "weight", low_rank)


def adapter_name(parameter: str) -> str:
    """Return the name in an adapter of a parameter of an adapted decoder: weight and `DOWN` or `UP`, or as it is."""
    module, found, factor = parameter.partition(".parametrizations.weight.0.")
    return f"{module}.weight{DOWN if factor == 'down' else UP}" if found else parameter
