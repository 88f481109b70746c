"""Draft and verify for densities: a small model drafts patches, a large one reads several at once, its law unchanged.

Given the past, the points of a patch are independent in either law. So each drafted point is kept with probability
min(1, p / q), and otherwise drawn anew from what p has beyond q, by rejection from p: it follows p exactly (Leviathan
et al., 2023, for densities). A patch with a point that was drawn anew is the last of its pass, since the drafts after
it were made from another past.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tsar.errors import ModelError, OptionError
from tsar.model.decoder import Decoder
from tsar.scaling import ScaleState

TRIES = 16
"""Draws of each point at once while it is drawn anew."""


@dataclass(frozen=True)
class DraftedPatches:
    """Paths, and what they took.

    Attributes
    ----------
    values
        (N, horizon) float64.
    passes, draft_passes
        Passes of the large and of the small model.
    accepted
        Share of the drafted patches that were looked at and kept whole.
    """

    values: Tensor
    passes: int
    draft_passes: int
    accepted: float


@torch.inference_mode()
def sample_patches(
    model: Decoder,
    windows: Tensor,
    horizon: int,
    *,
    generator: Generator,
    draft: Decoder | None = None,
    draft_patches: int = 3,
) -> DraftedPatches:
    """Continue every window by one path, patch by patch, each drawn from the model's law and read before the next.

    Parameters
    ----------
    model
        A decoder with causal scaling, in evaluation mode.
    windows
        (N, L) float64, NaN where missing, each with an observed value; L a multiple of ``patch_length``.
    horizon
        Points of each path; with the window at most ``config.context_length``.
    generator
        Of all random numbers.
    draft
        A smaller decoder with the same tokenizer; None: no drafts, one pass a patch.
    draft_patches
        Patches drafted for a pass.

    Returns
    -------
    DraftedPatches
        Paths whose law is that of the model alone, with or without a draft. All windows are read anew in each pass.

    Raises
    ------
    ModelError
        ``model.wrong_task`` for models whose tokens are not the same, or change when the window goes on.
    OptionError
        ``option.invalid`` for lengths that cannot be.
    """
    _check(model, draft, windows.shape[1], horizon, draft_patches)
    return _Patches(model, draft, windows, horizon, draft_patches, generator).run()


def _check(model: Decoder, draft: Decoder | None, length: int, horizon: int, draft_patches: int) -> None:
    parts = []
    for config in (one.config for one in (model, draft) if one is not None):
        if config.scaling != "causal" or config.period or config.has_vocabulary or config.modes:
            text = "Patches are drafted for causal scaling, without period, modes or a vocabulary."
            raise ModelError(text, code="model.wrong_task")
        parts.append((config.tokenizer, config.patch_length))
    if len(set(parts)) > 1:
        text = f"Draft and model need the same tokenizer and patch_length, got {parts}."
        raise ModelError(text, code="model.wrong_task")
    patch, longest = model.config.patch_length, model.config.context_length
    if length % patch or length < patch or horizon < 1 or draft_patches < 1 or length + horizon > longest:
        text = f"Windows are whole patches of {patch} points, and with the horizon at most {longest} long."
        raise OptionError(text, code="option.invalid")


class _Patches:
    """N windows that grow, each at its own pace; what lies beyond a window's end is not observed."""

    def __init__(
        self, model: Decoder, draft: Decoder | None, windows: Tensor, horizon: int, drafts: int, generator: Generator
    ) -> None:
        self.model, self.generator = model, generator
        self.draft, self.drafts = (model, 0) if draft is None else (draft, drafts)
        self.patch, self.read, self.horizon = model.config.patch_length, windows.shape[1], horizon
        self.patches = -(-horizon // self.patch)
        beyond = windows.new_full((len(windows), (self.patches + self.drafts + 1) * self.patch), torch.nan)
        self.values = torch.cat([windows, beyond], 1)
        self.done = torch.zeros(len(windows), dtype=torch.long, device=windows.device)  # patches drawn

    def run(self) -> DraftedPatches:
        """Draft, verify, go on, until the slowest path is there."""
        passes, kept, looked_at = 0, 0, 0
        while bool((self.done < self.patches).any()):
            accepted = self._extend()
            passes += 1
            kept += int(accepted.sum())
            looked_at += int((accepted + 1).clamp_max(self.drafts).sum())
        values = self.values[:, self.read : self.read + self.horizon]
        return DraftedPatches(values, passes, passes * self.drafts, kept / max(looked_at, 1))

    def _extend(self) -> Tensor:
        """Draft, read and verify once; how many drafted patches (N,) were kept whole."""
        said, laws = [], []
        for turn in range(self.drafts):
            parameters, state = self._ask(self.draft, turn, 1)
            z = self._draw(self.draft, parameters)
            self._write(turn, state.denormalize(z)[:, 0])
            said.append(z)
            laws.append(parameters)
        p, states = self._ask(self.model, 0, self.drafts + 1)
        row = torch.arange(len(p), device=p.device)
        if not said:
            accepted = torch.zeros_like(self.done)
            final = self._draw(self.model, p)[:, 0]
        else:
            z, q = torch.cat(said, 1), torch.cat(laws, 1)
            ratio = self._log_prob(self.model, p[:, :-1], z) - self._log_prob(self.draft, q, z)
            keep = torch.rand(z.shape, generator=self.generator, dtype=z.dtype, device=z.device).log() < ratio
            accepted = keep.all(-1).long().cumprod(1).sum(1)
            last = accepted.clamp_max(self.drafts - 1)
            is_draft = (accepted < self.drafts).unsqueeze(1)
            final = self._anew(p[row, accepted], q[row, last], z[row, last], keep[row, last] & is_draft, is_draft)
        at = ScaleState(*(getattr(states, name)[row, accepted].unsqueeze(1) for name in STATE))
        drawn = at.denormalize(final.unsqueeze(1))[:, 0]
        place = self._place(accepted)
        self.values.scatter_(1, place, drawn)
        self.done = (self.done + accepted + 1).clamp_max(self.patches)
        return accepted

    def _ask(self, model: Decoder, turn: int, count: int) -> tuple[Tensor, ScaleState]:
        """Parameters (N, count, P, …) of the patches from `turn` on, and the states before them."""
        first = self.read // self.patch + self.done + turn - 1  # token that answers for the first of them
        width = int(first.max()) + count
        values = self.values[:, : width * self.patch]
        place = torch.arange(values.shape[1], device=values.device)
        observed = torch.isfinite(values) & (place < ((first + count) * self.patch).unsqueeze(1))
        tokens = model.tokenizer.encode(values, observed)
        hidden = model.trunk(tokens)
        index = first.unsqueeze(1) + torch.arange(count, device=values.device)
        state = ScaleState(*(getattr(tokens.state, name).gather(1, index) for name in STATE))
        hidden = hidden.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        anchor = state.normalize(state.last.unsqueeze(-1)).squeeze(-1).to(hidden.dtype)
        return model.head(hidden, anchor)[:, :, : self.patch].to(torch.float64), state

    def _draw(self, model: Decoder, parameters: Tensor, count: int = 1) -> Tensor:
        """Draws in z of a law; one, or (count, …)."""
        drawn = model.head.law(parameters, model.levels).sample(self.generator, count).to(torch.float64)
        return drawn[0] if count == 1 else drawn

    def _log_prob(self, model: Decoder, parameters: Tensor, z: Tensor) -> Tensor:
        return model.head.law(parameters, model.levels).log_prob(z)

    def _anew(self, p: Tensor, q: Tensor, said: Tensor, keep: Tensor, is_draft: Tensor) -> Tensor:
        """The patch (N, P) that ends a pass: what is kept of it, and the rest from what p has beyond q, if drafted."""
        final, open_ = said.clone(), ~keep
        while bool(open_.any()):
            tries = self._draw(self.model, p, TRIES)
            ratio = (self._log_prob(self.draft, q, tries) - self._log_prob(self.model, p, tries)).exp()
            wanted = torch.where(is_draft, 1 - ratio, 1.0)
            dice = torch.rand(tries.shape, generator=self.generator, dtype=tries.dtype, device=tries.device)
            good = dice < wanted
            first = good.int().argmax(0, keepdim=True)
            found = good.any(0) & open_
            final = torch.where(found, tries.gather(0, first)[0], final)
            open_ = open_ & ~found
        return final

    def _place(self, turn: Tensor) -> Tensor:
        """Where (N, P) the points of a patch ahead stand."""
        first = self.read + (self.done + turn) * self.patch
        return first.unsqueeze(1) + torch.arange(self.patch, device=first.device)

    def _write(self, turn: int, values: Tensor) -> None:
        self.values.scatter_(1, self._place(torch.full_like(self.done, turn)), values)


STATE = ("loc", "scale", "step", "last", "count")
