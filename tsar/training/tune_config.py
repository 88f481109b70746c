"""What fine-tuning is told and what it tells: modes, options, report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tsar.errors import OptionError

MODES = ("zero_shot", "head", "prompt", "lora", "probe_then_tune", "full", "from_scratch")
RATES: Mapping[str, float] = {
    "head": 1e-3, "prompt": 1e-2, "lora": 2e-3, "probe_then_tune": 2e-4, "full": 3e-4, "from_scratch": 3e-3,
}  # fmt: skip
"""Peak learning rate of each mode, where none is given."""


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How `Forecaster.fit` trains; the defaults are meant to be left alone.

    Parameters
    ----------
    learning_rate
        Peak rate; None: that of the mode in `RATES`.
    max_steps
        Most updates.
    batch_size
        Windows an update.
    patience
        Validations (there are ten over the whole run) without gain after which training ends.
    least_gain
        Share by which the held-back ends must be forecast better for the new weights to be kept: windows of one date
        are no independent witnesses of a small gain.
    time_limit
        Seconds after which it ends; the schedule is fitted to it. None: no limit. A run that the limit ends is not
        repeatable to the bit.
    validation_windows
        Held-back ends of each series, one prediction length apart; ``"auto"``: as many as make about 64 in all, at most
        a fifth of a series.
    fraction
        Share of the series that is trained on, drawn with the seed; of a single series the newest share of its points.
    self_pretrain
        Updates with the objective of pretraining (runs and points hidden, windows mixed and bent) that come first.
    self_distill
        Weight in [0, 1) of the distance to the zero-shot forecast in the loss: how much to remember.
    lora_rank
        ``"auto"``: the largest for which less than 2 % of the weights is trained.
    prompt_length
        Learned keys in each layer of mode ``"prompt"``.

    Raises
    ------
    OptionError
        ``option.invalid`` for a value that is not allowed.
    """

    learning_rate: float | None = None
    max_steps: int = 100
    batch_size: int = 16
    patience: int = 4
    least_gain: float = 0.01
    time_limit: float | None = 240.0
    validation_windows: int | str = "auto"
    fraction: float = 1.0
    self_pretrain: int = 0
    self_distill: float = 0.0
    lora_rank: int | str = "auto"
    prompt_length: int = 16

    def __post_init__(self) -> None:
        for name, least, instead in (
            ("max_steps", 1, "never"), ("batch_size", 1, "never"), ("patience", 1, "never"),
            ("validation_windows", 1, "auto"), ("self_pretrain", 0, "never"), ("lora_rank", 1, "auto"),
            ("prompt_length", 1, "never"),
        ):  # fmt: skip
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            self._require(is_whole or value == instead != "never", name, f"a whole number from {least}")
        for name in ("learning_rate", "time_limit"):
            value = getattr(self, name)
            self._require(value is None or (_is_number(value) and 0 < value < math.inf), name, "a positive number")
        fraction, distill, gain = self.fraction, self.self_distill, self.least_gain
        self._require(_is_number(gain) and 0 <= gain < 1, "least_gain", "from 0 and below 1")
        self._require(_is_number(fraction) and 0 < fraction <= 1, "fraction", "above 0 and at most 1")
        self._require(_is_number(distill) and 0 <= distill < 1, "self_distill", "from 0 and below 1")

    def _require(self, is_allowed: bool, name: str, what: str) -> None:
        if not is_allowed:
            text = f"fine_tune: {name} must be {what}, got {getattr(self, name)!r}."
            raise OptionError(text, code="option.invalid")

    @classmethod
    def of(cls, given: Any) -> FineTuneConfig:
        """Return the config for the argument ``fine_tune``.

        Parameters
        ----------
        given
            None for the defaults, a mapping of the fields, or a config.

        Returns
        -------
        FineTuneConfig

        Raises
        ------
        OptionError
            ``option.invalid`` for anything else, an unknown name or a value that is not allowed.
        """
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            text = f"fine_tune must be None, a dict or a FineTuneConfig, got {given!r}."
            raise OptionError(text, code="option.invalid")
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(str(name) for name in given if name not in known)
        if unknown:
            text = f"fine_tune has unknown names: {', '.join(unknown)}."
            raise OptionError(text, code="option.invalid", hint=f"Known are {', '.join(known)}")
        return cls(**given)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class FineTuneReport:
    """What happened in `Forecaster.fit`.

    Attributes
    ----------
    mode
        As asked for.
    steps
        One dict for each validation: step, seconds, training_loss (mean since the last one), learning_rate,
        validation_score; ``pandas.DataFrame(report.steps)`` makes a table.
    zero_shot_score, tuned_score
        Mean pinball loss over the levels, twice, in units of each series' seasonal error, on the held-back ends, of the
        released weights and of those that are kept; NaN where nothing could be held back.
    alpha
        Share of the way from the released to the tuned weights that was best; 0: the released ones are kept.
    fell_back
        Whether the released weights are kept because the tuned ones were not better.
    reason
        Why nothing was trained or kept; empty if all went well.
    trained_parameters, trained_share
        Number of weights that were trained, and their share of all.
    num_windows
        Held-back windows behind the scores.
    seconds
        Wall time.
    """

    mode: str
    steps: list[dict[str, float]] = field(default_factory=list)
    zero_shot_score: float = math.nan
    tuned_score: float = math.nan
    alpha: float = 0.0
    fell_back: bool = True
    reason: str = ""
    trained_parameters: int = 0
    trained_share: float = 0.0
    num_windows: int = 0
    seconds: float = 0.0
