"""``tsar report``: one page about a table and its forecast."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from tsar.cli.files import PAGE_SUFFIXES, validate_input, validate_output
from tsar.cli.options import (
    WITH_OPTIONS,
    add_calibration,
    add_columns,
    add_constraints,
    add_covariates,
    add_future,
    add_levels,
    add_running,
    make_forecaster,
)
from tsar.cli.tables import read_further, read_input


def add_report(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar report``."""
    parser = commands.add_parser(
        "report",
        parents=[common],
        **WITH_OPTIONS,
        help="write one HTML page: data, forecast, backtest, bands, anomalies",
        description="Write one HTML page about a table: its health, a forecast with bands, a backtest against\n"
        "baselines, how well the bands cover, anomalies, and how it was made. docs/report.md explains it.",
        epilog="example:\n  tsar report sales.csv --prediction-length 28 --output report.html",
    )
    parser.set_defaults(run=report)
    parser.add_argument("input", type=Path, metavar="DATA", help="table in long form, .csv or .parquet")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the page, .html")
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: the name of DATA)")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    parser.add_argument("--windows", type=int, default=3, metavar="W", help="backtest cutoffs (default: %(default)s)")
    parser.add_argument(
        "--against", nargs="+", metavar="NAME", help="baselines of the backtest (default: seasonal-naive drift theta)"
    )
    parser.add_argument("--items", type=int, default=6, metavar="N", help="items drawn (default: %(default)s)")
    parser.add_argument(
        "--backtest-items", type=int, default=60, metavar="N", help="most items of backtest and anomalies (default: 60)"
    )
    add_levels(parser)
    add_calibration(parser)
    add_columns(parser)
    add_running(parser)
    add_covariates(parser)
    add_future(parser)
    add_constraints(parser)


def report(options: argparse.Namespace) -> int:
    """Carry out ``tsar report``."""
    validate_input(options.input, options.future_df)
    validate_output(options.output, PAGE_SUFFIXES)
    table = read_input(options)
    future = None if options.future_df is None else read_further(options.future_df, options, options.date_format)
    forecaster = make_forecaster(options)

    from tsar.reporting import report as write_report

    against = {"against": options.against} if options.against else {}
    write_report(
        table,
        options.output,
        forecaster,
        future_df=future,
        title=options.title or options.input.stem,
        windows=options.windows,
        items=options.items,
        backtest_items=options.backtest_items,
        command=shlex.join(["tsar", *options.arguments]),
        **against,
    )
    return 0
