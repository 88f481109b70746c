"""Less memory for the gradient: activation checkpointing of a decoder's blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from tsar.model.decoder import Decoder


def checkpoint_blocks(decoder: Decoder) -> None:
    """Keep only the input of each block for the gradient, and compute the rest again (Chen et al., 2016).

    The gradients are the same; a forward pass more is paid for memory that no longer grows with the depth of a block.
    Weights and their names stay as they are.
    """
    for block in decoder.blocks:
        plain: Any = block.forward
        block.forward = partial(checkpoint, plain, use_reentrant=False)
