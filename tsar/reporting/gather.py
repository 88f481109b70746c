"""What a report is about, as numbers: forecast, backtest, anomalies, and the items to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from sklearn.base import clone

from tsar.backtesting.result import item_errors
from tsar.diagnosis import Diagnosis, diagnose_panel
from tsar.errors import FrameError
from tsar.frame import Panel, normalize_frame, quantile_column
from tsar.frame.columns import collect, open_frame, read_columns, read_ids, read_table
from tsar.ranking import BASELINE, Leaderboard, leaderboard
from tsar.tasks.anomaly import detect_anomalies
from tsar.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All that the page tells.

    Attributes
    ----------
    panel, diagnosis
        The clean history, and what is unusual about its items.
    stamps
        (I * F,) of the forecast.
    levels, quantiles, median
        (Q,) ascending, (I, F, Q), (I, F).
    model_name
        By which the forecaster goes in the tables.
    tested
        Places (K,) of the items that were backtested and searched for anomalies.
    board, no_board
        Backtests, or None and why there are none.
    points, intervals
        Of `tsar.detect_anomalies`, pandas; None for a forecaster that is no model of tsar.
    item_errors
        (I,) MASE of the forecaster in the backtest, NaN where there is none.
    """

    panel: Panel
    diagnosis: Diagnosis
    stamps: pd.Index
    levels: FloatArray
    quantiles: FloatArray
    median: FloatArray
    model_name: str
    tested: IntArray
    board: Leaderboard | None
    no_board: str
    points: pd.DataFrame | None
    intervals: pd.DataFrame | None
    item_errors: FloatArray


def gather(
    df: Any, forecaster: Any, *, future_df: Any, windows: int, against: Sequence[str], backtest_items: int
) -> Findings:
    """Forecast all items, backtest and search some."""
    columns = {name: getattr(forecaster, name) for name in ("id_column", "timestamp_column", "target")}
    panel = normalize_frame(df, freq=forecaster.freq, **columns)
    freq: Any = panel.freq if panel.freq is not None else panel.grid.step  # a few items alone may look like another one
    known = clone(forecaster).set_params(freq=freq)
    levels = np.sort(np.asarray(forecaster.quantile_levels, dtype=float))
    table = _predict(df, forecaster, future_df)
    shape = (panel.num_items, -1)
    median = table["predictions"].to_numpy(dtype=float).reshape(shape)
    names = [quantile_column(level) for level in levels]
    quantiles = table[names].to_numpy(dtype=float).reshape(*median.shape, len(names))
    tested = _draw(panel, backtest_items)
    part = df if len(tested) == panel.num_items else _rows_of(df, columns, tested)
    name = _name_of(forecaster)
    board, reason = _backtest(part, known, name, median.shape[1], windows=windows, against=against, columns=columns)
    points = intervals = None
    if hasattr(forecaster, "model"):
        found = detect_anomalies(
            part, getattr(forecaster, "model_", forecaster.model), explain=True, freq=freq, device=forecaster.device,
            **columns,
        )  # fmt: skip
        points, intervals = (_to_pandas(one) for one in found)
    return Findings(
        panel=panel, diagnosis=diagnose_panel(panel.values, panel.offsets), levels=levels, quantiles=quantiles,
        stamps=pd.Index(table[columns["timestamp_column"]]), median=median, model_name=name, tested=tested,
        board=board, no_board=reason, points=points, intervals=intervals,
        item_errors=_item_errors(board, name, tested, panel.num_items),
    )  # fmt: skip


def choose_items(findings: Findings, most: int) -> list[tuple[int, str]]:
    """Places of the items to draw, and why: all if they are few, else the largest and those hardest to forecast."""
    panel = findings.panel
    if panel.num_items <= most:
        return [(place, "") for place in range(panel.num_items)]
    sums = np.add.reduceat(np.nan_to_num(np.abs(panel.values)), panel.offsets[:-1])
    largest = [(int(place), "among the largest") for place in np.argsort(-sums, kind="stable")[: (most + 1) // 2]]
    taken = {place for place, _ in largest}
    order = np.argsort(-np.nan_to_num(findings.item_errors, nan=-np.inf), kind="stable")
    hardest = [int(place) for place in order if int(place) not in taken and np.isfinite(findings.item_errors[place])]
    chosen = largest + [(place, "among the hardest to forecast") for place in hardest[: most - len(largest)]]
    return sorted(chosen)


def _predict(df: Any, forecaster: Any, future_df: Any) -> pd.DataFrame:
    """Forecast `df`: with a fitted forecaster as it is, else with one fitted on it."""
    ahead = {} if future_df is None else {"future_df": future_df}
    is_fitted = hasattr(forecaster, "panel_") or hasattr(forecaster, "model_")
    return _to_pandas(forecaster.predict(df, **ahead) if is_fitted else clone(forecaster).fit(df).predict(**ahead))


def _backtest(
    df: Any, forecaster: Any, name: str, horizon: int, *, windows: int, against: Sequence[str], columns: dict[str, Any]
) -> tuple[Leaderboard | None, str]:
    try:
        board = leaderboard(
            df, {name: forecaster} | {other: other for other in against if other != name}, prediction_length=horizon,
            windows=windows, gap=getattr(forecaster, "gap", 0), quantile_levels=forecaster.quantile_levels,
            freq=forecaster.freq, **columns,
        )  # fmt: skip
    except FrameError as error:
        if error.code != "backtest.too_short":
            raise
        return None, error.message
    return board, ""


def _item_errors(board: Leaderboard | None, name: str, tested: IntArray, num_items: int) -> FloatArray:
    errors = np.full(num_items, np.nan)
    if board is not None:
        errors[tested] = item_errors(board.results[name])
    return errors


def _draw(panel: Panel, most: int) -> IntArray:
    """Places of the items of backtest and search: all, or as many drawn with a fixed seed."""
    if panel.num_items <= most:
        return np.arange(panel.num_items)
    drawn: IntArray = np.sort(np.random.default_rng(0).permutation(panel.num_items)[:most])
    return drawn


def _rows_of(df: Any, columns: dict[str, Any], items: IntArray) -> Any:
    """Rows of some items, in the order and kind of the table."""
    names = (columns["id_column"], columns["timestamp_column"], columns["target"])
    codes, _ = read_ids(read_columns(read_table(df, *names), *names))
    frame = collect(open_frame(df))
    return frame[np.flatnonzero(np.isin(codes, items))].to_native()


def _name_of(forecaster: Any) -> str:
    model = getattr(forecaster, "model", None)
    if isinstance(model, str):
        return model.rstrip("/").rsplit("/", 1)[-1]
    name = getattr(model, "name", None)  # of a path
    return name if isinstance(name, str) and name != BASELINE else type(forecaster).__name__


def _to_pandas(frame: Any) -> pd.DataFrame:
    table: pd.DataFrame = nw.from_native(frame, eager_only=True).to_pandas()
    return table
