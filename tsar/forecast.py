"""The forecast of a panel, as numbers: quantiles in data units, and any other level from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from tsar.constraints import Bounds
from tsar.errors import OptionError
from tsar.samples import Dependence, sample_paths
from tsar.types import LARGEST, FloatArray, ObjectArray


@dataclass(frozen=True)
class Forecast:
    """Quantiles of every item and step, as `Forecaster.predict_quantiles` gives them.

    Parameters
    ----------
    quantiles
        (I, F, Q) in data units; NaN for items of which nothing was observed. Never crossing.
    levels
        (Q,) ascending.
    lower
        (I,) bound below which no quantile of an item falls, -inf for none; None: no bounds.
    bounds
        Constraints that every quantile and sample obeys; None: none.
    dependence
        How the steps of a sample go together; None: the default of `tsar.samples`.
    diagnosis
        (I,) what is unusual about each item, and what stands in for the model's forecast: ``"constant: last_value"``;
        empty for nothing (`tsar.diagnosis`). None: not looked at.
    target_names
        (I,) name of the target of each series, item by item where there are several; None: not known.
    """

    quantiles: FloatArray
    levels: FloatArray
    lower: FloatArray | None = None
    bounds: Bounds | None = None
    dependence: Dependence | None = None
    diagnosis: ObjectArray | None = None
    target_names: tuple[str, ...] | None = None

    @property
    def median(self) -> FloatArray:
        """(I, F) quantile at 0.5."""
        return self.at([0.5])[..., 0]

    def at(self, levels: Sequence[float]) -> FloatArray:
        """Return the quantiles at any levels.

        Parameters
        ----------
        levels
            Distinct numbers in (0, 1), in any order.

        Returns
        -------
        ndarray
            (I, F, len(levels)) in data units; NaN for items of which nothing was observed.

        Notes
        -----
        Between two known levels the quantile function is linear in the standard normal quantile of the level, so a
        normal law is reproduced exactly; beyond the outermost known levels the last piece is continued (normal tails
        with the local spread). Both keep the order of levels, and a known level gives the known quantile bit for bit
        (or the bound, or what the constraints make of it).

        Raises
        ------
        OptionError
            ``option.quantile_level`` for a level outside (0, 1), and for any but the known one if only one is known.
        """
        wanted = validate_levels(levels)
        exact = np.argmin(np.abs(self.levels[:, None] - wanted), axis=0)
        is_known = np.abs(self.levels[exact] - wanted) < 1e-9
        if is_known.all():
            return self._bounded(self.quantiles[..., exact])
        if len(self.levels) == 1:
            raise OptionError(
                f"From the quantile at {self.levels[0]:g} alone, those at {wanted[~is_known].tolist()} do not follow.",
                code="option.quantile_level",
                hint="Ask for two levels or more; 0.5 is the median.",
            )
        known = ndtri(self.levels)
        place = np.clip(np.searchsorted(self.levels, wanted, side="right") - 1, 0, len(self.levels) - 2)
        share = (ndtri(wanted) - known[place]) / (known[place + 1] - known[place])
        low, high = self.quantiles[..., place], self.quantiles[..., place + 1]
        with np.errstate(over="ignore"):  # near the largest number the limits are the answer
            spread = np.clip(high - low, 0.0, LARGEST)
            out = np.clip(low + share * spread, -LARGEST, LARGEST)
        return self._bounded(np.where(is_known, self.quantiles[..., exact], out))

    def _bounded(self, result: FloatArray) -> FloatArray:
        if self.lower is not None:
            result = np.maximum(result, self.lower[:, None, None])
        return result if self.bounds is None else self.bounds.apply(result)

    def sample(
        self, num_samples: int = 100, *, item_ids: Sequence[Any] | None = None, random_state: int | None = None
    ) -> FloatArray:
        """Draw sample paths (I, S, F) whose steps go together; see `tsar.samples.sample_paths`.

        Parameters
        ----------
        num_samples
            S.
        item_ids
            (I,) ids that the draws of each item depend on; None: its place.
        random_state
            Whole number; None counts as 0.

        Returns
        -------
        ndarray
            (I, S, F) in data units; NaN for items of which nothing was observed.

        Raises
        ------
        OptionError
            ``option.invalid`` if `num_samples` is not a whole number from 1.
        """
        ids = range(len(self.quantiles)) if item_ids is None else item_ids
        return sample_paths(self, num_samples, ids, dependence=self.dependence, random_state=random_state)


def validate_levels(levels: Sequence[float]) -> FloatArray:
    """Return the levels as an array, or raise ``option.quantile_level``."""
    try:
        array = np.asarray(list(levels), dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    distinct = array.ndim == 1 and len(np.unique(array)) == len(array) > 0
    if not distinct or not bool(((array > 0) & (array < 1)).all()):
        raise OptionError(
            f"quantile_levels must be distinct numbers strictly between 0 and 1, got {levels!r}.",
            code="option.quantile_level",
            hint="For example quantile_levels=[0.1, 0.5, 0.9].",
        )
    return array
