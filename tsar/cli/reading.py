"""Tables as people have them: any separator, decimal commas, dates as their country writes them, Excel's habits.

What is not plain (commas, decimal points, ISO 8601) is read where only one reading is possible, and told. Where two
are, one line says which option decides.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
DAYS = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%d/%m/%y",
    "%m/%d/%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %Y", "%b-%Y", "%b-%y",
    "%b %y", "%B %Y", "%m/%Y", "%m.%Y", "%m-%Y", "%Y/%m", "%Y-%b", "%Y %b",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", "T%H:%M:%S")
PERIODS = {
    "years and quarters": r"(?P<year>\d{4})[ -]?Q(?P<part>[1-4])|Q(?P<part2>[1-4])[ -]?(?P<year2>\d{4})",
    "years and ISO weeks": r"(?P<year>\d{4})[ -]?W(?P<part>\d{2})",
}
"""Text that names a period by its number in the year; the period's first day is its stamp."""
EPOCHS = {"s": "seconds", "ms": "milliseconds"}
PLACEHOLDERS = ("-", "–", "—", ".", "..", ":", "?")
INDEX = "Unnamed: 0"
"""Name that pandas gives to a first column without one: the index of a table that pandas wrote."""
_OFFSET = r"(?<=\d)(?:Z|[+-]\d{2}(?::?\d{2})?)$"
_MONTH_AND_YEAR = r"(?:0?[1-9]|1[0-2])\.(?:19|20|21)\d{2}"
_DAY_AS_NAME = r"\d{4}-\d{2}(?:-\d{2})?(?:[ T].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
_SIGNS = r"^([+-]?)[$€£¥]\s*|\s*[$€£¥%]$"
_UNITED_STATES = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_CONTINENT = r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?"
_HEAD_BYTES = 65_536
_HEAD_LINES = 20
_LOOKED_AT = 50
_SHOWN = 3
_EXACT = 2.0**53
_CLEARLY_FEWER = 2.0


