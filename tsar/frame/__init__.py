"""Frames: the only place that touches a user's columns. Check what comes in, assemble what goes out."""

from tsar.frame.ahead import read_ahead
from tsar.frame.assemble import (
    make_forecast_frame,
    make_item_frame,
    make_panel_frame,
    make_sample_frame,
    quantile_column,
)
from tsar.frame.calendar import add_calendar, calendar_columns
from tsar.frame.covariates import CALENDAR, CovariateColumns, Covariates
from tsar.frame.fresh import make_fresh_panel
from tsar.frame.normalize import normalize_frame
from tsar.frame.panel import FrameReport, Panel, Series
from tsar.frame.store import panel_from_bytes, panel_to_bytes
from tsar.frame.targets import normalize_targets, target_names

__all__ = [
    "CALENDAR",
    "CovariateColumns",
    "Covariates",
    "FrameReport",
    "Panel",
    "Series",
    "add_calendar",
    "calendar_columns",
    "make_forecast_frame",
    "make_fresh_panel",
    "make_item_frame",
    "make_panel_frame",
    "make_sample_frame",
    "normalize_frame",
    "normalize_targets",
    "panel_from_bytes",
    "panel_to_bytes",
    "quantile_column",
    "read_ahead",
    "target_names",
]
