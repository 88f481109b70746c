"""The columns of Nixtla's libraries: ``unique_id, ds, y`` in; ``tsar``, ``tsar-lo-80``, ``tsar-hi-80`` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import pandas as pd
import pyarrow as pa

from tsar.errors import FrameError, OptionError
from tsar.forecaster import Forecaster
from tsar.frame.columns import collect, open_frame, read_columns, read_stamps, read_table
from tsar.validation import validate_count

ID, TIME, TARGET = "unique_id", "ds", "y"


class TsarNixtla:
    """Forecast frames as statsforecast, mlforecast and neuralforecast take and return them.

    Parameters
    ----------
    model
        As in `tsar.Forecaster`.
    freq
        Pandas alias; None: inferred from the stamps.
    alias
        Name of the forecast's column.
    options
        Further options of `tsar.Forecaster`; columns are those of Nixtla.
    """

    def __init__(
        self,
        model: Any = "tsar-tiny",
        *,
        freq: str | None = None,
        alias: str = "tsar",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.freq = freq
        self.alias = alias
        self.options = options

    def forecast(self, df: Any, h: int, *, level: Sequence[float] = (), X_df: Any = None) -> Any:
        """Forecast the `h` steps that follow each series.

        Parameters
        ----------
        df
            pandas, polars or pyarrow: ``unique_id, ds, y``, and the columns of `X_df`; NaN in ``y`` is a missing value.
        h
            Steps ahead.
        level
            Percentages of central bands, each in (0, 100): 80 is the band between the quantiles 0.1 and 0.9.
        X_df
            ``unique_id, ds`` and covariates known ahead, a row for every step that is forecast.

        Returns
        -------
        frame of the kind of `df`
            ``unique_id, ds``, the median under `alias`, ``alias-lo-80`` and ``alias-hi-80`` for each level.

        Raises
        ------
        OptionError
            ``option.invalid`` for a level outside (0, 100); ``option.prediction_length`` for an `h` below one; and the
            errors of `Forecaster.fit` and `predict`.
        """
        future = None if X_df is None else collect(open_frame(X_df)).to_pandas()
        covariates = [] if future is None else [name for name in future.columns if name not in (ID, TIME)]
        table = read_table(df, ID, TIME, TARGET, *covariates)
        return _in_kind_of(table, self._forecast(table.to_pandas(), h, level, future, covariates))

    def _forecast(
        self, rows: pd.DataFrame, h: int, level: Sequence[float], future: pd.DataFrame | None, covariates: list[str]
    ) -> pd.DataFrame:
        h = validate_count("h", h, code="option.prediction_length")
        quantiles = band_quantiles(level)
        options = {"future_covariates": covariates, **(self.options or {})}
        forecaster = Forecaster(
            self.model, prediction_length=h, freq=self.freq, id_column=ID, timestamp_column=TIME, target=TARGET,
            quantile_levels=sorted({0.5, *quantiles.values()}), **options,
        )  # fmt: skip
        answer = forecaster.fit(rows).predict(future_df=future)
        result: pd.DataFrame = answer[[ID, TIME]].copy()
        result[self.alias] = answer["predictions"]
        for name, quantile in quantiles.items():
            result[f"{self.alias}-{name}"] = answer[str(quantile)]
        return result

    def cross_validation(
        self,
        df: Any,
        h: int,
        *,
        n_windows: int = 1,
        step_size: int | None = None,
        level: Sequence[float] = (),
    ) -> Any:
        """Forecast from `n_windows` cutoffs, the last of them `h` steps before the end of each series.

        Parameters
        ----------
        df, h, level
            As in `forecast`.
        n_windows
            Number of cutoffs.
        step_size
            Steps between two of them; None: `h`.

        Returns
        -------
        frame of the kind of `df`
            ``unique_id, ds, cutoff, y`` and the columns of `forecast`, by series, then cutoff.

        Raises
        ------
        FrameError
            ``frame.empty`` if a series is too short for the first cutoff.
        OptionError
            ``option.invalid`` for counts below one; ``option.prediction_length`` for an `h` below one.
        """
        h = validate_count("h", h, code="option.prediction_length")
        validate_count("n_windows", n_windows, least=1)
        step = validate_count("step_size", h if step_size is None else step_size, least=1)
        table = read_table(df, ID, TIME, TARGET)
        rows = table.to_pandas()
        if rows[TIME].dtype == object or isinstance(rows[TIME].dtype, pd.StringDtype):
            rows = rows.assign(**{TIME: read_stamps(read_columns(table, ID, TIME, TARGET))})
        ordered = rows.sort_values([ID, TIME], kind="stable")
        from_end = ordered.groupby(ID, sort=False).cumcount(ascending=False)
        windows = []
        for window in reversed(range(n_windows)):
            future = window * step
            past = ordered[from_end >= future + h]
            too_short = sorted(set(ordered[ID]) - set(past[ID]), key=str)
            if too_short:
                text = f"{n_windows} windows of {h} steps leave no history"
                raise FrameError(text, code="frame.empty", item_ids=too_short, hint="Ask for fewer windows.")
            actual = ordered.loc[(from_end >= future) & (from_end < future + h), [ID, TIME, TARGET]]
            cutoffs = past.groupby(ID, sort=False)[TIME].max().rename("cutoff")
            windows.append(actual.join(cutoffs, on=ID).merge(self._forecast(past, h, level, None, []), on=[ID, TIME]))
        joined = pd.concat(windows).sort_values([ID, "cutoff", TIME], kind="stable").reset_index(drop=True)
        first = [ID, TIME, "cutoff"]
        return _in_kind_of(table, joined[[*first, *(name for name in joined.columns if name not in first)]])


def _in_kind_of(table: nw.DataFrame[Any], result: pd.DataFrame) -> Any:
    """Return a result as the library of the table has it, ids and stamps in its types."""
    if table.implementation.is_pandas():
        return result
    moved = pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
    frame = nw.from_arrow(moved, backend=table.implementation)
    stamps = [name for name in (TIME, "cutoff") if name in result.columns and table[TIME].dtype.is_temporal()]
    types = {ID: table[ID].dtype, **dict.fromkeys(stamps, table[TIME].dtype)}
    return frame.with_columns(nw.col(name).cast(kind) for name, kind in types.items()).to_native()


def band_quantiles(level: Sequence[float]) -> dict[str, float]:
    """Map ``lo-80`` to 0.1 and ``hi-80`` to 0.9, for every level.

    Raises
    ------
    OptionError
        ``option.invalid`` for a level outside (0, 100).
    """
    bands = {}
    for percent in level:
        if not 0 < percent < 100:
            raise OptionError(f"A level lies between 0 and 100, got {percent!r}.", code="option.invalid")
        bands[f"lo-{percent:g}"] = round(0.5 - percent / 200, 10)
        bands[f"hi-{percent:g}"] = round(0.5 + percent / 200, 10)
    return bands
