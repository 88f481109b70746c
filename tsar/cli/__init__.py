"""The command line: one command for each thing that tsar does, with the words of Python.

Heavy imports wait inside the commands, so that ``tsar --help`` answers at once. Exit codes: 0 done; 2 the input or an
option cannot be used, with one line on standard error that says what to do; 1 a mistake inside tsar, or a failed check
of ``doctor``; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from tsar import __version__
from tsar.cli import (
    backtesting,
    explaining,
    exporting,
    forecasting,
    installation,
    reporting,
    serving,
    speed,
    tasks,
    training,
)
from tsar.errors import TsarError, TsarWarning

COMMANDS = (
    forecasting.add_forecast,
    training.add_finetune,
    backtesting.add_backtest,
    tasks.add_impute,
    tasks.add_detect,
    tasks.add_embed,
    explaining.add_explain,
    reporting.add_report,
    serving.add_serve,
    backtesting.add_benchmark,
    speed.add_bench,
    exporting.add_export,
    training.add_pretrain,
    installation.add_models,
    installation.add_doctor,
)
"""In the order in which ``tsar --help`` lists them."""

QUOTES = "'\""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; None: those of the process.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.refuse(f"unknown arguments: {' '.join(unknown)}", f"tsar {options.command}")
    options.arguments = arguments
    try:
        with _one_line_warnings():
            exit_code = int(options.run(options))
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TsarError, OSError) as error:  # the latter: a full disk, a file that may not be written
        return _report(options, _with_options(str(error), options), exit_code=2)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} Hint: --debug shows where; please report it."
        return _report(options, text, exit_code=1)


class Parser(argparse.ArgumentParser):
    """Reads arguments, and refuses them in one line: the options of a command are too many to be shown each time."""

    def error(self, message: str) -> NoReturn:
        """Leave with what is wrong and where the options are listed."""
        self.refuse(message, self.prog)

    def refuse(self, message: str, program: str) -> NoReturn:
        """Leave with what is wrong with the arguments of a program, such as ``tsar forecast``."""
        self.exit(2, f"tsar: error: {_one_line(message).rstrip('.')}. Hint: for usage: {program} --help\n")


def make_parser() -> Parser:
    """Build the parser of all commands."""
    parser = Parser(
        prog="tsar", description="Zero-shot time-series forecasting, offline, on a CPU.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"tsar {__version__}")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands, common)
    return parser


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show each warning as one line on standard error, as errors are; those of tsar always."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"tsar: warning: {_one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("always", TsarWarning)
        yield


def _report(options: argparse.Namespace, message: str, *, exit_code: int) -> int:
    if options.debug:
        traceback.print_exc()
    print(f"tsar: error: {_one_line(message)}", file=sys.stderr)
    return exit_code


def _with_options(text: str, options: argparse.Namespace) -> str:
    """Errors name the arguments of Python, ``freq='D'``: name the options of the command instead, where it has them."""

    def spell(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"] or ""
        return f"--{name.replace('_', '-')} {value.strip(QUOTES)}".rstrip() if name in vars(options) else found[0]

    return re.sub(r"(?<![\w.'])(?P<name>[a-z]+(?:_[a-z]+)*)=(?P<value>'[^']*'|\"[^\"]*\")?(?=[\s,.;:)]|$)", spell, text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
