"""The recipe of an event model: everything that fixes its pretraining, parsed as strictly as that of a series model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsar.events.network import EventConfig
from tsar.events.simulate import KINDS

TASK = "events"


@dataclass(frozen=True, kw_only=True)
class EventData:
    """What is simulated.

    Attributes
    ----------
    processes
        Weights of the kinds of process, names in `tsar.events.simulate.KINDS`.
    num_processes, sequences, events
        Processes, sequences of each, and about how many events a sequence has.
    """

    processes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    num_processes: int = 200
    sequences: int = 4
    events: int = 150


@dataclass(frozen=True, kw_only=True)
class EventTrain:
    """How long.

    Attributes
    ----------
    steps, minutes
        Steps of the proposer, or wall time of the whole run, four fifths of which are the proposer's; steps decide
        where both are given.
    energy_windows
        Continuations that the energy learns from.
    threads
        CPU threads; 0 leaves torch's choice.
    """

    steps: int | None = None
    minutes: float | None = None
    energy_windows: int = 1500
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class EventRecipe:
    """A whole recipe.

    Attributes
    ----------
    name
        Name of the run.
    task
        ``"events"``.
    seed
        Of weights and simulations.
    """

    name: str
    task: str = TASK
    seed: int = 0
    model: EventConfig = field(default_factory=lambda: EventConfig(num_types=4))
    data: EventData = field(default_factory=EventData)
    train: EventTrain = field(default_factory=EventTrain)

    def __post_init__(self) -> None:
        data, train = self.data, self.train
        if self.task != TASK:
            raise ValueError(f"task must be {TASK}, got {self.task!r}")
        if self.name in ("", "..") or Path(self.name).name != self.name:
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")
        counts = (
            ("data.num_processes", data.num_processes, 10), ("data.sequences", data.sequences, 1),
            ("data.events", data.events, 10), ("train.steps", train.steps, 2),
            ("train.energy_windows", train.energy_windows, 5),
        )  # fmt: skip
        for name, value, least in counts:
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if train.minutes is not None and not train.minutes > 0:
            raise ValueError(f"train.minutes must be positive, got {train.minutes}")
        weights = list(data.processes.values())
        if not set(data.processes) <= set(KINDS) or min(weights, default=0) < 0 or not sum(weights) > 0:
            raise ValueError(f"data.processes must give weights from 0, not all zero, to some of {', '.join(KINDS)}")


def make_event_recipe(values: dict[str, Any]) -> EventRecipe:
    """Build a recipe from plain values.

    Raises
    ------
    RecipeError
        ``recipe.unknown_key`` or ``recipe.bad_value``.
    """
    from tsar.training.config import parse_recipe

    return parse_recipe(EventRecipe, values)
