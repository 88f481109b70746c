"""The pretraining loop: one page, the same on a CPU, a GPU and several processes (through accelerate)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from tsar.errors import CheckpointError, RecipeError, ResourceError, TrainingError
from tsar.logging import get_logger
from tsar.model.config import flops_per_token
from tsar.model.decoder import Decoder
from tsar.model.files import read_decoder
from tsar.model.memory import NO_MEMORY, is_out_of_memory
from tsar.storage import is_whole, read_folder, write_atomically
from tsar.training.auxiliary import after_step, auxiliary_loss
from tsar.training.balance import move_means, source_weights
from tsar.training.batches import Batches
from tsar.training.checkpoint import RunState, find_checkpoint, load_checkpoint, mean_weights, save_checkpoint
from tsar.training.config import Recipe, Shape, changed_settings, recipe_to_yaml
from tsar.training.distill import Teacher, incompatibility
from tsar.training.fsdp import shard, wants_sharding, whole
from tsar.training.lock import run_lock
from tsar.training.memory import checkpoint_blocks
from tsar.training.meter import Meter
from tsar.training.objectives import NextPatches, fit_vocabulary, make_objective
from tsar.training.objectives.mixture import needs_two_views
from tsar.training.optim import clip_gradients, make_optimizer, rate_factor
from tsar.training.peak import measure_peak
from tsar.training.release import write_release
from tsar.training.validation import Validation
from tsar.training.views import View

logger = get_logger(__name__)
BAD_STEPS = 10
"""So many steps without a finite loss and gradient, one after the other, end a run."""


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
        ``training.nan_loss`` when loss or gradient stay not finite for ten steps.
    CheckpointError
        ``checkpoint.busy`` if another process trains in this folder or `resume` is False and it holds checkpoints;
        ``checkpoint.invalid`` if its checkpoint does not fit the recipe.
    ResourceError
        ``resource.memory`` if a batch does not fit into memory.

    Notes
    -----
    Invariant: an interrupted and resumed run has bit-identical weights on a CPU (tests/integration/test_resume.py).
    """
    run_dir = Path(run_dir)
    with run_lock(run_dir), _stop_on_signal() as stop:
        run = _Run.start(recipe, run_dir, minutes, resume)
        try:
            finished = run.train(stop, until)
        except NO_MEMORY as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(
                f"The batch does not fit into memory at step {run.state.step}.",
                code="resource.memory",
                hint="Raise train.accumulate (its gradients are the same) or set train.checkpoint_activations; "
                "the last checkpoint is untouched",
            ) from error
        finally:
            run.close()
        checkpoint = run.save()
    if not finished:
        logger.info("stopped at step %d; run again to go on", run.state.step)
        return checkpoint
    release = run_dir / "release"
    weights = run.release_weights()
    if run.accelerator.is_main_process:
        write_release(release, recipe, weights, run.state, run.validation.last)
    run.accelerator.wait_for_everyone()
    return release


