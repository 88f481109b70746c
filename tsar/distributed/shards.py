"""Files in, files out: each shard gets one output that is whole or absent, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsar.distributed.partition import ERROR_COLUMN, empty_forecast, forecast_partition
from tsar.distributed.parts import ROWS_PER_PART, read_parts, require_contiguous
from tsar.errors import FrameError, OptionError, TsarError
from tsar.forecaster import Forecaster
from tsar.frame import target_names
from tsar.optional import require
from tsar.options import covariate_columns

FINGERPRINT = b"tsar.fingerprint"
ROWS_SORTED_IN_MEMORY = 4_000_000
"""Files of at most so many rows may have them in any order: they are read as a whole."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file to forecast.

    Attributes
    ----------
    source, output
        Parquet files.
    fingerprint
        Of the source and of the options: what the output was made from.
    """

    source: Path
    output: Path
    fingerprint: str

    @property
    def num_rows(self) -> int:
        """Rows of the source."""
        return int(pq.read_metadata(self.source).num_rows)

    @property
    def is_done(self) -> bool:
        """Whether the output is there.

        Raises
        ------
        OptionError
            ``cli.bad_input`` if it was made from another file or with other options.
        """
        if not self.output.exists():
            return False
        metadata = pq.read_schema(self.output).metadata or {}
        if metadata.get(FINGERPRINT, b"").decode() != self.fingerprint:
            raise OptionError(
                f"{self.output} was made from another file, or with other options.",
                code="cli.bad_input",
                hint="Give a new folder, or remove it",
            )
        return True


def make_shards(sources: Iterable[Path], folder: Path, forecaster: Forecaster, *, options: str = "") -> list[Shard]:
    """Pair every source with its output in a folder; `options` are what matters besides those of the forecaster.

    Raises
    ------
    OptionError
        ``cli.bad_input`` if two sources have one name.
    """
    shards: dict[str, Shard] = {}
    for source in sources:
        if source.name in shards:
            text = f"{source} and {shards[source.name].source} would have one output."
            raise OptionError(text, code="cli.bad_input", hint="Rename one of them")
        output = folder / source.name
        if output.absolute() == source.absolute():
            raise OptionError(f"{output} is an input.", code="cli.bad_input", hint="Give another folder")
        shards[source.name] = Shard(source=source, output=output, fingerprint=fingerprint(source, forecaster, options))
    return list(shards.values())


def fingerprint(source: Path, forecaster: Forecaster, options: str = "") -> str:
    """Return a hash of a file's name, size and time and of all options that matter for its forecast."""
    state = source.stat()
    given = {name: repr(value) for name, value in forecaster.get_params(deep=False).items() if name != "batch_size"}
    facts = [source.name, state.st_size, state.st_mtime_ns, given, options]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def forecast_shard(
    shard: Shard,
    forecaster: Forecaster,
    *,
    raise_errors: bool = False,
    rows_per_part: int = ROWS_PER_PART,
    advance: Callable[[int], object] = lambda rows: None,
) -> int:
    """Forecast one file into one file, at constant memory; the output appears when it is whole.

    Parameters
    ----------
    shard
        What to read and to write.
    forecaster
        As in `forecast_partition`.
    raise_errors
        Raise the error of an item that cannot be forecast; otherwise the column ``error`` has it.
    rows_per_part
        As in `read_parts`.
    advance
        Called with the number of rows that are done, part by part.

    Returns
    -------
    int
        Items that failed.

    Raises
    ------
    FrameError
        ``frame.scattered_rows`` for a file too large to be sorted in memory, whose items do not lie together;
        ``frame.empty`` without rows; and, with `raise_errors`, those of `Forecaster.predict`.
    """
    failed = 0

    def answers() -> Iterator[pd.DataFrame]:
        nonlocal failed
        for part in _parts(shard, forecaster, rows_per_part):
            if raise_errors:
                answer = forecaster.predict(part)
            else:
                answer = forecast_partition(part, forecaster)
                failed += answer.loc[answer[ERROR_COLUMN].notna(), str(forecaster.id_column)].nunique(dropna=False)
            yield answer
            advance(len(part))

    _write_atomically(shard, answers(), _arrow_schema(shard, forecaster, with_errors=not raise_errors))
    return failed


