"""The checks of ``tsar doctor``: what is installed, are the shipped releases sound, does a forecast come out.

Imports wait inside the checks, so that a broken installation is a line in the report and not the end of it.
"""

from __future__ import annotations

import importlib
import platform
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from tsar import __version__
from tsar.errors import ReleaseError
from tsar.registry import broken_releases
from tsar.storage import MANIFEST

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "tsar-forecast"
SHOWN = ("numpy", "pandas", "pyarrow", "narwhals", "scikit-learn", "safetensors", "accelerate", "gluonts")
MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}
"""What a package is imported as, where that is not its name."""

REINSTALL = "install tsar again, with pip's --force-reinstall --no-deps"
FOR_DEVELOPERS = ("dev", "docs", "judges")


@dataclass(frozen=True)
class Check:
    """Outcome of one check: `detail` holds the facts, or the reason of the failure."""

    name: str
    passed: bool
    detail: str


def run_checks() -> Iterator[Check]:
    """Run all checks, each outcome as soon as it is known."""
    from tsar.registry import list_models

    yield _run("tsar", lambda: f"{__version__} in {Path(__file__).parent}")
    yield _run("python", lambda: f"{platform.python_version()} on {platform.platform()}")
    yield _run("packages", _describe_packages)
    yield _run("extras", _describe_extras)
    yield _run("torch", _describe_torch)
    releases = list_models()
    if not releases:
        yield Check("releases", False, f"none is shipped with this installation. Hint: {REINSTALL}.")
    for folder in broken_releases():
        yield Check(folder.name, False, f"{folder} has no {MANIFEST}, so it cannot be used. Hint: {REINSTALL}.")
    for release in releases:
        yield _run(release.name, partial(_check_release, release.path))
        if release.task == "forecast":
            yield _run("forecast", partial(_check_forecast, release.path))


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except ImportError as error:
        return Check(name, False, f"{type(error).__name__}: {error}. Hint: see the line 'packages'.")
    except Exception as error:  # whatever it is, it is what the reader of the report wants to know
        return Check(name, False, f"{type(error).__name__}: {error}")


def _describe_packages() -> str:
    """Import what tsar needs and compare the versions with what it asks for."""
    if not _is_installed(DISTRIBUTION):
        return f"not checked: {DISTRIBUTION} itself is not installed, tsar is imported from a folder"
    needed = [one for one in _requirements() if one.marker is None]
    problems = {str(one): why for one in needed if (why := problem_of(one.name, str(one.specifier))) is not None}
    if problems:
        told = "; ".join(problems.values())
        command = " ".join(f"'{one}'" for one in problems)
        raise RuntimeError(f"{told}. Hint: pip install --force-reinstall --no-deps {command}; then doctor again")
    return ", ".join(f"{name} {version(name)}" for name in SHOWN)


def problem_of(name: str, wanted: str = "") -> str | None:
    """Say why a package cannot be used: missing, of another version than wanted, or not to be imported; else None."""
    from packaging.specifiers import SpecifierSet

    try:
        found = version(name)
        module = importlib.import_module(MODULES.get(name.lower(), name.replace("-", "_")))
    except PackageNotFoundError:
        return f"{name} is missing"
    except Exception as error:  # a package that is broken can raise anything
        return f"{name} cannot be imported ({type(error).__name__}: {error})"
    if getattr(module, "__file__", None) is None:
        return f"{name} is an empty folder, what an interrupted installation leaves behind"
    running = str(getattr(module, "__version__", found))  # whatever pip wrote down
    for one in (found, running) if running[:1].isdigit() else (found,):
        if not SpecifierSet(wanted).contains(one, prereleases=True):
            return f"{name} is {one}, and {wanted} is needed"
    return None


def _describe_extras() -> str:
    """List the optional parts, and the command for those that are not installed."""
    if not _is_installed(DISTRIBUTION):
        return "not checked"
    packages: dict[str, list[str]] = {}
    for one in _requirements():
        for extra in _extras_of(one):
            packages.setdefault(extra, []).append(one.name)
    missing = sorted(extra for extra, names in packages.items() if not all(map(_is_installed, names)))
    here = ", ".join(sorted(set(packages) - set(missing))) or "none"
    if not missing:
        return here
    return f"{here}; not installed: {', '.join(missing)} (pip install '{DISTRIBUTION}[NAME]')"


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    return [Requirement(one) for one in requires(DISTRIBUTION) or ()]


def _extras_of(requirement: Requirement) -> list[str]:
    named = re.findall(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker or ""))
    return [extra for extra in named if extra not in FOR_DEVELOPERS and requirement.name != DISTRIBUTION]


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _describe_torch() -> str:
    import torch

    from tsar.hub import resolve_device

    device = resolve_device("auto")
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{torch.__version__}, {torch.get_num_threads()} threads, device {device} ({label})"


def _check_release(path: Path) -> str:
    """Compare every file with its sha256 and put the weights into the model."""
    from tsar.hub import load_release
    from tsar.storage import read_folder

    try:
        load_release(path)
    except ReleaseError as error:
        raise ReleaseError(error.message, code=error.code, hint=REINSTALL) from error
    return f"{len(read_folder(path))} files match their sha256, weights load, in {path}"


def _check_forecast(path: Path) -> str:
    """Forecast a daily cycle of hours and look whether it is one: finite, ordered, in range."""
    import numpy as np
    import pandas as pd

    from tsar.forecaster import Forecaster

    hours = np.arange(14 * 24)
    stamps = pd.date_range("2024-01-01", periods=len(hours), freq="h")
    frame = pd.DataFrame({"item_id": "smoke", "timestamp": stamps, "target": 10 + np.sin(2 * np.pi * hours / 24)})
    began = time.perf_counter()
    forecast = Forecaster(model=str(path), prediction_length=24).fit(frame).predict()
    seconds = time.perf_counter() - began
    bands = forecast[["0.1", "0.5", "0.9"]].to_numpy()
    if not np.isfinite(bands).all() or (np.diff(bands, axis=1) < 0).any() or np.abs(bands - 10).max() > 10:
        raise ValueError("the smoke forecast is not finite, not ordered or far out of range")
    return f"24 steps of one series in {seconds:.2f} s"
