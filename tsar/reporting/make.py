"""`tsar.report`: gather the findings, write the page."""

from __future__ import annotations

import inspect
import platform
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tsar import __version__
from tsar.errors import collect, kind_of, warn
from tsar.forecaster import Forecaster
from tsar.reporting.gather import choose_items, gather
from tsar.reporting.page import make_page, several
from tsar.reporting.sections import (
    anomaly_section,
    backtest_section,
    calibration_section,
    forecast_section,
    health_section,
    made_section,
)
from tsar.storage import write_atomically
from tsar.validation import validate_count

AGAINST = ("seasonal-naive", "drift", "theta")


def report(
    df: Any,
    path: str | Path,
    forecaster: Any = None,
    *,
    future_df: Any = None,
    title: str = "Forecast report",
    windows: int = 3,
    against: Sequence[str] = AGAINST,
    items: int = 6,
    backtest_items: int = 60,
    command: str | None = None,
) -> Path:
    """Write one HTML page about a table: its health, a forecast, a backtest, the bands, anomalies, how it was made.

    Parameters
    ----------
    df
        Long frame (pandas, polars or pyarrow), one row per item and stamp.
    path
        The page, a file that needs no other: no network, no script.
    forecaster
        A `Forecaster` or a baseline, whose column names are taken; fitted: forecasts `df` as it is, else it is fitted
        on `df`. None: ``Forecaster()``. The backtest fits copies on what was known at each cutoff.
    future_df
        Future covariates, as in `Forecaster.predict`.
    title
        Heading.
    windows, against
        Cutoffs of the backtest, and names of what it compares with, as in `tsar.leaderboard`.
    items
        Most items that are drawn: beyond, the largest half and those hardest to forecast.
    backtest_items
        Most items that are backtested and searched for anomalies: beyond, as many are drawn with a fixed seed.
    command
        What to state as the command that made the page.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    OptionError
        ``option.invalid`` for `items` or `backtest_items` below 1; and the errors of `Forecaster` and
        `tsar.leaderboard`. Series too short for a backtest are no error: the page says so.

    Notes
    -----
    Warnings of tsar stand on the page, and are given once each as well.
    """
    for name, value in (("items", items), ("backtest_items", backtest_items)):
        validate_count(name, value)
    forecaster = Forecaster() if forecaster is None else forecaster
    began = time.perf_counter()
    with collect() as texts:
        found = gather(
            df, forecaster, future_df=future_df, windows=windows, against=against, backtest_items=int(backtest_items)
        )
    notes = _one_of_each_kind(texts)
    columns = {name: getattr(forecaster, name) for name in ("id_column", "timestamp_column", "target")}
    sections = [
        health_section(found),
        forecast_section(found, choose_items(found, int(items))),
        backtest_section(found, windows),
        calibration_section(found),
        anomaly_section(found, columns),
        made_section(_facts(forecaster, found.model_name, command, time.perf_counter() - began), notes),
    ]
    page = make_page(
        title,
        f"{several(found.panel.num_items, 'item')}, {several(len(found.panel.values), 'point')}; "
        f"{several(found.median.shape[1], 'step')} ahead by {found.model_name}",
        [section for section in sections if section is not None],
        footer=f"Made by tsar {__version__}.",
        generator=f"tsar {__version__}",
    )
    write_atomically(Path(path), page.encode())
    for note in notes:
        warn(note)
    return Path(path)


def _facts(forecaster: Any, model: str, command: str | None, seconds: float) -> list[tuple[str, Any]]:
    defaults = inspect.signature(type(forecaster).__init__).parameters
    options = {
        name: value
        for name, value in forecaster.get_params(deep=False).items()
        if name != "model" and not _is_default(value, defaults[name].default)
    }
    stated = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "as they come"
    facts = [
        ("date", datetime.now().astimezone().isoformat(" ", "seconds")),
        ("tsar", f"{__version__}, Python {platform.python_version()}"),
        ("forecaster", f"{type(forecaster).__name__}, {model}"),
        ("options", stated),
        ("seconds", f"{seconds:.1f}"),
    ]
    return [*facts, ("command", command)] if command else facts


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(np.all(value == default)))


def _one_of_each_kind(texts: Sequence[str]) -> list[str]:
    """The first warning of each kind: a backtest repeats them with other numbers."""
    firsts: dict[str, str] = {}
    for text in texts:
        firsts.setdefault(kind_of(text), text)
    return list(firsts.values())
