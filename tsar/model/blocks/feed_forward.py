"""The position-wise halves of a block, by name."""

from __future__ import annotations

from typing import Any

from tsar.model.blocks.experts import Experts
from tsar.model.layers import SwiGLU

FEED_FORWARDS: dict[str, type[Any]] = {"swiglu": SwiGLU, "experts": Experts}
"""By the name in a config: made of the config, takes and gives (B, T, D), `initialize()` makes it write nothing."""