def read_csv(path: Path, id_column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Read text of any separator and encoding; with notes on what was not plain. Ids stay as they are written."""
    import pandas as pd

    how, notes = _dialect(path)
    as_written = dict.fromkeys((id_column or "", *_months_like_numbers(path, how)), str)
    table = pd.read_csv(path, dtype=as_written, **how)  # an id "007" stays as it is written
    _refuse_without_names(table)
    empty = table.isna().all(axis=1)
    if empty.any() and not empty.all():
        table = table[~empty]
        table = table.astype({name: "int64" for name in table.columns if _is_whole(table[name])})  # as without them
        notes.append(f"rows without anything in them are left out: {empty.sum()}")
    if any(str(name) != str(name).strip() for name in table.columns):
        table = table.rename(columns={name: str(name).strip() for name in table.columns})
    return table, notes


def _is_whole(column: pd.Series) -> bool:
    """Tell whole numbers that are floats because a cell of the column was empty."""
    return column.dtype.kind == "f" and bool(((column % 1 == 0) & (column.abs() < _EXACT)).all())


def _months_like_numbers(path: Path, how: dict[str, Any]) -> list[str]:
    """Columns such as ``01.2024``, ``10.2024``: months, which are numbers to who does not look twice."""
    import pandas as pd

    head = pd.read_csv(path, dtype=str, nrows=_HEAD_LINES, **how)
    present = {str(name): head[name].dropna().str.strip() for name in head.columns}
    return [name for name, texts in present.items() if len(texts) and texts.str.fullmatch(_MONTH_AND_YEAR).all()]


def _refuse_without_names(table: pd.DataFrame) -> None:
    """Refuse a file whose first row holds values, and one that has a column per date.

    Numbers and what looks like dates are names, of articles for example, beside a column of dates that has a name.
    """
    import pandas as pd

    names = pd.Series([str(name).strip() for name in table.columns], dtype=object)
    are_days = names.str.fullmatch(_DAY_AS_NAME)
    if any(holds_dates(column) for _, column in table.loc[:, (~are_days).to_numpy()].items()):
        return
    is_named = ~names.str.startswith("Unnamed:")
    names, are_days = names[is_named], are_days[is_named]
    are_numbers = names.str.fullmatch(r"[+-]?\d+(?:\.\d+)*") & ~are_days
    if len(names) and (are_numbers.all() or (are_days.any() and are_numbers.any())):
        shown = ", ".join(map(repr, names.head(_SHOWN)))
        text = f"The first row should hold the names of the columns, and holds values: {shown}."
        raise OptionError(text, code="cli.bad_input", hint="Put a line with names above it, such as timestamp,target.")
    if are_days.sum() > 1:
        first = names[are_days].iloc[0]
        text = f"The table lies on its side: the names of {are_days.sum()} columns are dates, {first!r} first."
        hint = "Turn it, so that each date is a row and each series a column."
        raise OptionError(text, code="cli.bad_input", hint=hint)


def read_ids_as_text(path: Path, place: int) -> pd.Series:
    """Read the column at a place again, as it is written."""
    import pandas as pd

    how, _ = _dialect(path)
    ids: pd.Series = pd.read_csv(path, dtype=str, usecols=[place], **how).iloc[:, 0]
    return ids


def _dialect(path: Path) -> tuple[dict[str, Any], list[str]]:
    """How `pandas.read_csv` reads the file: encoding, separator, lines before the header."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = _encoding(head)
    lines = head.decode(encoding, errors="replace").splitlines()
    skipped = 1 if lines and lines[0].lower().startswith("sep=") else 0  # Excel's own first line
    separator = lines[0][4:5] if skipped else _separator(lines[:_HEAD_LINES])
    notes = [] if separator == "," else [f"columns are separated by {separator!r}"]
    if encoding == "cp1252":
        notes.append("the text is no UTF-8, so it is read as Windows-1252")
    return {"sep": separator or ",", "encoding": encoding, "skiprows": skipped}, notes


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head[: head.rfind(b"\n") + 1].decode("utf-8")  # the end may be half a letter
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _separator(lines: Sequence[str]) -> str:
    """The first that cuts all lines into equally many columns, more than one; a comma if none does."""
    for separator in SEPARATORS:
        widths = {len(row) for row in csv.reader(lines, delimiter=separator) if row}
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    return max(SEPARATORS, key=lambda one: lines[0].count(one)) if lines else ","


# ---------------------------------------------------------------------------------------------------------- numbers


def numbers_of(column: pd.Series) -> tuple[pd.Series, str] | None:
    """Return text such as ``1.234,5``, ``1,234.5`` or ``$5`` as numbers, and a note; None if it is no such text.

    What people write where nothing is known, such as ``-``, is missing.
    ``1,234`` alone may be either: that is refused by who needs a number.
    """
    if not is_text(column):
        return None
    text = column.str.strip()
    missing = text.isin(PLACEHOLDERS)
    bare = text.where(~missing).str.replace(_SIGNS, r"\1", regex=True)
    signs = bare.notna() & (bare != text)
    text = bare
    text = text.str.replace(r"[\s\u00a0\u202f']", "", regex=True)
    present = text.dropna()
    if not len(present):
        return None
    american, continental = (bool(present.str.fullmatch(one).all()) for one in (_UNITED_STATES, _CONTINENT))
    if american and continental and (signs.any() or missing.any()) and not present.str.contains("[.,]").any():
        continental = False  # whole numbers, and text only because of what stands beside them
    if american == continental:
        return None
    told = []
    if american:
        numbers = text.str.replace(",", "").astype(float)
        told += ["has commas between thousands"] if present.str.contains(",").any() else []
    else:
        numbers = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False).astype(float)
        told.append("has decimal commas")
    told += [f"has signs that are left out, as in {column[signs].iloc[0]!r}"] if signs.any() else []
    told += [f"is missing where it says {column[missing].iloc[0]!r}, {missing.sum()} times"] if missing.any() else []
    return numbers, f"{column.name!r} {', '.join(told) or 'is read as numbers'}"


def why_no_numbers(column: pd.Series) -> str | None:
    """Name the first cell of a column of text that is no number, or say that commas can be read in two ways."""
    if not is_text(column):
        return None
    text = column.str.strip().str.replace(_SIGNS, r"\1", regex=True).str.replace(r"[\s\u00a0\u202f']", "", regex=True)
    is_number = text.str.fullmatch(f"{_UNITED_STATES}|{_CONTINENT}", na=True) | column.str.strip().isin(PLACEHOLDERS)
    if is_number.all():
        return f"{column.name!r} has commas or points that may be decimal or between thousands"
    row = int((~is_number).to_numpy().argmax())
    return f"{column.name!r} is no number in row {row}: {column.iloc[row]!r}"


