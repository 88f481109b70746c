"""``tsar forecast``: from a file to a file."""

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
from tsar.cli.many import add_many, forecast_many, forecast_streamed, is_many, is_streamed
from tsar.cli.options import (
    WITH_OPTIONS,
    add_calibration,
    add_columns,
    add_constraints,
    add_covariates,
    add_future,
    add_levels,
    add_running,
    add_tuning,
    constraints_of,
    make_forecaster,
    refuse_given,
)
from tsar.cli.tables import read_further, read_input
from tsar.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

FIXED_WHEN_SAVED = (
    "model", "adapter", "device", "context_length", "downsample", "no_symmetrize", "no_follow_period", "allow_negative",
    "ensemble", "batch_size", "gap", "random_state", "id_column", "timestamp_column", "target", "freq",
    "past_covariates", "future_covariates", "static_covariates", "calendar", "holidays", "covariate_method",
    "calibrate", "mode", "fine_tune",
)  # fmt: skip
"""Options that a saved forecaster brings along."""


def add_forecast(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar forecast``."""
    parser = commands.add_parser(
        "forecast",
        parents=[common],
        **WITH_OPTIONS,
        help="forecast every series of a CSV or parquet file, or of many files",
        description="Forecast every series of a CSV or parquet file with one row per item and timestamp.\n"
        "Several parquet files, or folders of them, give a folder with one output each;\n"
        "run again, those that are done are left alone.",
        epilog="example:\n  tsar forecast sales.csv --prediction-length 24 --output forecast.csv --plot forecast.png\n"
        "  tsar forecast big/*.parquet --engine ray --freq D --prediction-length 24 --output out/",
    )
    parser.add_argument("input", type=Path, nargs="*", metavar="INPUT", help="tables in long form, .csv or .parquet")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    parser.add_argument("--output", type=Path, metavar="PATH", help=".csv or .parquet; without it CSV is printed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the first items: .png, .pdf or .svg")
    add_levels(parser)
    add_calibration(parser)
    parser.add_argument(
        "--forecaster",
        type=Path,
        metavar="FOLDER",
        help="a saved one, with its options; without INPUT it forecasts the history that it was fitted on",
    )
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="what `tsar finetune --adapter-only` wrote")
    add_columns(parser)
    add_running(parser)
    add_covariates(parser)
    add_future(parser)
    _add_adapting(parser)
    add_many(parser)
    add_constraints(parser)
    add_tuning(parser, mode="zero_shot")
    parser.set_defaults(run=forecast, usage_error=parser.error, defaults=_defaults(parser))


def _add_adapting(parser: argparse.ArgumentParser) -> None:
    """What may help a single call of `predict`; off by default."""
    group = parser.add_argument_group("adapting to the series")
    group.add_argument("--examples", type=Path, metavar="FILE", help="other series in which to look for like windows")
    group.add_argument("--neighbours", type=int, default=0, metavar="K", help="windows looked up (default: none)")
    group.add_argument("--adapt-steps", type=int, default=0, metavar="N", help="updates on the series' own past")


def _defaults(parser: argparse.ArgumentParser) -> dict[str, Any]:
    return {name: parser.get_default(name) for name in FIXED_WHEN_SAVED}


def forecast(options: argparse.Namespace) -> int:
    """Carry out ``tsar forecast``."""
    if is_many(options):
        return forecast_many(options)
    options.input = options.input[0] if options.input else None
    if options.input is None and options.forecaster is None:
        options.usage_error("the following arguments are required: INPUT (or --forecaster)")
    if options.input is None and options.plot is not None:
        raise OptionError("--plot draws the history of INPUT, which is not given.", code="cli.bad_input")
    validate_input(options.input, options.future_df, options.examples)
    validate_output(options.output, TABLE_SUFFIXES)
    validate_output(options.plot, PLOT_SUFFIXES)
    if is_streamed(options):
        return forecast_streamed(options)
    forecaster, table = _saved_forecast(options) if options.forecaster else _new_forecast(options)
    future = None if options.future_df is None else read_further(options.future_df, forecaster, options.date_format)
    examples = None if options.examples is None else read_further(options.examples, forecaster, options.date_format)
    levels = tuple(options.quantile_levels) if options.quantile_levels else None
    result = forecaster.predict(
        table if options.forecaster or options.adapter else None,  # else: what it was fitted on
        future_df=future, prediction_length=options.prediction_length, quantile_levels=levels,
        constraints=constraints_of(options) if options.forecaster else None, examples=examples,
        neighbours=options.neighbours, adapt_steps=options.adapt_steps,
    )  # fmt: skip
    write_table(result, options.output)
    if options.plot and table is not None:
        _write_plot(table, result, options.plot, forecaster)
    return 0


def _new_forecast(options: argparse.Namespace) -> tuple[Any, pd.DataFrame]:
    """Fit a forecaster, or put an adapter on one; with the table."""
    if options.adapter and (options.mode != "zero_shot" or options.calibrate):
        text = "--adapter brings weights that are tuned: --mode and --calibrate would need another fit."
        raise OptionError(text, code="cli.bad_input", hint="Leave these out")
    table = read_input(options)
    forecaster = make_forecaster(options)
    return forecaster.load_adapter(options.adapter) if options.adapter else forecaster.fit(table), table


def _saved_forecast(options: argparse.Namespace) -> tuple[Any, pd.DataFrame | None]:
    refuse_given(options, FIXED_WHEN_SAVED, options.defaults, "is an option of the saved forecaster and cannot change")
    from tsar.forecaster import Forecaster

    forecaster = Forecaster.load(options.forecaster)
    return forecaster, None if options.input is None else read_further(options.input, forecaster, options.date_format)


def _write_plot(history: pd.DataFrame, result: pd.DataFrame, path: Path, forecaster: Any) -> None:
    """Draw the first items below each other."""
    from tsar.plotting.forecast import plot_forecast

    columns = {name: getattr(forecaster, name) for name in ("id_column", "timestamp_column", "target")}
    item_ids = first_items(result, forecaster.id_column)
    figure, axes = new_figure(len(item_ids))
    for item_id, ax in zip(item_ids, axes, strict=True):
        plot_forecast(history, result, item_id=item_id, ax=ax, **columns)
    write_figure(figure, path)
