"""``tsar pretrain`` and ``tsar finetune``: commands that train."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.files import validate_input
from tsar.cli.options import (
    WITH_OPTIONS,
    add_columns,
    add_constraints,
    add_covariates,
    add_running,
    add_tuning,
    make_forecaster,
)
from tsar.cli.tables import read_further, read_input
from tsar.errors import OptionError, RecipeError

if TYPE_CHECKING:
    from tsar.training.tune_config import FineTuneReport

_PACKAGE = Path(__file__).parent.parent
RECIPE_FOLDERS = (_PACKAGE / "_recipes", _PACKAGE.parent / "pretrain" / "recipes")  # in a wheel; in a checkout


def add_finetune(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar finetune``."""
    parser = commands.add_parser(
        "finetune",
        parents=[common],
        **WITH_OPTIONS,
        help="train a copy of a model on a table, and keep it if it forecasts held-back ends better",
        description="Train a copy of a model on a table. The ends of the series are held back; the copy is kept only\n"
        "if it forecasts them better. docs/fine_tuning.md says when which mode pays.",
        epilog="example:\n  tsar finetune sales.csv --mode lora --prediction-length 28 --output tuned\n"
        "  tsar forecast sales.csv --forecaster tuned",
    )
    parser.set_defaults(run=finetune)
    parser.add_argument("input", type=Path, metavar="DATA", help="table in long form, .csv or .parquet")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="new, or an earlier forecaster")
    parser.add_argument("--adapter-only", action="store_true", help="write what has changed, without the model")
    parser.add_argument("--validation", type=Path, metavar="FILE", help="rows that follow DATA, instead of its ends")
    parser.add_argument("--prediction-length", type=int, metavar="F", help="steps to forecast (default: one season)")
    add_tuning(parser, mode="lora")
    add_columns(parser)
    add_running(parser)
    add_covariates(parser)
    add_constraints(parser)


def finetune(options: argparse.Namespace) -> int:
    """Carry out ``tsar finetune``."""
    validate_input(options.input, options.validation)
    _validate_folder(options.output, "adapter" if options.adapter_only else "forecaster")
    if options.mode == "zero_shot":
        raise OptionError("zero_shot trains nothing.", code="cli.bad_input", hint="Give --mode lora, for example.")
    table = read_input(options)
    validation = None if options.validation is None else read_further(options.validation, options, options.date_format)
    forecaster = make_forecaster(options).fit(table, validation=validation)
    print(_describe(forecaster.fine_tune_report_))
    if options.adapter_only:
        forecaster.save_adapter(options.output)
    else:
        forecaster.save(options.output)
    print(f"{'saved':18}{options.output}")
    return 0


def _validate_folder(folder: Path, kind: str) -> None:
    """Refuse before the training what saving would refuse after it."""
    from tsar.storage import is_replaceable

    if not is_replaceable(folder, kind):
        text = f"{folder} is there already and holds something else."
        raise OptionError(text, code="cli.bad_input", hint="Give a new folder.")


def _describe(report: FineTuneReport) -> str:
    rows = [
        ("mode", report.mode),
        ("weights trained", f"{report.trained_parameters:,} ({report.trained_share:.2%})"),
        ("held-back windows", f"{report.num_windows}"),
        ("zero-shot score", f"{report.zero_shot_score:.4f}"),
        ("tuned score", f"{report.tuned_score:.4f} ({report.tuned_score / report.zero_shot_score - 1:+.1%})"),
        ("seconds", f"{report.seconds:.0f}"),
    ]
    if report.fell_back:
        rows.append(("kept", f"the released weights: {report.reason}"))
    return "\n".join(f"{name:18}{value}" for name, value in rows)


def add_pretrain(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar pretrain``."""
    parser = commands.add_parser(
        "pretrain",
        parents=[common],
        **WITH_OPTIONS,
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
    parser.add_argument(
        "--sweep",
        action="extend",
        nargs="+",
        default=[],
        metavar="a.b=[c,d]",
        help="scaling study: train with each value (of several axes: each combination); writes a table and a plot",
    )
    parser.add_argument("--no-resume", dest="resume", action="store_false", help="refuse a folder with checkpoints")


def pretrain(options: argparse.Namespace) -> int:
    """Carry out ``tsar pretrain``."""
    from tsar.logging import log_to_terminal
    from tsar.training.config import TASK, read_recipe

    path = find_recipe(options.recipe)
    values = read_recipe(path, options.overrides)
    task = str(values.get("task", TASK))
    if task not in TASKS:
        text = f"The recipe has the unknown task {task!r}."
        raise RecipeError(text, code="recipe.bad_value", hint=f"Known: {', '.join(TASKS)}.")
    if _is_main_process():
        log_to_terminal()
    result = TASKS[task](options, path, values)
    if _is_main_process():
        print(result)
    return 0


def _pretrain_series(options: argparse.Namespace, path: Path, values: dict[str, Any]) -> object:
    """Train a model of series, or several."""
    from tsar.training.config import make_recipe
    from tsar.training.loop import pretrain as run_pretraining

    recipe = make_recipe(values)
    run_dir = options.run_dir or Path("runs") / recipe.name
    if options.sweep:
        from tsar.training.sweep import run_sweep

        return run_sweep(path, options.sweep, run_dir, overrides=options.overrides, minutes=options.minutes)
    return run_pretraining(recipe, run_dir, minutes=options.minutes, resume=options.resume)


def _pretrain_events(options: argparse.Namespace, path: Path, values: dict[str, Any]) -> object:
    """Train a model of events; such runs are short, and none is taken up again."""
    from tsar.events.pretraining import pretrain_events
    from tsar.events.recipe import make_event_recipe

    if options.sweep:
        raise OptionError("--sweep knows no recipes of events.", code="cli.bad_input")
    recipe = make_event_recipe(values)
    return pretrain_events(recipe, options.run_dir or Path("runs") / recipe.name, minutes=options.minutes)


TASKS = {"series": _pretrain_series, "events": _pretrain_events}
"""What trains a recipe, by its `task`."""


def find_recipe(recipe: str) -> Path:
    """Return the file of that path, or the shipped recipe of that name."""
    shipped = [folder / f"{recipe}.yaml" for folder in RECIPE_FOLDERS]
    found = next((path for path in (Path(recipe), *shipped) if path.is_file()), None)
    if found is None:
        names = sorted({path.stem for folder in RECIPE_FOLDERS for path in folder.glob("*.yaml")})
        hint = f"Give a YAML file, or one of {', '.join(names)}."
        raise RecipeError(f"There is no recipe {recipe}.", code="recipe.missing_file", hint=hint)
    return found


def _is_main_process() -> bool:
    """Tell the first of several processes, as their launcher numbers them."""
    return os.environ.get("RANK", "0") == "0"
