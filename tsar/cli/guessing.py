"""Which column of a table is which, where nobody says it: guessed from names and contents, and told."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from tsar.cli.reading import are_dates, is_text, numbers_of, why_no_numbers
from tsar.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

STAMP_NAMES = (
    "timestamp", "ds", "datetime", "date_time", "date", "time", "datum", "zeit", "fecha", "day", "week", "month",
    "quarter", "year", "period", "jahr", "monat", "tag", "mois", "jour", "quartal", "woche", "ts", "epoch",
    "year_month", "yearmonth", "yyyymm",
)  # fmt: skip
ID_NAMES = (
    "item_id", "unique_id", "series_id", "series", "id", "item", "sku", "product", "product_id", "store", "store_id",
    "shop", "meter", "meter_id", "sensor", "sensor_id", "station", "region", "country", "name",
)  # fmt: skip
TARGET_NAMES = (
    "target", "y", "value", "values", "sales", "demand", "load", "consumption", "quantity", "qty", "amount", "count",
    "units", "price", "umsatz", "wert", "menge",
)  # fmt: skip
PARTS_OF_STAMPS = (
    "year", "quarter", "month", "week", "day", "hour", "minute", "time", "date", "jahr", "quartal", "monat", "woche",
    "tag", "stunde", "uhrzeit", "zeit", "datum",
)  # fmt: skip
SHOWN = 8
ROW_NUMBERS = ("index", "id", "row", "nr", "no", "#")
_LOOKED_AT = 50


def guess_stamps(table: pd.DataFrame) -> tuple[str, str]:
    """Return the column of stamps and why it is the one: its name, or that no other holds dates."""
    named = _by_name(table, STAMP_NAMES)
    if named is not None:
        return named, "by its name"
    dated = [str(name) for name in table.columns if holds_dates(table[name])]
    if len(dated) == 1:
        return dated[0], "its values are dates"
    raise _cannot_tell("timestamps", "--timestamp-column", dated or table.columns)


def guess_ids(table: pd.DataFrame, stamps: str, others: Iterable[str]) -> tuple[str | None, str]:
    """Return the column of ids and why; None if the table is one series.

    Parameters
    ----------
    table
        N rows.
    stamps
        Its column of stamps.
    others
        Columns that are something else.
    """
    rest = table.drop(columns=[stamps, *(name for name in others if name in table.columns)])
    parts = [str(name) for name in rest.columns if str(name).strip().lower() in PARTS_OF_STAMPS]
    rest = rest.drop(columns=parts)
    named = _by_name(rest, ID_NAMES)
    if named is not None and _tells_apart(table, named, stamps):
        return named, "by its name"
    texts = [str(name) for name in rest.columns if is_text(rest[name]) and numbers_of(rest[name]) is None]
    if not table[stamps].duplicated().any():
        same = [name for name in texts if rest[name].nunique(dropna=False) == 1]
        return (same[0], "the same text in each row") if same else (None, "no timestamp comes twice")
    integers = [str(name) for name in rest.columns if rest[name].dtype.kind in "iu"]
    for candidates, what in ((texts, "text"), (integers, "a whole number")):
        whole = [name for name in candidates if _tells_apart(table, name, stamps)]
        if len(whole) == 1:
            return whole[0], f"{what} that tells the rows of a timestamp apart"
        if whole:
            raise _cannot_tell("ids of the series", "--id-column", whole)
    raise _without_ids(table, stamps, parts, [*texts, *integers])


def _without_ids(table: pd.DataFrame, stamps: str, parts: list[str], candidates: list[str]) -> OptionError:
    """Say why no column holds ids although timestamps come again, and what would help."""
    again = int(table[stamps].duplicated().to_numpy().argmax())
    text = f"Timestamps come more than once, {table[stamps].iloc[again]} in row {again} for example, "
    pair = next((pair for pair in combinations(candidates, 2) if _tells_apart(table, list(pair), stamps)), None)
    if parts:
        text += f"and {_listed([stamps, *parts])} look like parts of one."
        hint = (
            "Join them into one column, such as 2024-01-31 13:00 or 2024Q1. If one names the series: --id-column NAME."
        )
    elif pair is not None:
        text += "and no column by itself says of which series each row is."
        hint = f"{_listed(pair)} together do: join them into one column, and name it with --id-column."
    else:
        text += "and no column by itself says of which series each row is."
        hint = (
            "Name it with --id-column. If there is none, keep one row per timestamp: delete repeated rows, or add up "
            "or average those that belong together."
        )
    return OptionError(text, code="cli.bad_input", hint=hint)


def _tells_apart(table: pd.DataFrame, ids: str | list[str], stamps: str) -> bool:
    """Whether ids, of one column or several, come more than once and never twice at a stamp."""
    ids = [ids] if isinstance(ids, str) else ids
    comes_again = len(table) == 1 or bool(table.duplicated(ids).any())
    return comes_again and not table.duplicated([*ids, stamps]).any()


def guess_target(table: pd.DataFrame, known: Iterable[str | None]) -> tuple[str | list[str], str]:
    """Return the column to forecast and why; a list where each column is a series of its own (a wide table)."""
    rest = table.drop(columns=[name for name in known if name in table.columns])
    named = _by_name(rest, TARGET_NAMES)
    if named is not None:
        return named, "by its name"
    numeric = [str(name) for name in rest.columns if _holds_numbers(rest[name]) and not _counts_rows(str(name))]
    numeric = [name for name in numeric if rest[name].notna().any()] or numeric
    if len(numeric) == 1:
        return numeric[0], "the only column of numbers"
    if numeric:
        return numeric, "columns of numbers"
    reasons = [why for name in rest.columns if (why := why_no_numbers(rest[name])) is not None]
    raise _cannot_tell("values to forecast", "--target", rest.columns, "; ".join(reasons[:3]))


def _by_name(table: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The column whose name is in a list, whatever its case; the list's order decides."""
    present: dict[str, str] = {}
    for name in table.columns:
        present.setdefault(str(name).strip().lower().replace(" ", "_"), str(name))
    return next((present[name] for name in names if name in present), None)


def holds_dates(column: pd.Series) -> bool:
    """Whether a column holds dates, or text that is dates."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    return is_text(column) and are_dates(column.dropna().head(_LOOKED_AT))


def _holds_numbers(column: pd.Series) -> bool:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    return bool(is_number) or numbers_of(column) is not None


def _counts_rows(name: str) -> bool:
    """Whether a column is what a table's index becomes in a file."""
    return name.startswith("Unnamed:") or name.strip().lower() in ROW_NUMBERS


def _cannot_tell(what: str, option: str, columns: Iterable[object], why: str = "") -> OptionError:
    text = f"It is not clear which column holds the {what}; there are {_listed(columns) or 'none'}."
    hint = f"Write cells as plain numbers, such as 1234.5, or name a column with {option}."
    hint = hint if why else f"Name it with {option}."
    return OptionError(f"{text} {why}." if why else text, code="cli.bad_input", hint=hint)


def _listed(columns: Iterable[object]) -> str:
    """Names in quotes, the first of many."""
    names = [repr(name) for name in columns]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
