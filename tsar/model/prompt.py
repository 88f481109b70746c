"""Soft prompt: a few learned keys and values that every head of a layer may look at, besides the tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prompt(nn.Module):
    """What a layer learned of a domain, read by attention of its own (LLaMA-Adapter, Zhang et al., 2023, section 3.2).

    The answer is multiplied by a gate per head that starts at zero, so a fresh prompt changes nothing. Queries come
    without their rotary code: what the prompt says does not depend on where a token stands, and so neither on padding
    nor on a cache.

    Parameters
    ----------
    length
        Number of learned keys.
    num_heads, num_kv_heads, head_dim
        As of the layer's attention.
    """

    def __init__(self, length: int, num_heads: int, num_kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(num_kv_heads, length, head_dim))
        self.values = nn.Parameter(torch.empty(num_kv_heads, length, head_dim))
        self.gate = nn.Parameter(torch.empty(num_heads))
        self.share = num_heads // num_kv_heads

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw keys and values, close the gates."""
        nn.init.normal_(self.keys)
        nn.init.normal_(self.values, std=0.5)
        nn.init.zeros_(self.gate)

    def forward(self, q_BHTK: Tensor) -> Tensor:
        """Return what to add to the mixed values of each head, (B, H, T, K); queries normalised, not rotated."""
        keys = self.keys.repeat_interleave(self.share, 0).to(q_BHTK.dtype)
        values = self.values.repeat_interleave(self.share, 0).to(q_BHTK.dtype)
        weights = F.softmax(q_BHTK @ keys.mT * keys.shape[-1] ** -0.5, dim=-1)
        answer: Tensor = self.gate.to(q_BHTK.dtype)[:, None, None] * (weights @ values)
        return answer
