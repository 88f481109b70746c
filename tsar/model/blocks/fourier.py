"""Fourier layers along time, causal."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.blocks.mixing import Block, convolve, hide_padding, reach_of, remember
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.tokenizers.patch import Tokens


class Fourier(nn.Module):
    """Convolution with the past whose kernel is a sum of a few waves, with learned weights for each channel.

    A Fourier neural operator (Li et al., 2021) weights the lowest frequencies of its input, that is, convolves it with
    a kernel of these frequencies. Here the kernel reaches to the past only: the layer forecasts, and nothing depends on
    the length of the window. The linear path beside the operator, which sees a token only, is kept.

    Parameters
    ----------
    config
        ``state_size`` frequencies, from none to as many turns in the tokens of a context and the longest hidden run;
        longer ago counts for nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, number = config.d_model, config.state_size
        self.reach = reach_of(config)
        self.input = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.spectrum = nn.Parameter(torch.empty(width, 2 * number))
        self.skip = nn.Parameter(torch.empty(width))

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw kernels; nothing is written to begin with."""
        nn.init.normal_(self.spectrum, std=self.spectrum.shape[1] ** -0.5)
        nn.init.ones_(self.skip)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x_BTD: Tensor, tokens: Tokens | None, cache: LayerCache | None, last: int | None = None
    ) -> Tensor:
        """Return what to add to the residual stream, (B, T or `last`, D)."""
        inputs_BSD = remember(cache, hide_padding(self.input(x_BTD), tokens))
        asking = x_BTD.shape[1] if last is None else last
        written: Tensor = self.output(convolve(self.kernel(), inputs_BSD, asking))
        return written

    def kernel(self) -> Tensor:
        """Return the weights of 0, 1, … tokens ago, (D, `reach`)."""
        device, number = self.spectrum.device, self.spectrum.shape[1] // 2
        turns = torch.arange(number, device=device)[:, None] * torch.arange(self.reach, device=device)
        angle = 2 * math.pi / self.reach * turns
        waves = torch.cat([angle.cos(), angle.sin()]) * self.reach**-0.5
        skip = F.pad(self.skip.float().unsqueeze(-1), (0, self.reach - 1))
        weights: Tensor = self.spectrum.float() @ waves + skip
        return weights


class FourierBlock(Block):
    """A Fourier layer, then a feed-forward layer."""

    mixer_kind = Fourier
