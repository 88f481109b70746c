"""A trunk in stages: coarse tokens first, finer ones work on what the coarser left (GPHT, Liu et al., 2024).

Tokens are pooled by a stage's factor, go through its blocks, and come back at the full rate; what a stage says is
taken off the input of the next and added to the answer. Kept of the paper: pooling, stages, residuals. Not kept: a
forecast of each stage in data units; here stages speak in hidden states.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tsar.model.config import ModelConfig
from tsar.model.layers import rotary_table
from tsar.scaling import first_observed_index


class Stages(nn.Module):
    """Run the blocks of a trunk in stages: (B, T, D) -> (B, T, D), causal.

    Parameters
    ----------
    config
        With `stages`, factors that descend to 1. The layers are shared out evenly, later stages first.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        coarse, width = len(config.stages) - 1, config.d_model
        self.tell = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(coarse))
        self.take_off = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(coarse))

    @torch.no_grad()
    def initialize(self) -> None:
        """Coarse stages say and take off nothing to begin with."""
        for layer in (*self.tell, *self.take_off):
            nn.init.zeros_(layer.weight)

    def forward(
        self, x_BTD: Tensor, blocks: nn.ModuleList, mask: Tensor | None, states: list[Tensor] | None = None
    ) -> Tensor:
        """Return the states (B, T, D) after all stages.

        Parameters
        ----------
        x_BTD
            Embedded tokens.
        blocks
            All blocks of the trunk.
        mask
            (B, T) bool, False for padding at the left; groups of tokens begin where it ends, so that padding changes
            nothing. None: no padding.
        states
            The input, then the answer so far after each stage, once for each of its blocks, is appended.
        """
        first = None if mask is None else first_observed_index(mask)
        rest = x_BTD if first is None else _moved(x_BTD, first)
        told = torch.zeros_like(rest)
        if states is not None:
            states.append(x_BTD)
        layers = share_out(len(blocks), len(self.config.stages))
        for stage, factor in enumerate(self.config.stages[:-1]):
            said = spread(self._run(pooled(rest, factor), (blocks[layer] for layer in layers[stage])), rest, factor)
            told, rest = told + self.tell[stage](said), rest - self.take_off[stage](said)
            if states is not None:
                states += [told if first is None else _moved(told, -first)] * len(layers[stage])
        told = told + self._run(rest, (blocks[layer] for layer in layers[-1]))
        answer = told if first is None else _moved(told, -first)
        if states is not None:
            states += [answer] * len(layers[-1])
        return answer

    def _run(self, x_BTD: Tensor, blocks: Iterable[nn.Module]) -> Tensor:
        """Blocks of one stage; positions count its own tokens."""
        positions = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        if self.config.position == "none":
            positions = torch.zeros_like(positions)
        rotary = rotary_table(positions, self.config.head_dim, self.config.rope_base)
        for block in blocks if x_BTD.shape[1] else ():
            x_BTD = block(x_BTD, rotary, None, None, None)
        return x_BTD


def share_out(num_layers: int, num_stages: int) -> list[range]:
    """Which layers each stage has: as many each, one more in the last ones where it does not come out even."""
    ends = [(stage + 1) * num_layers // num_stages for stage in range(num_stages)]
    return [range(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def pooled(x_BTD: Tensor, factor: int) -> Tensor:
    """Means of `factor` neighbouring tokens (B, T // factor, D); an unfinished group at the end is left out."""
    groups = x_BTD.shape[1] // factor
    means: Tensor = x_BTD[:, : groups * factor].reshape(len(x_BTD), groups, factor, x_BTD.shape[2]).mean(2)
    return means


def spread(coarse: Tensor, like: Tensor, factor: int) -> Tensor:
    """Each token (B, T, D) gets the last group that was finished with it or before; 0 before the first one."""
    group = torch.arange(1, like.shape[1] + 1, device=like.device) // factor
    return torch.cat([torch.zeros_like(like[:, :1]), coarse], 1)[:, group]


def _moved(x_BTD: Tensor, by: Tensor) -> Tensor:
    """Move each row to the left by (B,) tokens; those that leave come in at the other end."""
    size = x_BTD.shape[1]
    source = (torch.arange(size, device=x_BTD.device) + by[:, None]) % size
    return x_BTD.gather(1, source.unsqueeze(-1).expand_as(x_BTD))