def _parts(shard: Shard, forecaster: Forecaster, rows_per_part: int) -> Iterator[pd.DataFrame]:
    id_column = str(forecaster.id_column)
    columns = columns_of(forecaster)
    require_columns(shard.source, columns)
    if shard.num_rows == 0:
        raise FrameError(f"{shard.source} has no rows", code="frame.empty", hint="leave it out")
    try:
        require_contiguous(shard.source, id_column)
    except FrameError:
        if shard.num_rows > ROWS_SORTED_IN_MEMORY:
            raise
        yield pq.read_table(shard.source, columns=columns, partitioning=None).to_pandas(ignore_metadata=True)
        return
    yield from read_parts(shard.source, columns, id_column, rows_per_part)


def columns_of(forecaster: Forecaster) -> list[str]:
    """Names of the columns that a forecaster reads."""
    names = [forecaster.id_column, forecaster.timestamp_column, *target_names(forecaster.target)]
    return [name for name in names if name is not None] + list(covariate_columns(forecaster).names)


def require_columns(path: Path, columns: Iterable[str]) -> None:
    """Refuse a parquet file without these columns: ``frame.missing_column``."""
    present = pq.read_schema(path).names
    missing = [name for name in columns if name not in present]
    if missing:
        raise FrameError(
            f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(map(repr, present))}",
            code="frame.missing_column",
            hint="name them with --id-column, --timestamp-column and --target",
        )


def _arrow_schema(shard: Shard, forecaster: Forecaster, *, with_errors: bool) -> pa.Schema:
    require_columns(shard.source, columns_of(forecaster))
    source = pq.read_schema(shard.source).remove_metadata()
    empty = empty_forecast(source.empty_table().to_pandas(), forecaster)
    schema = pa.Schema.from_pandas(empty, preserve_index=False).remove_metadata()
    place = schema.get_field_index(str(forecaster.id_column))
    schema = schema.set(place, source.field(str(forecaster.id_column)))
    schema = schema if with_errors else schema.remove(schema.get_field_index(ERROR_COLUMN))
    return schema.with_metadata({FINGERPRINT: shard.fingerprint.encode()})


def _write_atomically(shard: Shard, frames: Iterable[pd.DataFrame], schema: pa.Schema) -> None:
    shard.output.parent.mkdir(parents=True, exist_ok=True)
    for left in shard.output.parent.glob(f".part-{shard.output.name}-*"):  # of a run that was killed
        left.unlink(missing_ok=True)
    part = shard.output.parent / f".part-{shard.output.name}-{uuid.uuid4().hex[:8]}"
    try:
        with open(part, "wb") as file:
            with pq.ParquetWriter(file, schema) as writer:
                for frame in frames:
                    writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, shard.output)
    finally:
        part.unlink(missing_ok=True)


def forecast_shards_on_ray(
    shards: Iterable[Shard], forecaster: Forecaster, *, num_workers: int | None = None, raise_errors: bool = False
) -> Iterator[tuple[Shard, int]]:
    """Forecast shards by actors of Ray, each one at a time; give each shard and its failed items as it ends.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without Ray.
    OptionError
        ``cli.bad_input`` for more workers than CPUs.
    FrameError
        As `forecast_shard`.
    """
    ray = require("ray", "ray")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    pool_of = require("ray.util", "ray").ActorPool
    available = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    count = num_workers or available
    if count > available:  # some would wait for ever, with their shards
        text = f"{count} workers need as many CPUs, and Ray has {available}."
        raise OptionError(text, code="cli.bad_input", hint=f"Give --workers {available}, or start a larger cluster")
    actor: Any = ray.remote(num_cpus=1)(_ShardActor)
    sent = ray.put(forecaster)
    pool = pool_of([actor.remote(sent, raise_errors) for _ in range(count)])
    try:
        yield from pool.map_unordered(lambda worker, shard: worker.run.remote(shard), list(shards))
    except require("ray.exceptions", "ray").RayTaskError as error:
        if isinstance(error.cause, TsarError):
            raise error.cause from error
        raise


class _ShardActor:
    def __init__(self, forecaster: Forecaster, raise_errors: bool) -> None:
        self.forecaster, self.raise_errors = forecaster, raise_errors

    def run(self, shard: Shard) -> tuple[Shard, int]:
        return shard, forecast_shard(shard, self.forecaster, raise_errors=self.raise_errors)
