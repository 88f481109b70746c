"""``tsar forecast`` of what does not fit into memory: large parquet files part by part, many files shard by shard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.files import INPUT_SUFFIXES, validate_input
from tsar.cli.options import constraints_of, make_forecaster, refuse_given
from tsar.errors import OptionError

if TYPE_CHECKING:
    from tsar.distributed.shards import Shard

ENGINES = ("local", "ray")
ON_ERROR = ("raise", "column")
PARQUET = ".parquet"
NEEDS_WHOLE_TABLE = (
    "plot", "calibrate", "future_df", "examples", "neighbours", "adapt_steps", "past_covariates", "future_covariates",
    "static_covariates", "calendar", "holidays", "fine_tune", "channel_adapter",
)  # fmt: skip
"""Options that learn from all series together, or read another table."""


def add_many(parser: argparse.ArgumentParser) -> None:
    """How files are worked through."""
    group = parser.add_argument_group("many series")
    group.add_argument("--engine", choices=ENGINES, help="who works through several files (default: this process)")
    group.add_argument("--workers", type=int, metavar="N", help="processes of the engine (default: one per CPU)")
    group.add_argument(
        "--on-error", choices=ON_ERROR, help="a series that cannot be forecast stops the run, or has its error in a "
        "column of parquet output (default: raise for one file, column for several)",
    )  # fmt: skip


def is_many(options: argparse.Namespace) -> bool:
    """Tell whether the output is a folder with a file for each input."""
    return len(options.input) > 1 or options.engine is not None or any(path.is_dir() for path in options.input)


def is_streamed(options: argparse.Namespace) -> bool:
    """Tell whether one file goes through part by part: parquet to parquet, if nothing needs the whole table."""
    files = (options.input, options.output)
    if all(path is not None and path.suffix.lower() == PARQUET for path in files) and options.id_column:
        possible = not _in_the_way(options) and options.mode == "zero_shot" and _has_stamps(options)
    else:
        possible = False
    if options.on_error is not None and not possible:
        text = "--on-error is for parquet to parquet, without options that need the whole table."
        raise OptionError(text, code="cli.bad_input", hint="Leave it out")
    return possible


def forecast_streamed(options: argparse.Namespace) -> int:
    """Forecast one parquet file into one, at constant memory."""
    from tsar.distributed.shards import Shard, fingerprint

    forecaster = _make_worker(options, options.input)
    shard = Shard(source=options.input, output=options.output, fingerprint=fingerprint(options.input, forecaster))
    _run_here([shard], forecaster, raise_errors=options.on_error != "column")
    return 0


def forecast_many(options: argparse.Namespace) -> int:
    """Forecast files into a folder, one output each; those that are there already are left alone."""
    sources = _expand(options.input)
    _validate_many(options, sources)
    from tsar.distributed.shards import forecast_shards_on_ray, make_shards

    forecaster = _make_worker(options, sources[0])
    raise_errors = options.on_error == "raise"
    extra = f"{_content_of(options.forecaster)} {_content_of(options.adapter)} {raise_errors}"
    shards = make_shards(sources, options.output, forecaster, options=extra)
    left = [shard for shard in shards if not shard.is_done]
    options.output.mkdir(parents=True, exist_ok=True)
    if options.engine == "ray":
        from tsar.logging import progress_bar

        ended = forecast_shards_on_ray(left, forecaster, num_workers=options.workers, raise_errors=raise_errors)
        failed = 0
        with progress_bar(total=len(shards), initial=len(shards) - len(left), desc="forecast", unit="file") as bar:
            for _, number in ended:
                failed += number
                bar.update()
    else:
        failed = _run_here(left, forecaster, raise_errors=raise_errors)
    print(f"{len(left)} files forecast, {len(shards) - len(left)} were there, {failed} series failed: {options.output}")
    return 0


def _run_here(shards: list[Shard], forecaster: Any, *, raise_errors: bool) -> int:
    from tsar.distributed.shards import forecast_shard
    from tsar.logging import progress_bar

    total = sum(shard.num_rows for shard in shards)
    with progress_bar(total=total, desc="forecast", unit="row", delay=2.0) as bar:
        return sum(forecast_shard(shard, forecaster, raise_errors=raise_errors, advance=bar.update) for shard in shards)


def _make_worker(options: argparse.Namespace, first: Path) -> Any:
    """Return the forecaster of all parts; what is not given about the time axis comes from the first part."""
    from tsar.distributed.partition import make_worker
    from tsar.distributed.shards import columns_of, require_columns
    from tsar.distributed.time_axis import settle_time_axis

    if options.forecaster:
        fixed = tuple(options.defaults)
        refuse_given(options, fixed, options.defaults, "is an option of the saved forecaster and cannot change")
        from tsar.forecaster import Forecaster

        forecaster = Forecaster.load(options.forecaster)
        given = {"quantile_levels": options.quantile_levels, "constraints": constraints_of(options)}
        given |= {"prediction_length": options.prediction_length}
        forecaster.set_params(**{name: value for name, value in given.items() if value is not None})
    else:
        forecaster = make_forecaster(options)
    if options.adapter:
        forecaster.load_adapter(options.adapter)
    require_columns(first, columns_of(forecaster))
    return make_worker(settle_time_axis(forecaster, first))


def _content_of(folder: Path | None) -> str:
    """What is in a saved folder, as the hashes of its manifest say: another is often saved under the same name."""
    from tsar.storage import MANIFEST

    return "" if folder is None else (folder / MANIFEST).read_text()


def _expand(paths: list[Path]) -> list[Path]:
    """Return the files, with the parquet files of each folder in the order of their names."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{PARQUET}")) if path.is_dir() else [path]
        if not inside:
            raise OptionError(f"The folder {path} has no parquet files.", code="cli.bad_input")
        files += inside
    return files


