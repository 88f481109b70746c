"""Fit the two networks of event sequences: windows, a held-back part, the weights that were best on it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tsar.events.energy import EnergyModel, contrast
from tsar.events.network import EventModel
from tsar.events.rollout import roll_out
from tsar.events.sequences import EventSequences, require_events
from tsar.types import FloatArray, IntArray

BATCH = 16
LEARNING_RATE, ENERGY_RATE = 4e-3, 1e-3
HELD_BACK, SPLIT_FROM = 0.2, 20
CHECKS = 10  # of the held-back part in a fit
ENERGY_WINDOWS, NUM_NOISE = 512, 4  # real continuations, and draws beside each
LARGEST_SHIFT = 64 * math.pi  # the clock's slowest hand goes once around

Windows = tuple[IntArray, FloatArray, FloatArray]
"""Types (W, T), -1 behind the end; gaps (W, T); silence (W,) after the last event, NaN where it is not known."""


def cut_windows(sequences: EventSequences, length: int, silences: FloatArray) -> tuple[Windows, Windows]:
    """Windows to train on and held back; every event is in equally many.

    Were long sequences to count for more, the law would learn what only the future tells: that many events come.
    Every fifth sequence is held back, or the end of each where there are fewer than ten.
    """
    trained: list[tuple[IntArray, FloatArray, float]] = []
    held: list[tuple[IntArray, FloatArray, float]] = []
    items = require_events(sequences, 2)
    stride = max(length // 4, 1)
    for place, item in enumerate(items):
        codes, gaps = sequences.codes[item], sequences.gaps_of(item)
        split = len(codes)
        if len(items) >= 10:
            split = 0 if place % 5 == 4 else split
        elif len(codes) >= SPLIT_FROM:
            split = int(len(codes) * (1 - HELD_BACK))
        for target, begin, end in ((trained, 0, split), (held, split, len(codes))):
            for first in range(begin - length + stride, end, stride):
                start, stop = max(first, begin), min(first + length, end)
                if stop - start >= 2:
                    silence = silences[item] if stop == len(codes) else np.nan
                    target.append((codes[start:stop], gaps[start:stop], silence))
    return _pad(trained or held, length), _pad(held or trained, length)


def _pad(windows: list[tuple[IntArray, FloatArray, float]], length: int) -> Windows:
    codes = np.full((len(windows), length), -1, dtype=np.int64)
    gaps = np.full((len(windows), length), np.nan)
    for row, (some_codes, some_gaps, _) in enumerate(windows):
        codes[row, : len(some_codes)] = some_codes
        gaps[row, : len(some_gaps)] = some_gaps
    return codes, gaps, np.array([silence for _, _, silence in windows])


def fit_events(
    model: EventModel,
    sequences: EventSequences,
    silences: FloatArray,
    length: int,
    max_steps: int,
    random: np.random.Generator,
) -> float:
    """Maximise the likelihood of every event given those before it, and of the silences (I,) at the ends.

    Returns the held-back mean log-likelihood of an event.
    """
    trained, held = cut_windows(sequences, length, silences)

    def loss(windows: Windows, rows: IntArray, shift: float) -> Tensor:
        codes, gaps = torch.as_tensor(windows[0][rows]), torch.as_tensor(windows[1][rows], dtype=torch.float32)
        real = codes[:, 1:] >= 0
        gaps = torch.where(codes >= 0, gaps, 1.0)
        last = (codes >= 0).sum(1) - 1
        silence = torch.as_tensor(windows[2][rows], dtype=torch.float32)
        density, silent = model.log_likelihood(codes.clamp(min=0), gaps, last, silence, shift)
        return -(density[real].sum() + silent.sum()) / real.sum()

    def step() -> Tensor:
        rows = random.integers(len(trained[0]), size=BATCH)
        return loss(trained, rows, float(random.random() * LARGEST_SHIFT))

    def check() -> float:
        chosen = np.arange(len(held[0]))[:: max(1, len(held[0]) // 128)]
        return float(loss(held, chosen, 0.0))

    return -_optimise(model, step, check, max_steps, LEARNING_RATE)


def fit_energy(
    energy: EnergyModel,
    model: EventModel,
    sequences: EventSequences,
    length: int,
    max_steps: int,
    random: np.random.Generator,
) -> float:
    """Learn to tell real continuations from drawn ones.

    Returns how much better than chance it does on those held back, in nats; zero leaves the proposer as it is.
    """
    ahead = energy.num_events
    past = max(1, min(past_of_energy(length), max(len(times) for times in sequences.times) - ahead))
    trained, held = _cut_continuations(sequences, past, ahead)

    def choices(windows: tuple[IntArray, FloatArray], most: int) -> tuple[Tensor, Tensor]:
        rows = random.permutation(len(windows[0]))[:most]
        codes, gaps = windows[0][rows], windows[1][rows]
        drawn = np.repeat(np.arange(len(rows)), NUM_NOISE)
        new_codes, new_gaps = roll_out(model, codes[drawn, :past], gaps[drawn, :past], random, window=length, least=ahead)
        all_codes = np.repeat(codes[:, None], NUM_NOISE + 1, 1)
        all_gaps = np.repeat(gaps[:, None], NUM_NOISE + 1, 1)
        all_codes[:, 1:, past:] = new_codes.reshape(len(rows), NUM_NOISE, ahead)
        all_gaps[:, 1:, past:] = new_gaps.reshape(len(rows), NUM_NOISE, ahead)
        return torch.as_tensor(all_codes), torch.as_tensor(all_gaps, dtype=torch.float32)

    real, judged = choices(trained, ENERGY_WINDOWS), choices(held, ENERGY_WINDOWS // 4)

    def step() -> Tensor:
        rows = torch.as_tensor(random.integers(len(real[0]), size=BATCH))
        return contrast(energy, model, real[0][rows], real[1][rows]).mean()

    def check() -> float:
        return float(contrast(energy, model, *judged).mean())

    chance = math.log(NUM_NOISE + 1)
    return chance - _optimise(energy, step, check, max_steps, ENERGY_RATE)


def past_of_energy(length: int) -> int:
    """Events of history that the energy reads."""
    return max(1, length // 4)


def _cut_continuations(
    sequences: EventSequences, past: int, ahead: int
) -> tuple[tuple[IntArray, FloatArray], tuple[IntArray, FloatArray]]:
    """Whole windows of `past + ahead` events, those of every fifth place held back."""
    length = past + ahead
    windows = []
    for item in require_events(sequences, length):
        codes, gaps = sequences.codes[item], sequences.gaps_of(item)
        starts = range(0, len(codes) - length + 1, max(1, ahead // 2))
        windows.append([(codes[s : s + length], gaps[s : s + length]) for s in starts])
    apart = windows[4::5] if len(windows) >= 10 else [some[-(len(some) // 5) :] for some in windows if len(some) >= 5]
    learned = [some for place, some in enumerate(windows) if place % 5 != 4] if len(windows) >= 10 else [
        some[: len(some) - len(some) // 5] if len(some) >= 5 else some for some in windows
    ]

    def stack(parts: list[list[tuple[IntArray, FloatArray]]]) -> tuple[IntArray, FloatArray]:
        flat = [one for part in parts for one in part]
        return np.stack([codes for codes, _ in flat]), np.stack([gaps for _, gaps in flat])

    return stack(learned), stack(apart or learned)


def _optimise(
    model: nn.Module, step: Callable[[], Tensor], check: Callable[[], float], max_steps: int, rate: float
) -> float:
    """Take steps of Adam at a rate that falls to zero; keep the weights that were best on the held-back part."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    every = max(1, max_steps // CHECKS)
    best, state = math.inf, copy.deepcopy(model.state_dict())
    for done in range(max_steps + 1):
        if done % every == 0 or done == max_steps:
            with torch.no_grad():
                now = check()
            if now < best:
                best, state = now, copy.deepcopy(model.state_dict())
        if done == max_steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done / max_steps))
        optimizer.zero_grad()
        step().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.load_state_dict(state)
    return best
