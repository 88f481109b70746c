"""tsar: zero-shot time-series forecasting with small models that you can train yourself.

The flow of the package, one module per arrow: frame -> windows -> tokens -> model -> distribution -> frame.

The public names below load on first use, so that ``import tsar`` costs nothing; torch and pandas come with the first
forecast (held by tests/unit/test_import.py).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsar import errors
    from tsar.forecast import Forecast
    from tsar.forecaster import Forecaster
    from tsar.hub import load_model
    from tsar.plotting import plot_forecast
    from tsar.registry import list_models
    from tsar.tasks.anomaly import detect_anomalies
    from tsar.tasks.impute import impute
    from tsar.tasks.streaming import StreamingForecaster

__version__ = "0.1.0"
__all__ = [
    "Forecast",
    "Forecaster",
    "StreamingForecaster",
    "__version__",
    "detect_anomalies",
    "errors",
    "impute",
    "list_models",
    "load_model",
    "plot_forecast",
]

_HOMES = {
    "Forecast": "tsar.forecast",
    "Forecaster": "tsar.forecaster",
    "StreamingForecaster": "tsar.tasks.streaming",
    "detect_anomalies": "tsar.tasks.anomaly",
    "impute": "tsar.tasks.impute",
    "list_models": "tsar.registry",
    "load_model": "tsar.hub",
    "plot_forecast": "tsar.plotting",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("tsar.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'tsar' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
