"""Covariates that are known ahead: from the user's future frame and from the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsar.errors import CovariateError
from tsar.frame.calendar import calendar_columns
from tsar.frame.covariates import CovariateColumns, read_future
from tsar.frame.panel import Panel
from tsar.types import FloatArray


def read_ahead(
    panel: Panel,
    future_df: Any,
    wanted: CovariateColumns,
    prediction_length: int,
    *,
    calendar: bool,
    holidays: str | None,
    id_column: str | None,
    timestamp_column: str,
    known_columns: Sequence[str],
) -> FloatArray:
    """Return all covariates known ahead, (C, I, F), in the order of the panel's; parameters as in `read_future`.

    Raises
    ------
    CovariateError
        ``covariate.unexpected_column`` for a future frame that nobody asked for; and those of `read_future`.
    """
    parts = [np.empty((0, panel.num_items, prediction_length))]
    if wanted.future:
        parts.append(
            read_future(
                future_df, panel, wanted, prediction_length, id_column=id_column, timestamp_column=timestamp_column,
                known_columns=known_columns,
            )
        )  # fmt: skip
    elif future_df is not None:
        raise CovariateError(
            "future_df is given, and no column is named in future_covariates",
            code="covariate.unexpected_column",
            hint="name the columns that are known ahead: Forecaster(future_covariates=[...])",
        )
    if calendar or holidays is not None:
        stamps = panel.future_timestamps(prediction_length)
        _, columns = calendar_columns(stamps, panel.freq, calendar=calendar, holidays=holidays)
        parts.append(columns.reshape(len(columns), panel.num_items, prediction_length))
    return np.concatenate(parts)
