"""The forecast of one partition: a pure function of its rows, in which a series that cannot be forecast fails alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import FrameError, OptionError, TsarError
from tsar.forecast import validate_levels
from tsar.forecaster import Forecaster
from tsar.frame import normalize_targets, quantile_column, target_names
from tsar.frame.assemble import validate_columns
from tsar.options import covariate_columns
from tsar.types import IntArray

ERROR_COLUMN = "error"
ITEM_CODES = frozenset(
    {
        "frame.null_id", "frame.null_timestamp", "frame.bad_timestamp", "frame.duplicate_timestamp",
        "frame.non_numeric_target", "frame.infinite_target", "frame.too_many_gaps",
        "frequency.off_grid", "frequency.out_of_range", "covariate.not_static",
    }
)  # fmt: skip
"""Errors that single items cause; all others hold for every item and are raised."""

_ABOUT_A_COLUMN = {"frame.bad_timestamp": "timestamp_column", "frame.non_numeric_target": "target"}


def forecast_partition(frame: pd.DataFrame, forecaster: Forecaster | Mapping[str, Any]) -> pd.DataFrame:
    """Forecast the items of a partition.

    Pure: the same rows give the same forecast, on whichever process and however often they are tried. What
    an item gets depends on its own rows only, beyond rounding, unless the options look at several items together:
    covariates, and a `channel_adapter` such as "group" or "pca". Then it depends on the others of its partition.

    Parameters
    ----------
    frame
        Long pandas frame, one row per item and stamp, with all rows of each of its items; may be empty.
    forecaster
        A `Forecaster`, or its arguments, with `freq` and `prediction_length`. Weights that are given by name are read
        once per process, and the forecaster then pickles to less than 50 kB.

    Returns
    -------
    pandas.DataFrame
        With the columns and types of `empty_forecast`: the rows of `Forecaster.predict`, then, for each item that
        cannot be forecast, one row per target whose ``error`` says why (``"code: message"``), all else missing. Row
        numbers in the message count the item's own rows in the order of time.

    Raises
    ------
    OptionError
        ``option.invalid``, ``option.prediction_length`` for options with which partitions cannot be forecast.
    FrameError
        For what is wrong with all items: ``frame.missing_column``, ``frame.bad_id``, …
    """
    ready = make_worker(forecaster)
    given: object = frame
    if not isinstance(given, pd.DataFrame):
        text = f"A partition must be a pandas frame, not {type(given).__module__}.{type(given).__qualname__}."
        raise FrameError(text, code="frame.not_a_frame", hint="Forecaster.predict reads frames of other kinds")
    _require_columns(frame, ready)
    if frame.empty:
        return empty_forecast(frame, ready)
    try:
        return _in_schema(ready.predict(frame), frame, ready)
    except TsarError as error:
        if not _is_of_an_item(error, frame, ready):
            raise
    items, ids = _number_items(frame, ready)
    errors = _find_offenders(frame, items, len(ids), ready)
    good = frame[~np.isin(items, list(errors))]
    answers = [] if good.empty else [_in_schema(ready.predict(good), frame, ready)]
    return pd.concat([*answers, _error_rows(frame, ids, errors, ready)], ignore_index=True)


def make_worker(forecaster: Forecaster | Mapping[str, Any]) -> Forecaster:
    """Return a forecaster that is small to send and knows all that a partition cannot: without its history, checked.

    Raises
    ------
    OptionError
        ``option.invalid`` without `freq` or an id column, for a column named as one of the answer's, and for future
        covariates, which have no place in a partition; ``option.prediction_length`` without one;
        ``option.quantile_level``.
    """
    given = Forecaster(**forecaster) if isinstance(forecaster, Mapping) else forecaster
    if given.prediction_length is None:
        raise OptionError(
            "Partitions need prediction_length.",
            code="option.prediction_length",
            hint="for example prediction_length=24",
        )
    for name in ("freq", "id_column"):
        if getattr(given, name) is None:
            text = f"Partitions do not see each other, so that {name} must be given."
            raise OptionError(text, code="option.invalid", hint="for example freq='D'")
    names = [str(given.id_column), given.timestamp_column, "target_name", "predictions", ERROR_COLUMN]
    validate_columns([*names, *(quantile_column(level) for level in validate_levels(given.quantile_levels))])
    if given.future_covariates:
        text = "future_covariates need a second frame, which a partition does not have."
        raise OptionError(text, code="option.invalid", hint="calendar=True and past_covariates need none")
    return _without_history(given)


def _without_history(forecaster: Forecaster) -> Forecaster:
    """A copy that shares what was learned and leaves behind the rows that `fit` remembered."""
    copy = Forecaster(**forecaster.get_params(deep=False))
    kept = {name: value for name, value in vars(forecaster).items() if name.endswith("_")}
    for name in ("panel_", "bound_columns_", "covariate_effect_"):
        kept.pop(name, None)
    copy.__dict__.update(kept)
    return copy


# ----------------------------------------------------------------------------------------------------------- schema


def empty_forecast(frame: pd.DataFrame, forecaster: Forecaster | Mapping[str, Any]) -> pd.DataFrame:
    """Return the forecast of no rows: its columns and types are those of every partition.

    Parameters
    ----------
    frame
        Any rows of the partitions, or none: the types of the id and timestamp columns count.
    forecaster
        As in `forecast_partition`.

    Returns
    -------
    pandas.DataFrame
        The id column in its own type; the timestamps in theirs (integers as ``Int64``, which can be missing; text as
        ``datetime64[ns]``); ``target_name``; ``predictions`` and a column per level as float64; ``error`` (text,
        missing where there is none).
    """
    ready = make_worker(forecaster)
    levels = [quantile_column(level) for level in ready.quantile_levels]
    id_column, timestamp_column = str(ready.id_column), ready.timestamp_column
    types: dict[str, Any] = {
        id_column: frame[id_column].dtype,
        timestamp_column: _stamp_type(frame[timestamp_column].dtype),
        "target_name": "string",
        **dict.fromkeys(["predictions", *levels], np.float64),
        ERROR_COLUMN: "string",
    }
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in types.items()})


def _stamp_type(given: Any) -> Any:
    if pd.api.types.is_integer_dtype(given):
        return "Int64"
    is_text = isinstance(given, (pd.StringDtype, pd.CategoricalDtype)) or given.kind == "O"
    return np.dtype("datetime64[ns]") if is_text else given


def _in_schema(answer: pd.DataFrame, frame: pd.DataFrame, ready: Forecaster) -> pd.DataFrame:
    wanted = empty_forecast(frame, ready)
    is_zoned = isinstance(answer[ready.timestamp_column].dtype, pd.DatetimeTZDtype)
    if is_zoned and wanted[ready.timestamp_column].dtype == np.dtype("datetime64[ns]"):
        raise FrameError(
            "timestamps in text with a time zone have no type that is known before they are read",
            code="frame.bad_timestamp",
            hint="convert them first: pandas.to_datetime(df['timestamp'], utc=True)",
        )
    answer[ERROR_COLUMN] = pd.Series(pd.NA, index=answer.index, dtype="string")
    return answer[list(wanted.columns)].astype(wanted.dtypes.to_dict())


# ---------------------------------------------------------------------------------------------------------- failing


def _require_columns(frame: pd.DataFrame, ready: Forecaster) -> None:
    missing = [name for name in (ready.id_column, ready.timestamp_column) if name not in frame.columns]
    if missing:
        text = f"the partition has no column {', '.join(map(repr, missing))}"
        raise FrameError(text, code="frame.missing_column", hint="name them with id_column= and timestamp_column=")


def _is_of_an_item(error: TsarError, frame: pd.DataFrame, ready: Forecaster) -> bool:
    """Tell whether an error is the fault of single items; a column of a wrong type is that of all."""
    if error.code in _ABOUT_A_COLUMN:
        names = np.atleast_1d(np.asarray(getattr(ready, _ABOUT_A_COLUMN[error.code]), dtype=object))
        return any(frame[name].dtype == object or isinstance(frame[name].dtype, pd.StringDtype) for name in names)
    return error.code in ITEM_CODES


def _number_items(frame: pd.DataFrame, ready: Forecaster) -> tuple[IntArray, Any]:
    """Item of each row (N,), and the ids (I,); rows without an id are an item of their own."""
    items, ids = pd.factorize(frame[ready.id_column], use_na_sentinel=False)
    return items.astype(np.int64), ids


def _find_offenders(frame: pd.DataFrame, items: IntArray, num_items: int, ready: Forecaster) -> dict[int, TsarError]:
    """Return the error of each item that cannot be forecast, found by halving: items are independent of each other."""
    order = np.argsort(items, kind="stable")
    bounds = np.searchsorted(items[order], np.arange(num_items + 1))
    errors: dict[int, TsarError] = {}

    def search(first: int, last: int) -> None:
        rows = frame.iloc[order[bounds[first] : bounds[last]]]
        if last - first == 1:
            rows = _by_time(rows, ready)  # so that the message does not depend on how the rows came
        error = _error_of(rows.reset_index(drop=True), ready)
        if error is None:
            return
        if last - first == 1:
            errors[first] = error
            return
        middle = (first + last) // 2
        search(first, middle)
        search(middle, last)

    search(0, num_items)
    return errors


def _by_time(rows: pd.DataFrame, ready: Forecaster) -> pd.DataFrame:
    try:
        return rows.sort_values(ready.timestamp_column, kind="stable")
    except TypeError:  # stamps of several types; which is what is wrong with them
        return rows


def _error_of(frame: pd.DataFrame, ready: Forecaster) -> TsarError | None:
    """Go through the frame as `Forecaster` does, without the model."""
    try:
        panel = normalize_targets(
            frame, id_column=ready.id_column, timestamp_column=ready.timestamp_column, target=ready.target,
            freq=ready.freq, covariates=covariate_columns(ready),
        )  # fmt: skip
        panel.future_timestamps(int(ready.prediction_length or 1), ready.gap)
    except TsarError as error:
        return error
    return None


def _error_rows(frame: pd.DataFrame, ids: Any, errors: dict[int, TsarError], ready: Forecaster) -> pd.DataFrame:
    schema = empty_forecast(frame, ready)
    names = target_names(ready.target)
    places = np.repeat(list(errors), len(names))
    rows = schema.reindex(range(len(places)))  # all missing
    rows[str(ready.id_column)] = pd.Series(ids).take(places).array
    rows["target_name"] = np.tile(np.asarray(names, dtype=object), len(errors))
    rows[ERROR_COLUMN] = np.repeat([f"{error.code}: {error.message}" for error in errors.values()], len(names))
    return rows.astype(schema.dtypes.to_dict())
