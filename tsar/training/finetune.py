"""Tuning a trained decoder on a user's series: what is trained, the loop, and which weights are kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from tsar.errors import ModelError, OptionError, ResourceError, TrainingError
from tsar.logging import progress_bar
from tsar.model.adapter import Adapter
from tsar.model.decoder import Decoder
from tsar.model.layers import RMSNorm
from tsar.model.lora import adapter_name, add_lora, rank_within
from tsar.model.memory import NO_MEMORY, is_out_of_memory, release_cached
from tsar.model.prompt import Prompt
from tsar.training.augment import AugmentConfig, augment
from tsar.training.corrupt import CorruptConfig, corrupt
from tsar.training.distill import Teacher
from tsar.training.objectives import NextPatches, NextToken
from tsar.training.optim import OptimConfig, clip_gradients, schedule
from tsar.training.own_windows import OwnWindows
from tsar.training.tune_config import RATES, FineTuneConfig, FineTuneReport
from tsar.types import FloatArray, IntArray

PROBE_SHARE = 0.25  # of the steps of probe_then_tune that train the head alone
ALPHAS = (0.25, 0.5, 0.75)  # shares of the way to the tuned weights that are tried besides all of it
VALIDATIONS = 10  # over the whole run
BAD_STEPS = 10
MOST_MEMORY = 0.95  # decay of the running mean of weights, per step
NEW_SIZES = {"d_model": 96, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "head_dim": 24, "d_ff": 192}
SHAPE = OptimConfig(warmup=0.05, decay=0.6)


@dataclass(frozen=True)
class FineTuned:
    """A tuned decoder, what of it is new (None for new weights altogether, and after a fallback), and the report."""

    decoder: Decoder
    adapter: Adapter | None
    report: FineTuneReport


def fine_tune(
    base: Decoder,
    values: FloatArray,
    offsets: IntArray,
    *,
    mode: str,
    config: FineTuneConfig,
    prediction_length: int,
    context_length: int,
    seed: int,
    validate: Callable[[Decoder], float],
) -> FineTuned:
    """Train on a panel and keep the weights that `validate` finds best, those of `base` among them.

    Parameters
    ----------
    base
        The decoder to start from; it is not changed.
    values, offsets
        Series end to end (N,), without the ends that `validate` holds back, and where each starts (I + 1,).
    mode
        One of `MODES`, not ``"zero_shot"``.
    config
        How to train.
    prediction_length
        Horizon of the later forecasts; what lies further ahead does not count in the loss.
    context_length
        Longest context of the later forecasts.
    seed
        Of everything random.
    validate
        Score of a decoder on held-back ends, lower is better.

    Returns
    -------
    FineTuned
        A decoder of its own, in evaluation mode, whose score is at most that of `base`.

    Raises
    ------
    TrainingError
        ``training.nan_loss`` when loss or gradient stay not finite for ten steps.
    ResourceError
        ``resource.memory`` if one window alone does not fit into memory; larger batches are halved until they do.
    """
    began = time.perf_counter()
    run = _Run.start(base, values, offsets, mode, config, prediction_length, context_length, seed)
    if not run.windows.num_usable:
        reason = "no series is long enough and varies"
        return FineTuned(copy.deepcopy(base), None, FineTuneReport(mode=mode, reason=reason))
    zero_shot = validate(base)
    tuned, lowest, waited = None, math.inf, 0
    with progress_bar(total=run.total_steps, desc=f"fit ({mode})", unit="step", delay=2.0) as bar:
        while run.progress() < 1 and waited < config.patience:
            run.advance(began, bar.update)
            adapter = run.adapter()
            score = validate(adapter.apply(run.origin))
            run.report(score, time.perf_counter() - began)
            bar.set_postfix(validation=f"{score:.4f}", zero_shot=f"{zero_shot:.4f}")
            waited = 0 if score < lowest else waited + 1
            if score < lowest:
                tuned, lowest = adapter, score
    choices: list[tuple[float, float, Adapter | None]] = [(zero_shot, 0.0, None), (lowest, 1.0, tuned)]
    if tuned is not None and mode != "from_scratch":
        parts = {alpha: tuned.part(base, alpha) for alpha in ALPHAS}
        choices += [(validate(part.apply(base)), alpha, part) for alpha, part in parts.items()]
    best_score, best_alpha, best = min(choices, key=lambda choice: choice[0])
    if best_score > (1 - config.least_gain) * zero_shot:
        best_score, best_alpha, best = choices[0]
    report = FineTuneReport(
        mode=mode, steps=run.steps, zero_shot_score=zero_shot, tuned_score=best_score, alpha=best_alpha,
        fell_back=best is None, reason="" if best else "no weights were clearly better on the held-back ends",
        trained_parameters=run.num_trained, trained_share=run.num_trained / run.num_parameters,
        seconds=time.perf_counter() - began,
    )  # fmt: skip
    if best is None:
        return FineTuned(copy.deepcopy(base), None, report)
    return FineTuned(best.apply(run.origin), best if mode != "from_scratch" else None, report)


@dataclass
class _Run:
    """The decoder in training and where the run stands."""

    mode: str
    config: FineTuneConfig
    origin: Decoder  # what the adapter applies to: the released weights, or the fresh ones of from_scratch
    objective: NextPatches | NextToken
    optimizer: torch.optim.Optimizer
    windows: OwnWindows
    generator: Generator
    hidden: int
    teacher: Teacher | None
    trained: dict[str, nn.Parameter]
    mean: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    bad_steps: int = 0
    rows_at_once: int = 0  # 0: all; fewer once a batch did not fit into memory

    @classmethod
    def start(
        cls, base: Decoder, values: FloatArray, offsets: IntArray, mode: str, config: FineTuneConfig,
        prediction_length: int, context_length: int, seed: int,
    ) -> _Run:  # fmt: skip
        generator = Generator().manual_seed(seed)
        origin = base if mode != "from_scratch" else _new_decoder(base, seed)
        model = origin.config
        decoder = _trainee(origin, mode, config, generator)
        patches = -(-min(int(context_length), int(max(offsets[1:] - offsets[:-1]))) // model.patch_length)
        reach = min(prediction_length, model.output_length)
        windows = OwnWindows.make(
            values, offsets, context_length=patches * model.patch_length, output_length=model.output_length, reach=reach
        )
        ahead = max(prediction_length - model.output_length, 0)
        trained = {name: param for name, param in decoder.named_parameters() if param.requires_grad}
        return cls(
            mode, config, origin, _objective(decoder, config, reach),
            torch.optim.AdamW(trained.values(), lr=0.0, betas=SHAPE.betas, weight_decay=0.0), windows, generator,
            hidden=min(-(-ahead // model.patch_length), model.max_span, patches - 1),
            teacher=Teacher(base, symmetrize=False) if config.self_distill and mode != "from_scratch" else None,
            trained=trained, mean={name: param.detach().clone() for name, param in trained.items()},
        )  # fmt: skip

    @property
    def decoder(self) -> Decoder:
        return self.objective.decoder

    @property
    def total_steps(self) -> int:
        return self.config.self_pretrain + self.config.max_steps

    @property
    def num_trained(self) -> int:
        return sum(param.numel() for param in self.trained.values())

    @property
    def num_parameters(self) -> int:
        return sum(param.numel() for param in self.origin.parameters())

    def progress(self) -> float:
        """How much of the schedule is done, 0 … 1, by steps or by time."""
        by_time = self.seconds / self.config.time_limit if self.config.time_limit is not None else 0.0
        return max(self.step / self.total_steps, by_time)

    def advance(self, began: float, tick: Callable[[int], object]) -> None:
        """Train up to the next validation."""
        target = self.progress() + 1 / VALIDATIONS
        self.losses = []
        while not self.losses or self.progress() < min(target - 1e-9, 1):
            self.losses.append(self.update())
            self.seconds = time.perf_counter() - began
            tick(1)

    def update(self) -> float:
        """One step."""
        progress = self.progress()
        probing = self.mode == "probe_then_tune" and progress < PROBE_SHARE
        rate = RATES["head"] if probing else self.config.learning_rate or RATES[self.mode]
        for group in self.optimizer.param_groups:
            group["lr"] = rate * schedule(progress, SHAPE)
        windows, visible = self.batch()
        value = self.gradients(windows, visible)
        if probing:
            for name, param in self.decoder.named_parameters():
                param.grad = param.grad if name.startswith("head.") else None
        norm = clip_gradients(self.decoder.parameters(), SHAPE.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average()
        is_good = math.isfinite(value) and bool(torch.isfinite(norm))
        self.bad_steps = 0 if is_good else self.bad_steps + 1
        if self.bad_steps >= BAD_STEPS:
            raise TrainingError(
                f"Loss or gradient are not finite at step {self.step} of fine-tuning.",
                code="training.nan_loss",
                hint="Lower learning_rate in fine_tune; the released weights are untouched.",
            )
        return value

    def gradients(self, windows: Tensor, visible: Tensor) -> float:
        """Add the gradients of the mean loss, and return it; a batch that does not fit into memory goes in parts."""
        rows = self.rows_at_once or len(windows)
        try:
            parts = zip(torch.split(windows, rows), torch.split(visible, rows), strict=True)
            return sum(self.gradients_of_part(*part, len(part[0]) / len(windows)) for part in parts)
        except NO_MEMORY as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise ResourceError(
                    f"One window of training does not fit into memory at step {self.step} of fine-tuning.",
                    code="resource.memory",
                    hint='Free memory, shorten context_length, or use mode="head"',
                ) from error
        self.optimizer.zero_grad(set_to_none=True)
        release_cached()
        self.rows_at_once = rows // 2
        return self.gradients(windows, visible)

    def gradients_of_part(self, windows: Tensor, visible: Tensor, share: float) -> float:
        guide = self.teacher(windows, visible) if self.teacher is not None else None
        loss = self.objective(windows, visible, guide, self.config.self_distill).mean() * share
        loss.backward()
        return float(loss.detach())

    def batch(self) -> tuple[Tensor, Tensor]:
        """Windows and what may be seen of them."""
        windows = self.windows.draw(self.config.batch_size, self.generator)
        context, patch = self.windows.context_length, self.origin.config.patch_length
        if self.step < self.config.self_pretrain:
            windows = augment(windows, AugmentConfig(), self.generator)
            visible = corrupt(torch.isfinite(windows), context, patch, CorruptConfig(), self.generator)
        else:
            flipped = torch.rand(len(windows), 1, generator=self.generator) < 0.5  # forecasts are symmetrised
            windows = torch.where(flipped, -windows, windows)
            visible = torch.isfinite(windows)
            visible[:, context - self.hidden * patch :] = False
        device = self.origin.levels.device
        return windows.to(device), visible.to(device)

    def report(self, score: float, seconds: float) -> None:
        self.seconds = seconds
        rate = float(self.optimizer.param_groups[0]["lr"])
        mean = sum(self.losses) / len(self.losses)
        self.steps.append(
            {"step": self.step, "seconds": seconds, "training_loss": mean, "learning_rate": rate,
             "validation_score": score}
        )  # fmt: skip

    @torch.no_grad()
    def average(self) -> None:
        """Move the running mean of the trained weights; it follows fast at first."""
        decay = min(MOST_MEMORY, self.step / (10 + self.step))
        for name, param in self.trained.items():
            self.mean[name].lerp_(param.detach(), 1 - decay)

    def adapter(self) -> Adapter:
        """What differs by now from the decoder that was started from."""
        weights = {adapter_name(name): value.clone() for name, value in self.mean.items()}
        return Adapter(self.mode, weights, self.decoder.config.prompt_length)


def _trainee(origin: Decoder, mode: str, config: FineTuneConfig, generator: Generator) -> Decoder:
    """A copy of the decoder in which only what the mode trains takes gradients."""
    decoder = copy.deepcopy(origin).requires_grad_(False)
    if mode in ("full", "from_scratch", "probe_then_tune"):
        return decoder.requires_grad_(True)
    if mode == "head":
        decoder.head.requires_grad_(True)
        decoder.norm.requires_grad_(True)
    elif mode == "prompt":
        decoder = _with_prompt(decoder, config.prompt_length, generator)
        for module in decoder.modules():
            if isinstance(module, Prompt):
                module.requires_grad_(True)
    elif mode == "lora":
        add_lora(decoder, rank_within(origin) if config.lora_rank == "auto" else int(config.lora_rank), generator)
        for module in decoder.modules():
            if isinstance(module, RMSNorm):
                module.requires_grad_(True)
        for name, param in decoder.named_parameters():
            if ".parametrizations." in name:
                param.requires_grad_(not name.endswith(".original"))
    return decoder


def _with_prompt(decoder: Decoder, length: int, generator: Generator) -> Decoder:
    wanted = replace(decoder.config, prompt_length=length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        prompted = Decoder(wanted).to(decoder.levels.device)
    if not any(isinstance(module, Prompt) for module in prompted.modules()):
        raise OptionError(
            'mode="prompt" needs a model with attention blocks.', code="option.invalid", hint='mode="lora" takes any.'
        )
    prompted.load_state_dict(decoder.state_dict(), strict=False)  # the prompt keeps its fresh values
    return prompted.requires_grad_(False)


def _new_decoder(base: Decoder, seed: int) -> Decoder:
    """A fresh small decoder that reads, answers and reaches as the released one does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes: dict[str, Any] = {**NEW_SIZES, "prompt_length": 0}
        decoder = Decoder(replace(base.config, **sizes))
    return decoder.to(base.levels.device).eval().requires_grad_(False)


def _objective(decoder: Decoder, config: FineTuneConfig, reach: int) -> NextPatches | NextToken:
    """What is learned: what follows each patch, up to the horizon, or the next id of a vocabulary."""
    if not decoder.config.has_vocabulary:
        return NextPatches(decoder, reach=reach)
    if config.self_distill:
        text = "self_distill compares quantiles of one pass; a model with a vocabulary has none."
        raise ModelError(text, code="model.wrong_task", hint="Leave self_distill at 0.")
    return NextToken(decoder)
