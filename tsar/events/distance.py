"""Distance between two sequences of events: what it costs to turn one into the other (Mei et al., 2019)."""

from __future__ import annotations

import numpy as np

from tsar.types import FloatArray, IntArray


def sequence_distance(
    times: FloatArray, codes: IntArray, other_times: FloatArray, other_codes: IntArray, cost: float
) -> float:
    """Return the least cost of moving, adding and removing events.

    Parameters
    ----------
    times, codes
        (N,) ascending times and types of one sequence.
    other_times, other_codes
        (M,) those of the other.
    cost
        Of adding or removing one event, in units of time; moving an event costs how far it goes. Events of different
        types are never matched.
    """
    total = 0.0
    for code in np.union1d(codes, other_codes):
        total += _align(times[codes == code], other_times[other_codes == code], cost)
    return total


def _align(left: FloatArray, right: FloatArray, cost: float) -> float:
    """Edit distance of two ascending sequences."""
    row = cost * np.arange(len(right) + 1)
    steps = row.copy()
    for time in left:
        best = np.minimum(row[1:] + cost, row[:-1] + np.abs(right - time))
        best = np.concatenate([[row[0] + cost], best])
        row = np.minimum.accumulate(best - steps) + steps  # adding events of `right`, all at once
    return float(row[-1])
