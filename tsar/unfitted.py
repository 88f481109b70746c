"""The error of `tsar.errors` for what is not fitted, as scikit-learn knows it.

A module of its own, since `tsar.errors` is imported by everything and scikit-learn takes a second to import.
"""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from tsar import errors


class NotFittedError(errors.NotFittedError, SklearnNotFittedError):  # type: ignore[misc]
    """Something needs `fit` first; ``except`` with the class of scikit-learn or of `tsar.errors` catches it."""


def not_fitted(text: str, *, hint: str) -> NotFittedError:
    """Make the error ``forecaster.not_fitted``, to be raised."""
    return NotFittedError(text, code="forecaster.not_fitted", hint=hint)
