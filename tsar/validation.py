"""Checks of arguments that many functions share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsar.errors import OptionError


def validate_count(name: str, value: Any, *, least: int = 1, instead: str = "", code: str = "option.invalid") -> int:
    """Return a whole number from `least`, or raise an `OptionError` that names the argument.

    True is no number. `instead` is what else the message says would do: ``", or 'auto'"``.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise OptionError(f"{name} must be a whole number from {least}{instead}, got {value!r}.", code=code)
    return int(value)
