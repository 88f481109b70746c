"""Forecasts that are kept: backtests within backtests meet the same windows again at every cutoff."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b

import numpy as np

from tsar.types import Decode, FloatArray, IntArray

MOST_KEPT = 1 << 25
"""Numbers that are kept, 256 MiB; what comes later is forecast each time."""

_KEPT: ContextVar[dict[Hashable, FloatArray] | None] = ContextVar("_KEPT", default=None)


@contextmanager
def keep_forecasts() -> Iterator[None]:
    """Let what `recall` returns forecast no window twice meanwhile, in this thread."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def recall(decode: Decode, identity: Hashable) -> Decode:
    """Return `decode`, which within `keep_forecasts` forecasts only the series that are new to it.

    Parameters
    ----------
    decode
        What forecasts. Of a series it must see nothing but the values that it is given.
    identity
        Model and options: what decodes alike is equal here.

    Notes
    -----
    Forecasts are found by the content of a series, so nothing that came later can be in them; they are equal to new
    ones up to the rounding that the size of a batch makes (tests/unit/test_kept.py).
    """

    def decode_new(values: FloatArray, offsets: IntArray, prediction_length: int) -> FloatArray:
        kept = _KEPT.get()
        if kept is None:
            return decode(values, offsets, prediction_length)
        series = np.split(values, offsets[1:-1])
        keys = [(identity, prediction_length, blake2b(part.tobytes(), digest_size=16).digest()) for part in series]
        new = {key: part for key, part in zip(keys, series, strict=True) if key not in kept}
        found = kept
        if new:
            bounds = np.concatenate([[0], np.cumsum([len(part) for part in new.values()])])
            answers = decode(np.concatenate(list(new.values())), bounds, prediction_length)
            found = {**{key: kept[key] for key in keys if key in kept}, **dict(zip(new, answers, strict=True))}
            if (len(kept) + len(new)) * answers[0].size <= MOST_KEPT:
                kept.update(found)
        return np.stack([found[key] for key in keys])

    return decode_new
