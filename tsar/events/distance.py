"""Distance between two sequences of events: what it costs to turn one into the other (Mei et al., 2019)."""

from __future__ import annotations

import numpy as np

from tsar.types import BoolArray, FloatArray, IntArray

FAR = 1e12  # a time that no event is moved to


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


def pairwise_distances(times: FloatArray, codes: IntArray, inside: BoolArray, cost: float) -> FloatArray:
    """`sequence_distance` (M, M) of each two of M paths (M, T), all pairs at once.

    Parameters
    ----------
    times, codes
        (M, T) ascending times and types.
    inside
        (M, T) which of them count.
    cost
        As in `sequence_distance`.
    """
    number = len(times)
    left, right = np.triu_indices(number, 1)
    total = np.zeros(len(left))
    for code in np.unique(codes[inside]):
        mine = inside & (codes == code)
        counts = mine.sum(1)
        packed = np.full((number, max(int(counts.max()), 1)), FAR)
        for row in range(number):
            packed[row, : counts[row]] = times[row, mine[row]]
        total += _align_pairs(packed[left], packed[right], counts[left], counts[right], cost)
    distances = np.zeros((number, number))
    distances[left, right] = distances[right, left] = total
    return distances


def _align_pairs(
    left: FloatArray, right: FloatArray, left_counts: IntArray, right_counts: IntArray, cost: float
) -> FloatArray:
    """Edit distances (P,) of pairs of ascending sequences (P, N), padded behind their ends."""
    steps = cost * np.arange(right.shape[1] + 1)
    row = np.tile(steps, (len(left), 1))
    pairs = np.arange(len(left))
    distances: FloatArray = row[pairs, right_counts]
    for done in range(1, int(left_counts.max(initial=0)) + 1):
        best = np.minimum(row[:, 1:] + cost, row[:, :-1] + np.abs(right - left[:, done - 1 : done]))
        best = np.concatenate([row[:, :1] + cost, best], 1)
        row = np.minimum.accumulate(best - steps, 1) + steps
        ends = left_counts == done
        distances[ends] = row[pairs[ends], right_counts[ends]]
    return distances
