"""An energy of whole continuations: paths that look drawn, not real, get less weight (Xue et al., 2022, HYPRO).

The law of a path is that of the proposer times exp(-energy). The energy is learned by noise-contrastive estimation in
its multi-way form: which of several continuations is the real one, the others being the proposer's own draws. It judges
what comes within a fixed time: were it a fixed number of events, dense stretches would be too many among the real.
It reads summaries of the path beside those of the whole history, so that it is small, quick to learn, and sees what the
proposer has long forgotten. The paper's transformer over the path found nothing in some hundred continuations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tsar.events.network import EventModel
from tsar.events.rollout import roll_out
from tsar.events.sequences import EventSequences
from tsar.events.summary import num_features, summarize
from tsar.types import FloatArray, IntArray

NUM_NOISE = 8  # draws beside each real continuation
WIDTH = 32
LARGEST_FEATURE = 5.0  # deviations

Paths = tuple[IntArray, FloatArray]
"""Types and gaps (B, T)."""


class EnergyModel(nn.Module):
    """Energy (…,) of features (…, F) of what comes within a time; zero before training.

    Parameters
    ----------
    num_types
        V.
    past
        Events of history that it needs.
    reach
        The time it judges, in mean gaps.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(self, num_types: int, past: int, reach: int) -> None:
        super().__init__()
        self.num_types, self.past, self.reach = num_types, past, reach
        width = num_features(num_types)
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_deviation", torch.ones(width))
        self.hidden = nn.Linear(width, WIDTH)
        self.head = nn.Linear(WIDTH, 1)
        self.direct = nn.Linear(2 * width, 1)
        for layer in (self.head, self.direct):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def measure(self, features: Tensor) -> None:
        """Take the scale of features (…, F)."""
        flat = features.reshape(-1, features.shape[-1])
        self.feature_mean = flat.mean(0)
        self.feature_deviation = flat.std(0).clamp(min=1e-2)

    def forward(self, features: Tensor) -> Tensor:
        """Return the energies."""
        scaled = (features - self.feature_mean) / self.feature_deviation
        scaled = scaled.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
        curved = self.head(nn.functional.silu(self.hidden(scaled)))
        energy: Tensor = curved + self.direct(torch.cat([scaled, scaled.square()], -1))
        return energy.squeeze(-1)


def contrast(values: Tensor) -> Tensor:
    """Loss (…,) of telling the first of M continuations, the real one, from the others, by their energies (…, M)."""
    return -torch.log_softmax(-values, -1)[..., 0]


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


def describe(energy: EnergyModel, model: EventModel, history: History, coming: Paths) -> Tensor:
    """Features (M, F) of continuations (M, T) of one history."""
    clock = np.cumsum(coming[1], 1) / float(model.mean_gap)
    features = summarize(history.past, history.codes, clock, coming[0], energy.num_types, energy.reach)
    return torch.as_tensor(features, dtype=torch.float32)


@torch.no_grad()
def path_weights(
    energy: EnergyModel, model: EventModel, history: History, drawn: Paths, temper: float = 1.0
) -> FloatArray:
    """Weights (M,), summing to one, of drawn continuations of a history; a short history leaves them alike."""
    if len(history.codes) < energy.past or temper == 0:
        return np.full(len(drawn[0]), 1 / len(drawn[0]))
    values = temper * energy(describe(energy, model, history, drawn))
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
) -> Tensor:
    """Features (W, 1 + draws, F): of each pair the real continuation, then those drawn as a forecast draws them."""
    seen = max(1, window // 2)
    duration = energy.reach * float(model.mean_gap)
    lengths = np.array([min(seen, len(history.codes)) for history, _ in pairs])
    rows: dict[int, Tensor] = {}
    for length in np.unique(lengths):  # what is equally long goes through the proposer together
        places = np.flatnonzero(lengths == length)
        codes = np.repeat([pairs[place][0].codes[-length:] for place in places], NUM_NOISE, 0)
        gaps = np.repeat([pairs[place][0].gaps[-length:] for place in places], NUM_NOISE, 0)
        drawn = roll_out(model, codes, gaps, random, window=window, least=1, duration=duration)
        for first, place in enumerate(places):
            mine = slice(first * NUM_NOISE, (first + 1) * NUM_NOISE)
            history, real = pairs[place]
            noise = drawn[0][mine], drawn[1][mine]
            rows[place] = torch.cat([describe(energy, model, history, coming) for coming in (real, noise)])
    return torch.stack([rows[place] for place in range(len(pairs))])
