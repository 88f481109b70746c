"""Pictures of forecasts, backtests and explanations; matplotlib is imported by the first of them."""

from tsar.plotting.backtest import plot_backtest, plot_coverage
from tsar.plotting.explanation import plot_explanation
from tsar.plotting.forecast import plot_forecast

__all__ = ["plot_backtest", "plot_coverage", "plot_explanation", "plot_forecast"]
