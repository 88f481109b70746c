"""A panel of noisy daily cycles for the tests of `Forecaster`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsar.errors import TsarError

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
NAMES = [str(level) for level in LEVELS]
NUMBERS = ["predictions", *NAMES]
HOURS = pd.date_range("2024-01-01", periods=240, freq="h")


def make_series(item_id="a", stamps=HOURS, scale=1.0, seed=0):
    """A noisy daily cycle."""
    rng = np.random.default_rng(seed)
    wave = 10 + np.sin(2 * np.pi * np.arange(len(stamps)) / 24) + 0.1 * rng.normal(size=len(stamps))
    return pd.DataFrame({"item_id": item_id, "timestamp": stamps, "target": scale * wave})


def make_panel():
    parts = [make_series("b"), make_series("a", HOURS[30:190], 5.0, 1), make_series("c", HOURS[:40], 0.01, 2)]
    return pd.concat(parts, ignore_index=True)


def code_of(call, *args, **kwargs):
    with pytest.raises(TsarError) as caught:
        call(*args, **kwargs)
    return caught.value.code
