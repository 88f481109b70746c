"""The batch of a step: its shape, its rows, the windows, what is shown of them; a function of seed and step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from tsar.training.config import Recipe, Shape
from tsar.training.corpus import load_corpus
from tsar.training.couple import couple
from tsar.training.sampler import CORRUPTION, COUPLING, BlockSampler, Pool
from tsar.training.views import Extra, View, make_view


@dataclass(frozen=True)
class Batches:
    """Draws the batches of a recipe.

    Parameters
    ----------
    recipe
        Says what a batch is.
    pool
        Blocks that batches are drawn from.
    process, num_processes
        Which share of the rows is this process's.
    twice
        Whether the objective needs two views of a window.
    """

    recipe: Recipe
    pool: Pool
    process: int = 0
    num_processes: int = 1
    twice: bool = False

    @classmethod
    def make(
        cls, recipe: Recipe, device: torch.device, process: int = 0, num_processes: int = 1, *, twice: bool = False
    ) -> Batches:
        """Load what the recipe's batches are made of."""
        corpus = load_corpus(recipe.corpus, split="train", device=device) if recipe.corpus else None
        replay = load_corpus(recipe.data.replay, split="train", device=device) if recipe.data.replay else None
        sampler = BlockSampler(recipe.data, recipe.seed, corpus, device, replay)
        pool = Pool(sampler, max(shape.context_length for shape in recipe.shapes) + recipe.model.output_length)
        return cls(recipe, pool, process, num_processes, twice)

    def shape(self, step: int) -> Shape:
        """Return the shape of a step, with as many rows as the batch ramp allows then."""
        return shape_of_step(self.recipe, step, multiple=self.num_processes * self.recipe.train.accumulate)

    def draw(self, step: int, shape: Shape) -> list[View]:
        """Return the parts in which this process reads its rows, drawn for all processes and parts together."""
        recipe = self.recipe
        windows = self.pool.batch(step, shape.rows, shape.context_length + recipe.model.output_length)
        windows = couple(windows, recipe.data.channels, self.pool.sampler.generator(step, COUPLING))
        view = make_view(
            windows, shape.context_length, recipe.model.patch_length, recipe.corrupt,
            self.pool.sampler.generator(step, CORRUPTION), cut=shape.cut, step=step, modes=recipe.model.modes,
            twice=self.twice,
        )  # fmt: skip
        if recipe.model.freq_token:
            known = self.pool.resolutions(step, shape.rows)
            view = replace(view, extra=replace(view.extra or Extra(), frequency=known))
        mine = view.take(slice(self.process, None, self.num_processes))
        parts = recipe.train.accumulate
        return [mine] if parts == 1 else [mine.take(slice(part, None, parts)) for part in range(parts)]

    def origins(self, step: int, shape: Shape) -> list[list[str]]:
        """Return the sources of the rows of each part, of all processes one after the other."""
        every = self.pool.origins(step, shape.rows)
        shares = [every[process :: self.num_processes] for process in range(self.num_processes)]
        parts = self.recipe.train.accumulate
        return [[name for share in shares for name in share[part::parts]] for part in range(parts)]


def shape_of_step(recipe: Recipe, step: int, *, multiple: int = 1) -> Shape:
    """Draw the shape of a step by the weights of then; its rows are a multiple of `multiple`."""
    shape = recipe.shapes[0]
    if len(recipe.shapes) > 1:
        weights = _weights(recipe, step)
        dice = np.random.default_rng([recipe.seed, step, 7])
        shape = recipe.shapes[int(dice.choice(len(weights), p=weights / weights.sum()))]
    train = recipe.train
    if step >= train.ramp:
        return shape
    share = train.ramp_from + (1 - train.ramp_from) * step / train.ramp
    rows = max(round(share * shape.rows / multiple), 1) * multiple
    return Shape(context_length=shape.context_length, rows=min(rows, shape.rows), weight=shape.weight, cut=shape.cut)


def _weights(recipe: Recipe, step: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Weights of the shapes at a step."""
    first = np.array([shape.weight for shape in recipe.shapes])
    final = [shape.weight if shape.final_weight is None else shape.final_weight for shape in recipe.shapes]
    moved = min(step / recipe.train.curriculum, 1.0) if recipe.train.curriculum else 1.0
    weights: np.ndarray[tuple[int], np.dtype[np.float64]] = first + moved * (np.array(final) - first)
    return weights