@dataclass
class _Run:
    """One process's share of a run."""

    recipe: Recipe
    run_dir: Path
    minutes: float | None
    accelerator: Accelerator
    batches: Batches
    validation: Validation
    objective: Any
    wrapped: torch.nn.Module
    optimizer: Any
    state: RunState
    ema: dict[str, Tensor]
    meter: Meter
    teacher: Teacher | None = None
    peak: float | None = None
    bad_steps: int = 0
    norms: list[Tensor] = field(default_factory=list)  # of the gradients since the last look at them

    @classmethod
    def start(cls, recipe: Recipe, run_dir: Path, minutes: float | None, resume: bool) -> _Run:
        """Make everything, fresh or as the newest checkpoint has it."""
        train = recipe.train
        minutes = minutes if minutes is not None else train.minutes
        checkpoint = find_checkpoint(run_dir)
        if checkpoint is not None and not resume:
            raise CheckpointError(
                f"{run_dir} already holds checkpoints.",
                code="checkpoint.busy",
                hint="Resume, or use another run folder.",
            )
        accelerator = _join_processes(recipe, minutes)
        device = accelerator.device
        decoder = Decoder(recipe.model)
        if recipe.init_from is not None and checkpoint is None:
            _start_from(decoder, recipe.init_from)
        teacher = _find_teacher(recipe.teacher, decoder, device) if recipe.teacher is not None else None
        objective = make_objective(
            decoder, name=recipe.objective, smooth_weight=train.smooth_weight, z_loss=recipe.optim.z_loss
        ).to(device)
        if isinstance(objective, NextPatches):
            objective.channels = recipe.data.channels
        batches = Batches.make(
            recipe, device, accelerator.process_index, accelerator.num_processes, twice=needs_two_views(objective)
        )
        if recipe.model.has_vocabulary and checkpoint is None and recipe.init_from is None:
            fit_vocabulary(decoder, batches.draw(0, batches.shape(0))[0].windows)
        if train.checkpoint_activations:
            checkpoint_blocks(decoder)
        optimizer = make_optimizer(objective, recipe.optim)
        state, ema = RunState(), {name: value.detach().clone() for name, value in decoder.state_dict().items()}
        if checkpoint is not None:
            state, ema = load_checkpoint(checkpoint, objective, optimizer, device)
            logger.info("resuming %s at step %d", run_dir, state.step)
            changed = changed_settings(checkpoint / "recipe.yaml", recipe)
            if changed:
                text = "settings that the steps so far did not have: %s; use another run folder to begin anew"
                logger.warning(text, ", ".join(changed))
        elif train.anneal_from is not None:
            state, ema = _begin_branch(Path(train.anneal_from), objective, optimizer, device)
        wrapped: Any = objective
        if wants_sharding():
            optimizer, ema = shard(objective, optimizer, ema, recipe.optim, device)
        else:
            wrapped = accelerator.prepare_model(objective)
        if train.compile:
            wrapped = torch.compile(wrapped, dynamic=False)
        if accelerator.is_main_process:
            write_atomically(run_dir / "recipe.yaml", recipe_to_yaml(recipe).encode())
        validation = Validation.make(recipe, device)
        meter = Meter(run_dir, recipe.name, active=accelerator.is_main_process)
        peak = (train.peak_tflops or measure_peak(device, train.precision)) if train.mfu else None
        return cls(
            recipe, run_dir, minutes, accelerator, batches, validation, objective, wrapped, optimizer, state, ema,
            meter, teacher, peak,
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
            shape = self.batches.shape(self.state.step)
            parts = self.batches.draw(self.state.step, shape)
            making += time.perf_counter() - batch_began
            losses.append(
                self.step(parts, self.batches.origins(self.state.step, shape) if train.scale_losses else None)
            )
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
        """How much of the schedule (of a branch: its own) is done, 0 … 1; an endless run never moves."""
        state = self.state
        if self.recipe.train.steps is not None:
            return (state.step - (state.branch_step or 0)) / self.recipe.train.steps
        if self.minutes is None:
            return 0.0
        return min((state.seconds - state.branch_seconds) / (60 * (self.minutes or 1e-9)), 1.0)

    def step(self, parts: list[View], origins: list[list[str]] | None) -> Tensor:
        """One update from the parts of a batch; `origins` are the sources of their rows, if losses are scaled."""
        annealing = self.state.branch_step is not None
        factor = rate_factor(self.state.step, self.progress(), self.recipe.optim, annealing=annealing)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.optim.lr * factor
        losses, seen = [], []
        for number, part in enumerate(parts, 1):
            waits = number < len(parts) and self.accelerator.num_processes > 1
            with self.accelerator.no_sync(self.wrapped) if waits else nullcontext():
                rows = self.loss(part)
                if origins is not None:
                    seen.append(self.accelerator.gather(rows.detach()))
                    rows = rows * self._weights(origins[number - 1])
                loss = (rows.mean() + auxiliary_loss(self.objective)) / len(parts)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        self.norms.append(clip_gradients(self.objective.parameters(), self.recipe.optim.grad_clip))
        self.optimizer.step()
        after_step(self.objective)
        self._average()
        self.optimizer.zero_grad(set_to_none=True)
        if origins is not None:
            move_means(self.state.source_losses, [name for part in origins for name in part], torch.cat(seen))
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def loss(self, view: View) -> Tensor:
        """Loss of each of this process's rows."""
        bf16 = self.recipe.train.precision == "bf16"
        windows, visible, extra = view.windows, view.visible, view.extra
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
            guide = self.teacher(windows, visible) if self.teacher is not None else None
            extras = (extra,) if extra is not None else ()
            rows: Tensor = self.wrapped(windows, visible, guide, self.recipe.teacher_share or 0.0, *extras)
        return rows

    def compile_shapes(self) -> None:
        """Compile the step for every shape before the clock runs; nothing is learned."""
        for shape in self.recipe.shapes:
            self.accelerator.backward(self.loss(self.batches.draw(0, shape)[0]).mean())
            self.optimizer.zero_grad(set_to_none=True)

    def _weights(self, origins: list[str]) -> Tensor:
        """Weights of this process's rows of a part."""
        count = len(origins) // self.accelerator.num_processes
        mine = self.accelerator.process_index * count
        weights = source_weights(self.state.source_losses, origins[mine : mine + count])
        return weights.to(self.accelerator.device)

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
            **({} if self.peak is None else {"mfu": tokens * cost / 1e12 / self.peak}),
            **self.objective.decoder.statistics(),
        )  # fmt: skip

    def validate(self) -> None:
        """Validation loss of the averaged weights, per source."""
        if self.validation.windows is None:
            return
        losses = self.validation.run(self.recipe, whole(self.ema))
        self.meter.record(self.state, self.progress(), kind="validation", loss=losses["mean"], per_source=losses)

    def save(self) -> Path:
        if self.accelerator.is_main_process or wants_sharding():
            save_checkpoint(
                self.run_dir, self.state, self.objective, self.optimizer, self.ema, recipe_to_yaml(self.recipe),
                self.recipe.train.keep, write=self.accelerator.is_main_process,
            )  # fmt: skip
        self.accelerator.wait_for_everyone()
        return self.run_dir / "checkpoints" / f"step-{self.state.step:09d}"

    def release_weights(self) -> dict[str, Tensor]:
        """The running mean of the weights, or the mean of the last checkpoints, which is validated anew."""
        count = self.recipe.train.average_last
        if not count:
            return whole(self.ema)
        weights = mean_weights(self.run_dir, count)
        self.validation.run(self.recipe, weights)
        return weights

    def close(self) -> None:
        """End what runs beside the training."""
        self.meter.close()
        self.batches.pool.close()

    def _watch(self, losses: list[Tensor]) -> None:
        """End a run in which nothing is learned any more: such gradients were taken for zero (`clip_gradients`)."""
        norms = list(whole({f"{number:09}": norm for number, norm in enumerate(self.norms)}).values())
        self.norms = []
        good_losses, good_norms = (torch.isfinite(torch.stack(one)).tolist() for one in (losses, norms))
        for good_loss, good_norm in zip(good_losses, good_norms, strict=True):
            self.bad_steps = 0 if good_loss and good_norm else self.bad_steps + 1
            if self.bad_steps >= BAD_STEPS:
                raise TrainingError(
                    f"The {'gradient' if good_loss else 'loss'} is not finite at step {self.state.step}.",
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


def _join_processes(recipe: Recipe, minutes: float | None) -> Accelerator:
    """Set up torch for a run, and this process as one of those of the launcher; refuse what cannot be trained so."""
    train = recipe.train
    if train.threads:
        torch.set_num_threads(train.threads)
    cpu_group = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()  # accelerate joins GPUs only, unasked
    # autocast is ours, so that the compiler sees a plain module
    accelerator = Accelerator(mixed_precision="no", cpu=cpu_group)
    _refuse_uneven_shares(recipe, accelerator.num_processes)
    if train.compile and wants_sharding():
        raise RecipeError("train.compile and FSDP do not go together.", code="recipe.bad_value")
    is_endless = recipe.optim.schedule == "infinite" and train.anneal_from is None
    if train.steps is None and minutes is None and not is_endless:
        raise RecipeError("The recipe says neither steps nor minutes.", code="recipe.bad_value")
    torch.manual_seed(recipe.seed)
    torch.set_float32_matmul_precision("high")  # TF32 where there is any; no change on a CPU
    return accelerator


def _refuse_uneven_shares(recipe: Recipe, num_processes: int) -> None:
    """All processes and all parts of a batch have equally many rows, and channels of an item are never parted."""
    if recipe.data.channels > 1 < num_processes * recipe.train.accumulate:
        raise RecipeError("data.channels needs one process and no accumulation.", code="recipe.bad_value")
    for shape in recipe.shapes:
        if shape.rows % (num_processes * recipe.train.accumulate):
            parts = f" in {recipe.train.accumulate} parts" if recipe.train.accumulate > 1 else ""
            raise RecipeError(
                f"shapes: {shape.rows} rows cannot be shared evenly by {num_processes} processes{parts}.",
                code="recipe.bad_value",
            )


def _begin_branch(
    folder: Path, objective: torch.nn.Module, optimizer: Any, device: torch.device
) -> tuple[RunState, dict[str, Tensor]]:
    """Take over a checkpoint of another run, and note where the branch leaves it."""
    if not is_whole(folder):
        raise RecipeError(f"train.anneal_from: there is no whole checkpoint at {folder}.", code="recipe.bad_value")
    state, ema = load_checkpoint(folder, objective, optimizer, device)
    return replace(state, branch_step=state.step, branch_seconds=state.seconds), ema


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
