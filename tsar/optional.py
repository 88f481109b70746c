"""Import an optional library when it is asked for, or say how to get it."""

from __future__ import annotations

import importlib
from typing import Any

from tsar.errors import MissingDependencyError


def require(module: str, extra: str) -> Any:
    """Return an imported module of an optional library.

    Parameters
    ----------
    module
        Its dotted name.
    extra
        The extra of tsar that installs it.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing``, with the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.split(".")[0]
        raise MissingDependencyError(
            f"{library} is needed here and cannot be imported: {error}.",
            code="dependency.missing",
            hint=f"pip install 'tsar-forecast[{extra}]'",
        ) from error
