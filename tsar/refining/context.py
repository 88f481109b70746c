"""In-context examples and retrieval: what followed the most similar windows, in other series or in this one's past.

A frozen model is not taught a new pattern by a few series in front of its query; what followed a like pattern can be
looked up, though (retrieval-augmented forecasting; in-context series: AutoTimes, Liu et al., 2024). The windows most
correlated with the end of the query are found, what followed them is brought to the query's location and scale, and
their mean, the analogue forecast, moves the model's median. How far is measured: at the same places, where the outcome
is known, model and analogue are both scored, and without a clear gain the model stays alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import oaconvolve

from tsar.frame import Panel
from tsar.refining.powers import multiply_by_powers, near_one
from tsar.types import Decode, FloatArray, IntArray
from tsar.validation import validate_count

DEFAULT_NEIGHBOURS = 4  # where examples are given without a number
SHORTEST_MATCH = 16  # points that are compared at least, where there are as many
LEAST_CORRELATION = 0.5
MARGIN = 0.95  # the blend must bring the error at the neighbours' places below this share of the model's
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
LONGEST_MATCH = 512


@dataclass(frozen=True)
class Match:
    """A window that resembles the end of the query: where it ends in which series, and how to map it to the query."""

    correlation: float
    series: FloatArray
    end: int
    loc: float
    scale: float

    def future(self, horizon: int) -> FloatArray:
        """What followed (F,), in units of the window's own deviation."""
        followed: FloatArray = (self.series[self.end : self.end + horizon] - self.loc) / self.scale
        return followed


def follow_neighbours(
    quantiles: FloatArray,
    panel: Panel,
    decode: Decode,
    *,
    examples: Panel | None,
    neighbours: int,
    season: int = 1,
) -> FloatArray:
    """Move a forecast towards what followed the most similar windows.

    Parameters
    ----------
    quantiles
        (I, F, Q) of the model.
    panel
        The queries; windows of their own past count as candidates.
    decode
        ``(values, offsets, horizon) -> (I, F, Q)``: the model, to be scored at the neighbours' places.
    examples
        Other series to look into; None: the queries' own pasts only.
    neighbours
        How many windows make the analogue forecast; 0 with examples: `DEFAULT_NEIGHBOURS`.
    season
        Season length: two seasons at least are compared.

    Returns
    -------
    ndarray
        (I, F, Q): all quantiles of a step moved alike, so the spread stays the model's.

    Raises
    ------
    OptionError
        ``option.invalid`` for a number of neighbours that is no whole number from 0.

    Notes
    -----
    Only what lies before the end of a query or in the examples is read. Where fewer than two windows resemble the query
    (correlation 0.5), the model stays alone.
    """
    validate_count("neighbours", neighbours, least=0)
    wanted = neighbours or (DEFAULT_NEIGHBOURS if examples is not None else 0)
    if not wanted:
        return quantiles
    horizon = quantiles.shape[1]
    shown = [] if examples is None else [_prepared(row) for row in np.split(examples.values, examples.offsets[1:-1])]
    result = quantiles.copy()
    middle = quantiles.shape[2] // 2
    for item in range(panel.num_items):
        query, exponent = _prepared(panel.values[panel.offsets[item] : panel.offsets[item + 1]])
        length = min(max(2 * season, horizon, SHORTEST_MATCH), LONGEST_MATCH, len(query))
        end = query[-length:]
        loc, scale = float(end.mean()), float(end.std())
        if length < 3 or not np.isfinite(loc) or scale <= 1e-9 * abs(loc):
            continue
        others = [
            one for one, power in shown if power != exponent or not np.array_equal(one, query)
        ]  # a copy would confirm itself
        matches = find_matches((end - loc) / scale, [query, *others], horizon, wanted + 1)
        if len(matches) < 2:
            continue
        weight = _measured_weight(matches, decode, horizon, middle)
        analogue = loc + scale * _mean_future(matches[:wanted], horizon)
        if weight:
            near = np.ldexp(quantiles[item], -exponent)
            near += weight * (analogue - near[:, middle])[:, None]
            result[item] = multiply_by_powers(near, exponent)
    return result


def find_matches(end: FloatArray, series: list[FloatArray], horizon: int, count: int) -> list[Match]:
    """Find the windows that resemble the standardised `end` (M,) most, each followed by `horizon` known points.

    Windows of one series overlap by half at most. Best first.
    """
    found: list[Match] = []
    length = len(end)
    for values in series:
        last = len(values) - horizon - length
        if last < 0 or not np.isfinite(values).all():
            continue
        loc, scale = _sliding_statistics(values, length)
        centred = values - values.mean()
        product = oaconvolve(centred, end[::-1], mode="valid") / length
        usable = scale > 1e-9 * np.maximum(np.abs(loc), 1e-300)
        correlation = np.where(usable, product / np.where(usable, scale, 1.0), -1.0)[: last + 1]
        for _ in range(min(count, 1 + last)):
            best = int(np.argmax(correlation))
            if correlation[best] < LEAST_CORRELATION:
                break
            found.append(Match(float(correlation[best]), values, best + length, float(loc[best]), float(scale[best])))
            correlation[max(0, best - length // 2) : best + length // 2 + 1] = -1.0
    return sorted(found, key=lambda match: -match.correlation)[:count]


def _measured_weight(matches: list[Match], decode: Decode, horizon: int, middle: int) -> float:
    """Share of the analogue that would have been best at the matches, each forecast from the others."""
    histories = [match.series[: match.end] for match in matches]
    offsets = np.cumsum([0, *map(len, histories)])
    guesses = decode(np.concatenate(histories), offsets, horizon)[..., middle]
    errors = np.zeros(1 + len(WEIGHTS))
    for place, match in enumerate(matches):
        actual = match.future(horizon)
        model = (guesses[place] - match.loc) / match.scale
        analogue = _mean_future(matches[:place] + matches[place + 1 :], horizon)
        errors += [np.abs(actual - model - share * (analogue - model)).mean() for share in (0.0, *WEIGHTS)]
    best = int(np.argmin(errors))
    return WEIGHTS[best - 1] if best and errors[best] < MARGIN * errors[0] else 0.0


def _mean_future(matches: list[Match], horizon: int) -> FloatArray:
    mean: FloatArray = np.mean([match.future(horizon) for match in matches], axis=0)
    return mean


def _sliding_statistics(values: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation of every window of `length` points."""
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    return windows.mean(1), windows.std(1)


def _prepared(series: FloatArray) -> tuple[FloatArray, IntArray]:
    """The series near one, filled, and the exponent: windows of any size can be compared."""
    near, exponent = near_one(series)
    return _filled(near), exponent


def _filled(series: FloatArray) -> FloatArray:
    """The series from its first observed value on, with a line through what is missing."""
    seen = np.flatnonzero(np.isfinite(series))
    if not len(seen):
        return series
    line: FloatArray = np.interp(np.arange(seen[0], len(series)), seen, series[seen])
    return line
