"""Options that several commands share, and the forecaster that they describe: each is an argument of `Forecaster`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tsar.errors import OptionError

DEFAULT_MODEL = "tsar-tiny"
WITH_OPTIONS: dict[str, Any] = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
"""How the parsers of commands with many options are made."""

MODES = ("zero_shot", "head", "prompt", "lora", "probe_then_tune", "full", "from_scratch")
CONSTRAINTS = ("lower", "upper", "integer", "closed_hours", "closed_weekdays", "closed")


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Which columns of a table are which."""
    columns = parser.add_argument_group("columns")
    columns.add_argument(
        "--id-column",
        metavar="NAME",
        default="item_id",
        help="names the series; '' if there is one (default: %(default)s)",
    )
    columns.add_argument(
        "--timestamp-column", metavar="NAME", default="timestamp", help="start of each period (default: %(default)s)"
    )
    columns.add_argument(
        "--target",
        metavar="NAME",
        type=_names,
        default="target",
        help="the values to forecast; NAME,NAME,…: several targets (default: %(default)s)",
    )
    columns.add_argument(
        "--date-format", metavar="FORMAT", help="how timestamps are written, such as %%d/%%m/%%Y (default: found out)"
    )
    columns.add_argument("--freq", metavar="ALIAS", help="pandas alias such as h, D, W-SUN, MS (default: inferred)")


def _names(text: str) -> str | list[str]:
    """One name, or several with commas between."""
    names = text.split(",")
    return text if len(names) == 1 else names