def _validate_many(options: argparse.Namespace, sources: list[Path]) -> None:
    if not sources:
        options.usage_error("the following arguments are required: INPUT")
    validate_input(*sources)
    for path in sources:
        if path.suffix.lower() != PARQUET:
            text = f"{path} must end in {PARQUET}: several files, and those of --engine ray, are parquet."
            raise OptionError(text, code="cli.bad_input")
    if options.output is None or options.output.suffix.lower() in INPUT_SUFFIXES or options.output.is_file():
        raise OptionError("Several files need --output FOLDER.", code="cli.bad_input", hint="for example --output out/")
    if options.workers is not None and (options.workers < 1 or options.engine != "ray"):
        raise OptionError("--workers N is for --engine ray, and at least 1.", code="cli.bad_input")
    if not options.id_column:
        raise OptionError("Several files need an id column.", code="cli.bad_input", hint="Give --id-column NAME")
    wrong = _in_the_way(options) or (["mode"] if options.mode != "zero_shot" else [])
    if wrong:
        text = f"--{wrong[0].replace('_', '-')} needs the whole table, and files are forecast one by one."
        hint = "tsar finetune keeps what is learned from some of them, --forecaster FOLDER brings it along"
        raise OptionError(text, code="cli.bad_input", hint=hint)


def _in_the_way(options: argparse.Namespace) -> list[str]:
    bounds = constraints_of(options) or {}
    of_columns = [name for name, bound in bounds.items() if isinstance(bound, str) and bound != "auto"]
    return [name for name in NEEDS_WHOLE_TABLE if getattr(options, name, None)] + of_columns


def _has_stamps(options: argparse.Namespace) -> bool:
    """Tell whether the stamps have a type: those that are text are read as a whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(options.input)
    except (OSError, ValueError):
        return False  # the reader of whole tables says what is wrong
    names = [options.id_column, options.timestamp_column]
    if options.forecaster or not all(schema.names.count(name) == 1 for name in names):
        return False
    kind = schema.field(options.timestamp_column).type
    return bool(pa.types.is_timestamp(kind) or pa.types.is_integer(kind))
