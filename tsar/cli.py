"""The command line: ``tsar forecast``, ``tsar benchmark``, ``tsar pretrain``, ``tsar models``, ``tsar doctor``.

Heavy imports wait inside the commands, so that ``tsar --help`` answers at once. Exit codes: 0 done; 2 the input or an
option cannot be used, with one line on standard error that says what to do; 1 a mistake inside tsar, or a failed check
of ``doctor``; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar import __version__
from tsar.errors import OptionError, TsarError, TsarWarning

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_MODEL = "tsar-tiny"
TABLE_SUFFIXES = (".csv", ".parquet")
PLOT_SUFFIXES = (".png", ".pdf", ".svg")
MAX_PLOTTED = 6
_PACKAGE = Path(__file__).parent
RECIPE_FOLDERS = (_PACKAGE / "_recipes", _PACKAGE.parent / "pretrain" / "recipes")  # in a wheel; in a checkout


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; None: those of the process.
    """
    options = make_parser().parse_args(argv)
    try:
        with _one_line_warnings():
            exit_code = int(options.run(options))
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TsarError, OSError) as error:  # the latter: a full disk, a file that may not be written
        return _report(options, str(error), exit_code=2)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} Hint: --debug shows where; please report it."
        return _report(options, text, exit_code=1)


_WITH_OPTIONS: dict[str, Any] = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
"""How the parsers of commands with many options are made."""


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tsar", description="Zero-shot time-series forecasting, offline, on a CPU.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"tsar {__version__}")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_forecast, _add_benchmark, _add_pretrain, _add_models, _add_doctor):
        add(commands, common)
    return parser


# --------------------------------------------------------------------------------------------------------- forecast


def _add_forecast(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "forecast",
        parents=[common],
        **_WITH_OPTIONS,
        help="forecast every series of a CSV or parquet file",
        description="Forecast every series of a CSV or parquet file with one row per item and timestamp.",
        epilog="example:\n  tsar forecast sales.csv --prediction-length 24 --output forecast.csv --plot forecast.png",
    )
    parser.set_defaults(run=forecast)
    parser.add_argument("input", type=Path, metavar="INPUT", help="table in long form, .csv or .parquet")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".csv or .parquet; without it CSV is printed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of the first items: .png, .pdf or .svg")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help="name or folder of a release (default: %(default)s)"
    )
    parser.add_argument(
        "--quantile-levels", type=float, nargs="+", metavar="LEVEL", help="inside (0, 1) (default: 0.1 0.2 … 0.9)"
    )
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
        "--target", metavar="NAME", default="target", help="the values to forecast (default: %(default)s)"
    )
    columns.add_argument("--freq", metavar="ALIAS", help="pandas alias such as h, D, W-SUN, MS (default: inferred)")
    running = parser.add_argument_group("running")
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
    running.add_argument(
        "--allow-negative", action="store_true", help="no clipping at zero where the past never fell below"
    )
    running.add_argument("--ensemble", choices=["classical"], help="with Theta and ETS: much slower")
    running.add_argument("--device", metavar="NAME", default="auto", help="cpu, cuda, cuda:1 … (default: %(default)s)")
    running.add_argument(
        "--batch-size", metavar="N", type=_auto_or_number, default="auto", help="series at once (default: %(default)s)"
    )


def forecast(options: argparse.Namespace) -> int:
    """Carry out ``tsar forecast``."""
    _validate_files(options)
    columns: dict[str, Any] = {
        "id_column": options.id_column or None,
        "timestamp_column": options.timestamp_column,
        "target": options.target,
    }
    table = _read_table(options.input, options.id_column)

    from tsar.forecaster import Forecaster

    levels: dict[str, Any] = {"quantile_levels": tuple(options.quantile_levels)} if options.quantile_levels else {}
    forecaster = Forecaster(
        model=options.model,
        prediction_length=options.prediction_length,
        context_length=options.context_length,
        downsample=options.downsample,
        symmetrize=not options.no_symmetrize,
        non_negative=False if options.allow_negative else "auto",
        ensemble=options.ensemble,
        freq=options.freq,
        device=options.device,
        batch_size=options.batch_size,
        **levels,
        **columns,
    )
    result = forecaster.fit(table).predict()
    _write_table(result, options.output)
    if options.plot:
        _write_plot(table, result, options.plot, columns)
    return 0


def _validate_files(options: argparse.Namespace) -> None:
    """Refuse unusable paths before the work rather than after it."""
    if not options.input.is_file():
        raise OptionError(f"There is no file {options.input}.", code="cli.bad_input")
    for path, suffixes in (
        (options.input, TABLE_SUFFIXES),
        (options.output, TABLE_SUFFIXES),
        (options.plot, PLOT_SUFFIXES),
    ):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise OptionError(f"{path} must end in one of {', '.join(suffixes)}.", code="cli.bad_input")
        if not path.absolute().parent.is_dir():
            raise OptionError(f"{path} is in a folder that does not exist.", code="cli.bad_input")


