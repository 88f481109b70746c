"""Names that go: they work for at least one more minor version, and say what to write instead.

Nothing is deprecated at present. ``0.3`` in "goes in 0.3" is the first version without the old name.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class TsarDeprecationWarning(FutureWarning):
    """Something will be gone in a later version; shown by default, since users of tsar should see it."""


def warn_deprecated(old: str, new: str, *, removed_in: str, stacklevel: int = 2) -> None:
    """Warn that a name goes.

    Parameters
    ----------
    old, new
        The name, and what to write instead.
    removed_in
        The first version without it.
    stacklevel
        As in `warnings.warn`: 2 is the caller of the function that calls this one.

    Warns
    -----
    TsarDeprecationWarning
        ``old is deprecated and goes in tsar 0.3: use new``.
    """
    text = f"{old} is deprecated and goes in tsar {removed_in}: use {new}"
    warnings.warn(text, TsarDeprecationWarning, stacklevel=stacklevel + 1)


def renamed_arguments(names: Mapping[str, str], *, removed_in: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments under their old names as well, with a warning.

    Parameters
    ----------
    names
        Old name -> new name.
    removed_in
        The first version that does not know the old names.

    Raises
    ------
    TypeError
        By the decorated function, if an argument is given under both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = dict(kwargs)
            for old, new in names.items():
                if old not in given:
                    continue
                if new in given:
                    raise TypeError(f"{function.__name__}() got {new!r} and its old name {old!r}")
                warn_deprecated(f"{function.__name__}({old}=…)", f"{new}=", removed_in=removed_in)
                given[new] = given.pop(old)
            return function(*args, **given)

        return call

    return decorate


def moved(old: str, new: str, function: Callable[P, R], *, removed_in: str) -> Callable[P, R]:
    """Return the function under its old name: it does the same, with a warning."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        warn_deprecated(old, new, removed_in=removed_in)
        return function(*args, **kwargs)

    return call
