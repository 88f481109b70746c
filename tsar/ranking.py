"""Leaderboards: several forecasters backtested on the user's own table, with skill and win rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from tsar.backtesting.result import BacktestResult, item_errors
from tsar.backtesting.run import backtest
from tsar.baselines import ETS, ARNet, BoostedLags, Drift, SeasonalNaive, Theta
from tsar.benchmark.scores import skill_score, win_rate
from tsar.errors import ModelError, OptionError
from tsar.forecaster import Forecaster
from tsar.hub import find_release
from tsar.registry import list_models

BASELINE = "seasonal-naive"
NAMED: Mapping[str, type[BaseEstimator]] = {
    BASELINE: SeasonalNaive,
    "drift": Drift,
    "ets": ETS,
    "theta": Theta,
    "arnet": ARNet,
    "boosted-lags": BoostedLags,
}


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """What `leaderboard` found.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per model, the best MASE first: ``model``, ``MASE``, ``WQL``, ``sMAPE``, ``coverage_error``, ``skill``
        (1 - geometric mean over items of the MASE relative to seasonal naive), ``win_rate`` (share of items, and other
        models, that it beats; a tie is half).
    results : dict of str to BacktestResult
        The backtest of each model.
    """

    table: pd.DataFrame
    results: dict[str, BacktestResult]


def leaderboard(
    df: Any,
    models: Sequence[Any] | Mapping[str, Any] = ("tsar-tiny", *NAMED),
    *,
    prediction_length: int | None = None,
    windows: int = 3,
    step: int | None = None,
    refit: bool = False,
    gap: int = 0,
    quantile_levels: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    **columns: Any,
) -> Leaderboard:
    """Backtest several forecasters at the same cutoffs and rank them.

    Parameters
    ----------
    df
        Long frame (pandas, polars or pyarrow).
    models
        Forecasters with ``fit`` and ``predict``, alone or by name, and names: ``"seasonal-naive"``, ``"drift"``,
        ``"ets"``, ``"theta"``, ``"arnet"``, ``"boosted-lags"`` (LightGBM, or scikit-learn's boosting), others are
        releases of tsar. Seasonal naive is always run, as what the skill is measured by.
    prediction_length, windows, step, refit, gap, quantile_levels
        As in `tsar.backtest`. Series-by-series baselines see the whole past of each cutoff in any case.
    columns
        ``id_column``, ``timestamp_column``, ``target``, ``freq`` for the models given by name.

    Returns
    -------
    Leaderboard

    Raises
    ------
    OptionError
        ``option.invalid`` if two models have one name; and the errors of `tsar.backtest`.
    ModelError
        ``model.unknown_name`` for a name that nobody has.
    """
    named = list(models.items()) if isinstance(models, Mapping) else [(_name_of(model), model) for model in models]
    if BASELINE not in [name for name, _ in named]:
        named.append((BASELINE, BASELINE))
    repeated = [name for place, (name, _) in enumerate(named) if name in [other for other, _ in named[:place]]]
    if repeated:
        raise OptionError(
            f"two models are called {repeated[0]!r}.", code="option.invalid", hint="Name them: models={'mine': …}."
        )
    forecasters = {name: _make(model, columns, prediction_length) for name, model in named}
    results = {
        name: backtest(
            forecaster, df, prediction_length=prediction_length, windows=windows, step=step, refit=refit, gap=gap,
            quantile_levels=quantile_levels,
        )
        for name, forecaster in forecasters.items()
    }  # fmt: skip
    return Leaderboard(_rank(results), results)


def _rank(results: dict[str, BacktestResult]) -> pd.DataFrame:
    errors = np.stack([item_errors(result) for result in results.values()], axis=1)
    base = errors[:, list(results).index(BASELINE)]
    usable = np.isfinite(errors).all(1) & (base > 0)
    if usable.any():
        relative = errors[usable] / base[usable, None]
        skill, wins = skill_score(relative), win_rate(relative)
    else:
        skill = wins = np.full(len(results), np.nan)
    rows = [
        {"model": name, **{score: result.scores[score] for score in ("MASE", "WQL", "sMAPE", "coverage_error")}}
        for name, result in results.items()
    ]
    table = pd.DataFrame(rows).assign(skill=skill, win_rate=wins)
    return table.sort_values("MASE", kind="stable").reset_index(drop=True)


def _name_of(model: Any) -> str:
    if isinstance(model, str):
        return model
    return str(model.model) if isinstance(model, Forecaster) and isinstance(model.model, str) else type(model).__name__


def _validate_name(model: str) -> None:
    """Refuse what is neither a baseline, whose names the hint gives too, nor a release."""
    try:
        find_release(model)
    except ModelError as error:
        if Path(model).is_dir():
            raise
        text = f"There is no model or baseline {model!r}."
        hint = f"Baselines: {', '.join(NAMED)}; releases: {', '.join(one.name for one in list_models())}, or a folder."
        raise ModelError(text, code=error.code, hint=hint) from error


def _make(model: Any, columns: dict[str, Any], prediction_length: int | None) -> Any:
    if not isinstance(model, str):
        return model
    kind = NAMED.get(model)
    if kind is None:
        _validate_name(model)
    made = Forecaster(model, **columns) if kind is None else kind(**columns)
    return clone(made).set_params(prediction_length=prediction_length)
