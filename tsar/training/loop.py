"""The pretraining loop: one page, the same on a CPU, a GPU and several processes (through accelerate)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from tsar.errors import CheckpointError, RecipeError, TrainingError
from tsar.logging import get_logger
from tsar.model.config import flops_per_token
from tsar.model.decoder import Decoder
from tsar.model.files import read_decoder
from tsar.storage import read_folder, write_atomically
from tsar.training.balance import after_step, auxiliary_loss
from tsar.training.checkpoint import RunState, find_checkpoint, load_checkpoint, save_checkpoint
from tsar.training.config import Recipe, Shape, recipe_to_yaml
from tsar.training.corpus import load_corpus
from tsar.training.corrupt import corrupt
from tsar.training.couple import couple
from tsar.training.distill import Teacher, incompatibility
from tsar.training.lock import run_lock
from tsar.training.meter import Meter
from tsar.training.objectives import HiddenPoints, NextPatches, make_objective
from tsar.training.optim import clip_gradients, make_optimizer, schedule
from tsar.training.release import write_release
from tsar.training.sampler import CORRUPTION, COUPLING, BlockSampler, Pool
from tsar.training.validation import Validation

logger = get_logger(__name__)


def pretrain(
    recipe: Recipe, run_dir: str | Path, *, minutes: float | None = None, resume: bool = True, until: int | None = None
) -> Path:
    """Train the recipe's model and write the release ``run_dir/release``.

    Parameters
    ----------
    recipe
        What to train and how.
    run_dir
        Folder of this run: checkpoints, ``metrics.jsonl``, the full recipe, the release.
    minutes
        Wall-time budget; wins over the recipe's. The schedule (warm-up, stable, decay) is fitted to it.
    resume
        Go on from the newest whole checkpoint of `run_dir`, if there is one. With False a folder that already has
        checkpoints is refused.
    until
        Stop after this many steps of the schedule, as if interrupted (checkpoint, no release).

    Returns
    -------
    Path
        The release's folder, or the newest checkpoint's if the run was interrupted (SIGTERM, SIGINT or `until`).

    Raises
    ------
    TrainingError
        ``training.nan_loss`` when the loss stays not finite for ten steps.
    CheckpointError
        ``checkpoint.busy`` if another process trains in this folder or `resume` is False and it holds checkpoints;
        ``checkpoint.invalid`` if its checkpoint does not fit the recipe.

    Notes
    -----
    Invariant: an interrupted and resumed run has bit-identical weights on a CPU (tests/integration/test_resume.py).
    """
    run_dir = Path(run_dir)
    with run_lock(run_dir), _stop_on_signal() as stop:
        run = _Run.start(recipe, run_dir, minutes, resume)
        try:
            finished = run.train(stop, until)
        finally:
            run.meter.close()
        checkpoint = run.save()
    if not finished:
        logger.info("stopped at step %d; run again to go on", run.state.step)
        return checkpoint
    release = run_dir / "release"
    if run.accelerator.is_main_process:
        write_release(release, recipe, run.ema, run.state, run.validation.last)
    run.accelerator.wait_for_everyone()
    return release


@dataclass
class _Run:
    """One process's share of a run."""

    recipe: Recipe
    run_dir: Path
    minutes: float | None
    accelerator: Accelerator
    pool: Pool
    validation: Validation
    objective: NextPatches | HiddenPoints
    wrapped: torch.nn.Module
    optimizer: Any
    state: RunState
    ema: dict[str, Tensor]
    meter: Meter
    teacher: Teacher | None = None
    bad_steps: int = 0

    @classmethod
    def start(cls, recipe: Recipe, run_dir: Path, minutes: float | None, resume: bool) -> _Run:
        train = recipe.train
        if train.threads:
            torch.set_num_threads(train.threads)
        cpu_group = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()  # accelerate joins GPUs only, unasked
        # autocast is ours, so that the compiler sees a plain module
        accelerator = Accelerator(mixed_precision="no", cpu=cpu_group)
        for shape in recipe.shapes:
            if shape.rows % accelerator.num_processes or recipe.data.channels > 1 < accelerator.num_processes:
                raise RecipeError(
                    f"shapes: {shape.rows} rows cannot be shared evenly by {accelerator.num_processes} processes.",
                    code="recipe.bad_value",
                )
        torch.manual_seed(recipe.seed)
        torch.set_float32_matmul_precision("high")  # TF32 where there is any; no change on a CPU
        corpus = load_corpus(recipe.corpus, split="train", device=accelerator.device) if recipe.corpus else None
        sampler = BlockSampler(recipe.data, recipe.seed, corpus, accelerator.device)
        pool = Pool(sampler, max(shape.context_length for shape in recipe.shapes) + recipe.model.output_length)
        decoder = Decoder(recipe.model)
        checkpoint = find_checkpoint(run_dir)
        if recipe.init_from is not None and checkpoint is None:
            _start_from(decoder, recipe.init_from)
        teacher = _find_teacher(recipe.teacher, decoder, accelerator.device) if recipe.teacher is not None else None
        objective = make_objective(decoder, name=recipe.objective, smooth_weight=train.smooth_weight).to(
            accelerator.device
        )
        if isinstance(objective, NextPatches):
            objective.channels = recipe.data.channels
        optimizer = make_optimizer(objective, recipe.optim)
        ema = {name: value.detach().clone() for name, value in objective.decoder.state_dict().items()}
        state = RunState()
        if checkpoint is not None and not resume:
            raise CheckpointError(
                f"{run_dir} already holds checkpoints.",
                code="checkpoint.busy",
                hint="Resume, or use another run folder.",
            )
        if checkpoint is not None:
            state, ema = load_checkpoint(checkpoint, objective, optimizer, accelerator.device)
            logger.info("resuming %s at step %d", run_dir, state.step)
        wrapped = accelerator.prepare_model(objective)
        if train.compile:
            wrapped = torch.compile(wrapped, dynamic=False)
        minutes = minutes if minutes is not None else train.minutes
        if train.steps is None and minutes is None:
            raise RecipeError("The recipe says neither steps nor minutes.", code="recipe.bad_value")
        if accelerator.is_main_process:
            write_atomically(run_dir / "recipe.yaml", recipe_to_yaml(recipe).encode())
        validation = Validation.make(recipe, accelerator.device)
        meter = Meter(run_dir, recipe.name, active=accelerator.is_main_process)
        return cls(
            recipe, run_dir, minutes, accelerator, pool, validation, objective, wrapped, optimizer, state, ema, meter,
            teacher,
        )  # fmt: skip

    def train(self, stop: dict[str, bool], until: int | None) -> bool:
        """Run to the end of the schedule; False if stopped before."""
        train = self.recipe.train
        if train.compile:
            self.compile_shapes()
        began, before = time.perf_counter(), self.state.seconds
        losses: list[Tensor] = []
        making = 0.0
        mark = (self.state.step, self.state.seconds, self.state.tokens)
        while self.progress() < 1:
            if self._agree(stop["now"]) or (until is not None and self.state.step >= until):
                return False
            batch_began = time.perf_counter()
            shape, windows, visible = self.batch(self.state.step)
            making += time.perf_counter() - batch_began
            losses.append(self.step(windows, visible))
            self.state.step += 1
            self.state.windows += shape.rows
            self.state.tokens += shape.rows * shape.context_length // self.recipe.model.patch_length
            self.state.seconds = self._clock(before + time.perf_counter() - began)
            if self.state.step % train.log_every == 0:
                self.log(losses, making, mark, shape)
                self._watch(losses)
                losses, making, mark = [], 0.0, (self.state.step, self.state.seconds, self.state.tokens)
            if self.state.step % train.validate_every == 0:
                self.validate()
            if self.state.step % train.save_every == 0:
                self.save()
        if self.state.step % train.validate_every or not self.validation.last:
            self.validate()
        return True

    def progress(self) -> float:
        """How much of the schedule is done, 0 … 1."""
        if self.recipe.train.steps is not None:
            return self.state.step / self.recipe.train.steps
        return min(self.state.seconds / (60 * (self.minutes or 1e-9)), 1.0)

    def batch(self, step: int) -> tuple[Shape, Tensor, Tensor]:
        """Return the rows of a step that are this process's share; a pure function of seed and step."""
        shape = _shape_of_step(self.recipe, step)
        return shape, *self.draw(step, shape)

    def draw(self, step: int, shape: Shape) -> tuple[Tensor, Tensor]:
        """Windows of a step and what may be seen of them: drawn for all processes alike, each takes its share."""
        windows = self.pool.batch(step, shape.rows, shape.context_length + self.recipe.model.output_length)
        windows = couple(windows, self.recipe.data.channels, self.pool.sampler.generator(step, COUPLING))
        visible = corrupt_windows(self.recipe, shape, windows, self.pool.sampler.generator(step, CORRUPTION))
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        return windows[mine], visible[mine]

    def step(self, windows: Tensor, visible: Tensor) -> Tensor:
        """One update."""
        factor = schedule(self.progress(), self.recipe.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.optim.lr * factor
        loss = self.loss(windows, visible)
        self.accelerator.backward(loss)
        clip_gradients(self.objective.parameters(), self.recipe.optim.grad_clip)
        self.optimizer.step()
        after_step(self.objective)
        self._average()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def loss(self, windows: Tensor, visible: Tensor) -> Tensor:
        """Mean loss of this process's rows."""
        bf16 = self.recipe.train.precision == "bf16"
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
            guide = self.teacher(windows, visible) if self.teacher is not None else None
            mean: Tensor = self.wrapped(windows, visible, guide, self.recipe.teacher_share or 0.0).mean()
        return mean + auxiliary_loss(self.objective)

    def compile_shapes(self) -> None:
        """Compile the step for every shape before the clock runs; nothing is learned."""
        for shape in self.recipe.shapes:
            windows, visible = self.draw(0, shape)
            self.accelerator.backward(self.loss(windows, visible))
            self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running average of weights; it follows fast at first."""
        decay = min(self.recipe.optim.ema, (1 + self.state.step) / (10 + self.state.step))
        weights = self.objective.decoder.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [weights[name] for name in self.ema], 1 - decay)

    def log(self, losses: list[Tensor], making: float, mark: tuple[int, float, int], shape: Shape) -> None:
        steps, seconds = self.state.step - mark[0], self.state.seconds - mark[1]
        tokens = (self.state.tokens - mark[2]) / max(seconds, 1e-9)
        cost = 3 * flops_per_token(self.recipe.model, shape.context_length // self.recipe.model.patch_length)
        self.meter.record(
            self.state, self.progress(), kind="train",
            loss=float(torch.stack(losses).mean()), lr=self.optimizer.param_groups[0]["lr"],
            steps_per_second=steps / max(seconds, 1e-9), tokens_per_second=tokens, tflops=tokens * cost / 1e12,
            batch_share=making / max(seconds, 1e-9), minutes=self.state.seconds / 60,
            **self.objective.decoder.statistics(),
        )  # fmt: skip

    def validate(self) -> None:
        """Validation loss of the averaged weights, per source."""
        if self.validation.windows is None:
            return
        losses = self.validation.run(self.recipe, self.ema)
        self.meter.record(self.state, self.progress(), kind="validation", loss=losses["mean"], per_source=losses)

    def save(self) -> Path:
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.run_dir, self.state, self.objective, self.optimizer, self.ema, recipe_to_yaml(self.recipe),
                self.recipe.train.keep,
            )  # fmt: skip
        self.accelerator.wait_for_everyone()
        return self.run_dir / "checkpoints" / f"step-{self.state.step:09d}"

    def _watch(self, losses: list[Tensor]) -> None:
        finite = bool(torch.isfinite(torch.stack(losses)).all())
        self.bad_steps = 0 if finite else self.bad_steps + len(losses)
        if self.bad_steps >= 10:
            raise TrainingError(
                f"The loss is not finite at step {self.state.step}.",
                code="training.nan_loss",
                hint="Lower optim.lr; the last checkpoint is untouched.",
            )

    def _clock(self, mine: float) -> float:
        """The main process's clock, so that all end the schedule at the same step."""
        if self.accelerator.num_processes == 1:
            return mine
        return float(broadcast(torch.tensor(mine, dtype=torch.float64, device=self.accelerator.device)))

    def _agree(self, mine: bool) -> bool:
        """All processes stop together."""
        if self.accelerator.num_processes == 1:
            return mine
        flags = self.accelerator.gather(torch.tensor([mine], device=self.accelerator.device))
        return bool(flags.any())


def corrupt_windows(recipe: Recipe, shape: Shape, windows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw what may be seen of a batch."""
    return corrupt(
        torch.isfinite(windows), shape.context_length, recipe.model.patch_length, recipe.corrupt, generator,
        cut=shape.cut,
    )  # fmt: skip


def _start_from(decoder: Decoder, release: str) -> None:
    """Load the weights of a release into a fresh decoder."""
    given = _read_release(release)
    if given.config != replace(
        decoder.config, context_length=given.config.context_length, max_span=given.config.max_span
    ):
        raise RecipeError(f"init_from: {release} has another architecture than the recipe.", code="recipe.bad_value")
    decoder.load_state_dict(given.state_dict())


def _read_release(release: str) -> Decoder:
    return read_decoder(read_folder(Path(release)), release)


def _find_teacher(release: str, student: Decoder, device: torch.device) -> Teacher:
    teacher = _read_release(release).to(device)
    problem = incompatibility(student, teacher)
    if problem:
        raise RecipeError(f"teacher: {release} does not fit: {problem}.", code="recipe.bad_value")
    return Teacher(teacher)


def _shape_of_step(recipe: Recipe, step: int) -> Shape:
    if len(recipe.shapes) == 1:
        return recipe.shapes[0]
    weights = np.array([shape.weight for shape in recipe.shapes])
    dice = np.random.default_rng([recipe.seed, step, 7])
    return recipe.shapes[int(dice.choice(len(weights), p=weights / weights.sum()))]


@contextmanager
def _stop_on_signal() -> Iterator[dict[str, bool]]:
    """SIGTERM and SIGINT ask the loop to save and leave; a second one ends it at once."""
    stop = {"now": False}

    def ask(number: int, frame: FrameType | None) -> None:
        if stop["now"]:
            raise KeyboardInterrupt
        stop["now"] = True

    try:
        old = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread: nothing to catch
        old = {}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
