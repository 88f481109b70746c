"""Fit the two networks of event sequences: windows, a held-back part, the weights that were best on it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tsar.errors import FrameError
from tsar.events.energy import NUM_NOISE, EnergyModel, Paths, contrast, make_choices, real_continuations
from tsar.events.network import EventModel
from tsar.events.sequences import EventSequences, require_events
from tsar.types import FloatArray, IntArray

BATCH, ENERGY_BATCH = 16, 8
LEARNING_RATE, ENERGY_RATE = 4e-3, 1e-3
HELD_BACK, SPLIT_FROM = 0.2, 20
CHECKS = 10  # of the held-back part in a fit
ENERGY_WINDOWS = 512  # real continuations
FEWEST_APART = 10  # items, from which on whole items are held back
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
        if len(items) >= FEWEST_APART:
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
    silences: FloatArray,
    length: int,
    max_steps: int,
    random: np.random.Generator,
) -> float:
    """Learn to tell real continuations from drawn ones.

    Returns how much better than chance it does on those held back, in nats; zero leaves the proposer as it is.

    Raises
    ------
    FrameError
        ``event.too_few``.
    """
    found = real_continuations(energy, model, sequences, silences)
    pairs = [pair for some in found for pair in some]
    cut = max(1, round(len(found) * (1 - HELD_BACK)))
    learned = [pair for some in found[:cut] for pair in some]
    apart = [pair for some in found[cut:] for pair in some]
    if len(found) < FEWEST_APART:
        cut = max(1, round(len(pairs) * (1 - HELD_BACK)))
        learned, apart = pairs[:cut], pairs[cut:]
    if not apart:
        raise FrameError(
            "no item is long enough for two continuations that the energy could learn from",
            code="event.too_few",
            item_ids=list(sequences.item_ids[:1]),
            hint="give longer sequences, a smaller rerank_events, or rerank=None",
        )

    def choose(some: list[tuple[Paths, Paths]], most: int) -> tuple[Tensor, Tensor]:
        kept = [some[row] for row in random.permutation(len(some))[:most]]
        return make_choices(energy, model, kept, length, random)

    real, judged = choose(learned, ENERGY_WINDOWS), choose(apart, ENERGY_WINDOWS // 4)

    def step() -> Tensor:
        rows = torch.as_tensor(random.integers(len(real[0]), size=ENERGY_BATCH))
        return contrast(energy, model, real[0][rows], real[1][rows]).mean()

    def check() -> float:
        return float(contrast(energy, model, *judged).mean())

    return math.log(NUM_NOISE + 1) - _optimise(energy, step, check, max_steps, ENERGY_RATE)


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
