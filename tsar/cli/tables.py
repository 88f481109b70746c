"""The table of a command: read, its columns found where the options do not name them, and told in one line each."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.files import read_parquet, refuse_unreadable
from tsar.cli.guessing import guess_ids, guess_stamps, guess_target
from tsar.cli.reading import INDEX, dates_of, holds_dates, is_text, numbers_of, read_csv, read_ids_as_text

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_NAMES = {"id_column": "item_id", "timestamp_column": "timestamp", "target": "target"}
MAX_SHOWN = 3
COVARIATES = ("past_covariates", "future_covariates", "static_covariates")


def read_input(options: argparse.Namespace, path: Path | None = None) -> pd.DataFrame:
    """Read the table of a command; columns that are not named are guessed and put into the options.

    Parameters
    ----------
    options
        With those of `tsar.cli.options.add_columns`; names that are the defaults and not in the table are guessed.
    path
        The file; None: ``options.input``.

    Raises
    ------
    OptionError
        ``cli.bad_input`` for a file that cannot be read, or where more than one guess is possible.
    """
    path = options.input if path is None else path
    with refuse_unreadable(path):
        table, notes = _read(path, options.id_column or None)
    _find_columns(options, table, path, notes)
    table = _in_plain_form(table, options, options.date_format, notes)
    if options.target_is_wide:
        table = _melt(table, options.timestamp_column, options.target)
        options.id_column, options.target = DEFAULT_NAMES["id_column"], DEFAULT_NAMES["target"]
    _tell(notes)
    return table


def read_further(path: Path, names: Any, date_format: str | None = None) -> pd.DataFrame:
    """Read another table of the same columns, such as the future of covariates; or as wide as the first one was.

    Parameters
    ----------
    path
        The file.
    names
        Options or a forecaster, with `id_column`, `timestamp_column` and `target`.
    date_format
        How timestamps are written; None: found out.
    """
    with refuse_unreadable(path):
        table, notes = _read(path, names.id_column or None)
    if INDEX in table.columns:
        is_date = holds_dates(table[INDEX])
        name = names.timestamp_column if is_date else names.id_column
        if name and name not in table.columns and (is_date or is_text(table[INDEX])):
            _name_index(table, name, notes)
    table = _in_plain_form(table, names, date_format, notes)
    if not _is_wide(table, names):
        return table
    columns, why = guess_target(table, [names.timestamp_column])
    columns = [columns] if isinstance(columns, str) else columns
    _tell([f"in {path.name} each column is a series by itself: {_shown(columns)} ({why})"])
    return _melt(table, names.timestamp_column, columns)


def _is_wide(table: pd.DataFrame, names: Any) -> bool:
    """Whether stamps are there, and neither ids nor values under the names that `_melt` gives them."""
    melted = (names.id_column, names.target) == (DEFAULT_NAMES["id_column"], DEFAULT_NAMES["target"])
    return melted and names.timestamp_column in table and not {names.id_column, names.target} & set(table.columns)


def _tell(notes: list[str]) -> None:
    for note in notes:
        shown = "".join(letter if letter.isprintable() else "?" for letter in note)  # a file may hold escape codes
        print(f"tsar: note: {shown}", file=sys.stderr)


def _read(path: Path, id_column: str | None) -> tuple[pd.DataFrame, list[str]]:
    return (read_parquet(path), []) if path.suffix.lower() == ".parquet" else read_csv(path, id_column)


def _find_columns(options: argparse.Namespace, table: pd.DataFrame, path: Path, notes: list[str]) -> None:
    """Guess what is missing, in the order in which one guess helps the next."""
    options.target_is_wide = False
    missing = [name for name, default in DEFAULT_NAMES.items() if _is_missing(options, table, name, default)]
    if not missing or not len(table.columns):
        return
    told = {}
    if "timestamp_column" in missing:
        options.timestamp_column, why = guess_stamps(table)
        told["timestamps"] = f"{options.timestamp_column!r} ({why})"
    if options.timestamp_column not in table.columns:
        return  # named, and not there: the frame's own error says so
    covariates = [name for kind in COVARIATES for name in getattr(options, kind, ())]
    if "id_column" in missing:
        targets = [options.target] if isinstance(options.target, str) else options.target
        options.id_column, why = guess_ids(table, options.timestamp_column, [*targets, *covariates])
        told["ids"] = f"{options.id_column!r} ({why})" if options.id_column else f"none, one series ({why})"
        if options.id_column and path.suffix.lower() != ".parquet":
            table[options.id_column] = read_ids_as_text(path, list(table.columns).index(options.id_column))
    if "target" in missing:
        options.target, why = guess_target(table, [options.id_column, options.timestamp_column, *covariates])
        told["target"] = f"{_shown(options.target)} ({why})"
        options.target_is_wide = isinstance(options.target, list) and not options.id_column
    if options.target_is_wide:
        told["ids"] = "the names of these columns, each a series by itself"
    for name in ("timestamp_column", "id_column"):
        if name in missing and getattr(options, name) == INDEX:
            _name_index(table, DEFAULT_NAMES[name], notes)
            setattr(options, name, DEFAULT_NAMES[name])
    text = "; ".join(f"{what}: {how}" for what, how in told.items())
    notes.append(f"guessed {text}. To say it: {_as_options(options, missing)}")


def _name_index(table: pd.DataFrame, name: str, notes: list[str]) -> None:
    """Name the column that pandas wrote without a name."""
    table.rename(columns={INDEX: name}, inplace=True)
    notes.append(f"the first column has no name, and is called {name!r}")


def _is_missing(options: argparse.Namespace, table: pd.DataFrame, name: str, default: str) -> bool:
    return getattr(options, name) == default and default not in table.columns


def _shown(target: str | list[str]) -> str:
    if isinstance(target, str):
        return repr(target)
    more = f" and {len(target) - MAX_SHOWN} more" if len(target) > MAX_SHOWN else ""
    return ", ".join(map(repr, target[:MAX_SHOWN])) + more


def _as_options(options: argparse.Namespace, missing: list[str]) -> str:
    """What the user could have said."""
    words: list[str] = []
    for name in missing:
        value = getattr(options, name) or ""
        text = value if isinstance(value, str) else ",".join(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _in_plain_form(table: pd.DataFrame, names: Any, date_format: str | None, notes: list[str]) -> pd.DataFrame:
    """Dates as dates and numbers as numbers, where text says them otherwise than ISO 8601 and decimal points."""
    stamps, ids = names.timestamp_column, names.id_column or None
    plain = {}
    if stamps in table.columns:
        found = dates_of(table[stamps], date_format)
        if found is not None:
            plain[stamps] = found
    for name in table.columns:
        found = numbers_of(table[name]) if name not in (stamps, ids) else None
        if found is not None:
            plain[name] = found
    targets = [names.target] if isinstance(names.target, str) else names.target
    notes += [note for name, (_, note) in plain.items() if name == stamps or name in targets]
    return table.assign(**{name: column for name, (column, _) in plain.items()}) if plain else table


def _melt(table: pd.DataFrame, stamps: str, columns: list[str]) -> pd.DataFrame:
    """One row per series and timestamp of a table with a column per series."""
    ids, target = DEFAULT_NAMES["id_column"], DEFAULT_NAMES["target"]
    return table.melt(id_vars=stamps, value_vars=columns, var_name=ids, value_name=target)