def column_names(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_columns` asked for, as Python's functions take it."""
    return {
        "id_column": options.id_column or None,
        "timestamp_column": options.timestamp_column,
        "target": options.target,
        "freq": options.freq,
    }


def add_model(parser: argparse._ActionsContainer) -> None:
    """Which model, and where it runs."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help="name or folder of a release (default: %(default)s)"
    )
    parser.add_argument("--device", metavar="NAME", default="auto", help="cpu, cuda, cuda:1 … (default: %(default)s)")


def add_running(parser: argparse.ArgumentParser) -> None:
    """How the model is asked."""
    running = parser.add_argument_group("running")
    add_model(running)
    running.add_argument(
        "--context-length", type=_lengths, metavar="L", help="past points read; L,L,…: averaged (default: the model's)"
    )
    running.add_argument(
        "--downsample",
        metavar="N",
        type=_auto_or_number,
        default="auto",
        help="steps averaged into one for a second, coarse view; 1: none (default: %(default)s)",
    )
    running.add_argument("--no-symmetrize", action="store_true", help="half the time, about one percent more error")
    running.add_argument("--no-follow-period", action="store_true", help="no cycles that the model misses are averaged")
    running.add_argument(
        "--allow-negative", action="store_true", help="no clipping at zero where the past never fell below"
    )
    running.add_argument("--ensemble", choices=["classical"], help="with Theta and ETS: much slower")
    running.add_argument(
        "--batch-size", metavar="N", type=_auto_or_number, default="auto", help="series at once (default: %(default)s)"
    )
    running.add_argument(
        "--channel-adapter", metavar="NAME", help="several targets by way of each other: related, linear, pca, identity"
    )
    running.add_argument("--gap", type=int, default=0, metavar="N", help="steps between the history and the forecast")
    running.add_argument("--random-state", type=int, metavar="N", help="seed of all that is learned (default: 0)")


def add_levels(parser: argparse._ActionsContainer) -> None:
    """Which quantiles."""
    parser.add_argument(
        "--quantile-levels", type=_level, nargs="+", metavar="LEVEL", help="inside (0, 1) (default: 0.1 0.2 … 0.9)"
    )


def add_calibration(parser: argparse._ActionsContainer) -> None:
    """Bands corrected by a backtest."""
    parser.add_argument(
        "--calibrate",
        nargs="?",
        const=True,
        default=False,
        choices=["cqr", "split"],
        help="correct the bands by a backtest on the ends of the histories (cqr, unless split is asked for)",
    )


def add_covariates(parser: argparse.ArgumentParser) -> None:
    """Columns that go along with the target."""
    group = parser.add_argument_group("covariates")
    for kind, what in (("past", "known up to the cutoff"), ("future", "known ahead"), ("static", "one value per item")):
        group.add_argument(f"--{kind}-covariates", nargs="+", default=(), metavar="NAME", help=f"columns {what}")
    group.add_argument("--calendar", action="store_true", help="weekday, place in month and year, working days")
    group.add_argument("--holidays", metavar="COUNTRY", help="holidays of a country by its code, such as FR")
    group.add_argument(
        "--covariate-method", default="auto", metavar="NAME", help="ridge, gradient_boosting or auto (default)"
    )


def add_future(parser: argparse.ArgumentParser) -> None:
    """Where the future covariates are."""
    parser.add_argument(
        "--future",
        "--future-df",
        dest="future_df",
        type=Path,
        metavar="FILE",
        help="future covariates: a row for every item and timestamp that is forecast",
    )


def add_constraints(parser: argparse.ArgumentParser) -> None:
    """What a forecast may never be."""
    group = parser.add_argument_group("constraints")
    for side in ("lower", "upper"):
        group.add_argument(
            f"--{side}", type=_number_or_name, metavar="X", help=f"{side} bound: a number, or a column's last value"
        )
    group.add_argument(
        "--integer", nargs="?", const=True, choices=["auto"], help="whole numbers; auto: where the history has no other"
    )
    group.add_argument("--closed-hours", type=int, nargs="+", metavar="HOUR", help="0 to 23: zero in these hours")
    group.add_argument("--closed-weekdays", type=int, nargs="+", metavar="DAY", help="0 (Monday) to 6: zero on these")
    group.add_argument("--closed", choices=["auto"], help="learn closed hours and weekdays from the history")


def add_tuning(parser: argparse.ArgumentParser, *, mode: str) -> None:
    """Whether, and how, a copy of the model is trained."""
    group = parser.add_argument_group("fine-tuning")
    group.add_argument("--mode", choices=MODES, default=mode, help="what is trained (default: %(default)s)")
    group.add_argument(
        "--fine-tune",
        nargs="+",
        metavar="NAME=VALUE",
        type=_assignment,
        help="fields of FineTuneConfig: max_steps=100 time_limit=60 learning_rate=1e-3 …",
    )


def make_forecaster(options: argparse.Namespace, **more: Any) -> Any:
    """Return the `Forecaster` that the options describe; what a command does not ask for stays as in Python."""
    from tsar.forecaster import Forecaster

    return Forecaster(**forecaster_arguments(options), **more)


def forecaster_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Forecaster` by name."""
    given = vars(options)
    same = (
        "model", "device", "prediction_length", "context_length", "downsample", "ensemble", "batch_size", "gap",
        "random_state", "calibrate", "past_covariates", "future_covariates", "static_covariates", "calendar",
        "holidays", "covariate_method", "mode", "channel_adapter",
    )  # fmt: skip
    arguments = {name: given[name] for name in same if name in given} | column_names(options)
    if given.get("quantile_levels"):
        arguments["quantile_levels"] = tuple(options.quantile_levels)
    if given.get("fine_tune"):
        arguments["fine_tune"] = dict(options.fine_tune)
    arguments["symmetrize"] = not options.no_symmetrize
    arguments["follow_period"] = not options.no_follow_period
    arguments["non_negative"] = False if options.allow_negative else "auto"
    return arguments | {"constraints": constraints_of(options)}


def constraints_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return what `add_constraints` asked for; None if nothing."""
    given = {name: getattr(options, name) for name in CONSTRAINTS if getattr(options, name, None) is not None}
    return given or None


def refuse_given(options: argparse.Namespace, names: tuple[str, ...], defaults: dict[str, Any], why: str) -> None:
    """Refuse options that differ from their defaults."""
    for name in names:
        value = getattr(options, name, None)
        if value != defaults.get(name):
            raise OptionError(f"--{name.replace('_', '-')} {why}.", code="cli.bad_input", hint="Leave it out")


def _level(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write several with spaces: 0.1 0.5 0.9") from None


def _lengths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, nor several with commas between") from None


def _auto_or_number(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number") from None


def none_or_number(text: str) -> int | None:
    """Return a whole number, or None for the word."""
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither none nor a whole number") from None


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _assignment(text: str) -> tuple[str, Any]:
    """``max_steps=50`` as a name and a number (or a word)."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, None if value == "None" else value