def is_text(column: pd.Series) -> bool:
    """Tell text from numbers and dates; missing values are neither."""
    import pandas as pd

    return pd.api.types.infer_dtype(column, skipna=True) == "string"


# ------------------------------------------------------------------------------------------------------------ dates


def dates_of(column: pd.Series, date_format: str | None = None) -> tuple[pd.Series, str] | None:
    """Return text such as ``31.12.2024`` as dates, and a note; None for ISO 8601 and for what is no date.

    Where offsets from UTC change, as with the clocks, days are days and all else is in UTC.
    Quarters (``2024Q1``) and ISO weeks (``2024-W05``) are their first days. Numbers are dates where they can be
    nothing else: ``20241231``, ``202412``, seconds and milliseconds since 1970. Years that were read as decimal
    numbers, because one is missing or written so, are whole numbers again.

    Parameters
    ----------
    column
        (N,) stamps as they were read.
    date_format
        How they are written, if the user says so.

    Raises
    ------
    OptionError
        ``cli.bad_input`` where day and month could be either, or the format that was given does not fit.
    """
    import pandas as pd

    if date_format is not None:
        return _read_as(column, date_format), f"{column.name!r} is read as {date_format}"
    if len(column) and _is_whole(column):
        whole = column.astype("int64")
        return dates_of(whole) or (whole, f"{column.name!r} is read as whole numbers")
    if pd.api.types.is_integer_dtype(column.dtype):
        return _dates_of_integers(column)
    if not is_text(column):
        return None
    codes, texts = pd.factorize(column)
    distinct = pd.Series(texts).str.strip()
    if pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True).notna().all():
        one_zone = _in_one_zone(distinct)
        if one_zone is None:
            return None
        stamps, how = one_zone
        return _spread(stamps, codes, column), f"{column.name!r} has several offsets from UTC, and is read as {how}"
    fitting = _periods(distinct) or _fitting(distinct)
    if not fitting:
        _refuse_unread(column, distinct)
        return None
    kept = _clearest(fitting, str(column.name))
    return _spread(fitting[kept], codes, column), f"{column.name!r} is read as {kept}"


def _spread(stamps: pd.DatetimeIndex, codes: Any, column: pd.Series) -> pd.Series:
    """Give each row of a column its stamp; missing where the code is negative."""
    import pandas as pd

    return pd.Series(stamps.take(codes), index=column.index).where(codes >= 0)


def _in_one_zone(texts: pd.Series) -> tuple[pd.DatetimeIndex, str] | None:
    """Return stamps of several offsets as days or in UTC, and which; None where one offset, or none, serves all."""
    import pandas as pd

    if not re.search(_OFFSET, texts.iloc[0]) or not texts.str.contains("[T ]").all():
        return None
    if not texts.str.contains(_OFFSET).all():
        return None  # the frame's own error names the first of the others
    in_utc = pd.DatetimeIndex(pd.to_datetime(texts, format="ISO8601", utc=True))
    bare = texts.str.replace(_OFFSET, "", regex=True)
    on_clocks = pd.DatetimeIndex(pd.to_datetime(bare, format="ISO8601", errors="coerce"))
    if len((on_clocks - in_utc.tz_localize(None)).unique()) == 1:
        return None
    return (on_clocks, "days") if (on_clocks == on_clocks.normalize()).all() else (in_utc, "UTC")


def _dates_of_integers(column: pd.Series) -> tuple[pd.Series, str] | None:
    import pandas as pd

    if not len(column):
        return None
    for date_format, first, last in (("%Y%m%d", 1900_01_01, 2199_12_31), ("%Y%m", 1900_01, 2199_12)):
        if column.between(first, last).all():
            read = pd.to_datetime(column.astype(str), format=date_format, errors="coerce")
            if not read.isna().any():
                return read, f"{column.name!r} is read as {date_format}"
    for (unit, name), factor in zip(EPOCHS.items(), (1, 1000), strict=True):
        if column.between(1e9 * factor, 4e9 * factor).all():
            return pd.to_datetime(column, unit=unit), f"{column.name!r} is read as {name} since 1970, in UTC"  # type: ignore[call-overload]
    return None


