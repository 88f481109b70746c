"""Options of `Forecaster`: checked when they are used, since a constructor only stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsar.channels.joint import validate_adapter
from tsar.constraints import normalize_constraints
from tsar.covariates import METHODS
from tsar.errors import OptionError
from tsar.frame import CovariateColumns, target_names
from tsar.model.decoder import Decoder
from tsar.tuning import validate_mode
from tsar.validation import validate_count

LONGEST = int(np.iinfo(np.int64).max)
"""No series is longer: larger numbers of points count as this."""

_COUNTS_OR_AUTO = ("batch_size", "downsample")
_CHOICES = {
    "symmetrize": (True, False),
    "follow_period": (True, False),
    "non_negative": (True, False, "auto"),
    "ensemble": (None, "classical"),
    "calendar": (True, False),
    "covariate_method": METHODS,
    "calibrate": (False, True, "cqr", "split"),
}


def validate_options(forecaster: Any) -> None:
    """Raise ``option.invalid`` for the first option of a forecaster that has a value that is not allowed."""
    validate_mode(forecaster.mode, forecaster.fine_tune, forecaster.random_state)
    normalize_constraints(forecaster.constraints)
    covariate_columns(forecaster)
    validate_adapter(forecaster.channel_adapter, len(target_names(forecaster.target)))
    _validate_contexts(forecaster.context_length)
    validate_count("gap", forecaster.gap, least=0)
    for name in _COUNTS_OR_AUTO:
        _validate_count_or(name, getattr(forecaster, name), "auto")
    for name, allowed in _CHOICES.items():
        value = getattr(forecaster, name)
        if not any(_is_choice(value, choice) for choice in allowed):
            text = f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}."
            raise OptionError(text, code="option.invalid")


def validate_horizon(prediction_length: Any) -> int:
    """Return the prediction length as an integer, or raise ``option.prediction_length``."""
    return validate_count("prediction_length", prediction_length, code="option.prediction_length")


def context_lengths(given: Any, model: Decoder) -> tuple[int, ...]:
    """Return the lengths that the argument `context_length` asks for; None: that of the model."""
    wanted = model.config.context_length if given is None else given
    return tuple(min(int(length), LONGEST) for length in np.atleast_1d(np.asarray(wanted, dtype=object)))


def covariate_columns(forecaster: Any) -> CovariateColumns:
    """Return the names of the covariates, or raise ``option.invalid`` for what is no list of names."""
    names: dict[str, tuple[str, ...]] = {}
    for kind in ("past", "future", "static"):
        given: Sequence[str] = getattr(forecaster, f"{kind}_covariates")
        if isinstance(given, str) or not all(isinstance(name, str) for name in given):
            raise OptionError(f"{kind}_covariates must be a list of names, got {given!r}.", code="option.invalid")
        names[kind] = tuple(given)
    return CovariateColumns(**names)


def _validate_contexts(given: Any) -> None:
    several = isinstance(given, (list, tuple, np.ndarray))
    contexts = np.atleast_1d(np.asarray(given, dtype=object)).tolist()
    if not contexts:
        raise OptionError("context_length is empty.", code="option.invalid")
    for length in contexts:
        if several:
            validate_count("context_length", length)
        else:
            _validate_count_or("context_length", length, None)


def _validate_count_or(name: str, value: Any, default: str | None) -> None:
    if not _is_choice(value, default):
        validate_count(name, value, instead=f", or {default!r}")


def _is_choice(value: Any, choice: bool | str | None) -> bool:
    if isinstance(choice, bool):
        return isinstance(value, (bool, np.bool_)) and bool(value) is choice
    return value is None if choice is None else isinstance(value, str) and value == choice
