"""The layers of a trunk. A new one is a module here and a line in `BLOCKS` or `FEED_FORWARDS`.

A block is made of the config and its number among the layers. It has ``forward(x_BTD, rotary, mask, cache, last)``, as
`AttentionBlock`, ``initialize()``, after which it adds nothing to the residual stream, and says by ``can_cache``
whether it reads new tokens with the help of a `LayerCache`. A feed-forward layer is made
of the config, takes and gives (B, T, D), and has ``initialize()`` as well.
"""

from typing import Any

from tsar.model.blocks.attention import AttentionBlock
from tsar.model.blocks.feed_forward import FEED_FORWARDS

BLOCKS: dict[str, type[Any]] = {"attention": AttentionBlock}
"""By the name in a config."""

__all__ = ["BLOCKS", "FEED_FORWARDS"]
