"""Fit the two networks of event sequences: windows, a held-back part, the weights that were best on it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tsar.errors import FrameError
from tsar.events.energy import EnergyModel, contrast, make_choices, real_continuations
from tsar.events.network import EventModel
from tsar.events.sequences import EventSequences, require_events
from tsar.types import FloatArray, IntArray

BATCH, LEARNING_RATE = 16, 4e-3
ENERGY_BATCH, ENERGY_RATE, ENERGY_DECAY, ENERGY_STEPS = 32, 3e-3, 1.0, 400
FOLDS = 5
HELD_BACK, SPLIT_FROM = 0.2, 20
CHECKS = 10  # of the held-back part in a fit
ENERGY_WINDOWS = 512  # real continuations
TEMPERS = (0.25, 0.5, 0.75, 1.0)  # powers of the weights, the best of which is kept
SURE = 2.0  # standard errors of the gain, below which paths stay as drawn
FEWEST_APART = 10  # items, from which on whole items are held back
LARGEST_SHIFT = 64 * math.pi  # the clock's slowest hand goes once around

Report = Callable[[int, float, float], None]
"""Told steps done, share of the budget, and the loss of the held-back part."""


@dataclass(frozen=True)
class Budget:
    """How long to train: so many steps, or up to a moment of `time.perf_counter`."""

    steps: int | None = None
    deadline: float | None = None

    def progress(self, done: int, began: float) -> float:
        """How much of it is used up, 0 to 1; steps decide where both are given."""
        if self.steps is not None:
            return min(done / self.steps, 1.0)
        whole = max((self.deadline or 0.0) - began, 1e-9)
        return min((time.perf_counter() - began) / whole, 1.0)


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
    budget: Budget,
    random: np.random.Generator,
    report: Report | None = None,
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

    return -_optimise(model, step, check, budget, LEARNING_RATE, report)


def fit_energy(
    energy: EnergyModel,
    model: EventModel,
    sequences: EventSequences,
    silences: FloatArray,
    length: int,
    random: np.random.Generator,
    *,
    max_steps: int = ENERGY_STEPS,
    max_windows: int = ENERGY_WINDOWS,
    report: Report | None = None,
) -> tuple[float, float]:
    """Learn to tell real continuations from drawn ones.

    Five networks are trained, each with a fifth of the items held back. They tell after how many steps, and with which
    power of the weights, items that were not learned from are judged best; then one network learns from all.

    Returns that gain over chance, in nats, and the power. Both are zero, and the proposer is left as it is, unless the
    gain is more than two standard errors over the items.

    Raises
    ------
    FrameError
        ``event.too_few``.
    """
    found = real_continuations(energy, model, sequences, silences)
    pairs = [(item, pair) for item, some in enumerate(found) for pair in some]
    kept = [pairs[row] for row in sorted(random.permutation(len(pairs))[:max_windows])]
    if len(kept) < FOLDS:
        raise FrameError(
            f"the items hold {len(kept)} continuations that the energy could learn from, fewer than {FOLDS}",
            code="event.too_few",
            item_ids=list(sequences.item_ids[:1]),
            hint="give longer sequences, a smaller rerank_events, or rerank=None",
        )
    groups = np.array([item for item, _ in kept])
    if len(np.unique(groups)) < FOLDS:  # too few items: stretches of them instead
        groups = np.arange(len(kept)) * FOLDS // len(kept)
    folds = np.unique(groups, return_inverse=True)[1] % FOLDS
    features = make_choices(energy, model, [pair for _, pair in kept], length, random)
    energy.measure(features)
    steps = min(max_steps, ENERGY_STEPS)
    values = torch.zeros(CHECKS + 1, *features.shape[:2])  # of each continuation by the network that does not know it
    for fold in range(FOLDS):
        apart = torch.as_tensor(folds == fold)
        fold_values = _train_energy(copy.deepcopy(energy), features[~apart], features[apart], steps, CHECKS, random)
        values[: len(fold_values), apart] = torch.stack(fold_values)
        if report is not None:
            report(steps * (fold + 1), (fold + 1) / (FOLDS + 1), float(contrast(fold_values[-1]).mean()))
    gain, temper, checks = _choose_temper(values, groups)
    _train_energy(energy, features, features[:1], steps, checks, random)
    return gain, temper


def _train_energy(
    energy: EnergyModel, features: Tensor, apart: Tensor, steps: int, checks: int, random: np.random.Generator
) -> list[Tensor]:
    """Train up to a check; return the energies of `apart` at each, the first before training."""
    optimizer = torch.optim.AdamW(energy.parameters(), lr=ENERGY_RATE, weight_decay=ENERGY_DECAY)
    found: list[Tensor] = []
    for done in range(steps + 1):
        while len(found) <= CHECKS and done >= len(found) * steps / CHECKS:
            with torch.no_grad():
                found.append(energy(apart))
            if len(found) > checks:
                return found
        optimizer.param_groups[0]["lr"] = ENERGY_RATE * 0.5 * (1 + math.cos(math.pi * done / steps))
        rows = torch.as_tensor(random.integers(len(features), size=ENERGY_BATCH))
        optimizer.zero_grad()
        contrast(energy(features[rows])).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return found


def _choose_temper(values: Tensor, groups: IntArray) -> tuple[float, float, int]:
    """Best gain over chance, its power and its check, of energies (C, W, M); one item's windows are not independent."""
    best = (0.0, 0.0, 0)
    names = np.unique(groups)
    for check in range(1, len(values)):
        for temper in TEMPERS:
            gains = (math.log(values.shape[-1]) - contrast(temper * values[check])).numpy()
            means = np.array([gains[groups == name].mean() for name in names])
            gain, error = float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))
            if gain > max(best[0], SURE * error):
                best = (gain, temper, check)
    return best


def _optimise(
    model: nn.Module,
    step: Callable[[], Tensor],
    check: Callable[[], float],
    budget: Budget,
    rate: float,
    report: Report | None,
) -> float:
    """Take steps of Adam at a rate that falls to zero; keep the weights that were best on the held-back part."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    best, state = math.inf, copy.deepcopy(model.state_dict())
    began, done, checks = time.perf_counter(), 0, 0
    while True:
        progress = budget.progress(done, began)
        if progress >= checks / CHECKS:
            checks = int(progress * CHECKS) + 1
            with torch.no_grad():
                now = check()
            if now < best:
                best, state = now, copy.deepcopy(model.state_dict())
            if report is not None:
                report(done, progress, now)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.zero_grad()
        step().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        done += 1
    model.load_state_dict(state)
    return best
