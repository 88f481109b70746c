"""State-space layers in companion form (SpaceTime)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tsar.model.blocks.mixing import Block, convolve, hide_padding, remember
from tsar.model.cache import LayerCache
from tsar.model.config import ModelConfig
from tsar.tokenizers.patch import Tokens


class StateSpace(nn.Module):
    """Every channel goes through a linear system of its own whose matrix is a companion matrix.

    ``s[t] = A s[t-1] + B u[t]``, ``y[t] = C s[t] + D u[t]``, where A shifts the state by one place and adds its last
    entry times `feedback`: all autoregressive processes of that order are among them (Zhang et al., 2023, "Effectively
    Modeling Time Series with Simple Discrete State Spaces"). As there, the feedback is scaled to a sum of at most 1, so
    that no system explodes. Different here: no fixed differencing in the first layer, and no closed loop at the end,
    since the decoder answers as with any other block.

    Notes
    -----
    Invariants (tests/unit/test_state_space.py): the convolution equals `step` after `step`; cached = uncached. What is
    cached are the inputs, not the states, which are `state_size` times as wide, so that a cache can be cut back to any
    token; a new token costs one row of the kernel.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, order = config.d_model, config.state_size
        self.input = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feedback = nn.Parameter(torch.empty(width, order))
        self.write = nn.Parameter(torch.empty(width, order))
        self.read = nn.Parameter(torch.empty(width, order))
        self.skip = nn.Parameter(torch.empty(width))

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw systems of short memory; nothing is written to begin with."""
        order = self.feedback.shape[1]
        nn.init.normal_(self.feedback, std=1 / order)
        nn.init.zeros_(self.write)
        self.write[:, 0] = 1.0
        nn.init.normal_(self.read, std=order**-0.5)
        nn.init.ones_(self.skip)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x_BTD: Tensor, tokens: Tokens | None, cache: LayerCache | None, last: int | None = None
    ) -> Tensor:
        """Return what to add to the residual stream, (B, T or `last`, D)."""
        inputs_BSD = remember(cache, hide_padding(self.input(x_BTD), tokens))
        asking = x_BTD.shape[1] if last is None else last
        written: Tensor = self.output(convolve(self.kernel(inputs_BSD.shape[1]), inputs_BSD, asking))
        return written

    def matrix(self) -> Tensor:
        """Return A of every system, (D, order, order)."""
        feedback = self.feedback.float()
        feedback = feedback / feedback.abs().sum(-1, keepdim=True).clamp_min(1.0)
        shift = torch.eye(feedback.shape[1], device=feedback.device).roll(1, 0)
        shift[0, -1] = 0.0
        last = torch.zeros_like(shift[0])
        last[-1] = 1.0
        return shift + feedback.unsqueeze(-1) * last

    def kernel(self, num_tokens: int) -> Tensor:
        """Return the answer of every system to a single 1, (D, `num_tokens`), its powers found by doubling."""
        power, rows = self.matrix(), self.read.float().unsqueeze(1)  # A ** n, and C A ** 0 … n - 1
        while rows.shape[1] < num_tokens:
            rows = torch.cat([rows, rows @ power], 1)
            power = power @ power
        answer = (rows[:, :num_tokens] @ self.write.float().unsqueeze(-1)).squeeze(-1)
        return torch.cat([answer[:, :1] + self.skip.float().unsqueeze(-1), answer[:, 1:]], 1)

    def step(self, state_BDN: Tensor, input_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Read one token: return the new states (B, D, order) and what the systems say, (B, D)."""
        state_BDN = torch.einsum("dmn,bdn->bdm", self.matrix(), state_BDN) + self.write * input_BD.unsqueeze(-1)
        return state_BDN, (self.read * state_BDN).sum(-1) + self.skip * input_BD


class StateSpaceBlock(Block):
    """A state-space layer, then a feed-forward layer."""

    mixer_kind = StateSpace
