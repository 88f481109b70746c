"""What an energy compares: the counts and the rhythm of a path, beside those of all that came before.

The proposer looks at a window and forgets what has left it. Summaries of the whole history do not: what an item's
rates were over several spans, how uneven its gaps. Times are in mean gaps.
"""

from __future__ import annotations

import numpy as np

from tsar.types import BoolArray, FloatArray, IntArray

SPANS = (16.0, 64.0, 256.0, np.inf)  # of the history, looking back
PARTS = 4  # of the time that is judged
RHYTHM_EVENTS = 64  # the last of the history
SOFT = 0.5  # added to counts before their logarithm
FEW = 1e-3  # of a mean gap: shorter gaps count as that
NUM_RHYTHM = 4


def num_features(num_types: int) -> int:
    """Length of what `summarize` gives."""
    return 2 * len(SPANS) * num_types + num_types + PARTS + 2 * NUM_RHYTHM


def summarize(
    past: FloatArray, past_codes: IntArray, coming: FloatArray, codes: IntArray, num_types: int, reach: float
) -> FloatArray:
    """Features (B, F) of paths that continue one history.

    Parameters
    ----------
    past, past_codes
        (N,) how long ago each event of the history was, and its type.
    coming, codes
        (B, M) when each event of a path comes, counted from the last of the history; and its type. What comes after
        `reach` is not looked at.
    num_types
        V.
    reach
        The time that is judged.
    """
    rates = history_rates(past, past_codes, num_types)
    judged = coming <= reach
    kinds = (codes[..., None] == np.arange(num_types)) & judged[..., None]
    counts = kinds.sum(1)
    surprise = np.log(counts[:, None] + SOFT) - np.log(rates * reach + SOFT)
    parts = np.stack([(judged & (coming > reach * part / PARTS) & (coming <= reach * (part + 1) / PARTS)).sum(1)
                      for part in range(PARTS)], 1)  # fmt: skip
    uneven = np.log(parts + SOFT) - np.log(counts.sum(1, keepdims=True) / PARTS + SOFT)
    before = rhythm(
        -past[None, -RHYTHM_EVENTS:],
        past_codes[None, -RHYTHM_EVENTS:],
        np.ones((1, min(len(past), RHYTHM_EVENTS)), bool),
    )
    after = rhythm(np.concatenate([np.zeros((len(coming), 1)), coming], 1),
                   np.concatenate([np.full((len(coming), 1), past_codes[-1]), codes], 1),
                   np.concatenate([np.ones((len(coming), 1), bool), judged], 1))  # fmt: skip
    rows = len(coming)
    fixed = np.tile(np.concatenate([np.log(rates).ravel(), before[0]]), (rows, 1))
    return np.concatenate([surprise.reshape(rows, -1), np.log(counts + SOFT), uneven, after - before, fixed], 1)


def history_rates(past: FloatArray, codes: IntArray, num_types: int) -> FloatArray:
    """Events of each type in a mean gap (S, V), over the last of each span; a little is added, so that none is zero."""
    kinds = codes[:, None] == np.arange(num_types)
    age = past[0]
    return np.stack(
        [((kinds & (past < span)[:, None]).sum(0) + 1 / num_types) / (min(span, age) + 1) for span in SPANS]
    )


def rhythm(times: FloatArray, codes: IntArray, judged: BoolArray) -> FloatArray:
    """How gaps vary and types follow (B, 4): spread of log gaps, tie to the one before, longest, same type again."""
    pairs = judged[:, 1:] & judged[:, :-1]
    number = np.maximum(pairs.sum(1), 1)
    log = np.where(pairs, np.log(np.maximum(np.diff(times, axis=1), FEW)), 0.0)
    centre = log.sum(1) / number
    off = np.where(pairs, log - centre[:, None], 0.0)
    spread = np.sqrt((off**2).sum(1) / number)
    tie = (off[:, 1:] * off[:, :-1]).sum(1) / number / np.maximum(spread, 0.1) ** 2
    longest = np.where(pairs, log, np.log(FEW)).max(1, initial=np.log(FEW))
    same = (pairs & (codes[:, 1:] == codes[:, :-1])).sum(1) / number
    return np.stack([spread, tie, longest, same], 1)
