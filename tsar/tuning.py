"""Between `Forecaster` and the training of its weights: what is held back, how it is scored, adapters on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsar.decode.panel import decode_panel
from tsar.errors import FrameError, OptionError, warn
from tsar.frame import Panel
from tsar.freq import season_length
from tsar.inference import Inference
from tsar.model.adapter import Adapter, adapter_files, read_adapter
from tsar.model.decoder import Decoder
from tsar.refining.history import lower_bound
from tsar.storage import read_folder, validate_destination, write_folder
from tsar.types import FloatArray, IntArray
from tsar.unfitted import not_fitted

if TYPE_CHECKING:
    from tsar.training.finetune import FineTuned

KIND = "adapter"
WINDOWS_WANTED = 64
MOST_WINDOWS = 128
MOST_HELD_BACK = 0.2
"""Share of a series that may be held back for validation, except that one horizon always is if enough is left."""

_LEAST_LEFT = 8  # points of a series that must be left to train on when its end is held back


@dataclass(frozen=True, eq=False)
class HeldBack:
    """Windows whose outcome is known and not trained on.

    Attributes
    ----------
    values, offsets
        Histories end to end, one for each window.
    actual
        (W, F) what came, NaN where missing.
    units
        (W,) seasonal error of each history, NaN or 0 where it cannot be scaled by.
    """

    values: FloatArray
    offsets: IntArray
    actual: FloatArray
    units: FloatArray

    @property
    def num_windows(self) -> int:
        """Number of windows that count."""
        return int(_counts(self.units, self.actual).sum())

    def score(self, forecast: Callable[[FloatArray, IntArray], FloatArray], levels: FloatArray) -> float:
        """Mean over windows and levels of twice the pinball loss in seasonal errors; `forecast` gives (W, F, Q).

        Windows without a forecast (nothing observed in the context) are left out; without any it is infinite.
        """
        error = self.actual[..., None] - forecast(self.values, self.offsets)
        loss = 2 * np.maximum(levels * error, (levels - 1) * error).mean(-1)
        counts = _counts(self.units, self.actual)
        scaled = loss[counts] / self.units[counts, None]
        return float(np.nanmean(scaled)) if np.isfinite(scaled).any() else np.inf


def _counts(units: FloatArray, actual: FloatArray) -> Any:
    return np.isfinite(units) & (units > 0) & np.isfinite(actual).any(1)


def adapt_inference(
    inference: Inference, panel: Panel, prediction_length: int, steps: int, random_state: int | None
) -> Inference:
    """Return the inference with a copy of its model that took `steps` on a panel; the same one for 0 steps."""
    if steps == 0:
        return inference
    from tsar.training.adapt import adapt

    model = adapt(
        inference.model, panel.values, panel.offsets, steps=steps, prediction_length=prediction_length,
        context_length=max(inference.context_lengths), seed=random_state or 0,
    )  # fmt: skip
    return replace(inference, model=model)


def tune(
    base: Decoder,
    panel: Panel,
    validation: Panel | None,
    *,
    mode: str,
    config: Any,
    prediction_length: int,
    context_lengths: Sequence[int],
    symmetrize: bool,
    non_negative: bool | str,
    random_state: int | None,
) -> FineTuned:
    """Train `base` on a panel as `Forecaster.fit` does and warn if the released weights are kept.

    Parameters
    ----------
    base
        The released decoder; it is not changed.
    panel
        The user's history.
    validation
        What came after it for some of the items, or None: the ends of the panel are held back.
    mode, config, random_state
        As `mode`, `fine_tune` and `random_state` of `Forecaster`; None is seed 0.
    prediction_length, context_lengths, symmetrize, non_negative
        How it will be forecast: the held-back ends are forecast in the same way.
    """
    from tsar.training.finetune import FineTuned, fine_tune
    from tsar.training.tune_config import FineTuneConfig, FineTuneReport

    config, season = FineTuneConfig.of(config), season_length(panel.freq)
    rng = np.random.default_rng(0 if random_state is None else random_state)
    if validation is None:
        train, held_back = hold_back_ends(panel, prediction_length, season, config.validation_windows, rng)
    else:
        train = (panel.values, panel.offsets)
        held_back = hold_back_frame(panel, validation, prediction_length, season)
    if not held_back.num_windows:
        reason = "no series is long enough to hold back its end"
        result = FineTuned(replace_weights(base), None, FineTuneReport(mode=mode, reason=reason))
    else:
        levels = np.asarray(base.config.quantile_levels)

        def validate(decoder: Decoder) -> float:
            def forecast(values: FloatArray, offsets: IntArray) -> FloatArray:
                quantiles = decode_panel(
                    decoder, values, offsets, prediction_length, context_lengths=context_lengths, symmetrize=symmetrize
                )
                bound = lower_bound(values, offsets, non_negative)
                return quantiles if bound is None else np.maximum(quantiles, bound[:, None, None])

            return held_back.score(forecast, levels)

        result = fine_tune(
            base, *take_fraction(*train, config.fraction, rng), mode=mode, config=config,
            prediction_length=prediction_length, context_length=max(context_lengths),
            seed=int(rng.integers(1 << 31)), validate=validate,
        )  # fmt: skip
    result = replace(result, report=replace(result.report, num_windows=held_back.num_windows))
    if result.report.fell_back:
        warn(f"mode={mode!r} keeps the released weights: {result.report.reason}")
    return result


def replace_weights(base: Decoder) -> Decoder:
    """Return a decoder of its own with the same weights."""
    return Adapter("zero_shot", {}, base.config.prompt_length).apply(base)


def hold_back_ends(
    panel: Panel, prediction_length: int, season_length: int, windows: int | str, rng: np.random.Generator
) -> tuple[tuple[FloatArray, IntArray], HeldBack]:
    """Cut the last windows off every series that leaves enough; return the rest and at most `MOST_WINDOWS` of them."""
    lengths, horizon = panel.lengths, prediction_length
    enough = lengths >= horizon + max(_LEAST_LEFT, min(horizon, 64))
    wanted = -(-WINDOWS_WANTED // max(int(enough.sum()), 1)) if windows == "auto" else int(windows)
    room = np.maximum((lengths * MOST_HELD_BACK).astype(int) // horizon, 1)
    if windows != "auto":
        room = np.maximum((lengths - _LEAST_LEFT) // horizon, 0)
    counts = np.where(enough, np.minimum(wanted, room), 0)
    left = lengths - counts * horizon
    train = [panel.values[start : start + size] for start, size in zip(panel.offsets[:-1], left, strict=True)]
    ends = [
        panel.offsets[item] + left[item] + horizon * turn for item in range(len(counts)) for turn in range(counts[item])
    ]
    items = np.repeat(np.arange(len(counts)), counts)
    chosen = np.sort(rng.permutation(len(ends))[:MOST_WINDOWS])
    pasts = [panel.values[panel.offsets[items[k]] : ends[k]] for k in chosen]
    actual = [panel.values[ends[k] : ends[k] + horizon] for k in chosen]
    held_back = _held_back(pasts, actual, horizon, season_length)
    return (np.concatenate(train), np.concatenate([[0], np.cumsum(left)])), held_back


def hold_back_frame(panel: Panel, validation: Panel, prediction_length: int, season_length: int) -> HeldBack:
    """Windows of a frame given for validation: of its series that the panel has too, what follows the panel's end.

    Raises
    ------
    FrameError
        ``frame.empty`` if no stamp of it follows a series of the panel; ``frame.bad_timestamp`` for stamps of another
        kind.
    """
    places = {series: place for place, series in enumerate(_number_targets(panel))}
    starts = panel.place_starts_of(validation)
    pasts, actual = [], []
    for place, series in enumerate(_number_targets(validation)):
        if series not in places:
            continue
        own = places[series]
        past = panel.values[panel.offsets[own] : panel.offsets[own + 1]]
        following = (panel.starts[own] - starts[place]) // panel.grid.step + len(past)
        new = validation.values[validation.offsets[place] : validation.offsets[place + 1]]
        skipped = np.full(max(-following, 0), np.nan)
        future = np.concatenate([skipped, new[max(following, 0) :]])[:prediction_length]
        if np.isfinite(future).any():
            pasts.append(past)
            actual.append(np.concatenate([future, np.full(prediction_length - len(future), np.nan)]))
    if not pasts:
        raise FrameError(
            "No row of the validation frame follows the history of an item of the same id.",
            code="frame.empty",
            hint="Give the rows that come after those of df, or None to hold back the ends of df",
        )
    return _held_back(pasts, actual, prediction_length, season_length)


def _number_targets(panel: Panel) -> list[tuple[Any, int]]:
    """Id of every series, and its number among the targets of this item."""
    seen: Counter[Any] = Counter()
    series = []
    for item_id in panel.item_ids:
        series.append((item_id, seen[item_id]))
        seen[item_id] += 1
    return series


def _held_back(
    pasts: list[FloatArray], actual: list[FloatArray], prediction_length: int, season_length: int
) -> HeldBack:
    if not pasts:
        nothing = np.empty(0)
        return HeldBack(nothing, np.zeros(1, np.int64), np.empty((0, prediction_length)), nothing)
    offsets = np.concatenate([[0], np.cumsum([len(past) for past in pasts])])
    return HeldBack(
        np.concatenate(pasts), offsets, np.stack(actual), np.array([_unit(past, season_length) for past in pasts])
    )


def _unit(past: FloatArray, season_length: int) -> float:
    """Seasonal error of a history; NaN if it never changes at that lag."""
    lag = season_length if len(past) > season_length else 1
    steps = np.abs(past[lag:] - past[:-lag])
    return float(np.nanmean(steps)) if np.isfinite(steps).any() else np.nan


def take_fraction(
    values: FloatArray, offsets: IntArray, fraction: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Return a share of the series, at least one; of a single series the newest share of its points."""
    num_items = len(offsets) - 1
    if fraction >= 1:
        return values, offsets
    if num_items == 1:
        kept = values[len(values) - max(int(np.ceil(fraction * len(values))), 1) :]
        return kept, np.array([0, len(kept)])
    chosen = np.sort(rng.permutation(num_items)[: max(round(fraction * num_items), 1)])
    parts = [values[offsets[item] : offsets[item + 1]] for item in chosen]
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


