"""Forecast what is known already: `run` does it over rolling cutoffs, `result` holds what came out and scores it."""

from tsar.backtesting.result import BacktestResult
from tsar.backtesting.run import backtest

__all__ = ["BacktestResult", "backtest"]
