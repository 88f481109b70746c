"""Generation: new series from nothing, like the series of a frame, or of one class of a labelled frame.

A start is drawn - from the simulated prior, or a piece of a member of the frame, jittered - and continued by the
model's own sampled rollout (`tsar.decode.rollout`); the start is dropped, so that nothing is copied. How wide the draws
are and how the steps of a patch go together is measured on the members, where the outcome is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from tsar.conformal import normal_scores
from tsar.decode.rolling import forecasts_from
from tsar.decode.rollout import Draw, sample_continuations
from tsar.errors import FrameError, OptionError
from tsar.forecast import Forecast
from tsar.frame import Panel, make_fresh_panel, make_panel_frame, normalize_frame
from tsar.frame.columns import ONE_SERIES, collect, open_frame, read_table
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.samples import Dependence, item_generator
from tsar.tasks.views import standardize
from tsar.types import FloatArray, IntArray
from tsar.validation import validate_count

LONGEST_START = 512
SHARE_OF_MEMBER = 0.75  # of a short member that a start takes: the place is random still
EXAMPLES = 3  # in front of a series that begins where members begin
SIMULATED_START = 256
MEASURED = 32  # members on which the draws are measured
PHASES = 4  # of patches on which they are
PILOTS, PILOT_PATCHES = 64, 8  # sixteen pilots leave the spread too uncertain (docs/generation.md)
PILOT_FACTORS, PILOT_BOUNDS = (0.8, 1.0), (0.7, 1.1)
TRUSTED = 0.5  # measured correlations count as much as an autoregression from half a window a step on
RANGE_MORE, TRIES = 1.1, 4  # a series that wanders further than members do is drawn again, so many times in all
JITTER = 0.1  # of the typical step
SPREADS = (0.5, 1.5)  # bounds of the measured spread
LABELS_SHOWN = 5
ROOM = 0.75  # share of the context that start and examples take at most


@dataclass(frozen=True, kw_only=True, eq=False)
class _Start:
    """What one new series continues.

    Attributes
    ----------
    values : (L,)
        Examples and the start, NaN where missing.
    member : (N,)
        The whole series it is from.
    position : int
        Of the first new stamp on the panel's grid.
    """

    values: FloatArray
    member: FloatArray
    position: int


def generate(
    n: int,
    length: int,
    *,
    like: Any = None,
    label: Any = None,
    label_column: str | None = None,
    model: str | Path | Decoder = "tsar-tiny",
    random_state: int | None = 0,
    start_length: int | None = None,
    num_examples: int | None = None,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
    device: str = "auto",
) -> Any:
    """Make new series.

    Parameters
    ----------
    n, length
        How many series, and points of each.
    like
        Long frame whose series the new ones resemble; None: anything that the simulated prior of pretraining holds.
        Missing values are left out; members with fewer than two observed values are not used.
    label, label_column
        Only members with this value in this column of `like`, one value an item; the result has the column as well.
    model
        Name of a shipped release, path of a release folder, or a `Decoder`; one tuned on `like`
        (``Forecaster(mode="full").fit(df).model_``) comes closer to it.
    random_state
        Seed; None counts as 0. Series k follows from the seed, k and `length` alone, whatever `n` is.
    start_length
        Points that each series continues and that are dropped; None: three quarters of a member, at most 512, at a
        random place. 0: the new series begins where a member begins, after whole members end to end, which suits
        aligned members (heart beats, gestures) that are of `length` points.
    num_examples
        Other members (of the class) shown in front of the start, brought to its level and scale; None: 3 with
        ``start_length=0``, else 0, since windows that are not aligned are no help to each other.
    id_column, timestamp_column, target, freq
        As in `Forecaster`. Without `like`, `freq` gives the stamps, from 2000 on; None: integers from 0.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …

    Returns
    -------
    frame of the kind of `like`, else pandas
        Id (``"generated_0"``, …), timestamp, target, and the label column with a label; `length` rows a series. Stamps
        are those at which the start's continuation stands, so that hours and weekdays fit the values.

    Raises
    ------
    OptionError
        ``option.invalid`` for numbers out of range, or a label without a column or frame.
    FrameError, FrequencyError
        For a frame that cannot be read; ``frame.no_members`` if no series has the label, or two observed values.
    ModelError
        ``model.wrong_task`` for a model that does not forecast.

    Notes
    -----
    A series whose range is beyond that of the members over as many points is drawn again, at most three times.
    Values are finite, at or above zero where the member never was below, whole numbers where it has nothing else, and
    constant where the start is. `tsar.tasks.generation_scores` measures how like the new series are.

    Examples
    --------
    >>> from tsar import generate
    >>> new = generate(10, 168, like=df)  # doctest: +SKIP
    """
    _validate(n, length, start_length, num_examples, like, label, label_column)
    decoder = load_model(model, resolve_device(device))
    panel, source = None, _Prior(decoder, start_length, random_state)  # type: Panel | None, _Prior | _Pool
    if like is not None:
        frame = like if label_column is None else _of_class(like, label, label_column, id_column)
        panel = normalize_frame(
            frame, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq
        )  # fmt: skip
        if num_examples is None:
            num_examples = EXAMPLES if start_length == 0 else 0
        source = _Pool(panel, decoder, start_length, int(num_examples))
    draw = _measure(decoder, source.members, random_state)
    draw = replace(draw, spread=_fitting_spread(decoder, source, draw, random_state))
    generators = [item_generator(k, random_state) for k in range(n)]
    values, starts = _within_range(decoder, source, length, generators, draw)
    fresh = make_fresh_panel(
        values, [f"generated_{k}" for k in range(n)], like=panel,
        starts=np.array([start.position for start in starts]), freq=freq,
    )  # fmt: skip
    filled = {target: fresh.values}
    if label_column is not None:
        filled[label_column] = np.full(fresh.values.shape, label)
    return make_panel_frame(fresh, filled, id_column=id_column, timestamp_column=timestamp_column)


class _Pool:
    """The members of a frame, and how starts are drawn from them."""

    def __init__(self, panel: Panel, decoder: Decoder, start_length: int | None, num_examples: int) -> None:
        series = np.split(panel.values, panel.offsets[1:-1])
        usable = [place for place, one in enumerate(series) if np.isfinite(one).sum() > 1]
        if not usable:
            raise FrameError("No series has two observed values.", code="frame.no_members", item_ids=panel.item_ids)
        self.members = [series[place][: np.flatnonzero(np.isfinite(series[place]))[-1] + 1] for place in usable]
        self.starts, self.step = panel.starts[usable], panel.grid.step
        self.start_length, self.num_examples = start_length, num_examples
        self.room = _in_patches(decoder.config.context_length, decoder)
        longest = max(map(len, self.members)) * (1 + num_examples)  # no more than is drawn, whatever is drawn
        self.width = _in_patches(longest, decoder)

    def half_ranges(self, starts: Sequence[_Start], length: int) -> FloatArray:
        """Half of the largest range that new series (n,) may have: that of the members, and a little more."""
        return np.full(len(starts), RANGE_MORE * max(_half_range(member, length) for member in self.members))

    def draw(self, generator: np.random.Generator) -> _Start:
        """Draw a start: a member, a place in it, jitter, and members in front."""
        chosen = int(generator.integers(len(self.members)))
        member, position = self.members[chosen], int(self.starts[chosen])
        if self.start_length == 0:
            start = member
        else:
            place, length = self._place(member, generator)
            start, position = member[place : place + length], position + (place + length) * self.step
        start = _jitter(start[-self.room :], generator)
        shown = [_like(self.members[other], start) for other in self._others(chosen, generator)]
        values = np.concatenate([*shown, start])[-self.room :]
        return _Start(values=values, member=member, position=position)

    def _place(self, member: FloatArray, generator: np.random.Generator) -> tuple[int, int]:
        """Where a start begins and how long it is; at least half observed where there is such a place."""
        length = min(LONGEST_START, int(np.ceil(SHARE_OF_MEMBER * len(member))))
        length = min(self.start_length or length, len(member), self.room)
        seen = np.convolve(np.isfinite(member), np.ones(length), "valid")
        allowed = np.flatnonzero(seen >= min(seen.max(), max(length / 2, 1)) - 0.5)
        return int(generator.choice(allowed)), length

    def _others(self, chosen: int, generator: np.random.Generator) -> IntArray:
        others = np.delete(np.arange(len(self.members)), chosen)
        return generator.permutation(others)[: self.num_examples]


class _Prior:
    """The simulated prior of pretraining, and how starts are drawn from it."""

    def __init__(self, decoder: Decoder, start_length: int | None, random_state: int | None) -> None:
        self.width = _in_patches(start_length or SIMULATED_START, decoder)
        self.start_length = min(start_length or SIMULATED_START, self.width)
        self.random_state = random_state

    @property
    def members(self) -> list[FloatArray]:
        """Series on which the draws are measured."""
        generators = [item_generator(("measured", k), self.random_state) for k in range(MEASURED)]
        return [self._simulate(generator, SIMULATED_START) for generator in generators]

    def half_ranges(self, starts: Sequence[_Start], length: int) -> FloatArray:
        """As in `_Pool`; each start is the only member of its kind."""
        return np.array([RANGE_MORE * _half_range(start.member, length) for start in starts])

    def draw(self, generator: np.random.Generator) -> _Start:
        """Draw a start: a family, and a series of it."""
        series = self._simulate(generator, self.start_length)
        return _Start(values=series, member=series, position=0)

    def _simulate(self, generator: np.random.Generator, length: int) -> FloatArray:
        import torch

        from tsar.training.synth import DEFAULT_WEIGHTS, make_series

        names, weights = list(DEFAULT_WEIGHTS), np.array(list(DEFAULT_WEIGHTS.values()))
        family = names[int(generator.choice(len(names), p=weights / weights.sum()))]
        source = torch.Generator().manual_seed(int(generator.integers(1 << 62)))
        series: FloatArray = make_series(family, 1, length, source)[0].double().numpy()
        return series


def _continue(
    decoder: Decoder, starts: Sequence[_Start], width: int, length: int, generators: Sequence[np.random.Generator],
    draw: Draw,
) -> FloatArray:  # fmt: skip
    """Paths (n, length) that continue the starts and keep the signs and whole numbers of their members."""
    return sample_continuations(
        decoder, _stack(starts, width), length, generators, draw=draw,
        lower=np.array([0.0 if np.nanmin(start.member) >= 0 else -np.inf for start in starts]),
        is_whole=np.array([_is_whole(start.member) for start in starts]),
    )  # fmt: skip


def _within_range(
    decoder: Decoder, source: _Prior | _Pool, length: int, generators: Sequence[np.random.Generator], draw: Draw
) -> tuple[FloatArray, list[_Start]]:
    """Paths and their starts; those that wander further than members do are drawn again, the best of some is kept."""
    paths, excess = np.empty((len(generators), length)), np.full(len(generators), np.inf)
    starts: dict[int, _Start] = {}
    for _ in range(TRIES):
        rows = [int(row) for row in np.flatnonzero(excess > 1)]
        if not rows:
            break
        drawn = [source.draw(generators[row]) for row in rows]
        new = _continue(decoder, drawn, source.width, length, [generators[row] for row in rows], draw)
        limits = np.maximum(source.half_ranges(drawn, length), np.finfo(np.float64).tiny)
        for row, start, path, limit in zip(rows, drawn, new, limits, strict=True):
            ratio = _half_range(path, length) / limit
            if row not in starts or ratio < excess[row]:
                paths[row], excess[row], starts[row] = path, ratio, start
    return paths, [starts[row] for row in range(len(generators))]


def _half_range(series: FloatArray, length: int) -> float:
    """Half of the largest range over `length` points; of a shorter series its own, growing with the root of the length.

    Halves, since the difference of the largest numbers overflows.
    """
    is_seen, width = np.isfinite(series), min(length, len(series))
    high = maximum_filter1d(np.where(is_seen, series, -np.inf), width, mode="nearest")
    low = minimum_filter1d(np.where(is_seen, series, np.inf), width, mode="nearest")
    known = high >= low  # some windows hold nothing
    return float((high[known] / 2 - low[known] / 2).max() * np.sqrt(max(length / len(series), 1.0)))


def _measure(decoder: Decoder, members: Sequence[FloatArray], random_state: int | None) -> Draw:
    """How wide to draw and how steps go together: from where the members' values lie in their forecasts' laws."""
    patch, generator = decoder.config.patch_length, item_generator("measure", random_state)
    long = [member[-decoder.config.context_length :] for member in members if len(member) >= 2 * patch]
    if not long or decoder.config.scaling != "causal":
        return Draw(dependence=Dependence.default())
    chosen = [long[place] for place in generator.permutation(len(long))[:MEASURED]]
    values, offsets = np.concatenate(chosen), np.cumsum([0, *map(len, chosen)])
    parts = [_cutoffs(len(one), patch, generator) for one in chosen]
    first = np.repeat(offsets[:-1], [len(part) for part in parts])
    cutoffs = first + np.concatenate(parts)
    quantiles = forecasts_from(decoder, values, first, cutoffs, patch, symmetrize=False)
    actual = values[cutoffs[:, None] + np.arange(patch)]
    scores = normal_scores(actual, Forecast(quantiles, np.asarray(decoder.config.quantile_levels)))
    known = scores[np.isfinite(scores)]
    if len(known) < 2 * patch:
        return Draw(dependence=Dependence.default())
    spread = float(np.clip(np.sqrt(np.mean(known**2)), *SPREADS))
    return Draw(dependence=Dependence.fit(scores, trusted=TRUSTED), spread=spread)


def _fitting_spread(decoder: Decoder, source: _Prior | _Pool, draw: Draw, random_state: int | None) -> float:
    """The spread with which the steps of new series are as large as those of their members.

    A rollout hears its own draws, so that bands that are right for one patch grow too wide over many. Two pilot runs
    tell how large the steps become, and the spread is interpolated between them.
    """
    found = []
    for factor in PILOT_FACTORS:
        generators = [item_generator(("pilot", k), random_state) for k in range(PILOTS)]
        starts = [source.draw(generator) for generator in generators]
        pilot = replace(draw, spread=factor * draw.spread)
        length = PILOT_PATCHES * decoder.config.patch_length
        paths = _continue(decoder, starts, source.width, length, generators, pilot)
        ratios = [_typical_step(path) / _typical_step(start.member) for path, start in zip(paths, starts, strict=True)]
        found.append(float(np.median(np.log([ratio for ratio in ratios if 0 < ratio < np.inf] or [1.0]))))
    (low, high), (below, above) = PILOT_FACTORS, found
    if above - below < 1e-3:
        return draw.spread  # constant members, or steps that do not follow the spread
    factor = low + (high - low) * (0.0 - below) / (above - below)
    return draw.spread * float(np.clip(factor, *PILOT_BOUNDS))


def _typical_step(series: FloatArray) -> float:
    """Mean absolute step, NaN (ratios with which are left out) where there is none."""
    with np.errstate(over="ignore"):
        steps = np.abs(np.diff(series))
    known = steps[np.isfinite(steps)]
    return float(known.mean()) if len(known) and known.any() else float("nan")


def _cutoffs(length: int, patch: int, generator: np.random.Generator) -> IntArray:
    """Places in the second half of a series with a patch to follow, a few for each patch."""
    low, step = min(max(length // 2, patch), length - patch), max(patch // PHASES, 1)
    phase = int(generator.integers(min(step, length - patch - low + 1)))
    return np.arange(low + phase, length - patch + 1, step)


def _jitter(start: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Move what moves by a tenth of the typical step; runs of one value stay runs, and signs stay."""
    with np.errstate(over="ignore"):
        steps = np.abs(np.diff(start, prepend=start[:1]))
    moving = np.isfinite(steps) & (steps > 0)
    if not moving.any():
        return start
    noise = generator.standard_normal(len(start)) * JITTER * np.median(steps[moving])
    limit = np.abs(start) / 2
    moved: FloatArray = start + np.where(moving, np.clip(noise, -limit, limit), 0.0)
    return moved


