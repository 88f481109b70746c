"""Simple forecasters that every model must beat, with the interface of `Forecaster`: ``fit(df)`` and ``predict()``."""

from tsar.baselines.arnet import ARNet
from tsar.baselines.boosting import BoostedLags
from tsar.baselines.classical import ETS, Theta
from tsar.baselines.naive import Drift, SeasonalNaive, seasonal_naive

__all__ = ["ETS", "ARNet", "BoostedLags", "Drift", "SeasonalNaive", "Theta", "seasonal_naive"]