def save_adapter(adapter: Adapter | None, base: Decoder, folder: str | Path) -> None:
    """Write an adapter into a folder, as one whole step.

    Raises
    ------
    NotFittedError
        ``forecaster.not_fitted`` if there is none: nothing was tuned, or the tuned weights were not better, or all
        weights are new (``from_scratch``).
    OptionError
        ``option.invalid`` for a folder that holds anything but an adapter.
    """
    if adapter is None:
        raise not_fitted(
            "There is no adapter: nothing was tuned, or the released weights were kept, or all weights are new.",
            hint="Fit with a mode other than zero_shot and from_scratch; save(folder) keeps whole models",
        )
    validate_destination(Path(folder), KIND, "saved adapter")
    write_folder(Path(folder), adapter_files(adapter, base), kind=KIND)


def load_adapter(base: Decoder, folder: str | Path) -> Adapter:
    """Read an adapter of this decoder; errors as of `read_folder` and `read_adapter`."""
    return read_adapter(read_folder(Path(folder)), base, str(folder))


def validate_mode(mode: object, fine_tune: object, random_state: object) -> None:
    """Refuse an unknown mode and options that do not fit it.

    Raises
    ------
    OptionError
        ``option.invalid``.
    """
    if mode == "zero_shot" and fine_tune is None:
        return
    from tsar.training.tune_config import MODES, FineTuneConfig

    if mode not in MODES:
        raise OptionError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.", code="option.invalid")
    if mode == "zero_shot":
        raise OptionError("mode='zero_shot' trains nothing, so fine_tune must be None.", code="option.invalid")
    FineTuneConfig.of(fine_tune)
    is_seed = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and random_state >= 0
    if random_state is not None and not is_seed:
        text = f"random_state must be None or a whole number from 0, got {random_state!r}."
        raise OptionError(text, code="option.invalid")
