"""Small frames, and short ways to normalise, forecast and be refused, for the tests of tsar.frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar.errors import TsarError
from tsar.frame import Panel, make_forecast_frame, normalize_frame

HOURS = pd.date_range("2024-01-01", periods=6, freq="h")
LEVELS = [0.1, 0.5, 0.9]


def make_frame(stamps: Any = HOURS, target: Any = None, ids: Any = "a") -> pd.DataFrame:
    target = np.arange(len(stamps), dtype=np.float64) if target is None else target
    return pd.DataFrame({"item_id": ids, "timestamp": stamps, "target": target})


def two_items() -> pd.DataFrame:
    return pd.concat([make_frame(ids="b"), make_frame(HOURS[:4], ids="a")], ignore_index=True)


def forecast(panel: Panel, prediction_length: int = 2, **names: Any) -> Any:
    """A forecast whose numbers tell item, step and level."""
    item, step, level = np.ogrid[: panel.num_items, :prediction_length, : len(LEVELS)]
    quantiles = (100.0 * item + 10 * step + level).astype(np.float64)
    return make_forecast_frame(panel, quantiles, LEVELS, quantiles[..., 1], **names)


def refusal(df: Any, **options: Any) -> TsarError:
    with pytest.raises(TsarError) as caught:
        normalize_frame(df, **options)
    return caught.value
