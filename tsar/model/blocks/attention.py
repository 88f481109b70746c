"""The usual layer of a trunk: attention, then a feed-forward layer."""

from __future__ import annotations

from torch import Tensor

from tsar.model.blocks.mixing import Block
from tsar.model.cache import LayerCache
from tsar.model.layers import Attention
from tsar.tokenizers.patch import Tokens


class AttentionBlock(Block):
    """Attention, then a feed-forward layer."""

    attention: Attention
    mixer_kind = Attention
    mixer_name = "attention"

    def mix(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None,
        tokens: Tokens | None,
    ) -> Tensor:
        """Return what attention adds, (B, T or `last`, D)."""
        written: Tensor = self.attention(x_BTD, rotary, mask, cache, last)
        return written
