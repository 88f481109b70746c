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


def apply_rotary(x_BTHK: Tensor, cos: Tensor, sin: Tensor, gain_HK: Tensor) -> Tensor:
    """Multiply heads by their gains and rotate their pairs (first half, second half) by the angle of the position."""
    half, gain_HK = x_BTHK.shape[-1] // 2, gain_HK.to(x_BTHK.dtype)
    cos, sin = cos.to(x_BTHK.dtype).unsqueeze(-2), sin.to(x_BTHK.dtype).unsqueeze(-2)
    stays_THK = torch.cat([cos, cos], -1) * gain_HK
    crosses_THK = torch.cat([-sin, sin], -1) * gain_HK.roll(half, -1)
    return x_BTHK * stays_THK + x_BTHK.roll(half, -1) * crosses_THK


def normalize_heads(x_BTHK: Tensor, eps: float) -> Tensor:
    """Divide every head by its root mean square; `RMSNorm` without the gain, which `apply_rotary` brings."""
    norm = torch.linalg.vector_norm(x_BTHK, dim=-1, keepdim=True, dtype=torch.float32)
    return x_BTHK * torch.rsqrt(norm * norm / x_BTHK.shape[-1] + eps).to(x_BTHK.dtype)


class Attention(nn.Module):
    """Attention, causal or full, with fewer key/value heads than query heads and normalised queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.is_causal, self.qk_norm = config.attention == "causal", config.qk_norm
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
        q_BHTK, k_BGTK, v_BGTK, normal_q_BHTK = self._project(x_BTD, rotary, asking)
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
            mixed = mixed + self.prompt(normal_q_BHTK * self.query_norm.weight)
        written: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, asking, -1))
        return written

    def initialize(self) -> None:
        """Write nothing to begin with."""
        nn.init.zeros_(self.output.weight)
        if self.prompt is not None:
            self.prompt.initialize()

    def _project(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], asking: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries of the `asking` last tokens, keys and values of all; and the queries before gain and rotation."""
        heads, groups, eps = self.num_heads, self.num_kv_heads, self.query_norm.eps
        gain_HK, gain_GK = self.query_norm.weight.expand(heads, -1), self.key_norm.weight.expand(groups, -1)
        if asking == x_BTD.shape[1]:  # queries and keys in one go
            qkv_BTHK = self._by_head(self.query_key_value(x_BTD))
            normal = self._normalize(qkv_BTHK[:, :, : heads + groups], eps)
            turned = apply_rotary(normal, *rotary, torch.cat([gain_HK, gain_GK])).transpose(1, 2)
            q_BHTK, k_BGTK = turned[:, :heads], turned[:, heads:]
            normal_q, v_BTGK = normal[:, :, :heads], qkv_BTHK[:, :, heads + groups :]
        else:
            weight, width = self.query_key_value.weight, heads * self.head_dim
            normal_q = self._normalize(self._by_head(F.linear(x_BTD[:, -asking:], weight[:width])), eps)
            kv_BTGK = self._by_head(F.linear(x_BTD, weight[width:]))
            cos, sin = (table[-asking:] for table in rotary)
            q_BHTK = apply_rotary(normal_q, cos, sin, gain_HK).transpose(1, 2)
            normal_k, v_BTGK = self._normalize(kv_BTGK[:, :, :groups], eps), kv_BTGK[:, :, groups:]
            k_BGTK = apply_rotary(normal_k, *rotary, gain_GK).transpose(1, 2)
        return q_BHTK, k_BGTK, v_BTGK.transpose(1, 2), normal_q.transpose(1, 2)

    def _normalize(self, x_BTHK: Tensor, eps: float) -> Tensor:
        return normalize_heads(x_BTHK, eps) if self.qk_norm else x_BTHK

    def _by_head(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], -1, self.head_dim)


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

    def initialize(self) -> None:
        """Write nothing to begin with."""
        nn.init.zeros_(self.down.weight)


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
