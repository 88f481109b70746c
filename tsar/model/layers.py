"""The parts of a decoder block: RMSNorm, rotary positions, grouped-query attention and SwiGLU.

Shape letters as in `tsar.types`: B batch, T tokens, D d_model, H query heads, G key/value heads, K head dim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.model.prompt import Prompt


class RMSNorm(nn.Module):
    """Divide by the root mean square, multiply by a learned gain (Zhang & Sennrich, 2019); keeps the dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised x, (…, width)."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotary_table(positions: Tensor, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (…, T, K/2) of the rotary code (Su et al., 2021) for integer `positions` (…, T)."""
    frequency = base ** (-torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim)
    angle = positions.to(torch.float32).unsqueeze(-1) * frequency
    return angle.cos(), angle.sin()


def apply_rotary(x_BHTK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (first half, second half) of each head by the angle of its position."""
    left, right = x_BHTK.chunk(2, dim=-1)
    cos, sin = cos.to(x_BHTK.dtype), sin.to(x_BHTK.dtype)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class Attention(nn.Module):
    """Attention, causal or full, with fewer key/value heads than query heads and normalised queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.is_causal = config.attention == "causal"
        all_heads = self.num_heads + 2 * self.num_kv_heads
        self.query_key_value = nn.Linear(config.d_model, all_heads * self.head_dim, bias=False)
        self.output = nn.Linear(self.num_heads * self.head_dim, config.d_model, bias=False)
        self.query_norm = RMSNorm(self.head_dim, config.norm_eps)
        self.key_norm = RMSNorm(self.head_dim, config.norm_eps)
        sizes = (self.num_heads, self.num_kv_heads, self.head_dim)
        self.prompt = Prompt(config.prompt_length, *sizes) if config.prompt_length else None

    def forward(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None = None,
    ) -> Tensor:
        """Return what to add to the residual stream, (B, T, D); `mask` None hides only the future, if causal.

        With `last`, only that many last tokens ask: (B, `last`, D).
        """
        batch, tokens, _ = x_BTD.shape
        asking = tokens if last is None else last
        q_BHTK, k_BGTK, v_BGTK = self._project(x_BTD, asking)
        normal_q_BHTK = self.query_norm(q_BHTK)
        q_BHTK = apply_rotary(normal_q_BHTK, *(table[-asking:] for table in rotary))
        k_BGTK = apply_rotary(self.key_norm(k_BGTK), *rotary)
        if cache is not None:
            k_BGTK, v_BGTK = cache.append(k_BGTK, v_BGTK)
        if asking < tokens:
            mask = _mask_of_last(mask, asking, k_BGTK) if self.is_causal or mask is not None else None
        mixed = F.scaled_dot_product_attention(
            q_BHTK, k_BGTK, v_BGTK.to(q_BHTK.dtype), attn_mask=mask,
            is_causal=self.is_causal and mask is None and asking == tokens,
            enable_gqa=self.num_heads != self.num_kv_heads,
        )  # fmt: skip
        if self.prompt is not None:
            mixed = mixed + self.prompt(normal_q_BHTK)
        written: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, asking, -1))
        return written

    def _project(self, x_BTD: Tensor, asking: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the `asking` last tokens, keys and values of all."""

        def by_head(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:2], -1, self.head_dim).transpose(1, 2)

        if asking == x_BTD.shape[1]:
            everything = by_head(self.query_key_value(x_BTD))
            q_BHTK, kv = everything[:, : self.num_heads], everything[:, self.num_heads :]
        else:
            weight, width = self.query_key_value.weight, self.num_heads * self.head_dim
            q_BHTK, kv = by_head(F.linear(x_BTD[:, -asking:], weight[:width])), by_head(F.linear(x_BTD, weight[width:]))
        k_BGTK, v_BGTK = kv.chunk(2, dim=1)
        return q_BHTK, k_BGTK, v_BGTK


def _mask_of_last(mask: Tensor | None, asking: int, k_BGTK: Tensor) -> Tensor | None:
    """Rows of a causal mask for the last tokens; None for one token without padding, which sees everything."""
    if mask is not None:
        return mask[:, :, -asking:]
    if asking == 1:
        return None
    tokens = k_BGTK.shape[2]
    return torch.ones(asking, tokens, dtype=torch.bool, device=k_BGTK.device).tril(tokens - asking)


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer, 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return what to add to the residual stream, (B, T, D)."""
        gate, up = self.gate_up(x_BTD).chunk(2, dim=-1)
        written: Tensor = self.down(F.silu(gate) * up)
        return written


class Block(nn.Module):
    """Pre-normalised residual block: attention, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config)

    def forward(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None = None,
    ) -> Tensor:
        """Return the residual stream after this block, (B, T, D); with `last`, of that many last tokens only."""
        read = self.attention(self.attention_norm(x_BTD), rotary, mask, cache, last)
        x_BTD = (x_BTD if last is None else x_BTD[:, -last:]) + read
        after: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return after


class PatchEmbedding(nn.Module):
    """Residual MLP from a token's features to the width of the trunk (Das et al., 2024, TimesFM section 4)."""

    def __init__(self, num_features: int, d_model: int) -> None:
        super().__init__()
        self.skip = nn.Linear(num_features, d_model, bias=False)
        self.hidden = nn.Linear(num_features, d_model)
        self.output = nn.Linear(d_model, d_model, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the embeddings (B, T, D) of features (B, T, 3 P + 4)."""
        embedded: Tensor = self.skip(patches) + self.output(F.silu(self.hidden(patches)))
        return embedded
