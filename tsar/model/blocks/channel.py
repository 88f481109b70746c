"""Attention across the channels of an item, at each time for itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.blocks.mixing import Block
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.tokenizers.patch import Tokens


class ChannelAttention(nn.Module):
    """Each token sees the tokens of the other channels of its item at the same time.

    Between blocks along time it makes the factorised attention of PredFormer (Tang et al., 2024), with channels in the
    place of image patches. Which rows are channels of one item is told by `Tokens.group`; a row without others sees
    itself only. Nothing is cached, since other times are not looked at.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.query_key_value = nn.Linear(config.d_model, 3 * self.num_heads * self.head_dim, bias=False)
        self.output = nn.Linear(self.num_heads * self.head_dim, config.d_model, bias=False)

    def initialize(self) -> None:
        """Write nothing to begin with."""
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x_BTD: Tensor, tokens: Tokens | None, cache: LayerCache | None, last: int | None = None
    ) -> Tensor:
        """Return what to add to the residual stream, (B, T or `last`, D)."""
        if last is not None:
            x_BTD = x_BTD[:, -last:]
        batch, asking, _ = x_BTD.shape
        qkv_BTHK = self.query_key_value(x_BTD).view(batch, asking, 3, self.num_heads, self.head_dim)
        if tokens is None or tokens.group is None:
            mixed = qkv_BTHK[:, :, 2]
        else:
            real = None if tokens.mask is None else tokens.mask[:, -asking:]
            mixed = attend_in_groups(qkv_BTHK, tokens.group, real)
        written: Tensor = self.output(mixed.reshape(batch, asking, -1))
        return written


def attend_in_groups(qkv_BTHK: Tensor, group: Tensor, real: Tensor | None) -> Tensor:
    """Attention (B, T, H, K) between rows of the same group at each token; padding is seen by itself only.

    Parameters
    ----------
    qkv_BTHK
        (B, T, 3, H, K) queries, keys and values.
    group
        (B,) whole numbers.
    real
        (B, T) bool, False for padding; None: nothing is padding.
    """
    table, place = tabulate(group)
    items, channels = table.shape
    q, k, v = qkv_BTHK[table.clamp_min(0)].permute(3, 0, 2, 4, 1, 5)  # (I, T, H, C, K) each
    seen = (table >= 0)[:, None, :].expand(-1, qkv_BTHK.shape[1], -1)
    if real is not None:
        seen = seen & real[table.clamp_min(0)].transpose(1, 2)
    mask = seen[:, :, None, None, :] | torch.eye(channels, dtype=torch.bool, device=seen.device)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.permute(0, 3, 1, 2, 4).reshape(items * channels, *v.shape[1:3], -1)[place]


def tabulate(group: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of each group (I, C), -1 where a group is smaller, and where each row stands in it, (B,)."""
    number, counts = torch.unique(group, return_inverse=True, return_counts=True)[1:]
    order = number.argsort(stable=True)
    within = torch.arange(len(group), device=group.device) - (counts.cumsum(0) - counts)[number[order]]
    place = torch.empty_like(order)
    place[order] = number[order] * int(counts.max()) + within
    table = torch.full((len(counts) * int(counts.max()),), -1, device=group.device)
    table[place] = torch.arange(len(group), device=group.device)
    return table.view(len(counts), -1), place


class ChannelBlock(Block):
    """Attention across the channels of an item, then a feed-forward layer."""

    mixer_kind = ChannelAttention
