"""Frames: the only place that touches a user's columns. Check what comes in, assemble what goes out."""

from tsar.frame.assemble import make_forecast_frame, make_panel_frame, quantile_column
from tsar.frame.normalize import normalize_frame
from tsar.frame.panel import FrameReport, Panel, Series
from tsar.frame.store import panel_from_bytes, panel_to_bytes

__all__ = [
    "FrameReport",
    "Panel",
    "Series",
    "make_forecast_frame",
    "make_panel_frame",
    "normalize_frame",
    "panel_from_bytes",
    "panel_to_bytes",
    "quantile_column",
]
