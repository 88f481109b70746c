"""The recipe: everything that fixes a pretraining run, parsed strictly from YAML once, at the border."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from tsar.errors import RecipeError
from tsar.model.config import ModelConfig
from tsar.training.corrupt import CorruptConfig
from tsar.training.objectives import objective_problem
from tsar.training.optim import SCHEDULES, OptimConfig
from tsar.training.sampler import DataConfig

DEFAULT_TEACHER_SHARE = 0.5
TASK = "series"
AnyRecipe = TypeVar("AnyRecipe")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape of batch; a step takes one of the recipe's shapes at random.

    Attributes
    ----------
    context_length
        L, in points.
    rows
        Windows a step, over all processes.
    weight
        How often, against the other shapes.
    cut
        Probability that a window's history is cut; None: that of ``corrupt.cut``.
    final_weight
        Weight from step ``train.curriculum`` on, reached in a straight line: a curriculum of lengths; None: `weight`.
    """

    context_length: int = 512
    rows: int = 64
    weight: float = 1.0
    cut: float | None = None
    final_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how.

    Attributes
    ----------
    steps, minutes
        Length of the run: steps, or wall time (kept over interruptions). With both, steps fix the schedule. With
        ``optim.schedule: infinite`` and neither, a run goes on until it is stopped.
    accumulate
        Parts that a step's rows are read in, one after the other; the gradient is that of all, the memory that of one.
    checkpoint_activations
        Keep the input of each block only and compute the rest again for the gradient: less memory, a third more work.
    ramp, ramp_from
        Batch ramp (GPT-3, Brown et al., 2020): rows grow in a straight line from the share `ramp_from` to all of them
        over this many steps; 0: all from the start.
    curriculum
        Steps over which shapes move to their `final_weight`; 0: at once.
    anneal_from
        Folder of a checkpoint, of any run of this model: its weights, optimizer and place in the data are the start of
        a branch in which the learning rate falls from the peak to ``optim.final`` over `steps` or `minutes`.
    average_last
        The release holds the mean weights of this many newest checkpoints (Izmailov et al., 2018) instead of the
        running mean; 0: the latter. At most `keep`.
    scale_losses
        Divide the loss of each window by the running mean of its source (the corpus, or a synthetic family), so that
        hard sources do not rule the gradient.
    mfu, peak_tflops
        Log model FLOPs utilisation: `tflops` as a share of `peak_tflops`, or, if None, of a product of matrices that
        is measured when the run starts.
    precision
        ``"fp32"`` or ``"bf16"`` (autocast).
    compile
        Compile the training step with `torch.compile`.
    smooth_weight
        See `tsar.training.objectives.NextPatches`.
    log_every, validate_every, save_every
        In steps. Validation and saving also happen at the end.
    validation_windows
        Windows a source, and in each synthetic family, for the validation loss; 0 switches it off.
    keep
        Checkpoints kept.
    threads
        CPU threads; 0 leaves torch's choice.
    """

    steps: int | None = None
    minutes: float | None = None
    precision: str = "fp32"
    compile: bool = False
    smooth_weight: float = 0.0
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 500
    validation_windows: int = 8
    keep: int = 2
    threads: int = 0
    accumulate: int = 1
    checkpoint_activations: bool = False
    ramp: int = 0
    ramp_from: float = 0.25
    curriculum: int = 0
    anneal_from: str | None = None
    average_last: int = 0
    scale_losses: bool = False
    mfu: bool = False
    peak_tflops: float | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe.

    Attributes
    ----------
    name
        Name of the release that the run makes.
    task
        ``"series"``; other tasks have recipes of their own (`tsar.cli.training.TASKS`).
    seed
        Of weights and samples.
    corpus
        Folder of parquet files or a packed corpus, relative to the working directory; None: synthetic series only.
        A path that does not exist is an error, never a silent fallback.
    init_from
        Release folder whose weights the run begins with, of the same architecture; None: fresh weights.
    teacher
        Release folder of a model to learn from besides the data, see `tsar.training.distill`; None: no teacher.
    teacher_share
        How much of the loss is the distance to the teacher's quantiles; None: half with a teacher. Refused without one.
    objective
        What training lowers, a name in `tsar.training.objectives.OBJECTIVES`, or names and weights of a sum, such as
        ``{next_patches: 1.0, contrastive: 0.1}``; ``"auto"``: what the model's attention asks for.
    """

    name: str
    task: str = TASK
    seed: int = 0
    corpus: str | None = None
    init_from: str | None = None
    teacher: str | None = None
    teacher_share: float | None = None
    objective: str | dict[str, float] = "auto"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    corrupt: CorruptConfig = field(default_factory=CorruptConfig)
    shapes: tuple[Shape, ...] = (Shape(),)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        train, periods = self.train, ("log_every", "validate_every", "save_every", "keep")
        counts = {f"train.{name}": getattr(train, name) for name in periods}
        counts |= {"train.steps": train.steps, "data.block_size": self.data.block_size, "shapes": len(self.shapes)}
        counts |= {"shapes: rows": min((shape.rows for shape in self.shapes), default=None)}
        counts |= {"train.accumulate": train.accumulate}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if train.minutes is not None and not train.minutes > 0:
            raise ValueError(f"train.minutes must be positive, got {train.minutes}")
        for shape in self.shapes:
            if shape.context_length % self.model.patch_length:
                raise ValueError(f"shapes: context_length {shape.context_length} is no multiple of model.patch_length")
        if min(self.data.block_size, self.data.fresh, self.data.pool) < 1 or self.data.fresh > self.data.pool:
            raise ValueError("data: block_size, fresh and pool must be at least 1, and fresh at most pool")
        channels = self.data.channels
        if channels < 1 or any(shape.rows % channels for shape in self.shapes):
            raise ValueError("data.channels must be at least 1, and rows of shapes multiples of it")
        if self.teacher is None and self.teacher_share is not None:
            raise ValueError("teacher_share is given without a teacher")
        if self.teacher is not None and self.teacher_share is None:
            object.__setattr__(self, "teacher_share", DEFAULT_TEACHER_SHARE)
        if self.teacher_share is not None and not 0 <= self.teacher_share <= 1:
            raise ValueError(f"teacher_share must be between 0 and 1, got {self.teacher_share}")
        if self.train.precision not in ("fp32", "bf16"):
            raise ValueError(f"train.precision must be fp32 or bf16, got {self.train.precision!r}")
        if self.optim.kind not in ("adamw", "muon"):
            raise ValueError(f"optim.kind must be adamw or muon, got {self.optim.kind!r}")
        problem = objective_problem(self.objective, self.model) or self._technique_problem()
        if problem:
            raise ValueError(problem)
        if self.name in ("", "..") or Path(self.name).name != self.name:
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")

    def _technique_problem(self) -> str | None:
        """Say what is wrong with the settings of training techniques, if anything is."""
        train, optim = self.train, self.optim
        if self.corrupt.middle > 0 and not (self.model.modes and self.model.attention == "causal"):
            return "corrupt.middle needs model.modes and model.attention causal"
        if self.corrupt.feedback > 0 and self.model.attention != "causal":
            return "corrupt.feedback needs model.attention causal"
        if min(train.ramp, train.curriculum, train.average_last, self.data.workers) < 0:
            return "train.ramp, train.curriculum, train.average_last and data.workers must be from 0"
        if not 0 < train.ramp_from <= 1:
            return f"train.ramp_from must be above 0 and at most 1, got {train.ramp_from}"
        if train.average_last > train.keep:
            return f"train.average_last ({train.average_last}) is more than the checkpoints kept ({train.keep})"
        if train.peak_tflops is not None and not train.peak_tflops > 0:
            return f"train.peak_tflops must be positive, got {train.peak_tflops}"
        if optim.schedule not in SCHEDULES:
            return f"optim.schedule must be one of {SCHEDULES}, got {optim.schedule!r}"
        if not optim.z_loss >= 0 or optim.warmup_steps < 1:
            return "optim.z_loss must be from 0 and optim.warmup_steps from 1"
        begins = [shape.weight for shape in self.shapes]
        ends = [shape.weight if shape.final_weight is None else shape.final_weight for shape in self.shapes]
        if min(begins + ends) < 0 or not min(sum(begins), sum(ends)) > 0:
            return "shapes: weights must be from 0, and not all zero"
        if not 0 <= self.data.replay_share <= 1 or (self.data.replay is None) != (self.data.replay_share == 0):
            return "data.replay and data.replay_share (0 to 1) go together"
        return None


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        YAML file.
    overrides
        ``"train.minutes=30"``-like settings that win over the file; the value is parsed as YAML.

    Raises
    ------
    RecipeError
        ``recipe.missing_file``, ``recipe.unknown_key`` or ``recipe.bad_value``.
    """
    return make_recipe(read_recipe(path, overrides))


def read_recipe(path: str | Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """Read the plain values of a recipe of any task, as `load_recipe` does."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"There is no recipe at {path}.", code="recipe.missing_file")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the second: no UTF-8, a date like 2024-99-99
        raise RecipeError(f"{path} is not YAML: {error}.", code="recipe.bad_value") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no mapping of keys to values.", code="recipe.bad_value")
    for override in overrides or []:
        _set(values, override)
    return values


