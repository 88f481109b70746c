"""Pretrain an event model on simulated sequences: the proposer, then the energy; one process, one go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tsar.errors import CheckpointError, RecipeError
from tsar.events.networks import build_networks
from tsar.events.recipe import EventData, EventRecipe
from tsar.events.release import write_event_release
from tsar.events.sequences import EventSequences
from tsar.events.simulate import KINDS, Process
from tsar.events.training import Budget, Report, fit_energy, fit_events
from tsar.storage import write_atomically
from tsar.types import FloatArray

if TYPE_CHECKING:
    from tsar.training.meter import Meter

RECIPE = "recipe.yaml"
PROPOSER_SHARE = 0.8  # of the time; the rest is left to drawing for the energy and to its training
PILOT = 200.0  # time units of the sequence that tells the rate of a process


def pretrain_events(recipe: EventRecipe, run_dir: Path, *, minutes: float | None = None) -> Path:
    """Train the recipe's networks and write the release ``run_dir/release``.

    Parameters
    ----------
    recipe
        What to train and how.
    run_dir
        Folder of this run: ``metrics.jsonl``, the full recipe, the release.
    minutes
        Wall-time budget; wins over the recipe's minutes.

    Raises
    ------
    CheckpointError
        ``checkpoint.no_resume`` if the folder has a run already, finished or not; ``checkpoint.busy``.
    RecipeError
        ``recipe.bad_value`` if the recipe says neither steps nor minutes, or on several processes.
    """
    from tsar.training.config import recipe_to_yaml
    from tsar.training.lock import run_lock

    train = recipe.train
    minutes = minutes if minutes is not None else train.minutes
    if train.steps is None and minutes is None:
        raise RecipeError("The recipe says neither steps nor minutes.", code="recipe.bad_value")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("A recipe of events trains in one process.", code="recipe.bad_value")
    with run_lock(run_dir):
        if (run_dir / RECIPE).exists():
            raise CheckpointError(
                f"{run_dir} has a run of events already; such a run cannot be taken up again.",
                code="checkpoint.no_resume",
                hint="Use another run folder, or remove this one.",
            )
        write_atomically(run_dir / RECIPE, recipe_to_yaml(recipe).encode())
        if train.threads:
            torch.set_num_threads(train.threads)
        return _train(recipe, run_dir, minutes)


def _train(recipe: EventRecipe, run_dir: Path, minutes: float | None) -> Path:
    from tsar.training.config import recipe_to_yaml
    from tsar.training.meter import Meter

    began, config, train = time.perf_counter(), recipe.model, recipe.train
    random = np.random.default_rng(recipe.seed)
    sequences, silences = simulate_corpus(recipe.data, config.num_types, random)
    model, energy = build_networks(config, recipe.seed)
    model.measure(torch.as_tensor(np.concatenate([np.diff(times) for times in sequences.times])))
    data = (model, sequences, silences, config.context_length)
    deadline = began + PROPOSER_SHARE * 60 * (minutes or 0.0)
    meter = Meter(run_dir, recipe.name, active=True)
    try:
        report = _report(meter, "proposer", 0.0, PROPOSER_SHARE)
        likelihood = fit_events(*data, Budget(steps=train.steps, deadline=deadline), random, report)
        model.eval().requires_grad_(False)
        report = _report(meter, "energy", PROPOSER_SHARE, 1 - PROPOSER_SHARE)
        gain, temper = fit_energy(energy, *data, random, max_windows=train.energy_windows, report=report)
    finally:
        meter.close()
    facts = {
        "log_likelihood": likelihood, "energy_gain": gain, "temper": temper, "num_events": sequences.num_events,
        "parameters": sum(one.numel() for network in (model, energy) for one in network.parameters()),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    write_event_release(run_dir / "release", config, model, energy, facts, recipe_to_yaml(recipe))
    return run_dir / "release"


def _report(meter: Meter, stage: str, begin: float, share: float) -> Report:
    from tsar.training.checkpoint import RunState

    def tell(done: int, progress: float, loss: float) -> None:
        meter.record(RunState(step=done), begin + share * progress, kind="validation", stage=stage, loss=loss)

    return tell


def simulate_corpus(data: EventData, num_types: int, random: np.random.Generator) -> tuple[EventSequences, FloatArray]:
    """Sequences of random processes, and the silence (I,) after each; the mean gap of each process is about 1."""
    names = sorted(data.processes)
    weights = np.array([data.processes[name] for name in names])
    times, codes, silences = [], [], []
    for _ in range(data.num_processes):
        kind = KINDS[names[int(random.choice(len(names), p=weights / weights.sum()))]]
        process: Process = kind(random, int(random.integers(1, num_types + 1)))
        mean_gap = PILOT / max(len(process.draw(random, PILOT)[0]), 1)
        for _ in range(data.sequences):
            duration = data.events * mean_gap * random.uniform(0.5, 1.5)
            some_times, some_codes = process.draw(random, duration)
            if len(some_times) >= 2:
                times.append(some_times / mean_gap)
                codes.append(some_codes)
                silences.append(duration / mean_gap - some_times[-1] / mean_gap)
    ids = np.array([f"sequence_{number}" for number in range(len(times))], dtype=object)
    types = np.array([f"type_{number}" for number in range(num_types)], dtype=object)
    return EventSequences(item_ids=ids, times=times, codes=codes, event_types=types, origin=None), np.array(silences)
