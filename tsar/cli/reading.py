"""Tables as people have them: any separator, decimal commas, dates as their country writes them, Excel's habits.

What is not plain (commas, decimal points, ISO 8601) is read where only one reading is possible, and told. Where two
are, one line says which option decides.
"""

from __future__ import annotations

import csv
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
    "%B %Y", "%m/%Y", "%m.%Y", "%Y/%m",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", "T%H:%M:%S")
_UNITED_STATES = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_CONTINENT = r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?"
_HEAD_BYTES = 65_536
_HEAD_LINES = 20
_CLEARLY_FEWER = 2.0


def read_csv(path: Path, id_column: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Read text of any separator and encoding; with notes on what was not plain. Ids stay as they are written."""
    import pandas as pd

    how, notes = _dialect(path)
    table = pd.read_csv(path, dtype={id_column or "": str}, **how)  # an id "007" stays as it is written
    if any(str(name) != str(name).strip() for name in table.columns):
        table = table.rename(columns={name: str(name).strip() for name in table.columns})
    return table, notes


def read_ids_as_text(path: Path, id_column: str) -> pd.Series:
    """Read one column again, as it is written."""
    import pandas as pd

    how, _ = _dialect(path)
    ids: pd.Series = pd.read_csv(path, dtype=str, usecols=lambda name: name.strip() == id_column, **how).iloc[:, 0]
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
    """Return text such as ``1.234,5`` or ``1,234.5`` as numbers, and a note; None if it is no such text.

    ``1,234`` alone may be either: that is refused by who needs a number.
    """
    if not is_text(column):
        return None
    text = column.str.strip().str.replace(r"[\s\u00a0\u202f']", "", regex=True)
    present = text.dropna()
    if not len(present):
        return None
    american, continental = (bool(present.str.fullmatch(one).all()) for one in (_UNITED_STATES, _CONTINENT))
    if american == continental:
        return None
    if american:
        return text.str.replace(",", "").astype(float), f"{column.name!r} has commas between thousands"
    plain = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return plain.astype(float), f"{column.name!r} has decimal commas"


def is_text(column: pd.Series) -> bool:
    """Tell text from numbers and dates; missing values are neither."""
    import pandas as pd

    return pd.api.types.infer_dtype(column, skipna=True) == "string"


# ------------------------------------------------------------------------------------------------------------ dates


def dates_of(column: pd.Series, date_format: str | None = None) -> tuple[pd.Series, str] | None:
    """Return text such as ``31.12.2024`` as dates, and a note; None for ISO 8601 and for what is no date.

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
    if pd.api.types.is_integer_dtype(column.dtype):
        is_packed = len(column) and column.between(1900_01_01, 2199_12_31).all()
        read = pd.to_datetime(column.astype(str), format="%Y%m%d", errors="coerce") if is_packed else None
        return None if read is None or read.isna().any() else (read, f"{column.name!r} is read as %Y%m%d")
    if not is_text(column):
        return None
    codes, texts = pd.factorize(column)
    distinct = pd.Series(texts).str.strip()
    if pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True).notna().all():
        return None
    fitting = _fitting(distinct)
    if not fitting:
        return None
    kept = _clearest(fitting, str(column.name))
    read = pd.Series(fitting[kept].take(codes), index=column.index).where(codes >= 0)
    return read, f"{column.name!r} is read as {kept}"


def are_dates(texts: pd.Series) -> bool:
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