def _like(member: FloatArray, start: FloatArray) -> FloatArray:
    """Bring a member to the mean and deviation of a start."""
    unit = float(np.nanmax(np.abs(start))) or 1.0  # sums of the largest numbers overflow
    moved: FloatArray = (standardize(member) * np.nanstd(start / unit) + np.nanmean(start / unit)) * unit
    return moved


def _in_patches(points: int, decoder: Decoder) -> int:
    """Number of points in whole patches, no more than leaves room for rollouts in the context."""
    patch, room = decoder.config.patch_length, int(ROOM * decoder.config.context_length)
    return max(min(-(-points // patch), room // patch), 1) * patch


def _stack(starts: Sequence[_Start], width: int) -> FloatArray:
    """Starts (n, width), right-aligned."""
    stacked = np.full((len(starts), width), np.nan)
    for row, start in enumerate(starts):
        stacked[row, width - len(start.values) :] = start.values
    return stacked


def _is_whole(member: FloatArray) -> bool:
    seen = member[np.isfinite(member)]
    return bool((seen == np.rint(seen)).all())


def _of_class(df: Any, label: Any, label_column: str, id_column: str | None) -> Any:
    """Rows of the items of a class."""
    read_table(df, id_column, label_column)
    frame = collect(open_frame(df))
    wanted = np.array([bool(value == label) for value in frame[label_column].to_list()])
    if not wanted.any():
        present = sorted({str(value) for value in frame[label_column].to_list()})[:LABELS_SHOWN]
        text = f"No row has {label!r} in the column {label_column!r}"
        raise FrameError(text, code="frame.no_members", hint=f"It holds {', '.join(present)}")
    ids = np.array(frame[id_column].to_list() if id_column is not None else [ONE_SERIES] * len(wanted), dtype=object)
    torn = sorted({str(one) for one in ids[wanted]} & {str(one) for one in ids[~wanted]})
    if torn:
        raise FrameError(
            f"The label in {label_column!r} changes within an item", code="frame.no_members", item_ids=torn,
            hint="A label belongs to a whole series",
        )  # fmt: skip
    return frame.filter(wanted.tolist()).to_native()


def _validate(
    n: int, length: int, start_length: int | None, num_examples: int | None, like: Any, label: Any,
    label_column: str | None,
) -> None:  # fmt: skip
    for name, value, least in (
        ("n", n, 1), ("length", length, 1), ("start_length", start_length, 0), ("num_examples", num_examples, 0),
    ):  # fmt: skip
        if value is not None or least > 0:
            validate_count(name, value, least=least)
    if (label is None) != (label_column is None):
        raise OptionError("label and label_column go together.", code="option.invalid")
    if like is None and (label is not None or start_length == 0 or num_examples):
        text = "label, start_length=0 and num_examples need series to resemble."
        raise OptionError(text, code="option.invalid", hint="Give like=df.")
