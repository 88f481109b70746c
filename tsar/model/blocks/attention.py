"""The usual layer of a trunk: attention, then a feed-forward layer."""

from __future__ import annotations

from torch import Tensor, nn

from tsar.model.blocks.feed_forward import FEED_FORWARDS
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.model.layers import Attention, RMSNorm
from tsar.tokenizers.patch import Tokens


class AttentionBlock(nn.Module):
    """Pre-normalised residual block: attention, then feed-forward."""

    can_cache = True

    def __init__(self, config: ModelConfig, number: int = 0) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = FEED_FORWARDS[config.feed_forward](config)

    def forward(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None = None,
        tokens: Tokens | None = None,
    ) -> Tensor:
        """Return the residual stream after this block, (B, T, D); with `last`, of that many last tokens only."""
        read = self.attention(self.attention_norm(x_BTD), rotary, mask, cache, last)
        x_BTD = (x_BTD if last is None else x_BTD[:, -last:]) + read
        after: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return after

    def initialize(self) -> None:
        """Add nothing to the residual stream to begin with."""
        self.attention.initialize()
        self.feed_forward.initialize()
