"""Powers of two: series near the largest and the smallest numbers are worked on near 1, and nothing is rounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsar.types import LARGEST, FloatArray, IntArray


def exponents_of(values: FloatArray, offsets: IntArray) -> IntArray:
    """Exponent (I,) of the power of two above the largest absolute value of each series."""
    sizes = np.zeros(len(offsets) - 1)
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        sizes[filled] = np.maximum.reduceat(np.where(np.isfinite(values), np.abs(values), 0.0), offsets[:-1][filled])
    return np.frexp(sizes)[1].astype(np.int64)


def near_one(values: FloatArray, axis: int | None = None) -> tuple[FloatArray, IntArray]:
    """Divide by the power of two above the largest absolute value, of all or along an axis; return the exponents, too.

    What is linear, and a root of a mean of squares, comes out to the bit as without, where that does not overflow.
    """
    sizes = np.max(np.where(np.isfinite(values), np.abs(values), 0.0), axis=axis, initial=0.0)
    exponents = np.asarray(np.frexp(sizes)[1], dtype=np.int64)
    return np.ldexp(values, -exponents), exponents


def multiply_by_powers(quantiles: FloatArray, exponents: Any) -> FloatArray:
    """Return the quantiles times two to the power of the exponents; beyond the largest number there is no quantile."""
    with np.errstate(over="ignore", under="ignore"):
        result: FloatArray = np.clip(np.ldexp(quantiles, exponents), -LARGEST, LARGEST)
    return result
