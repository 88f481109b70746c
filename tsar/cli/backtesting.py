"""``tsar backtest`` on a table of one's own, ``tsar benchmark`` on evaluation sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.files import (
    MAX_PLOTTED,
    PLOT_SUFFIXES,
    TABLE_SUFFIXES,
    markdown_table,
    new_figure,
    validate_input,
    validate_output,
    write_figure,
    write_table,
)
from tsar.cli.options import (
    DEFAULT_MODEL,
    WITH_OPTIONS,
    add_calibration,
    add_columns,
    add_constraints,
    add_covariates,
    add_levels,
    add_running,
    add_tuning,
    column_names,
    make_forecaster,
)
from tsar.cli.tables import read_input
from tsar.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

    from tsar.backtesting.result import BacktestResult
    from tsar.ranking import Leaderboard

BASELINES = ("seasonal-naive", "drift", "theta", "ets", "arnet", "boosted-lags")


def add_backtest(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar backtest``."""
    parser = commands.add_parser(
        "backtest",
        parents=[common],
        **WITH_OPTIONS,
        help="forecast the known ends of a table, and compare with what came and with baselines",
        description="Forecast the last stretches of every series from what was known before them, and score that\n"
        "against baselines. The table on standard output is Markdown, the best MASE first.",
        epilog="example:\n  tsar backtest sales.csv --windows 3 --against seasonal-naive theta --output windows.csv",
    )
    parser.set_defaults(run=backtest)
    parser.add_argument("input", type=Path, metavar="DATA", help="table in long form, .csv or .parquet")
    parser.add_argument("--windows", type=int, default=3, metavar="W", help="cutoffs per item (default: %(default)s)")
    parser.add_argument("--step", type=int, metavar="N", help="points between cutoffs (default: the horizon)")
    parser.add_argument("--refit", action="store_true", help="fit anew at every cutoff")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    parser.add_argument(
        "--against", nargs="+", default=["seasonal-naive"], metavar="NAME", help=f"of {', '.join(BASELINES)}, releases"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="every forecast beside what came: .csv or .parquet")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="windows of the first items: .png, .pdf or .svg")
    add_levels(parser)
    add_calibration(parser)
    add_columns(parser)
    add_running(parser)
    add_covariates(parser)
    add_constraints(parser)
    add_tuning(parser, mode="zero_shot")


def backtest(options: argparse.Namespace) -> int:
    """Carry out ``tsar backtest``."""
    validate_input(options.input)
    validate_output(options.output, TABLE_SUFFIXES)
    validate_output(options.plot, PLOT_SUFFIXES)
    table = read_input(options)
    forecaster = make_forecaster(options)

    from tsar.ranking import leaderboard

    name = Path(options.model).name
    if name in options.against:
        text = f"--against {name} has the name of --model, which is in the table as it is."
        raise OptionError(text, code="cli.bad_input", hint="Leave it out")
    board = leaderboard(
        table,
        {name: forecaster, **{other: other for other in options.against}},
        prediction_length=options.prediction_length,
        windows=options.windows,
        step=options.step,
        refit=options.refit,
        gap=options.gap,
        quantile_levels=forecaster.quantile_levels,
        **column_names(options),
    )
    print(markdown_table(board.table))
    if options.output:
        write_table(_all_forecasts(board), options.output)
    if options.plot:
        _write_plot(board.results[name], options.plot)
    return 0


def _all_forecasts(board: Leaderboard) -> pd.DataFrame:
    """Forecasts of every model below each other, with its name in the first column."""
    import pandas as pd

    parts = {name: result.forecasts for name, result in board.results.items()}
    table: pd.DataFrame = pd.concat(parts, names=["model"]).reset_index("model").reset_index(drop=True)
    return table


def _write_plot(result: BacktestResult, path: Path) -> None:
    from tsar.plotting.backtest import plot_backtest

    numbers = result.windows
    item_ids = numbers.panel.item_ids[(numbers.cuts >= 0).any(1)][:MAX_PLOTTED]
    figure, axes = new_figure(len(item_ids))
    for item_id, ax in zip(item_ids, axes, strict=True):
        plot_backtest(result, item_id=item_id, ax=ax)
    write_figure(figure, path)


def add_benchmark(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar benchmark``."""
    parser = commands.add_parser(
        "benchmark",
        parents=[common],
        **WITH_OPTIONS,
        help="score models on evaluation sets, against simple baselines",
        description="Score models on evaluation sets, against simple baselines: seasonal-naive, theta, ets.\n"
        "The table on standard output is Markdown; docs/benchmark.md explains it and the format of sets.",
        epilog="example:\n  tsar benchmark sets --model tsar-tiny --against seasonal-naive theta --limit 200",
    )
    parser.set_defaults(run=benchmark)
    parser.add_argument("data", type=Path, metavar="DATA", help="a parquet file, a folder of them, or GluonTS's folder")
    parser.add_argument(
        "--model",
        dest="models",
        nargs="+",
        default=[DEFAULT_MODEL],
        metavar="NAME",
        help=f"names or folders of releases, with +classical behind one for its ensemble (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=["seasonal-naive"],
        metavar="NAME",
        help="compare with these; scores are divided by those of the first (default: seasonal-naive)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="series a set, drawn with a seed (default: all)")
    parser.add_argument("--only", nargs="+", metavar="SET", help="names of sets (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --limit and of intervals (default: 0)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="CSV, JSON, Markdown and a picture; a new folder")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep forecasts of ets and theta, which are slow")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes for ets and theta (default: 1)")


def benchmark(options: argparse.Namespace) -> int:
    """Carry out ``tsar benchmark``."""
    from tsar.benchmark import read_sets, run_benchmark
    from tsar.benchmark import validate_output as validate_folder
    from tsar.logging import log_to_terminal

    if options.output:
        validate_folder(options.output)
    log_to_terminal()
    result = run_benchmark(
        read_sets(options.data, only=options.only),
        list(dict.fromkeys([*options.against, *options.models])),
        baseline=options.against[0],
        limit=options.limit,
        seed=options.seed,
        jobs=options.jobs,
        cache=options.cache,
    )
    if options.output:
        result.save(options.output)
    print(result.to_markdown(), end="")
    return 0