def _read_table(path: Path, id_column: str) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype={id_column: str})  # an id "007" stays as it is written
    except (OSError, ValueError) as error:  # the errors of both readers derive from these
        reason = str(error).strip().splitlines()[0]
        raise OptionError(f"{path} cannot be read: {reason}.", code="cli.bad_input") from error


def _write_table(result: pd.DataFrame, path: Path | None) -> None:
    if path is None:
        result.to_csv(sys.stdout, index=False)
    elif path.suffix.lower() == ".parquet":
        result.to_parquet(path, index=False)
    else:
        result.to_csv(path, index=False)


def _write_plot(history: pd.DataFrame, result: pd.DataFrame, path: Path, columns: dict[str, Any]) -> None:
    """Draw the first items below each other."""
    import matplotlib

    matplotlib.use("Agg")  # a picture is written; no window is wanted
    import matplotlib.pyplot as plt

    from tsar.plotting import plot_forecast

    id_column = columns["id_column"]
    item_ids = [None] if id_column is None else list(result[id_column].drop_duplicates().head(MAX_PLOTTED))
    figure, rows = plt.subplots(len(item_ids), figsize=(9, 3.2 * len(item_ids)), layout="constrained", squeeze=False)
    for item_id, ax in zip(item_ids, rows[:, 0], strict=True):
        plot_forecast(history, result, item_id=item_id, ax=ax, **columns)
    figure.savefig(path, dpi=150)


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


# -------------------------------------------------------------------------------------------------------- benchmark


def _add_benchmark(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "benchmark",
        parents=[common],
        **_WITH_OPTIONS,
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
    from tsar.benchmark import read_sets, run_benchmark, validate_output
    from tsar.logging import log_to_terminal

    if options.output:
        validate_output(options.output)
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


# --------------------------------------------------------------------------------------------------------- pretrain


def _add_pretrain(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "pretrain",
        parents=[common],
        **_WITH_OPTIONS,
        help="train a model from a recipe",
        description="Train a model from a recipe; run again after an interruption, it goes on where it stopped.\n"
        "On several processes: torchrun or accelerate launch … -m tsar.cli pretrain RECIPE",
        epilog="example:\n  tsar pretrain pretrain/recipes/tsar-tiny.yaml --minutes 90 --set optim.lr=2e-3",
    )
    parser.set_defaults(run=pretrain)
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a recipe that ships with tsar")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="checkpoints and result (default: runs/NAME)")
    parser.add_argument("--minutes", type=float, metavar="M", help="wall-time budget; wins over the recipe's")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="a.b=c",
        help="set a value of the recipe; may be repeated",
    )
    parser.add_argument("--no-resume", dest="resume", action="store_false", help="refuse a folder with checkpoints")


def pretrain(options: argparse.Namespace) -> int:
    """Carry out ``tsar pretrain``."""
    from tsar.logging import log_to_terminal
    from tsar.training.config import load_recipe
    from tsar.training.loop import pretrain as run_pretraining

    recipe = load_recipe(_find_recipe(options.recipe), options.overrides)
    if _is_main_process():
        log_to_terminal()
    run_dir = options.run_dir or Path("runs") / recipe.name
    result = run_pretraining(recipe, run_dir, minutes=options.minutes, resume=options.resume)
    if _is_main_process():
        print(result)
    return 0


def _find_recipe(recipe: str) -> Path:
    """Return the file of that path, or the shipped recipe of that name."""
    shipped = [folder / f"{recipe}.yaml" for folder in RECIPE_FOLDERS]
    return next((path for path in (Path(recipe), *shipped) if path.is_file()), Path(recipe))


def _is_main_process() -> bool:
    """Tell the first of several processes, as their launcher numbers them."""
    return os.environ.get("RANK", "0") == "0"


# --------------------------------------------------------------------------------------------------- models, doctor


def _add_models(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "models",
        parents=[common],
        help="list the releases that ship with tsar",
        description="List the shipped releases.",
    )
    parser.set_defaults(run=models)


def models(options: argparse.Namespace) -> int:
    """Carry out ``tsar models``."""
    from tsar.registry import list_models

    for release in list_models():
        print(f"{release.name:20} {release.parameters / 1e6:8.2f} M  {release.summary}")
    return 0


def _add_doctor(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="check this installation",
        description="Print versions and devices, check the shipped releases, make a small forecast.",
    )
    parser.set_defaults(run=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Carry out ``tsar doctor``: exit code 1 if any check fails."""
    from tsar.doctor import run_checks

    failed = False
    for check in run_checks():
        print(f"{'ok  ' if check.passed else 'FAIL'} {check.name:12} {check.detail}", flush=True)
        failed = failed or not check.passed
    return int(failed)


# ---------------------------------------------------------------------------------------------------------- terminal


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning as one line on standard error, as errors are; those of tsar always."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"tsar: warning: {_one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("always", TsarWarning)
        yield


def _report(options: argparse.Namespace, message: str, *, exit_code: int) -> int:
    if options.debug:
        traceback.print_exc()
    print(f"tsar: error: {_one_line(message)}", file=sys.stderr)
    return exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
