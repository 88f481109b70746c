"""``tsar models`` and ``tsar doctor``: what is installed."""

from __future__ import annotations

import argparse
from typing import Any


def add_models(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar models``."""
    parser = commands.add_parser(
        "models",
        parents=[common],
        help="list the releases that ship with tsar",
        description="List the shipped releases.",
    )
    parser.set_defaults(run=models)


def models(options: argparse.Namespace) -> int:
    """Carry out ``tsar models``."""
    from tsar.registry import list_models

    for release in list_models():
        print(f"{release.name:20} {release.parameters / 1e6:8.2f} M  {release.summary}")
    return 0


def add_doctor(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar doctor``."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="check this installation",
        description="Print versions and devices, check the shipped releases, make a small forecast.",
    )
    parser.set_defaults(run=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Carry out ``tsar doctor``: exit code 1 if any check fails."""
    from tsar.doctor import run_checks

    failed = False
    for check in run_checks():
        print(f"{'ok  ' if check.passed else 'FAIL'} {check.name:12} {check.detail}", flush=True)
        failed = failed or not check.passed
    return int(failed)
