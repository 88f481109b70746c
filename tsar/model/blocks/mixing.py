"""What the layers of a trunk share: the block around a mixer of tokens, and convolution along time."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.blocks.feed_forward import FEED_FORWARDS
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.model.layers import RMSNorm
from tsar.tokenizers.patch import Tokens


class Block(nn.Module):
    """Pre-normalised residual block: a mixer lets tokens know of each other, then a feed-forward layer.

    A mixer is made of the config, has ``forward(x_BTD, tokens, cache, last)``, which returns what to add to the
    residual stream, and ``initialize()``, after which that is nothing. A block whose mixer takes something else has its
    own `mix`.
    """

    can_cache = True
    mixer_kind: ClassVar[type[Any]]
    mixer_name: ClassVar[str] = "mixer"  # what its weights are called in a release

    def __init__(self, config: ModelConfig, number: int = 0) -> None:
        super().__init__()
        self.add_module(f"{self.mixer_name}_norm", RMSNorm(config.d_model, config.norm_eps))
        self.add_module(self.mixer_name, self.mixer_kind(config))
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
        """Return the residual stream after this block, (B, T, D); with `last`, of that many last tokens only.

        `rotary` and `mask` are for attention; what is padding, and which rows belong together, is told by `tokens`.
        """
        normed = getattr(self, f"{self.mixer_name}_norm")(x_BTD)
        written = self.mix(normed, rotary, mask, cache, last, tokens)
        x_BTD = (x_BTD if last is None else x_BTD[:, -last:]) + written
        after: Tensor = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return after

    def mix(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: LayerCache | None,
        last: int | None,
        tokens: Tokens | None,
    ) -> Tensor:
        """Return what the mixer adds, (B, T or `last`, D)."""
        written: Tensor = getattr(self, self.mixer_name)(x_BTD, tokens, cache, last)
        return written

    def initialize(self) -> None:
        """Add nothing to the residual stream to begin with."""
        getattr(self, self.mixer_name).initialize()
        self.feed_forward.initialize()


def reach_of(config: ModelConfig) -> int:
    """How many tokens back a layer with a weight for every distance looks: a context and the longest hidden run."""
    return config.context_length // config.patch_length + config.max_span


def hide_padding(x_BTD: Tensor, tokens: Tokens | None) -> Tensor:
    """Return x with zeros for padding tokens."""
    if tokens is None or tokens.mask is None:
        return x_BTD
    return torch.where(tokens.mask.unsqueeze(-1), x_BTD, 0.0)


def remember(cache: LayerCache | None, x_BTD: Tensor) -> Tensor:
    """Return x of all tokens read so far, (B, S, D), and keep that of the new ones."""
    if cache is None:
        return x_BTD
    rows = x_BTD.unsqueeze(1)
    return cache.append(rows, rows[..., :0])[0].squeeze(1)


def convolve(kernel_GS: Tensor, inputs_BSD: Tensor, asking: int) -> Tensor:
    """Sum the inputs so far, each weighted by how long ago it was.

    ``y[t, d] = sum over s <= t of kernel[g(d), t - s] * x[s, d]``, where the D channels come in G groups of
    neighbours. It is a product with a lower-triangular matrix: for the few tokens of a window as fast as a Fourier
    transform, and the future has no part in it, to the last bit.

    Parameters
    ----------
    kernel_GS
        (G, any) weights of 0, 1, … tokens ago; longer ago than these counts for nothing.
    inputs_BSD
        (B, S, D), D a multiple of G.
    asking
        For how many last tokens the answer is wanted.

    Returns
    -------
    Tensor
        (B, `asking`, D).
    """
    batch, tokens, width = inputs_BSD.shape
    groups = len(kernel_GS)
    kernel_GS = F.pad(kernel_GS[:, :tokens], (tokens - 1, max(tokens - kernel_GS.shape[1], 0)))
    rows_GTS = kernel_GS.unfold(-1, tokens, 1)[:, -asking:].flip(-1)  # oldest input first
    columns = inputs_BSD.view(batch, tokens, groups, -1).permute(2, 1, 0, 3).reshape(groups, tokens, -1)
    mixed = torch.bmm(rows_GTS.to(columns.dtype), columns).view(groups, asking, batch, -1)
    return mixed.permute(2, 1, 0, 3).reshape(batch, asking, width)
