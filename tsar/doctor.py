"""The checks of ``tsar doctor``: what is installed, are the shipped releases sound, does a forecast come out.

Imports wait inside the checks, so that a broken installation is a line in the report and not the end of it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from tsar import __version__

DISTRIBUTION = "tsar-forecast"
MISSING = "missing"


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
    yield _run("torch", _describe_torch)
    releases = list_models()
    if not releases:
        yield Check("releases", False, "none is shipped with this installation")
    for release in releases:
        yield _run(release.name, partial(_check_release, release.path))
        if release.task == "forecast":
            yield _run("forecast", partial(_check_forecast, release.path))


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except Exception as error:  # whatever it is, it is what the reader of the report wants to know
        return Check(name, False, f"{type(error).__name__}: {error}")


def _describe_packages() -> str:
    """List what tsar needs, with the installed versions; raise where one is missing or outside its range."""
    from packaging.requirements import Requirement

    try:
        stated = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return f"not checked: {DISTRIBUTION} itself is not installed, tsar is imported from a folder"
    needed = [one for one in map(Requirement, stated) if one.marker is None or one.marker.evaluate({"extra": ""})]
    installed = {one.name: _installed_version(one.name) for one in needed}
    misfits = [
        f"{one.name} {installed[one.name]} (needs {one.specifier})"
        for one in needed
        if installed[one.name] == MISSING or not one.specifier.contains(installed[one.name], prereleases=True)
    ]
    if misfits:
        raise ValueError(", ".join(misfits))
    return ", ".join(f"{name} {found}" for name, found in installed.items())


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


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

    load_release(path)
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
