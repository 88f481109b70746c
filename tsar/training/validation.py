"""Validation loss: the training objective on windows that training never draws, per source."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tsar.errors import CorpusError
from tsar.model.decoder import Decoder
from tsar.training.augment import standardize
from tsar.training.corpus import Corpus, load_corpus
from tsar.training.corrupt import corrupt
from tsar.training.objectives import make_objective
from tsar.training.objectives.mixture import needs_two_views
from tsar.training.synth import DEFAULT_WEIGHTS, make_series
from tsar.training.views import Extra, make_view

if TYPE_CHECKING:
    from tsar.training.config import Recipe

SEED = 20_000_003  # far from the seeds of training
ROWS = 256


@dataclass
class Validation:
    """Fixed windows and the source of each.

    Attributes
    ----------
    windows
        (N, L + F) or None if validation is off.
    source
        (N,) index into `names`.
    names
        Sources; synthetic families begin with ``synth:``.
    resolution
        (N,) int64, see `tsar.freq.resolution`.
    last
        The newest losses.
    """

    windows: Tensor | None
    source: Tensor
    names: list[str]
    resolution: Tensor = field(default_factory=lambda: torch.empty(0))
    last: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, recipe: Recipe, device: torch.device) -> Validation:
        """Draw the windows: held-back series of each corpus source, and each synthetic family."""
        count = recipe.train.validation_windows
        if not count:
            return cls(None, torch.empty(0), [])
        length = max(shape.context_length for shape in recipe.shapes) + recipe.model.output_length
        parts, sources, names, resolutions = [], [], [], []
        held_back = _held_back(recipe.corpus, device) if recipe.corpus else None
        if held_back is not None:
            windows, source, known = held_back.validation_windows(count, length, SEED)
            parts.append(windows)
            sources.append(source)
            resolutions.append(known)
            names += list(held_back.source_names)
        for family in DEFAULT_WEIGHTS:
            generator = torch.Generator(device).manual_seed(SEED)
            parts.append(make_series(family, count, length, generator))
            sources.append(torch.full((count,), len(names), device=device))
            resolutions.append(torch.zeros(count, dtype=torch.int64, device=device))
            names.append(f"synth:{family}")
        return cls(standardize(torch.cat(parts)), torch.cat(sources), names, torch.cat(resolutions))

    @torch.no_grad()
    def run(self, recipe: Recipe, weights: dict[str, Tensor]) -> dict[str, Any]:
        """Return the loss per source and their mean; a forecaster sees everything, others not the same holes."""
        if self.windows is None:
            return {}
        device = self.windows.device
        with torch.device(device):
            objective = make_objective(
                Decoder(recipe.model), name=recipe.objective, smooth_weight=recipe.train.smooth_weight
            )
        objective.decoder.load_state_dict(weights)
        objective = objective.to(device).eval()
        twice = needs_two_views(objective)
        losses = []
        generator = torch.Generator(device).manual_seed(SEED)
        for part, known in zip(torch.split(self.windows, ROWS), torch.split(self.resolution, ROWS), strict=True):
            told = Extra(frequency=known) if recipe.model.freq_token else None
            visible = torch.isfinite(part)
            context = part.shape[1] - recipe.model.output_length
            visible[:, context:] = False
            if twice:
                view = make_view(
                    part, context, recipe.model.patch_length, recipe.corrupt, generator, cut=0.0, twice=True
                )
                extra = view.extra if told is None else replace(view.extra or told, frequency=known)
                losses.append(objective(view.windows, view.visible, extra=extra))
                continue
            if recipe.model.task == "infill":
                visible = corrupt(visible, context, recipe.model.patch_length, recipe.corrupt, generator, cut=0.0)
            losses.append(objective(part, visible) if told is None else objective(part, visible, extra=told))
        loss = torch.cat(losses)
        total = torch.zeros(len(self.names), device=device).index_add_(0, self.source, loss)
        count = torch.zeros(len(self.names), device=device).index_add_(0, self.source, torch.ones_like(loss))
        known = count > 0
        mean = (total / count.clamp_min(1))[known]
        names = [name for name, keep in zip(self.names, known.tolist(), strict=True) if keep]
        self.last = {"mean": float(mean.mean()), **dict(zip(names, mean.tolist(), strict=True))}
        return self.last


def _held_back(corpus: str, device: torch.device) -> Corpus | None:
    """The series that training never sees; None if every source is too small to hold any back."""
    try:
        return load_corpus(corpus, split="validation", device=device)
    except CorpusError as error:
        if error.code != "corpus.missing":
            raise
        return None
