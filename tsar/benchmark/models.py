"""What a benchmark can score: simple baselines and releases by name, and configured forecasters."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np

from tsar import __version__
from tsar.baselines import seasonal_naive
from tsar.benchmark.sets import EvaluationSet
from tsar.errors import OptionError
from tsar.forecaster import Forecaster
from tsar.hub import load_model, resolve_device
from tsar.logging import progress_bar
from tsar.refining.classical import forecast_ets, forecast_theta
from tsar.storage import write_atomically
from tsar.types import FloatArray, PathLike
from tsar.workers import watched_workers

SEASONAL_NAIVE = "seasonal-naive"
WITH_CLASSICAL = "+classical"
"""Behind the name of a release: with Theta and ETS, as ``Forecaster(ensemble="classical")``."""

CLASSICAL = {"ets": forecast_ets, "theta": forecast_theta}

ModelLike: TypeAlias = str | Path | Forecaster


@dataclass(frozen=True)
class Contestant:
    """A forecaster under the name that the scores call it.

    Attributes
    ----------
    name
        Of a baseline or release, or given.
    forecast
        Takes a set and Q levels, gives (I, F, Q).
    stored_as
        Under which name slow forecasts are stored; None: they are quick, or depend on more than the data.
    """

    name: str
    forecast: Callable[[EvaluationSet, Sequence[float]], FloatArray]
    stored_as: str | None = None


def make_contestants(models: Sequence[ModelLike] | Mapping[str, ModelLike], jobs: int) -> list[Contestant]:
    """Find and load all models, so that a wrong name stops a benchmark before it works.

    Raises
    ------
    OptionError
        ``option.invalid`` if two have the same name.
    ModelError, ReleaseError
        ``model.unknown_name`` and those of `tsar.hub.load_model`.
    """
    named = list(models.items()) if isinstance(models, Mapping) else [(_name_of(model), model) for model in models]
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise OptionError(
            f"two models are called {repeated[0]!r}.", code="option.invalid", hint="Name them: models={'mine': …}."
        )
    return [_make_contestant(name, model, jobs) for name, model in named]


def timed_forecast(
    contestant: Contestant, data: EvaluationSet, levels: Sequence[float], cache: PathLike | None = None
) -> tuple[FloatArray, float]:
    """Return quantiles (I, F, Q) and the seconds that they took.

    With `cache`, a folder, forecasts of slow models are kept in a file per set and model, named by a hash of the data,
    the horizon, the levels and the versions of the libraries; seconds are then those of the first time.
    """
    stored = _cache_file(Path(cache), contestant, data, levels) if cache and contestant.stored_as else None
    if stored is not None and stored.is_file():
        known = _read_cache(stored, (*data.actual.shape, len(levels)))
        if known is not None:
            return known
    began = time.perf_counter()
    quantiles = contestant.forecast(data, levels)
    seconds = time.perf_counter() - began
    if stored is not None:
        content = io.BytesIO()
        np.savez_compressed(content, quantiles=quantiles, seconds=seconds)
        write_atomically(stored, content.getvalue())
    return quantiles, seconds


def _name_of(model: ModelLike) -> str:
    if not isinstance(model, Forecaster):
        return str(model)
    return str(model.model) if isinstance(model.model, (str, Path)) else "forecaster"


def _make_contestant(name: str, model: ModelLike, jobs: int) -> Contestant:
    if model == SEASONAL_NAIVE:
        return Contestant(name, _forecast_naive)
    if isinstance(model, str) and model in CLASSICAL:
        function = CLASSICAL[model]
        return Contestant(name, lambda data, levels: _forecast_each(function, data, levels, jobs), stored_as=model)
    forecaster = model if isinstance(model, Forecaster) else _forecaster_of(model)
    load_model(forecaster.model, resolve_device(forecaster.device))  # kept in memory, so that it is in no set's seconds
    return Contestant(name, lambda data, levels: _forecast_frames(forecaster, data, levels))


def _forecaster_of(model: str | Path) -> Forecaster:
    release = str(model).removesuffix(WITH_CLASSICAL)
    return Forecaster(release, ensemble="classical" if release != str(model) else None)


def _forecast_naive(data: EvaluationSet, levels: Sequence[float]) -> FloatArray:
    """Seasonal naive forecast: one number, the same at every level."""
    points = [seasonal_naive(past, data.prediction_length, data.seasonality) for past in data.pasts]
    return np.repeat(np.stack(points)[..., None], len(levels), axis=-1)


def _forecast_each(
    function: Callable[..., FloatArray], data: EvaluationSet, levels: Sequence[float], jobs: int
) -> FloatArray:
    """Forecast series by series, on several processes if asked."""
    work = (joblib.delayed(function)(past, data.prediction_length, data.seasonality, levels) for past in data.pasts)
    results = joblib.Parallel(n_jobs=jobs, return_as="generator")(work)
    with (
        watched_workers(),
        progress_bar(results, total=data.num_items, desc=data.name, unit="series", delay=2.0) as bar,
    ):
        return np.stack(list(bar))


def _forecast_frames(forecaster: Forecaster, data: EvaluationSet, levels: Sequence[float]) -> FloatArray:
    """Forecast through the public face: long frames in, one for each frequency."""
    quantiles = np.full((*data.actual.shape, len(levels)), np.nan)
    for rows, freq, frame in data.history_frames():
        options = forecaster.get_params(deep=False) | {
            "prediction_length": data.prediction_length,
            "quantile_levels": tuple(levels),
            "freq": freq,
            "id_column": "item_id",
            "timestamp_column": "timestamp",
            "target": "target",
        }
        quantiles[rows] = type(forecaster)(**options).fit(frame).predict_quantiles().quantiles
    return quantiles


def _cache_file(folder: Path, contestant: Contestant, data: EvaluationSet, levels: Sequence[float]) -> Path:
    key = repr((_versions(), contestant.stored_as, [float(level) for level in levels], data.fingerprint()))
    safe = re.sub(r"[^\w.-]", "_", f"{data.name}-{contestant.stored_as}")
    return folder / f"{safe}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _versions() -> dict[str, str]:
    """Return the versions that a stored forecast can depend on."""
    libraries = [name for name in ("statsmodels", "statsforecast") if importlib.util.find_spec(name)]
    return {"tsar": __version__, **{name: importlib.metadata.version(name) for name in libraries}}


def _read_cache(path: Path, shape: tuple[int, ...]) -> tuple[FloatArray, float] | None:
    """Return what a file holds, or None if it is damaged; it is then made again."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:  # of a path it may stay open
            quantiles: Any = stored["quantiles"]
            seconds = float(stored["seconds"])
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    return (quantiles, seconds) if quantiles.shape == shape else None
