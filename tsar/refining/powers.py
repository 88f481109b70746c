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


def multiply_by_powers(quantiles: FloatArray, exponents: Any) -> FloatArray:
    """Return the quantiles times two to the power of the exponents; beyond the largest number there is no quantile."""
    with np.errstate(over="ignore", under="ignore"):
        result: FloatArray = np.clip(np.ldexp(quantiles, exponents), -LARGEST, LARGEST)
    return result