def make_recipe(values: dict[str, Any]) -> Recipe:
    """Build a recipe from plain values; unknown keys, and booleans for numbers, are refused with their place."""
    if values.get("task", TASK) != TASK:
        text = f"A recipe of the task {values['task']!r} trains no model of series."
        raise RecipeError(text, code="recipe.bad_value", hint="Train it with `tsar pretrain`.")
    return parse_recipe(Recipe, values)


def parse_recipe(kind: type[AnyRecipe], values: dict[str, Any]) -> AnyRecipe:
    """Build a recipe of any task from plain values."""
    _refuse_misfits(kind, values, "")
    try:
        return TypeAdapter(kind).validate_python(values)
    except (TypeError, RecursionError, OverflowError) as error:
        raise RecipeError(f"The recipe is not usable: {error}.", code="recipe.bad_value") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"The recipe is not usable at {place or 'top level'}: {first['msg']}.", code="recipe.bad_value"
        ) from error


def recipe_to_yaml(recipe: Any) -> str:
    """Write a recipe of any task out in full, every default included."""
    plain = TypeAdapter(type(recipe)).dump_python(recipe, mode="json")
    return yaml.safe_dump(plain, sort_keys=False)


def changed_settings(stored: Path, recipe: Any) -> list[str]:
    """Name the settings of a recipe that differ from a stored one, such as ``optim.lr``; none if it cannot be read."""
    try:
        before = yaml.safe_load(stored.read_text())
    except (OSError, yaml.YAMLError, ValueError):
        return []
    return list(_differences(before, yaml.safe_load(recipe_to_yaml(recipe)), ""))


