"""What the faces of all engines share: the engine is imported when it is asked for, and its absence has a remedy."""

from __future__ import annotations

import importlib
from types import ModuleType

from tsar.errors import MissingDependencyError

_PIP = {"ray": "ray", "pyspark": "spark", "dask": "dask"}


def import_engine(module: str) -> ModuleType:
    """Import a module of an engine.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise MissingDependencyError(
            f"{module} cannot be imported: {error}.",
            code="dependency.missing",
            hint=f"pip install 'tsar-forecast[{_PIP[name]}]'",
        ) from error
