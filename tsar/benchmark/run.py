"""Run a benchmark: every model on every set, scored and set against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tsar.benchmark.models import ModelLike, make_contestants, timed_forecast
from tsar.benchmark.readers import read_sets
from tsar.benchmark.result import RELATIVE, BenchmarkResult
from tsar.benchmark.scores import score_forecast
from tsar.benchmark.sets import EvaluationSet
from tsar.errors import BenchmarkError, OptionError, warn
from tsar.forecast import validate_levels
from tsar.forecaster import DEFAULT_LEVELS
from tsar.logging import get_logger
from tsar.types import PathLike
from tsar.validation import validate_count

_LOG = get_logger(__name__)


def run_benchmark(
    sets: Sequence[EvaluationSet] | PathLike,
    models: Sequence[ModelLike] | Mapping[str, ModelLike],
    *,
    baseline: str = "seasonal-naive",
    levels: Sequence[float] = DEFAULT_LEVELS,
    limit: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    cache: PathLike | None = None,
) -> BenchmarkResult:
    """Forecast all sets with all models and score them.

    Parameters
    ----------
    sets
        Evaluation sets, or a path for `read_sets`.
    models
        Names of baselines (``seasonal-naive``, ``ets``, ``theta``) and of shipped releases, paths of releases,
        configured `Forecaster` objects (all options count but horizon, levels, frequency and columns, which come from
        the sets), or a mapping of names to these.
    baseline
        The model that scores are divided by; it is run even if `models` does not name it.
    levels
        Quantile levels of WQL and coverage.
    limit
        Series a set, drawn with `seed`; None: all.
    seed
        Of `limit` and of the bootstrap intervals.
    jobs
        Processes for the models that forecast series by series (``ets``, ``theta``).
    cache
        Folder in which forecasts of these slow models are kept for the next time.

    Returns
    -------
    BenchmarkResult

    Warns
    -----
    TsarWarning
        Names the first set that counts for no model, because a score is not a number.

    Raises
    ------
    OptionError
        ``option.invalid`` without a model, with repeated names, or a limit or jobs below 1;
        ``option.quantile_level``.
    BenchmarkError
        ``benchmark.missing_set``, ``benchmark.bad_set`` and those of `read_sets`.
    ModelError
        ``model.unknown_name``.

    Notes
    -----
    A series' forecast depends on its past alone, so poisoning the actual values changes no forecast
    (``tests/unit/test_benchmark.py``).
    """
    if isinstance(sets, (str, bytes)) or hasattr(sets, "__fspath__"):
        sets = read_sets(sets)
    wanted = sorted(float(level) for level in validate_levels(levels))
    _validate(sets, models, limit, jobs)
    named = dict(models) if isinstance(models, Mapping) else models
    contestants = make_contestants(named, jobs)
    if baseline not in {one.name for one in contestants}:
        contestants = [*make_contestants([baseline], jobs), *contestants]
    known = sorted({*wanted, 0.5})
    picked = [known.index(level) for level in wanted]
    rows = []
    for data in (one.sample(limit, seed) for one in sets):
        for contestant in contestants:
            quantiles, seconds = timed_forecast(contestant, data, known, cache)
            scores = score_forecast(data, quantiles[..., known.index(0.5)], quantiles[..., picked], wanted)
            _LOG.info("%s  %s  MASE %.4f  WQL %.4f", data.name, contestant.name, scores["MASE"], scores["WQL"])
            about = {"set": data.name, "model": contestant.name, "series": data.num_items}
            rows.append({**about, **scores, "seconds": seconds})
    result = BenchmarkResult(scores=_with_relative(pd.DataFrame(rows), baseline), baseline=baseline, seed=seed)
    if uncounted := result.uncounted_sets:
        text = f"{len(uncounted)} of {len(sets)} sets do not count, first {uncounted[0]!r}: a score is not a number"
        warn(text)
    return result


def _validate(
    sets: Sequence[EvaluationSet], models: Sequence[ModelLike] | Mapping[str, ModelLike], limit: int | None, jobs: int
) -> None:
    if not sets:
        raise BenchmarkError("There is no set to score on.", code="benchmark.missing_set")
    names = [one.name for one in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        text = f"Two sets are called {repeated[0]!r}; scores need distinct names."
        raise BenchmarkError(text, code="benchmark.bad_set")
    if isinstance(models, str) or not models:
        raise OptionError(f"models must be a list of at least one, got {models!r}.", code="option.invalid")
    for name, value in (("limit", 1 if limit is None else limit), ("jobs", jobs)):
        validate_count(name, value)


def _with_relative(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Add each score over the baseline's on the same set; two zeros are equally good."""
    base = scores[scores["model"] == baseline].set_index("set")
    for metric, name in RELATIVE.items():
        mine, theirs = scores[metric].to_numpy(), scores["set"].map(base[metric]).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where((mine == 0) & (theirs == 0), 1.0, mine / theirs)
        scores[name] = ratio
    return scores