def _differences(before: Any, after: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in after:
            yield from _differences(before.get(name), after[name], f"{place}.{name}" if place else name)
    elif before != after:
        yield place


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise RecipeError(f"Override {override!r} is not of the form key.name=value.", code="recipe.bad_value")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"Override {override!r}: {parent!r} is not a section.", code="recipe.unknown_key")
        values = inner
    try:
        values[leaf] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"Override {override!r} is not YAML: {error}.", code="recipe.bad_value") from error


def _refuse_misfits(kind: type[Any], values: Any, place: str) -> None:
    """Compare keys with dataclass fields, all the way down; true and false stand only where they are meant."""
    if not dataclasses.is_dataclass(kind) or not isinstance(values, dict):
        return
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            raise RecipeError(
                f"The recipe has an unknown key {place}{key}.",
                code="recipe.unknown_key",
                hint=f"Known here: {', '.join(sorted(hints))}.",
            )
        if isinstance(value, bool) and hints[key] is not bool:  # else taken for 0 or 1
            raise RecipeError(f"The recipe's {place}{key} cannot be {value}.", code="recipe.bad_value")
        if key == "shapes" and isinstance(value, (list, tuple)):
            for shape in value:
                _refuse_misfits(Shape, shape, f"{place}shapes.")
        else:
            _refuse_misfits(hints[key], value, f"{place}{key}.")
