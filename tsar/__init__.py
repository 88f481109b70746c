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
    from tsar.aggregate import aggregate_samples
    from tsar.backtesting import backtest
    from tsar.constraints import Constraints
    from tsar.diagnosis import diagnose
    from tsar.events.forecaster import EventForecaster
    from tsar.explanation import explain
    from tsar.forecast import Forecast
    from tsar.forecaster import Forecaster
    from tsar.hierarchy import reconcile
    from tsar.hub import load_model
    from tsar.plotting import plot_backtest, plot_coverage, plot_explanation, plot_forecast
    from tsar.ranking import leaderboard
    from tsar.registry import list_models
    from tsar.reporting import report
    from tsar.tasks.anomaly import detect_anomalies
    from tsar.tasks.classify import TimeSeriesClassifier, TimeSeriesRegressor
    from tsar.tasks.embed import embed
    from tsar.tasks.generate import generate
    from tsar.tasks.impute import impute
    from tsar.tasks.streaming import StreamingForecaster
    from tsar.training.tune_config import FineTuneConfig

__version__ = "0.1.0"
__all__ = [
    "Constraints",
    "EventForecaster",
    "FineTuneConfig",
    "Forecast",
    "Forecaster",
    "StreamingForecaster",
    "TimeSeriesClassifier",
    "TimeSeriesRegressor",
    "__version__",
    "aggregate_samples",
    "backtest",
    "detect_anomalies",
    "diagnose",
    "embed",
    "errors",
    "explain",
    "generate",
    "impute",
    "leaderboard",
    "list_models",
    "load_model",
    "plot_backtest",
    "plot_coverage",
    "plot_explanation",
    "plot_forecast",
    "reconcile",
    "report",
]

_HOMES = {
    "Constraints": "tsar.constraints",
    "EventForecaster": "tsar.events.forecaster",
    "FineTuneConfig": "tsar.training.tune_config",
    "Forecast": "tsar.forecast",
    "Forecaster": "tsar.forecaster",
    "StreamingForecaster": "tsar.tasks.streaming",
    "TimeSeriesClassifier": "tsar.tasks.classify",
    "TimeSeriesRegressor": "tsar.tasks.classify",
    "aggregate_samples": "tsar.aggregate",
    "backtest": "tsar.backtesting",
    "detect_anomalies": "tsar.tasks.anomaly",
    "diagnose": "tsar.diagnosis",
    "embed": "tsar.tasks.embed",
    "explain": "tsar.explanation",
    "generate": "tsar.tasks.generate",
    "impute": "tsar.tasks.impute",
    "leaderboard": "tsar.ranking",
    "list_models": "tsar.registry",
    "load_model": "tsar.hub",
    "plot_backtest": "tsar.plotting",
    "plot_coverage": "tsar.plotting",
    "plot_explanation": "tsar.plotting",
    "plot_forecast": "tsar.plotting",
    "reconcile": "tsar.hierarchy",
    "report": "tsar.reporting",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("tsar.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'tsar' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
