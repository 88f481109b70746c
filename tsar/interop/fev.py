"""Run a fev task: every window is forecast, in the form that ``task.evaluation_summary`` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import BenchmarkError
from tsar.forecaster import Forecaster
from tsar.optional import require

Predictions = list[dict[str, list[dict[str, list[float]]]]]


def run_task(task: Any, model: Any = "tsar-tiny", **options: Any) -> Predictions:
    """Forecast every window of a task.

    Parameters
    ----------
    task
        A `fev.Task`. Covariates are left out; several targets are forecast each by itself.
    model, options
        As in `tsar.Forecaster`.

    Returns
    -------
    list
        One mapping for each window: target column -> one mapping for each item, ``predictions`` (the median) and a
        key for each of the task's levels, F numbers each. `task.evaluation_summary` takes it as it is.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without fev.
    BenchmarkError
        ``benchmark.bad_set`` for anything but a `fev.Task`; and the errors of `Forecaster.predict`.
    """
    fev = require("fev", "bench")
    if not isinstance(task, fev.Task):
        raise BenchmarkError(f"run_task needs a fev.Task, got {type(task).__name__}.", code="benchmark.bad_set")
    levels = [float(level) for level in task.quantile_levels]
    forecaster = Forecaster(model, prediction_length=task.horizon, quantile_levels=sorted({0.5, *levels}), **options)
    windows = []
    for window in task.iter_windows():
        past, _ = window.get_input_data()
        windows.append({column: _forecast(forecaster, past, task, column, levels) for column in task.target_columns})
    return windows


def _forecast(forecaster: Forecaster, past: Any, task: Any, column: str, levels: list[float]) -> list[dict[str, Any]]:
    parts = [
        pd.DataFrame(
            {
                "item_id": place,
                "timestamp": np.asarray(entry[task.timestamp_column]),
                "target": np.asarray(entry[column], np.float64),
            }
        )
        for place, entry in enumerate(past)
    ]
    forecast = forecaster.predict_quantiles(pd.concat(parts, ignore_index=True))
    quantiles, keys = forecast.at(levels), [str(level) for level in task.quantile_levels]
    return [
        {"predictions": median.tolist(), **dict(zip(keys, rows.T.tolist(), strict=True))}
        for median, rows in zip(forecast.median, quantiles, strict=True)
    ]
