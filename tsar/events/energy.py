"""An energy of whole continuations: paths that look drawn, not real, get less weight (Xue et al., 2022, HYPRO).

The law of a path is that of the proposer times exp(-energy). The energy is learned by noise-contrastive estimation in
its multi-way form: which of several continuations is the real one, the others being the proposer's own draws. It judges
what comes within a fixed time: were it a fixed number of events, dense stretches would be too many among the real.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tsar.events.network import EventModel, EventTrunk
from tsar.events.rollout import roll_out
from tsar.events.sequences import EventSequences
from tsar.model.config import ModelConfig
from tsar.types import FloatArray, IntArray

NUM_NOISE = 4  # draws beside each real continuation
MOST_TIMES = 3  # events judged at most, in times of those expected
NEVER = 1e6  # mean gaps until the events that pad a continuation

Paths = tuple[IntArray, FloatArray]
"""Types and gaps (B, T)."""


class EnergyModel(nn.Module):
    """Energy (B,) of what comes within a time after `past` events of windows (B, T); zero before training.

    Parameters
    ----------
    num_types
        V.
    config
        Sizes of its own trunk.
    past
        Events of history that it reads.
    reach
        The time it judges, in mean gaps.
    """

    def __init__(self, num_types: int, config: ModelConfig, past: int, reach: int) -> None:
        super().__init__()
        self.num_types, self.past, self.reach = num_types, past, reach
        self.trunk = EventTrunk(num_types, config)
        self.hidden = nn.Linear(config.d_model + num_types, config.d_model)
        self.head = nn.Linear(config.d_model, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, model: EventModel, codes: Tensor, gaps: Tensor) -> Tensor:
        """Return the energies; `model` gives the scale of the gaps."""
        clock = model.clock(gaps)
        states = self.trunk(codes, model.normalize(gaps), clock)[:, self.past :]
        judged = (clock[:, self.past :] - clock[:, self.past - 1 : self.past] <= self.reach).to(states.dtype)
        pooled = (states * judged.unsqueeze(-1)).sum(1) / judged.sum(1, keepdim=True).clamp(min=1)
        kinds = nn.functional.one_hot(codes[:, self.past :], self.num_types).to(states.dtype)
        counts = (kinds * judged.unsqueeze(-1)).sum(1) / self.reach
        energy: Tensor = self.head(nn.functional.silu(self.hidden(torch.cat([pooled, counts], -1)))).squeeze(-1)
        return energy


def contrast(energy: EnergyModel, model: EventModel, codes: Tensor, gaps: Tensor) -> Tensor:
    """Loss (B,) of telling the first of (B, M, T) continuations, the real one, from the others."""
    rows, choices, length = codes.shape
    values = energy(model, codes.reshape(-1, length), gaps.reshape(-1, length)).view(rows, choices)
    return -torch.log_softmax(-values, -1)[:, 0]


@torch.no_grad()
def path_weights(energy: EnergyModel, model: EventModel, past: Paths, drawn: Paths) -> FloatArray:
    """Weights (B,), summing to one, of drawn continuations of a history; one that is short stands as it is."""
    if past[0].shape[1] < energy.past:
        return np.full(len(past[0]), 1 / len(past[0]))
    codes, gaps = _join(energy, model, past, drawn)
    values = energy(model, torch.as_tensor(codes), torch.as_tensor(gaps, dtype=torch.float32))
    weights: FloatArray = torch.softmax(-values.double(), 0).numpy()
    return weights


def _join(energy: EnergyModel, model: EventModel, past: Paths, coming: Paths) -> Paths:
    """History and continuation as windows of one length, padded by events that never come."""
    most = MOST_TIMES * energy.reach
    codes = np.zeros((len(past[0]), energy.past + most), dtype=np.int64)
    gaps = np.full(codes.shape, NEVER * float(model.mean_gap))
    end = energy.past + min(most, coming[0].shape[1])
    codes[:, : energy.past], gaps[:, : energy.past] = past[0][:, -energy.past :], past[1][:, -energy.past :]
    codes[:, energy.past : end], gaps[:, energy.past : end] = coming[0][:, :most], coming[1][:, :most]
    return codes, gaps


def real_continuations(
    energy: EnergyModel, model: EventModel, sequences: EventSequences, silences: FloatArray
) -> list[list[tuple[Paths, Paths]]]:
    """Of each item long enough, pairs (history, what came), one row each; all that came is known."""
    duration = energy.reach * float(model.mean_gap)
    found = []
    for item, times in enumerate(sequences.times):
        codes, gaps = sequences.codes[item], sequences.gaps_of(item)
        known = times[-1] + np.nan_to_num(silences[item], nan=0.0)
        pairs = []
        for now in range(energy.past, len(times) + 1, max(1, energy.reach // 4)):
            if times[now - 1] + duration > known:
                break
            last = int(np.searchsorted(times, times[now - 1] + duration, side="right"))
            before, after = slice(now - energy.past, now), slice(now, max(last, now))
            pairs.append(((codes[None, before], gaps[None, before]), (codes[None, after], gaps[None, after])))
        if pairs:
            found.append(pairs)
    return found


def make_choices(
    energy: EnergyModel,
    model: EventModel,
    pairs: list[tuple[Paths, Paths]],
    window: int,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Windows (B, 1 + draws, T) of types and gaps: the real continuation first, then drawn ones."""
    past = np.concatenate([one[0][0] for one in pairs]), np.concatenate([one[0][1] for one in pairs])
    real = [_join(energy, model, *one) for one in pairs]
    rows = np.repeat(np.arange(len(pairs)), NUM_NOISE)
    many = past[0][rows], past[1][rows]
    duration = energy.reach * float(model.mean_gap)
    drawn = _join(energy, model, many, roll_out(model, *many, random, window=window, least=1, duration=duration))
    sides = []
    for part in (0, 1):
        first = np.concatenate([one[part] for one in real])[:, None]
        others = drawn[part].reshape(len(pairs), NUM_NOISE, -1)
        sides.append(np.concatenate([first, others], 1))
    needed = energy.past + max(1, int((sides[1][:, :, energy.past :] < NEVER * float(model.mean_gap)).sum(-1).max()))
    return torch.as_tensor(sides[0][..., :needed]), torch.as_tensor(sides[1][..., :needed], dtype=torch.float32)
