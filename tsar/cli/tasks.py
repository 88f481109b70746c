"""``tsar impute``, ``tsar detect``, ``tsar embed``: what else a forecasting model can do."""

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
from tsar.cli.options import WITH_OPTIONS, add_columns, add_model, column_names, none_or_number
from tsar.cli.tables import read_input

if TYPE_CHECKING:
    import pandas as pd


def add_impute(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar impute``."""
    parser = _add_task(
        commands, common, "impute",
        help="fill missing values and missing rows of a table",
        description="Fill missing values and missing rows of a table, from both sides of each gap.",
        epilog="example:\n  tsar impute sales.csv --quantile-levels 0.1 0.9 --output filled.csv",
    )  # fmt: skip
    parser.set_defaults(run=impute)
    parser.add_argument("--quantile-levels", type=float, nargs="+", metavar="LEVEL", help="bands (default: none)")
    parser.add_argument("--sides", default="both", metavar="SIDE", help="both (default), left or right")
    parser.add_argument("--allow-negative", action="store_true", help="no clipping at zero where all else is above")


def impute(options: argparse.Namespace) -> int:
    """Carry out ``tsar impute``."""
    table = _validated_table(options)

    from tsar.tasks.impute import impute as fill

    result = fill(
        table, options.model, quantile_levels=options.quantile_levels, sides=options.sides, device=options.device,
        non_negative=False if options.allow_negative else "auto", **column_names(options),
    )  # fmt: skip
    write_table(result, options.output)
    return 0


def add_detect(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar detect``."""
    parser = _add_task(
        commands, common, "detect",
        help="find what a forecast did not expect",
        description="Score every point of a table by how unexpected it was, and flag the anomalies.",
        epilog="example:\n  tsar detect sales.csv --output points.csv --intervals anomalies.csv --plot anomalies.png",
    )  # fmt: skip
    parser.set_defaults(run=detect)
    parser.add_argument("--intervals", type=Path, metavar="FILE", help="one row per anomaly, the worst first")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the first items: .png, .pdf or .svg")
    parser.add_argument("--contamination", type=float, metavar="SHARE", help="share of each item's points to flag")
    parser.add_argument("--threshold", type=float, metavar="SCORE", help="flag from this score on (default: by tail)")
    parser.add_argument("--smooth", type=int, default=1, metavar="N", help="points over which scores are averaged")
    parser.add_argument("--merge", type=int, default=3, metavar="N", help="flagged points this close are one interval")


def detect(options: argparse.Namespace) -> int:
    """Carry out ``tsar detect``."""
    validate_output(options.intervals, TABLE_SUFFIXES)
    validate_output(options.plot, PLOT_SUFFIXES)
    table = _validated_table(options)

    from tsar.tasks.anomaly import detect_anomalies

    columns = column_names(options)
    points, intervals = detect_anomalies(
        table, options.model, contamination=options.contamination, threshold=options.threshold, explain=True,
        smooth=options.smooth, merge=options.merge, device=options.device, **columns,
    )  # fmt: skip
    write_table(points, options.output)
    if options.intervals:
        write_table(intervals, options.intervals)
    if options.plot:
        _write_plot(points, options.plot, columns)
    return 0


def _write_plot(points: pd.DataFrame, path: Path, columns: dict[str, Any]) -> None:
    """Draw the first items with the expected band and what was flagged."""
    from tsar.plotting.style import shorten
    from tsar.reporting.figures import draw_anomalies

    item_ids = first_items(points, columns["id_column"])
    figure, axes = new_figure(len(item_ids))
    for item_id, ax in zip(item_ids, axes, strict=True):
        part = points if item_id is None else points[points[columns["id_column"]] == item_id]
        draw_anomalies(ax, part, timestamp_column=columns["timestamp_column"], target=columns["target"])
        ax.set_title("" if item_id is None else shorten(str(item_id)), loc="left", fontsize=10, parse_math=False)
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    write_figure(figure, path)


def add_embed(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar embed``."""
    parser = _add_task(
        commands, common, "embed",
        help="turn every series into a vector",
        description="Turn every series of a table into a vector: one row per item.",
        epilog="example:\n  tsar embed sales.csv --pooling mean_std --output vectors.parquet",
    )  # fmt: skip
    parser.set_defaults(run=embed)
    parser.add_argument("--pooling", default="mean", metavar="NAME", help="mean, std, last, segments, joined by _")
    parser.add_argument("--layer", type=int, nargs="+", metavar="N", help="hidden layers (default: the last)")
    parser.add_argument(
        "--length",
        type=none_or_number,
        default=512,
        metavar="L",
        help="points every series is brought to; none: as it is (default: %(default)s)",
    )
    parser.add_argument("--no-statistics", action="store_true", help="leave out means, deviations, level and scale")


def embed(options: argparse.Namespace) -> int:
    """Carry out ``tsar embed``."""
    table = _validated_table(options)

    from tsar.tasks.embed import embed as make_vectors

    result = make_vectors(
        table, model=options.model, pooling=options.pooling, layer=options.layer, length=options.length,
        statistics=not options.no_statistics, device=options.device, **column_names(options),
    )  # fmt: skip
    write_table(result, options.output)
    return 0


def _add_task(commands: Any, common: argparse.ArgumentParser, name: str, **texts: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, parents=[common], **WITH_OPTIONS, **texts)
    parser.add_argument("input", type=Path, metavar="DATA", help="table in long form, .csv or .parquet")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".csv or .parquet; without it CSV is printed")
    add_model(parser)
    add_columns(parser)
    return parser


def _validated_table(options: argparse.Namespace) -> pd.DataFrame:
    validate_input(options.input)
    validate_output(options.output, TABLE_SUFFIXES)
    return read_input(options)
