"""Frequency and horizon of parts that cannot see each other: settled once, from the first of them."""

from __future__ import annotations

from pathlib import Path

from tsar.distributed.parts import read_parts
from tsar.errors import FrameError
from tsar.forecaster import Forecaster
from tsar.frame import normalize_targets, target_names
from tsar.freq import season_length

ROWS_LOOKED_AT = 500_000


def settle_time_axis(forecaster: Forecaster, path: Path) -> Forecaster:
    """Return a forecaster with `freq` and `prediction_length`: as given, or inferred from the beginning of a file.

    A saved forecaster brings the frequency of the history that it was fitted on.

    Parameters
    ----------
    forecaster
        It is changed and returned.
    path
        Parquet file, whose first items of 500,000 rows are looked at; one series after another.

    Raises
    ------
    FrameError
        ``frame.empty``, and others of frames that cannot be read.
    FrequencyError
        ``frequency.cannot_infer``, ``frequency.irregular``, ``frequency.mixed``.
    """
    if forecaster.freq is None:
        forecaster.set_params(freq=_infer(forecaster, path))
    if forecaster.prediction_length is None:
        is_alias = isinstance(forecaster.freq, str)
        forecaster.set_params(prediction_length=max(season_length(forecaster.freq), 1) if is_alias else 1)
    return forecaster


def _infer(forecaster: Forecaster, path: Path) -> str | int:
    known = getattr(forecaster, "panel_", None)
    if known is not None and known.freq is not None:
        return str(known.freq)
    id_column = str(forecaster.id_column)
    columns = [id_column, forecaster.timestamp_column, target_names(forecaster.target)[0]]
    first = next(read_parts(path, columns, id_column, ROWS_LOOKED_AT), None)
    if first is None:
        raise FrameError(f"{path} has no rows", code="frame.empty", hint="leave it out")
    keys = [id_column, forecaster.timestamp_column]  # other faults of single items are for the forecast to tell
    sound = first.dropna(subset=keys).drop_duplicates(keys).assign(**{columns[2]: 0.0})
    panel = normalize_targets(
        sound, id_column=id_column, timestamp_column=forecaster.timestamp_column, target=columns[2]
    )
    return panel.freq if panel.freq is not None else int(panel.grid.step)
