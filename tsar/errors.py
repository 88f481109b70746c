"""The exceptions and warnings of tsar.

Every error tsar raises on purpose derives from :class:`TsarError` and from the builtin that fits, so that both
``except TsarError`` and ``except ValueError`` work. Each carries a ``code`` that is stable between releases; `CODES`
lists them all and ``docs/errors.md`` has a paragraph for each (``tests/unit/test_errors.py`` compares the two).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

CODES: Mapping[str, str] = MappingProxyType(
    {
        # frame: what is wrong with the user's table
        "frame.not_a_frame": "the input is not a pandas, polars or pyarrow table",
        "frame.empty": "the frame has no rows",
        "frame.missing_column": "a column that was asked for is not in the frame",
        "frame.duplicate_column": "a column name occurs more than once",
        "frame.bad_id": "the id column holds values that cannot name a series",
        "frame.null_id": "an id is missing",
        "frame.null_timestamp": "a timestamp is missing",
        "frame.bad_timestamp": "a timestamp is neither a date-time, an ISO 8601 string nor an integer",
        "frame.mixed_time_zones": "the timestamps of one column are in different time zones",
        "frame.duplicate_timestamp": "an item has two rows for the same timestamp",
        "frame.non_numeric_target": "a target value is not a number",
        "frame.infinite_target": "a target value is infinite",
        "frame.gap": "rows are missing and gaps='raise' refuses to insert them",
        "frame.too_many_gaps": "closing the gaps would need far more rows than were given",
        "frame.scattered_rows": "the rows of an item of a large file do not lie together",
        "frame.no_members": "no series of the frame can be used to generate from",
        # events
        "event.null_type": "the type of an event is missing",
        "event.unknown_type": "an event has a type that was not there in fit",
        "event.too_few": "no item has enough events",
        "event.too_many_types": "the events have more types than the model can tell apart",
        # covariates
        "covariate.missing_future": "future covariates are named but future_df was not given",
        "covariate.short_future": "future_df lacks rows of timestamps that are to be forecast",
        "covariate.unexpected_column": "future_df has a column that no option names",
        "covariate.unknown_category": "a future covariate has a category that the history does not have",
        "covariate.too_many_categories": "a covariate has too many categories to be one",
        "covariate.not_static": "a static covariate changes within an item",
        "covariate.bad_column": "a covariate holds values that cannot be used",
        # frequency: what is wrong with the time axis
        "frequency.unknown_alias": "the text is not a pandas frequency alias",
        "frequency.unsupported": "a valid frequency that these timestamps, or tsar, cannot use",
        "frequency.cannot_infer": "no item has the three rows that inferring a frequency takes",
        "frequency.irregular": "the timestamps of an item are on no regular grid",
        "frequency.mixed": "the items of one frame have different frequencies",
        "frequency.off_grid": "a timestamp is not on the grid of the frequency that was given",
        "frequency.out_of_range": "the future timestamps do not fit in the type of the timestamps",
        # option: arguments of public functions
        "option.invalid": "an argument has a value that is not allowed",
        "option.quantile_level": "a quantile level is not strictly between 0 and 1, or comes twice",
        "option.prediction_length": "the prediction length is missing or not a positive integer",
        # forecaster, models and releases
        "forecaster.not_fitted": "the forecaster has not seen data yet",
        "model.unknown_name": "no model of this name is known",
        "model.wrong_task": "a model is not of the kind that the task needs",
        "model.bad_config": "a model configuration is not valid",
        "model.bad_body": "the language model that a model is built on is not there, or is another one",
        "model.no_export": "a model cannot be written as ONNX, or a file is not such a model",
        "model.not_on_hub": "the Hugging Face hub cannot be reached, or has no such model",
        "release.missing_file": "a file of a release is not there",
        "release.bad_hash": "a file of a release differs from its manifest",
        "release.bad_manifest": "the manifest of a release cannot be read",
        "release.unsafe_path": "a release names a file outside its own folder",
        # training
        "recipe.unknown_key": "a recipe has a key that tsar does not know",
        "recipe.bad_value": "a value in a recipe is not allowed",
        "recipe.missing_file": "a file that a recipe names is not there",
        "corpus.missing": "the training corpus is not there",
        "corpus.bad_shard": "a shard of the corpus cannot be used",
        "corpus.bad_manifest": "the manifest of a corpus cannot be used",
        "corpus.forbidden": "a source of the corpus must not be trained on",
        "checkpoint.invalid": "a checkpoint is incomplete or damaged",
        "checkpoint.busy": "another run is writing to this folder",
        "checkpoint.no_resume": "a folder has a run of a kind that cannot be taken up again",
        "training.nan_loss": "the training loss is not finite",
        "training.no_second_view": "a contrastive objective was given one view of its windows",
        # backtest
        "backtest.too_short": "no item is long enough for a backtest window",
        # benchmark: evaluation sets
        "benchmark.missing_set": "there is no evaluation set of this name or at this path",
        "benchmark.missing_column": "an evaluation set lacks a column",
        "benchmark.bad_set": "an evaluation set cannot be used",
        "benchmark.short_series": "a series of an evaluation set leaves no past to forecast from",
        # streams: values that arrive later
        "stream.unknown_item": "a new value is of an item that the stream did not start with",
        "stream.not_new": "a new row is not after those that the stream has read, or not on their grid",
        # surroundings
        "dependency.missing": "an optional package is not installed",
        "device.unavailable": "the device that was asked for is not there",
        "resource.memory": "there is too little memory even for the smallest piece of the work",
        "resource.worker": "a worker process ended before its work was done",
        "cli.bad_input": "the command line cannot use this input",
        # serve: what the server answers besides the codes above
        "serve.bad_request": "a request does not have the form that the server takes",
        "serve.too_large": "a request asks for more than the limits of the server",
        "serve.too_slow": "the body of a request did not come in time",
        "serve.busy": "too many requests are waiting already",
        "serve.closing": "the server is shutting down",
        "serve.failed": "the server made a mistake",
    }
)
"""Every error code and, in one line, what it means."""

_ITEMS_SHOWN = 3
_INSIDE = ("tsar", "contextlib")  # the latter calls what `once` decorates
_COLLECTED: ContextVar[list[str] | None] = ContextVar("_COLLECTED", default=None)
_GIVEN: ContextVar[set[str] | None] = ContextVar("_GIVEN", default=None)


class TsarError(Exception):
    """Root of all errors that tsar raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, where, and what was expected.
    code : str
        One of `CODES`, for example ``"frame.duplicate_timestamp"``.
    item_ids : iterable, optional
        The items concerned, the first offender first.
    hint : str, optional
        What to do about it.

    Attributes
    ----------
    message, code, item_ids, hint
        As given; `item_ids` is a tuple, empty where no item is to blame.

    Raises
    ------
    KeyError
        If `code` is not one of `CODES`: a mistake inside tsar, not the user's.
    """

    def __init__(self, message: str, *, code: str, item_ids: Iterable[Any] = (), hint: str | None = None) -> None:
        if code not in CODES:
            raise KeyError(f"{code!r} is not an error code of tsar; add it to tsar.errors.CODES and docs/errors.md")
        super().__init__(message)
        self.message = message
        self.code = code
        self.item_ids = tuple(item_ids)
        self.hint = hint

    def __str__(self) -> str:
        """Message, items, hint and code in one line."""
        parts = [f"{self.message.rstrip('.')}{_describe_items(self.item_ids)}."]
        if self.hint:
            parts.append(f"Hint: {self.hint.rstrip('.')}.")
        parts.append(f"[{self.code}]")
        return " ".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the keyword arguments, so that errors survive the way back from a worker process."""
        state = {"code": self.code, "item_ids": self.item_ids, "hint": self.hint}
        return _rebuild, (type(self), self.message, state)