def _periods(texts: pd.Series) -> dict[str, pd.DatetimeIndex]:
    """First days of quarters or ISO weeks, if all texts are such."""
    import pandas as pd

    for kind, pattern in PERIODS.items():
        if not texts.str.fullmatch(pattern).all():
            continue
        parts = texts.str.extract(pattern)
        year, part = (parts.filter(like=name).fillna("").sum(axis=1) for name in ("year", "part"))
        is_week = kind.endswith("weeks")
        days = year + part + "1" if is_week else year + "-" + (3 * part.astype(int) - 2).astype(str) + "-1"
        read = pd.DatetimeIndex(pd.to_datetime(days, format="%G%V%u" if is_week else "%Y-%m-%d", errors="coerce"))
        if read.isna().any():
            continue
        weeks = read.isocalendar().week.to_numpy()
        if not is_week or (weeks == part.astype(int).to_numpy()).all():  # a 53rd week may be the first of the next year
            return {kind: read}
    return {}


def _refuse_unread(column: pd.Series, distinct: pd.Series) -> None:
    """Name the row that is no date although the others are, or else the first; what is nearly ISO 8601 is let through.

    The frame's own error knows more of years that are too far away, for example.
    """
    import pandas as pd

    unread = pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True).isna()
    for date_format in DAYS:
        other = pd.to_datetime(distinct, format=date_format, errors="coerce").isna()
        unread = other if other.sum() < unread.sum() else unread
    first = distinct[unread].iloc[0]
    if re.match(r"[+-]?\d{4,}-\d\d", first):
        return
    row = int((column.str.strip() == first).to_numpy().argmax())
    text = f"Row {row} of {column.name!r} is no date: {column.iloc[row]!r}."
    if unread.sum() < len(distinct) / 2:
        hint = "Most other rows are: correct this one, or delete it. Names of months are read in English."
    else:
        hint = "Say how dates are written, such as --date-format %d/%m/%Y. Names of months are read in English."
    raise OptionError(text, code="cli.bad_input", hint=hint)


def holds_dates(column: pd.Series) -> bool:
    """Tell whether a column holds dates, by its type or the first of its texts."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    return is_text(column) and _are_dates(column.dropna().head(_LOOKED_AT))


def _are_dates(texts: pd.Series) -> bool:
    """Tell whether all texts are dates, in ISO 8601 or written in any one other way."""
    import pandas as pd

    if not len(texts):
        return False
    distinct = texts.drop_duplicates()
    if pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True).notna().all():
        return not distinct.str.fullmatch(r"\d+").all()
    return bool(_fitting(distinct.str.strip()))


def _read_as(column: pd.Series, date_format: str) -> pd.Series:
    import pandas as pd

    try:
        return pd.to_datetime(column.astype(str).where(column.notna()), format=date_format)
    except ValueError as error:
        text = f"--date-format {date_format} does not fit {column.name!r}: {str(error).splitlines()[0].rstrip('.')}."
        raise OptionError(text, code="cli.bad_input") from error


def _fitting(texts: pd.Series) -> dict[str, pd.DatetimeIndex]:
    """Every way of writing dates in which all texts can be read."""
    import pandas as pd

    found = {}
    for date_format in (day + clock for clock in CLOCKS for day in DAYS):
        first = pd.to_datetime(texts.head(1), format=date_format, errors="coerce")
        if first.isna().any():
            continue
        read = pd.DatetimeIndex(pd.to_datetime(texts, format=date_format, errors="coerce"))
        if not read.isna().any():
            found[date_format] = read
    return found


def _clearest(fitting: dict[str, pd.DatetimeIndex], name: str) -> str:
    """The only way, or of two the one that leaves far fewer holes: months on their first days look like January."""
    holes = {date_format: _rows_between(stamps) for date_format, stamps in fitting.items()}
    ordered = sorted(holes, key=holes.__getitem__)
    distinct = [one for one in ordered if not fitting[one].equals(fitting[ordered[0]])]
    if distinct and holes[distinct[0]] < _CLEARLY_FEWER * holes[ordered[0]]:
        text = f"The dates of {name!r} can be read as {ordered[0]} and as {distinct[0]}."
        raise OptionError(text, code="cli.bad_input", hint=f"Say which: --date-format {ordered[0]}, for example.")
    return ordered[0]


def _rows_between(stamps: pd.DatetimeIndex) -> float:
    """Rows of a regular table from the first to the last stamp, with their usual step."""
    ordered = stamps.unique().sort_values()
    steps = (ordered[1:] - ordered[:-1]).total_seconds().to_numpy()
    return 1.0 if not len(steps) else float(steps.sum() / sorted(steps)[len(steps) // 2]) + 1
