"""The layers of a trunk. A new one is a module here and a line in `BLOCKS` or `FEED_FORWARDS`.

A block is made of the config and its number among the layers. It has ``forward(x_BTD, rotary, mask, cache, last,
tokens)``, as `tsar.model.blocks.mixing.Block`, ``initialize()``, after which it adds nothing to the residual stream,
and says by ``can_cache`` whether it reads new tokens with the help of a `LayerCache`. A feed-forward layer is made of
the config, takes and gives (B, T, D), and has ``initialize()`` as well.

A part may have ``statistics()``, figures for the training log, and ``auxiliary_loss()`` and ``after_step()``, see
`tsar.training.auxiliary`.
"""

from typing import Any

from tsar.model.blocks.attention import AttentionBlock
from tsar.model.blocks.channel import ChannelBlock
from tsar.model.blocks.feed_forward import FEED_FORWARDS
from tsar.model.blocks.fourier import FourierBlock
from tsar.model.blocks.mixer import MixerBlock
from tsar.model.blocks.state_space import StateSpaceBlock

BLOCKS: dict[str, type[Any]] = {
    "attention": AttentionBlock,
    "state_space": StateSpaceBlock,
    "fourier": FourierBlock,
    "mixer": MixerBlock,
    "channel": ChannelBlock,
}
"""By the name in a config."""

__all__ = ["BLOCKS", "FEED_FORWARDS"]
