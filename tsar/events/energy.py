"""An energy of whole continuations: paths that look drawn, not real, get less weight (Xue et al., 2022, HYPRO).

The law of a path is that of the proposer times exp(-energy). The energy is learned by noise-contrastive estimation in
its multi-way form: which of several continuations is the real one, the others being the proposer's own draws. It judges
what comes within a fixed time: were it a fixed number of events, dense stretches would be too many among the real.
It reads the path event by event, as the proposer does, and summaries of the path beside those of the whole history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tsar.events.network import EventModel, EventTrunk
from tsar.events.rollout import roll_out
from tsar.events.sequences import EventSequences
from tsar.events.summary import num_features, summarize
from tsar.model.config import ModelConfig
from tsar.types import FloatArray, IntArray

NUM_NOISE = 8  # draws beside each real continuation
MOST_TIMES = 3  # events judged at most, in times of those expected
NEVER = 1e6  # mean gaps until the events that pad a continuation
LARGEST_FEATURE = 5.0  # deviations

Paths = tuple[IntArray, FloatArray]
"""Types and gaps (B, T)."""


CHOICE_PARTS = ("codes", "gaps", "features")


@dataclass(frozen=True, eq=False)
class Choices:
    """What the energy compares: types and gaps (B, M, T) of windows and their features (B, M, F); M continuations."""

    codes: Tensor
    gaps: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Tensor) -> Choices:
        return Choices(self.codes[rows], self.gaps[rows], self.features[rows])


class EnergyModel(nn.Module):
    """Energy (B,) of what comes within a time after `past` events of windows (B, T); zero before training.

    Parameters
    ----------
    num_types
        V.
    config
        Sizes of its own trunk.
    past
        Events of history that it reads one by one.
    reach
        The time it judges, in mean gaps.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(self, num_types: int, config: ModelConfig, past: int, reach: int) -> None:
        super().__init__()
        self.num_types, self.past, self.reach = num_types, past, reach
        self.trunk = EventTrunk(num_types, config)
        width = num_features(num_types)
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_deviation", torch.ones(width))
        self.hidden = nn.Linear(config.d_model + width, config.d_model)
        self.head = nn.Linear(config.d_model, 1)
        self.direct = nn.Linear(2 * width, 1)
        for layer in (self.head, self.direct):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def measure(self, features: Tensor) -> None:
        """Take the scale of features (…, F)."""
        flat = features.reshape(-1, features.shape[-1])
        self.feature_mean = flat.mean(0)
        self.feature_deviation = flat.std(0).clamp(min=1e-2)

    def forward(self, model: EventModel, codes: Tensor, gaps: Tensor, features: Tensor) -> Tensor:
        """Return the energies; `model` gives the scale of the gaps."""
        clock = model.clock(gaps)
        states = self.trunk(codes, model.normalize(gaps), clock)[:, self.past :]
        judged = (clock[:, self.past :] - clock[:, self.past - 1 : self.past] <= self.reach).to(states.dtype)
        pooled = (states * judged.unsqueeze(-1)).sum(1) / judged.sum(1, keepdim=True).clamp(min=1)
        scaled = (features - self.feature_mean) / self.feature_deviation
        scaled = scaled.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
        hidden = nn.functional.silu(self.hidden(torch.cat([pooled, scaled], -1)))
        energy: Tensor = self.head(hidden) + self.direct(torch.cat([scaled, scaled.square()], -1))
        return energy.squeeze(-1)


def energies(energy: EnergyModel, model: EventModel, choices: Choices) -> Tensor:
    """Energies (B, M) of continuations."""
    rows, number, _ = choices.codes.shape
    parts = [part.reshape(rows * number, -1) for part in (choices.codes, choices.gaps, choices.features)]
    values: Tensor = energy(model, *parts)
    return values.view(rows, number)


def contrast(energy: EnergyModel, model: EventModel, choices: Choices, temper: float = 1.0) -> Tensor:
    """Loss (B,) of telling the first of (B, M, T) continuations, the real one, from the others."""
    return -torch.log_softmax(-temper * energies(energy, model, choices), -1)[:, 0]


