"""Type aliases, and the legend of the shape letters that every docstring and tensor name in tsar uses.

====== ========================================== ====== ==========================================
letter meaning                                    letter meaning
====== ========================================== ====== ==========================================
B      batch: windows worked on at once           V      vocabulary of a quantizing tokenizer
I      items (series) of a panel                  D      width of the model, ``d_model``
C      channel: targets of one item               H      query heads
N      length of a series                         G      key/value heads
L      context: past points that the model reads  K      width of one head, ``head_dim``
F      future: points of the forecast             E      experts
T      tokens                                     Q      quantile levels
P      points in one patch, ``patch_length``      S      samples
====== ========================================== ====== ==========================================

A tensor in model code carries its shape as a suffix: ``q_BHTK`` is (batch, heads, tokens, head width). Values are in
the units of the data unless the name says ``z`` (normalised). Time is always the last axis of data and ascends;
missing values are NaN in frames and panels, and False in an ``observed`` mask from the windows on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
ObjectArray: TypeAlias = NDArray[np.object_]
Decode: TypeAlias = Callable[[FloatArray, IntArray, int], FloatArray]
"""What forecasts the series of a panel: values (N,), offsets (I + 1,) and a horizon F -> quantiles (I, F, Q)."""

LARGEST = np.finfo(np.float64).max
"""Beyond it there is no quantile: what would be larger is this."""

PathLike: TypeAlias = str | os.PathLike[str]
