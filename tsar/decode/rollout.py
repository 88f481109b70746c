"""Model -> sample paths of any length: draw a patch from the quantiles, feed it back, go on.

Unlike the paths of `tsar.samples`, which share one forecast, each path here hears what it said before, so that it stays
a possible series however long it is. Within a patch the ranks go together as forecast errors do; between patches they
are independent, since the next forecast knows what was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from tsar.decode.panel import one_pass
from tsar.logging import progress_bar
from tsar.model.cache import Cache
from tsar.model.decoder import Decoder
from tsar.samples import Dependence
from tsar.tokenizers.period import Period
from tsar.types import LARGEST, BoolArray, FloatArray

ROWS = 16
"""Windows of every batch, the last one filled up: with one shape, a path is the same in any company, bit for bit."""

KEPT = 0.75
"""Share of the context that stays when the window is full and is read anew."""

LARGEST_SCORE = 3.5  # normal scores that are drawn; beyond, the quantile function is a guess


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """How a patch is drawn from its quantiles.

    Attributes
    ----------
    dependence
        How the errors of a patch's steps go together.
    spread
        Standard deviation of the normal scores: 1 where the model's bands are right, less where they are too wide.
    """

    dependence: Dependence
    spread: float = 1.0

    def scores(self, generator: np.random.Generator, factor: FloatArray) -> FloatArray:
        """Normal scores (P,) of one patch; `factor` (P, P) is the Cholesky factor of the dependence."""
        scores: FloatArray = self.spread * (factor @ generator.standard_normal(len(factor)))
        return np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)


def sample_continuations(
    model: Decoder,
    starts: FloatArray,
    length: int,
    generators: Sequence[np.random.Generator],
    *,
    draw: Draw,
    lower: FloatArray,
    is_whole: BoolArray,
) -> FloatArray:
    """Continue every start by one sampled path.

    Parameters
    ----------
    model
        A decoder that forecasts, in evaluation mode.
    starts
        (n, L), right-aligned, NaN where missing, each with an observed value; L a multiple of ``patch_length``, below
        the context length by a patch or more.
    length
        Points of each path.
    generators
        n sources of random numbers. A path depends on its start and its generator alone.
    draw
        How a patch is drawn.
    lower
        (n,) bounds below which no value falls, -inf for none.
    is_whole
        (n,) whether values are rounded to whole numbers.

    Returns
    -------
    ndarray
        (n, length), finite; constant where the start never varies.
    """
    paths = np.empty((len(starts), length))
    with progress_bar(total=len(starts), desc="generate", unit="series", delay=2.0) as bar:
        for first in range(0, len(starts), ROWS):
            rows = np.arange(first, min(first + ROWS, len(starts)))
            company = np.resize(rows, ROWS)
            rollout = _Rollout(model, starts[company], lower[company], is_whole[company])
            paths[rows] = rollout.run(length, generators[first : first + ROWS], draw)[: len(rows)]
            bar.update(len(rows))
    return paths


class _Rollout:
    """The windows of one batch as they grow, and what the model remembers of them."""

    def __init__(self, model: Decoder, starts: FloatArray, lower: FloatArray, is_whole: BoolArray) -> None:
        self.model, self.lower, self.is_whole = model, lower[:, None], is_whole[:, None]
        exponent = np.frexp(np.nanmax(np.abs(starts), axis=1))[1].clip(-1000, 1000)
        self.unit = np.ldexp(1.0, exponent)[:, None]  # a power of two, so nothing is rounded
        self.device = next(model.parameters()).device
        self.known = ndtri(np.asarray(model.config.quantile_levels))
        self._read(torch.from_numpy(starts / self.unit).to(self.device))

    @torch.inference_mode()
    def run(self, length: int, generators: Sequence[np.random.Generator], draw: Draw) -> FloatArray:
        """Paths (ROWS, length); rows beyond those with a generator take the median."""
        patch = self.model.config.patch_length
        factor = np.linalg.cholesky(draw.dependence.over(patch)).astype(np.float64)
        parts = []
        for _ in range(-(-length // patch)):
            scores = np.zeros((ROWS, patch))
            for row, generator in enumerate(generators):
                scores[row] = draw.scores(generator, factor)
            parts.append(self._bounded(self._value_at(self._quantiles(), scores)))
            self._append(parts[-1])
        return np.concatenate(parts, axis=1)[:, :length]

    def _read(self, window: Tensor) -> None:
        """Start from a window, nothing of which has gone through the model."""
        self.window = window
        self.period: Period | None = self.model.tokenizer.find_period(window, torch.isfinite(window))
        self.cache = Cache.empty(self.model.config.num_layers) if self.model.can_cache else None

    def _quantiles(self) -> FloatArray:
        """Quantiles (ROWS, P, Q) of the patch that follows the windows, in their units."""
        patch, seen = self.model.config.patch_length, torch.isfinite(self.window)
        quantiles: FloatArray = one_pass(self.model, self.window, seen, self.period, patch, self.cache).cpu().numpy()
        return quantiles

    def _append(self, values: FloatArray) -> None:
        """Grow the windows by a patch; full ones are cut and read anew."""
        config = self.model.config
        new = torch.from_numpy(values / self.unit).to(self.device)
        longer = torch.cat([self.window, new], 1)
        if longer.shape[1] <= config.context_length:
            self.window = longer
            return
        keep = int(KEPT * config.context_length) // config.patch_length * config.patch_length
        self._read(longer[:, -max(keep, config.patch_length) :])

    def _value_at(self, quantiles: FloatArray, scores: FloatArray) -> FloatArray:
        """Values (ROWS, P) where the law of (ROWS, P, Q) has these scores; between and beyond as `Forecast.at`."""
        place = np.clip(np.searchsorted(self.known, scores, side="right") - 1, 0, len(self.known) - 2)
        share = (scores - self.known[place]) / (self.known[place + 1] - self.known[place])
        low = np.take_along_axis(quantiles, place[..., None], -1)[..., 0]
        high = np.take_along_axis(quantiles, place[..., None] + 1, -1)[..., 0]
        value: FloatArray = low + share * (high - low)
        return value

    def _bounded(self, values: FloatArray) -> FloatArray:
        """In data units, whole numbers where the start has nothing else, and never below the bound."""
        with np.errstate(over="ignore"):
            plain = np.clip(values * self.unit, -LARGEST, LARGEST)
        bounded: FloatArray = np.maximum(np.where(self.is_whole, np.rint(plain), plain), self.lower)
        return bounded