@dataclass(frozen=True, eq=False)
class History:
    """All that came before: how long ago in mean gaps (N,), types (N,), and gaps (N,) as they are."""

    past: FloatArray
    codes: IntArray
    gaps: FloatArray

    @classmethod
    def of(cls, model: EventModel, times: FloatArray, codes: IntArray) -> History:
        """The history that ends with the last of `times`."""
        past = (times[-1] - times) / float(model.mean_gap)
        return cls(past, codes, np.diff(times, prepend=np.nan))


def compare(energy: EnergyModel, model: EventModel, history: History, coming: Paths) -> Choices:
    """Continuations (M, T) of one history as one row of choices."""
    most = MOST_TIMES * energy.reach
    number = len(coming[0])
    codes = np.zeros((number, energy.past + most), dtype=np.int64)
    gaps = np.full(codes.shape, NEVER * float(model.mean_gap))
    end = energy.past + min(most, coming[0].shape[1])
    codes[:, : energy.past], gaps[:, : energy.past] = history.codes[-energy.past :], history.gaps[-energy.past :]
    codes[:, energy.past : end], gaps[:, energy.past : end] = coming[0][:, :most], coming[1][:, :most]
    clock = np.cumsum(gaps[:, energy.past :], 1) / float(model.mean_gap)
    features = summarize(history.past, history.codes, clock, codes[:, energy.past :], energy.num_types, energy.reach)
    return Choices(
        torch.as_tensor(codes)[None], torch.as_tensor(gaps, dtype=torch.float32)[None],
        torch.as_tensor(features, dtype=torch.float32)[None],
    )  # fmt: skip


@torch.no_grad()
def path_weights(
    energy: EnergyModel, model: EventModel, history: History, drawn: Paths, temper: float = 1.0
) -> FloatArray:
    """Weights (M,), summing to one, of drawn continuations of a history; one that is short stands as it is."""
    if len(history.codes) < energy.past or temper == 0:
        return np.full(len(drawn[0]), 1 / len(drawn[0]))
    values = temper * energies(energy, model, compare(energy, model, history, drawn))[0]
    weights: FloatArray = torch.softmax(-values.double(), 0).numpy()
    return weights


def real_continuations(
    energy: EnergyModel, model: EventModel, sequences: EventSequences, silences: FloatArray
) -> list[list[tuple[History, Paths]]]:
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
            history = History.of(model, times[:now], codes[:now])
            after = slice(now, max(last, now))
            pairs.append((history, (codes[None, after], gaps[None, after])))
        if pairs:
            found.append(pairs)
    return found


def make_choices(
    energy: EnergyModel,
    model: EventModel,
    pairs: list[tuple[History, Paths]],
    window: int,
    random: np.random.Generator,
) -> Choices:
    """One row a pair: the real continuation first, then those drawn as a forecast draws them."""
    seen = max(1, window // 2)
    lengths = np.array([min(seen, len(history.codes)) for history, _ in pairs])
    rows: dict[int, Choices] = {}
    for length in np.unique(lengths):  # what is equally long goes through the proposer together
        places = np.flatnonzero(lengths == length)
        codes = np.repeat([pairs[place][0].codes[-length:] for place in places], NUM_NOISE, 0)
        gaps = np.repeat([pairs[place][0].gaps[-length:] for place in places], NUM_NOISE, 0)
        duration = energy.reach * float(model.mean_gap)
        drawn = roll_out(model, codes, gaps, random, window=window, least=1, duration=duration)
        for first, place in enumerate(places):
            mine = slice(first * NUM_NOISE, (first + 1) * NUM_NOISE)
            history, real = pairs[place]
            noise = drawn[0][mine], drawn[1][mine]
            rows[place] = _join([compare(energy, model, history, coming) for coming in (real, noise)], 1)
    whole = _join([rows[place] for place in range(len(pairs))], 0)
    comes = whole.gaps[:, :, energy.past :] < NEVER * float(model.mean_gap) / 2
    needed = energy.past + max(1, int(comes.sum(-1).max()))
    return Choices(whole.codes[..., :needed], whole.gaps[..., :needed], whole.features)


def _join(choices: list[Choices], axis: int) -> Choices:
    return Choices(*(torch.cat([getattr(one, name) for one in choices], axis) for name in CHOICE_PARTS))
