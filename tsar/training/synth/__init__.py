"""The simulated prior: families of series, drawn in blocks on any device.

`FAMILIES` maps a name to a function ``(rows, length, generator) -> (rows, length)``; `DEFAULT_WEIGHTS` says how often
each is drawn. A new family is one function and one line in each of the two tables.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from tsar.errors import CorpusError
from tsar.training.synth import families

Family = Callable[[int, int, Generator], Tensor]

FAMILIES: dict[str, Family] = {
    "trend_season_noise": families.trend_season_noise,
    "exponential_smoothing": families.exponential_smoothing,
    "arima": families.arima,
    "random_walk": families.random_walk,
    "kernel_mixture": families.kernel_mixture,
    "daily_weekly": families.daily_weekly,
    "sun_and_wind": families.sun_and_wind,
    "weather": families.weather,
    "counts": families.counts,
    "shapes": families.shapes,
    "on_off": families.on_off,
    "growth": families.growth,
    "attention": families.attention,
    "calendar_events": families.calendar_events,
}

DEFAULT_WEIGHTS: dict[str, float] = {
    "trend_season_noise": 3.0,
    "exponential_smoothing": 3.0,
    "arima": 1.5,
    "random_walk": 1.0,
    "kernel_mixture": 2.5,
    "daily_weekly": 2.0,
    "sun_and_wind": 1.0,
    "weather": 0.6,
    "counts": 1.5,
    "shapes": 0.8,
    "on_off": 0.6,
    "growth": 1.5,
    "attention": 0.7,
    "calendar_events": 1.0,
}


def make_series(family: str, rows: int, length: int, generator: Generator) -> Tensor:
    """Draw series of one family.

    Parameters
    ----------
    family
        A name of `FAMILIES`.
    rows, length
        Shape of the result.
    generator
        Lives on the device where the series are wanted; the same state gives the same series.

    Returns
    -------
    Tensor
        (rows, length) float32, finite, of any level and scale.

    Raises
    ------
    CorpusError
        ``corpus.missing`` for a family that there is not.
    """
    if family not in FAMILIES:
        raise CorpusError(
            f"There is no synthetic family {family!r}.",
            code="corpus.missing",
            hint=f"There are: {', '.join(FAMILIES)}.",
        )
    return torch.nan_to_num(FAMILIES[family](rows, length, generator), nan=0.0, posinf=1e6, neginf=-1e6).clamp(
        -1e6, 1e6
    )
