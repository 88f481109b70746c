"""The simulated prior: families of series, drawn in blocks on any device.

`FAMILIES` maps a name to a function ``(rows, length, generator) -> (rows, length)``; `DEFAULT_WEIGHTS` says how often
each is drawn. A new family is one function and one line in each of the two tables.

Nothing loops over rows or time, and nothing asks the device for a value: linear recursions are convolutions, regimes
are running counts, and the same code fills a block on a CPU or a GPU. Every row draws its own parameters. Trends,
cycles and regimes have time scales of their own, from a dozen steps to several windows, so that short crops of a
window look like whole short series.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from tsar.errors import CorpusError
from tsar.training.synth.attention import adoption, attention, epidemics
from tsar.training.synth.calendar_days import calendar_events
from tsar.training.synth.causal import driven
from tsar.training.synth.counts import counts, intermittent, life_cycles
from tsar.training.synth.decomposed import kernel_mixture, oscillators, trend_season_noise
from tsar.training.synth.dice import Dice
from tsar.training.synth.economy import business, growth, population, shares, slow_movers
from tsar.training.synth.machines import sensors, switching, utilisation
from tsar.training.synth.noise import as_published
from tsar.training.synth.profiles import daily_weekly
from tsar.training.synth.shapes import spikes, steps_and_ramps, waveforms
from tsar.training.synth.state_space import arima, exponential_smoothing, random_walk, regimes, theta, volatility
from tsar.training.synth.weather import rain, river, sun, temperature, wind

Family = Callable[[int, int, Generator], Tensor]

LARGEST = 1e6

WHOLE_NUMBERS = ("counts", "intermittent")
"""Families that are on their own grid."""

FAMILIES: dict[str, Family] = {
    "trend_season_noise": trend_season_noise,
    "exponential_smoothing": exponential_smoothing,
    "theta": theta,
    "arima": arima,
    "kernel_mixture": kernel_mixture,
    "oscillators": oscillators,
    "random_walk": random_walk,
    "volatility": volatility,
    "regimes": regimes,
    "daily_weekly": daily_weekly,
    "sun": sun,
    "wind": wind,
    "temperature": temperature,
    "rain": rain,
    "river": river,
    "counts": counts,
    "intermittent": intermittent,
    "life_cycles": life_cycles,
    "calendar_events": calendar_events,
    "waveforms": waveforms,
    "spikes": spikes,
    "steps_and_ramps": steps_and_ramps,
    "utilisation": utilisation,
    "switching": switching,
    "sensors": sensors,
    "attention": attention,
    "epidemics": epidemics,
    "adoption": adoption,
    "growth": growth,
    "population": population,
    "shares": shares,
    "business": business,
    "slow_movers": slow_movers,
    "driven": driven,
}

DEFAULT_WEIGHTS: dict[str, float] = {
    "trend_season_noise": 3.0,
    "exponential_smoothing": 3.0,
    "theta": 1.5,
    "arima": 1.5,
    "kernel_mixture": 2.0,
    "oscillators": 0.5,
    "random_walk": 1.2,
    "volatility": 0.8,
    "regimes": 1.2,
    "daily_weekly": 3.5,
    "sun": 0.9,
    "wind": 0.6,
    "temperature": 0.8,
    "rain": 0.4,
    "river": 0.5,
    "counts": 1.5,
    "intermittent": 0.8,
    "life_cycles": 0.5,
    "calendar_events": 2.0,
    "waveforms": 0.5,
    "spikes": 0.5,
    "steps_and_ramps": 0.4,
    "utilisation": 0.5,
    "switching": 0.4,
    "sensors": 0.4,
    "attention": 1.2,
    "epidemics": 0.7,
    "adoption": 0.4,
    "growth": 1.2,
    "population": 0.4,
    "shares": 0.4,
    "business": 1.5,
    "slow_movers": 1.3,
    "driven": 1.0,
}


def make_series(family: str, rows: int, length: int, generator: Generator) -> Tensor:
    """Draw series of one family.

    Parameters
    ----------
    family
        A name of `FAMILIES`.
    rows, length
        Shape of the result; `length` at least 16.
    generator
        Lives on the device where the series are wanted; the same state gives the same series.

    Returns
    -------
    Tensor
        (rows, length) float32, finite, of any level and scale; most rows on a grid, as published values are.

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
    series = FAMILIES[family](rows, length, generator)
    if family not in WHOLE_NUMBERS:
        series = as_published(Dice.of(rows, length, generator), series)
    return torch.nan_to_num(series, nan=0.0, posinf=LARGEST, neginf=-LARGEST).clamp(-LARGEST, LARGEST)