class FrameError(TsarError, ValueError):
    """The user's frame cannot be used as it is."""


class CovariateError(TsarError, ValueError):
    """A covariate cannot be used as it is."""


class FrequencyError(TsarError, ValueError):
    """The time axis of a frame, or a frequency that was given, cannot be used."""


class OptionError(TsarError, ValueError):
    """An argument has a value that is not allowed."""


class NotFittedError(TsarError, ValueError, AttributeError):
    """A forecaster was asked for something that needs `fit` first (bases as scikit-learn's error of this name)."""


class ModelError(TsarError, ValueError):
    """A model is unknown or its configuration is not valid."""


class ReleaseError(TsarError, OSError):
    """A published model is incomplete, damaged or unsafe."""


class RecipeError(TsarError, ValueError):
    """A training recipe is not valid."""


class CorpusError(TsarError, ValueError):
    """The training corpus cannot be used."""


class CheckpointError(TsarError, OSError):
    """A training checkpoint cannot be read or written."""


class TrainingError(TsarError, RuntimeError):
    """A training run cannot go on."""


class BenchmarkError(TsarError, ValueError):
    """An evaluation set cannot be used."""


class MissingDependencyError(TsarError, ImportError):
    """An optional package is needed and not installed."""


class ResourceError(TsarError, RuntimeError):
    """The machine did not give what the work needs: memory, or a process that lives until the end."""


class ServeError(TsarError, RuntimeError):
    """A request to the server cannot be answered."""


class TsarWarning(UserWarning):
    """Something was repaired, or a result is weaker than one might think."""


def warn(text: str) -> None:
    """Warn with a `TsarWarning` that points to the line outside tsar by which it came about, however deep it arose."""
    collected, given = _COLLECTED.get(), _GIVEN.get()
    if collected is not None:
        collected.append(text)
        return
    if given is not None:
        if kind_of(text) in given:
            return
        given.add(kind_of(text))
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] in _INSIDE:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, TsarWarning, stacklevel=depth)


@contextmanager
def collect() -> Iterator[list[str]]:
    """Gather the texts of `TsarWarning`s meanwhile, in this thread, in the place of giving them.

    `warnings.catch_warnings` would change what all threads do with warnings, and catch theirs.
    """
    texts: list[str] = []
    token = _COLLECTED.set(texts)
    try:
        yield texts
    finally:
        _COLLECTED.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Give no `TsarWarning` meanwhile, in this thread."""
    with collect():
        yield


def kind_of(text: str) -> str:
    """What a warning is about: its text up to the colon, without numbers."""
    return "".join(letter for letter in text.split(":")[0] if not letter.isdigit())


@contextmanager
def once() -> Iterator[None]:
    """Give each kind of `TsarWarning` but once meanwhile, in this thread."""
    outer = _GIVEN.get()
    token = _GIVEN.set(set() if outer is None else outer)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def _rebuild(kind: type[TsarError], message: str, state: dict[str, Any]) -> TsarError:
    return kind(message, **state)


def _describe_items(item_ids: tuple[Any, ...]) -> str:
    if not item_ids:
        return ""
    shown = ", ".join(repr(item_id) for item_id in item_ids[:_ITEMS_SHOWN])
    more = f" and {len(item_ids) - _ITEMS_SHOWN} more" if len(item_ids) > _ITEMS_SHOWN else ""
    return f" ({'item' if len(item_ids) == 1 else 'items'} {shown}{more})"
