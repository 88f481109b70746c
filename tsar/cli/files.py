"""Tables and pictures in and out; what cannot be used is refused before the work rather than after it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.errors import OptionError, TsarError
from tsar.storage import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TABLE_SUFFIXES = (".csv", ".parquet")
INPUT_SUFFIXES = (*TABLE_SUFFIXES, ".tsv", ".txt")
IN_PYTHON = "Save it as CSV: in Python, pandas.{reader}({name!r}).to_csv({csv!r}, index=False)"
UNREAD: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), ("a spreadsheet", "Save the sheet as CSV; any separator will do.")),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip"), ("compressed", "Unpack it first.")),
    **dict.fromkeys((".json", ".jsonl"), ("JSON", IN_PYTHON.replace("{reader}", "read_json"))),
    ".feather": ("a feather file", IN_PYTHON.replace("{reader}", "read_feather")),
}
"""Tables that people have and tsar does not read, and what to do. A compressed one does not say how large it is."""
PLOT_SUFFIXES = (".png", ".pdf", ".svg")
PAGE_SUFFIXES = (".html", ".htm")
MAX_PLOTTED = 6
MANY_WIDTHS = "Rows differ in width: delete titles and notes above the names of the columns, and below the table."


def validate_input(*paths: Path | None) -> None:
    """Refuse tables that are not there or of another kind; None is none."""
    for path in paths:
        if path is not None and not path.is_file():
            raise OptionError(f"There is no file {path}.", code="cli.bad_input")
        if path is not None and path.suffix.lower() in UNREAD:
            what, hint = UNREAD[path.suffix.lower()]
            hint = hint.format(name=str(path), csv=str(path.with_suffix(".csv")))
            raise OptionError(f"{path} is {what}, which tsar does not read.", code="cli.bad_input", hint=hint)
        _validate_suffix(path, INPUT_SUFFIXES)


def validate_output(path: Path | None, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be written; None is none."""
    _validate_suffix(path, suffixes)
    if path is not None and not path.absolute().parent.is_dir():
        raise OptionError(f"{path} is in a folder that does not exist.", code="cli.bad_input")


def _validate_suffix(path: Path | None, suffixes: Sequence[str]) -> None:
    if path is not None and path.suffix.lower() not in suffixes:
        raise OptionError(f"{path} must end in one of {', '.join(suffixes)}.", code="cli.bad_input")


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a parquet file."""
    import pandas as pd

    return pd.read_parquet(path)


@contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into one error."""
    try:
        yield
    except TsarError:
        raise
    except Exception as error:  # a damaged parquet file can end in nearly any
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        hint = MANY_WIDTHS if type(error).__name__ == "ParserError" else None
        raise OptionError(f"{path} cannot be read: {reason}.", code="cli.bad_input", hint=hint) from error


def write_table(result: pd.DataFrame, path: Path | None) -> None:
    """Write a table; without a path, as CSV on standard output."""
    if path is None:
        result.to_csv(sys.stdout, index=False)
    elif path.suffix.lower() == ".parquet":
        content = io.BytesIO()
        result.to_parquet(content, index=False)
        write_file(path, content.getvalue())
    else:
        write_file(path, result.to_csv(index=False).encode())


def write_figure(figure: Figure, path: Path) -> None:
    """Write a picture of the kind that the file's name says."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:].lower(), dpi=150)
    write_file(path, content.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a link keeps pointing to it."""
    write_atomically(path.resolve(), content)


def first_items(table: pd.DataFrame, id_column: str | None) -> list[Any]:
    """Items to draw: the first of a table; ``[None]`` if it is one series."""
    return [None] if id_column is None else list(table[id_column].drop_duplicates().head(MAX_PLOTTED))


def new_figure(num_rows: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes below each other."""
    import matplotlib

    matplotlib.use("Agg")  # a picture is written; no window is wanted
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(num_rows, figsize=(9, 3.2 * num_rows), layout="constrained", squeeze=False)
    return figure, list(axes[:, 0])


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table as Markdown, numbers with four digits, missing ones as a dash."""
    rows = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    rows += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value).replace("|", "\\|")
