"""Theta and exponential smoothing, from the libraries that keep them well (`tsar.refining.classical`)."""

from __future__ import annotations

from tsar.baselines.base import Baseline
from tsar.refining.classical import forecast_ets, forecast_theta
from tsar.types import FloatArray


class Theta(Baseline):
    """The Theta method, series by series; see `tsar.refining.classical.forecast_theta`."""

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        return forecast_theta(past, horizon, season, levels.tolist())


class ETS(Baseline):
    """Exponential smoothing, its form chosen series by series; see `tsar.refining.classical.forecast_ets`."""

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        return forecast_ets(past, horizon, season, levels.tolist())
