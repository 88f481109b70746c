"""Evaluation sets from files, and from the data of other benchmarks: GluonTS data sets and fev tasks."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsar.benchmark.sets import EvaluationSet, short_series
from tsar.errors import BenchmarkError, MissingDependencyError
from tsar.freq import canonical_freq
from tsar.types import PathLike

COLUMNS = ("item_id", "start", "freq", "target", "prediction_length", "seasonality")
METADATA = "metadata.json"


def read_sets(path: PathLike, only: Sequence[str] | None = None) -> list[EvaluationSet]:
    """Read evaluation sets from parquet files, one set a file, or from a folder that GluonTS wrote.

    Parameters
    ----------
    path
        A parquet file or a folder of them, a row per series, with the columns ``item_id``, ``start`` (stamp or null),
        ``freq`` (alias or null), ``target`` (list of numbers, NaN or null where missing), ``prediction_length`` and
        ``seasonality`` (the same in all rows), and optionally ``offset``: where the forecast starts, counted from the
        end, by default `prediction_length`; what follows the forecast window is dropped. Or a folder with
        ``metadata.json`` and ``test/``, see `from_gluonts`.
    only
        Names of sets (file names without ending); None: all.

    Returns
    -------
    list of EvaluationSet
        In the order of their names.

    Raises
    ------
    BenchmarkError
        ``benchmark.missing_set`` if there is no such file or set; ``benchmark.missing_column``;
        ``benchmark.short_series``; ``benchmark.bad_set``.
    """
    path = Path(path)
    readers: dict[str, Callable[[], EvaluationSet]]
    if (path / METADATA).is_file():
        readers = {path.name: partial(from_gluonts, path)}
    else:
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
        readers = {file.stem: partial(_read_parquet, file) for file in files}
    if not readers:
        raise BenchmarkError(
            f"There is no evaluation set at {path}.",
            code="benchmark.missing_set",
            hint="Give a parquet file or a folder of them; `tsar backtest` scores a model on a table of yours.",
        )
    unknown = sorted(set(only or ()) - set(readers))
    if unknown:
        text = f"There is no set {', '.join(unknown)} in {path}."
        raise BenchmarkError(text, code="benchmark.missing_set", hint=f"There are: {', '.join(readers)}.")
    return [read() for name, read in readers.items() if only is None or name in only]


def from_gluonts(
    dataset: Iterable[Mapping[str, Any]] | PathLike,
    prediction_length: int | None = None,
    *,
    freq: str | None = None,
    seasonality: int | None = None,
    name: str | None = None,
    num_windows: int = 1,
) -> EvaluationSet:
    """Make an evaluation set of a GluonTS data set; its last values are what is to be forecast.

    Parameters
    ----------
    dataset
        Entries with ``target`` (N,), ``start`` and optionally ``item_id``; or a folder that GluonTS wrote, with
        ``metadata.json`` and ``test/``.
    prediction_length
        F; None: that of the metadata.
    freq
        Pandas alias; None: that of each start, if it is a period, or of the metadata.
    seasonality
        None: `gluonts.time_feature.get_seasonality` of the first frequency, by which GluonTS scores (1 for days and
        weeks).
    name
        None: the folder's name, or ``gluonts``.
    num_windows
        Windows at the end of each series, side by side, as those of ``gluonts.dataset.split.split(dataset, offset=-F *
        num_windows)`` with ``generate_instances(F, windows=num_windows)``. They are scored together, as GluonTS does.

    Raises
    ------
    BenchmarkError
        ``benchmark.missing_set`` without such a folder; ``benchmark.bad_set`` for what is no univariate GluonTS data
        set; ``benchmark.short_series`` for series too short for all windows.
    """
    if isinstance(dataset, (str, os.PathLike)):
        folder = Path(dataset)
        name = name or folder.name
        dataset, metadata = _read_gluonts_folder(folder)
        freq = freq or metadata.freq
        prediction_length = prediction_length or metadata.prediction_length
    name = name or "gluonts"
    if prediction_length is None or prediction_length < 1 or num_windows < 1:
        text = f"The set {name} needs a prediction_length and a num_windows of at least 1."
        raise BenchmarkError(text, code="benchmark.bad_set", hint="Pass prediction_length=.")
    item_ids, starts, freqs, pasts, actual, short = [], [], [], [], [], []
    for place, entry in enumerate(dataset):
        item_id = entry.get("item_id", place)
        target, start, entry_freq = _read_entry(entry, item_id, name)
        first_cut = len(target) - num_windows * prediction_length
        if first_cut < 1:
            short.append(item_id)
            continue
        for cut in range(first_cut, len(target), prediction_length):
            item_ids.append(item_id)
            starts.append(start)
            freqs.append(freq or entry_freq)
            pasts.append(target[:cut])
            actual.append(target[cut : cut + prediction_length])
    if short:
        raise short_series(name, short, num_windows * prediction_length)
    return EvaluationSet(
        name=name,
        item_ids=_object_array(item_ids),
        starts=np.array(starts, "datetime64[ms]"),
        freqs=tuple(None if one is None else canonical_freq(one) for one in freqs),
        pasts=tuple(pasts),
        actual=np.array(actual).reshape(len(actual), prediction_length),
        seasonality=seasonality or _gluonts_seasonality(freqs[0] if freqs else None),
    )


def from_fev(task: Any, name: str | None = None) -> EvaluationSet:
    """Make an evaluation set of a `fev.Task`; covariates are left out.

    Parameters
    ----------
    task
        Univariate or multivariate. Each target of each window is a group of its own in the set, as fev scores them, so
        that the scores are those of ``task.evaluation_summary``. The series that fev drops as too short are not there.
    name
        None: ``task.task_name``.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without fev (``pip install 'tsar-forecast[bench]'``).
    BenchmarkError
        ``benchmark.bad_set`` for anything but a `fev.Task`, and where fev cannot make the windows.
    """
    try:
        fev = importlib.import_module("fev")
    except ImportError as error:
        raise MissingDependencyError(
            "Reading a fev task needs fev.", code="dependency.missing", hint="pip install 'tsar-forecast[bench]'"
        ) from error
    if not isinstance(task, fev.Task):
        raise BenchmarkError(f"from_fev needs a fev.Task, got {type(task).__name__}.", code="benchmark.bad_set")
    name = name or str(task.task_name)
    item_ids, starts, pasts, actual = [], [], [], []
    groups: list[int] = []
    try:
        for window in task.iter_windows():
            inputs, _ = window.get_input_data()
            truths = window.get_ground_truth()
            for column in task.target_columns:
                group = groups[-1] + 1 if groups else 0
                for past, truth in zip(inputs, truths, strict=True):
                    item_ids.append(past[task.id_column])
                    starts.append(past[task.timestamp_column][0])
                    pasts.append(np.asarray(past[column], np.float64))
                    actual.append(np.asarray(truth[column], np.float64))
                    groups.append(group)
    except (ValueError, RuntimeError) as error:  # what fev raises for data that it cannot use
        raise BenchmarkError(f"fev cannot make the windows of {name}: {error}", code="benchmark.bad_set") from error
    return EvaluationSet(
        name=name,
        item_ids=_object_array(item_ids),
        starts=np.array(starts, "datetime64[ms]"),
        freqs=(canonical_freq(task.freq),) * len(pasts),
        pasts=tuple(pasts),
        actual=np.array(actual).reshape(len(actual), task.horizon),
        seasonality=int(task.seasonality),
        groups=np.array(groups, np.int64),
    )


def _read_parquet(path: Path) -> EvaluationSet:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BenchmarkError(f"{path} cannot be read: {reason}.", code="benchmark.bad_set") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise BenchmarkError(f"{path} has no column {', '.join(missing)}.", code="benchmark.missing_column")
    if frame.empty:
        raise BenchmarkError(f"{path} has no series.", code="benchmark.bad_set")
    horizon, season = (_common(frame, name, path) for name in ("prediction_length", "seasonality"))
    item_ids = frame["item_id"].to_numpy(object)
    try:
        targets = [np.asarray(target, np.float64).ravel() for target in frame["target"]]
        starts = frame["start"].to_numpy("datetime64[ms]")
        offsets = np.full(len(frame), horizon)
        if "offset" in frame:
            offsets = np.maximum(frame["offset"].fillna(horizon).to_numpy(np.int64), horizon)
    except (TypeError, ValueError) as error:
        text = f"{path} has a target that is no list of numbers, a start that is no stamp, or a wrong offset: {error}."
        raise BenchmarkError(text, code="benchmark.bad_set") from error
    cuts = [len(target) - offset for target, offset in zip(targets, offsets, strict=True)]
    short = [item_id for item_id, cut in zip(item_ids, cuts, strict=True) if cut < 1]
    if short:
        raise short_series(path.stem, short, horizon)
    return EvaluationSet(
        name=path.stem,
        item_ids=item_ids,
        starts=starts,
        freqs=tuple(None if pd.isna(freq) else str(freq) for freq in frame["freq"]),
        pasts=tuple(target[:cut] for target, cut in zip(targets, cuts, strict=True)),
        actual=np.stack([target[cut : cut + horizon] for target, cut in zip(targets, cuts, strict=True)]),
        seasonality=season,
    )


def _common(frame: pd.DataFrame, name: str, path: Path) -> int:
    """Return the positive whole number that all rows of a column share."""
    values = pd.to_numeric(frame[name], errors="coerce").unique()
    if len(values) != 1 or not float(values[0]).is_integer() or values[0] < 1:
        shown = ", ".join(map(str, values[:3]))
        text = f"{path} needs one {name} for all its series, a whole number from 1, not {shown}."
        raise BenchmarkError(text, code="benchmark.bad_set")
    return int(values[0])


def _read_gluonts_folder(folder: Path) -> tuple[Iterable[Mapping[str, Any]], Any]:
    """Return the entries of ``test/`` and the metadata of a folder that GluonTS wrote."""
    if not (folder / METADATA).is_file() or not (folder / "test").is_dir():
        raise BenchmarkError(f"{folder} has no {METADATA} and test/.", code="benchmark.missing_set")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `json`-module")  # slow, but right
        from gluonts.dataset.common import FileDataset, MetaData
        from gluonts.exceptions import GluonTSException
    try:
        metadata = MetaData.parse_file(folder / METADATA)
        return list(FileDataset(folder / "test", freq=metadata.freq)), metadata
    except (GluonTSException, ValueError, AssertionError, OSError) as error:  # for data that it cannot read
        raise BenchmarkError(f"GluonTS cannot read {folder}: {error}", code="benchmark.bad_set") from error


def _read_entry(entry: Mapping[str, Any], item_id: Any, name: str) -> tuple[Any, np.datetime64, str | None]:
    """Return target (N,), first stamp and frequency of one entry."""
    try:
        target, start = np.asarray(entry["target"], np.float64), entry["start"]
        start = start if isinstance(start, pd.Period) else pd.Timestamp(start).tz_localize(None)
    except (KeyError, TypeError, ValueError) as error:
        text = f"The set {name} has an entry without a usable start or a numeric target"
        raise BenchmarkError(text, code="benchmark.bad_set", item_ids=[item_id]) from error
    if target.ndim != 1:
        text = f"The set {name} has a target of shape {target.shape}; one series an entry is needed"
        raise BenchmarkError(text, code="benchmark.bad_set", item_ids=[item_id])
    if not isinstance(start, pd.Period):
        return target, np.datetime64(start, "ms"), None
    try:
        return target, np.datetime64(start.start_time, "ms"), start.freqstr
    except (pd.errors.OutOfBoundsDatetime, OverflowError):  # a year before 1678
        return target, np.datetime64("NaT", "ms"), start.freqstr


def _gluonts_seasonality(freq: str | None) -> int:
    """Seasonality that GluonTS scores a frequency by."""
    if freq is None:
        return 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `json`-module")
        from gluonts.time_feature import get_seasonality
    return int(get_seasonality(canonical_freq(freq)))


def _object_array(values: list[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
