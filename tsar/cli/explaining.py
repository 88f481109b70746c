"""``tsar explain``: what in the history, and which covariates, moved a forecast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.files import (
    PLOT_SUFFIXES,
    TABLE_SUFFIXES,
    first_items,
    new_figure,
    validate_input,
    validate_output,
    write_figure,
    write_table,
)
from tsar.cli.options import (
    WITH_OPTIONS,
    add_columns,
    add_covariates,
    add_future,
    add_running,
    column_names,
    make_forecaster,
)
from tsar.cli.tables import read_further, read_input

if TYPE_CHECKING:
    import pandas as pd


def add_explain(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar explain``."""
    parser = commands.add_parser(
        "explain",
        parents=[common],
        **WITH_OPTIONS,
        help="say what in the history moved a forecast",
        description="Hide one segment of the history, or one covariate, after the other, and forecast again:\n"
        "one row for each of them and run of steps, with what it changed.",
        epilog="example:\n  tsar explain sales.csv --prediction-length 7 --segments 10 --output why.csv --plot why.png",
    )
    parser.set_defaults(run=explain)
    parser.add_argument("input", type=Path, metavar="DATA", help="table in long form, .csv or .parquet")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".csv or .parquet; without it CSV is printed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the first items: .png, .pdf or .svg")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    parser.add_argument(
        "--segments",
        type=_number_or_season,
        default=8,
        metavar="N",
        help="parts of the history, or season (default: 8)",
    )
    parser.add_argument("--blocks", type=int, default=4, metavar="N", help="runs of steps (default: %(default)s)")
    add_columns(parser)
    add_running(parser)
    add_covariates(parser)
    add_future(parser)


def explain(options: argparse.Namespace) -> int:
    """Carry out ``tsar explain``."""
    validate_input(options.input)
    validate_output(options.output, TABLE_SUFFIXES)
    validate_output(options.plot, PLOT_SUFFIXES)
    table = read_input(options)
    future = None if options.future_df is None else read_further(options.future_df, options, options.date_format)
    forecaster = make_forecaster(options).fit(table)

    from tsar.explanation import explain as explain_forecast

    result = explain_forecast(forecaster, segments=options.segments, blocks=options.blocks, future_df=future)
    write_table(result, options.output)
    if options.plot:
        forecast = forecaster.predict(future_df=future)
        _write_plot(result, table, forecast, options.plot, column_names(options))
    return 0


def _write_plot(
    result: pd.DataFrame, table: pd.DataFrame, forecast: pd.DataFrame, path: Path, columns: dict[str, Any]
) -> None:
    from tsar.plotting.explanation import plot_explanation

    names = {name: columns[name] for name in ("id_column", "timestamp_column", "target")}
    item_ids = first_items(table, columns["id_column"])
    figure, axes = new_figure(len(item_ids))
    for item_id, ax in zip(item_ids, axes, strict=True):
        plot_explanation(result, table, item_id=item_id, forecast=forecast, ax=ax, **names)
    write_figure(figure, path)


def _number_or_season(text: str) -> int | str:
    return text if text == "season" else int(text)
