"""Messages and progress bars: silent as a library, readable on a terminal.

The library logs below the logger ``tsar`` and adds no output of its own; the application decides what is shown. The
command line calls `log_to_terminal`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_ROOT = "tsar"
logging.getLogger(_ROOT).addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module of tsar.

    Parameters
    ----------
    name
        ``__name__`` of the module. A name outside the package (``__main__``) is put below ``tsar``.
    """
    inside = name == _ROOT or name.startswith(f"{_ROOT}.")
    return logging.getLogger(name if inside else f"{_ROOT}.{name}")


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    desc: str | None = None,
    unit: str = "it",
    initial: int = 0,
    delay: float = 0.0,
    show: bool | None = None,
) -> tqdm[Any]:
    """Return a tqdm progress bar on standard error.

    Parameters
    ----------
    iterable
        What to run through; None for a bar that is moved by hand with ``update``.
    total, desc, unit, initial
        As in tqdm: number of steps, text in front, name of a step, steps already done.
    delay
        Seconds before the bar appears, so that short work stays silent.
    show
        True draws the bar, False does not; None draws it only if standard error is a terminal.
    """
    disable = None if show is None else not show
    return tqdm(
        iterable, total=total, desc=desc, unit=unit, initial=initial, delay=delay, disable=disable, dynamic_ncols=True,
        leave=None,  # a bar below another one vanishes when it is done
    )  # fmt: skip


def log_to_terminal(level: int = logging.INFO) -> None:
    """Show the library's messages on standard error, above any progress bar; a second call sets the level only."""
    root = logging.getLogger(_ROOT)
    root.setLevel(level)
    if not any(isinstance(handler, _TerminalHandler) for handler in root.handlers):
        handler = _TerminalHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        root.addHandler(handler)


class _TerminalHandler(logging.Handler):
    """Write through tqdm, which lifts the bars out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # as every handler of the standard library: logging must not stop the program
            self.handleError(record)
