"""A perceptron across tokens, causal."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.blocks.mixing import Block, convolve, hide_padding, reach_of
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.tokenizers.patch import Tokens


class TokenMixer(nn.Module):
    """Two learned weights along time with a non-linearity in between, alike for all channels of a head.

    TSMixer (Chen et al., 2023) and Tiny Time Mixers (Ekambaram et al., 2024) transpose a window and let a perceptron
    mix its tokens. Here both weights are lower-triangular, so that a token sees what came up to it; and a weight
    depends on how many tokens ago something was, not on the place in the window, so that windows of any length are
    read alike. They reach over the tokens of a context and the longest hidden run.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, reach = config.num_heads * config.head_dim, reach_of(config)
        self.input = nn.Linear(config.d_model, width, bias=False)
        self.output = nn.Linear(width, config.d_model, bias=False)
        self.first = nn.Parameter(torch.empty(config.num_heads, reach))
        self.second = nn.Parameter(torch.empty(config.num_heads, reach))

    @torch.no_grad()
    def initialize(self) -> None:
        """Begin near a perceptron of each token by itself; nothing is written to begin with."""
        for weight in (self.first, self.second):
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            weight[:, 0] += 1.0
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x_BTD: Tensor, tokens: Tokens | None, cache: LayerCache | None, last: int | None = None
    ) -> Tensor:
        """Return what to add to the residual stream, (B, T or `last`, D)."""
        new = x_BTD.shape[1]
        inputs = hide_padding(self.input(x_BTD), tokens)
        so_far = inputs
        if cache is not None and cache.keys is not None:
            so_far = torch.cat([cache.keys.squeeze(1), inputs], 1)
        hidden = F.gelu(convolve(self.first, so_far, new))
        if cache is not None:
            hidden = cache.append(inputs.unsqueeze(1), hidden.unsqueeze(1))[1].squeeze(1)
        written: Tensor = self.output(convolve(self.second, hidden, new if last is None else last))
        return written


class MixerBlock(Block):
    """A perceptron across tokens, then a feed-forward layer.

    With ``config.patch_splits`` a layer splits each token into so many neighbours of a fraction of the width, works on
    these, and joins them again: the adaptive patching of Tiny Time Mixers (section 3.1), by which some layers see finer
    patches than others.
    """

    mixer_kind = TokenMixer

    def __init__(self, config: ModelConfig, number: int = 0) -> None:
        self.splits = config.patch_splits[number % len(config.patch_splits)] if config.patch_splits else 1
        super().__init__(_split(config, self.splits), number)
        self.can_cache = self.splits == 1  # a cache counts whole tokens

    def forward(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None = None,
        tokens: Tokens | None = None,
    ) -> Tensor:
        """Return the residual stream after this block, (B, T or `last`, D)."""
        if self.splits == 1:
            return super().forward(x_BTD, rotary, mask, cache, last, tokens)
        batch, num_tokens, width = x_BTD.shape
        parts = x_BTD.reshape(batch, num_tokens * self.splits, width // self.splits)
        if tokens is not None and tokens.mask is not None:
            tokens = replace(tokens, mask=tokens.mask.repeat_interleave(self.splits, 1))
        asked = None if last is None else last * self.splits
        after = super().forward(parts, rotary, mask, cache, asked, tokens)
        return after.reshape(batch, -1, width)


def _split(config: ModelConfig, splits: int) -> ModelConfig:
    """Sizes of a layer for parts of tokens: as many times as many, a fraction as wide."""
    if splits == 1:
        return config
    return replace(
        config, d_model=config.d_model // splits, d_ff=config.d_ff // splits, head_dim=config.head_dim // splits,
        context_length=config.context_length * splits, max_span=config.max_span * splits, patch_splits=(),
    )  # fmt: skip
