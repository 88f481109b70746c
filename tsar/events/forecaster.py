"""`EventForecaster`: what happens next, when, and how often within a horizon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator

from tsar.errors import OptionError
from tsar.events.distance import pairwise_distances
from tsar.events.energy import History, path_weights
from tsar.events.network import EventConfig
from tsar.events.networks import build_networks
from tsar.events.release import take_over
from tsar.events.rollout import MOST_EVENTS, roll_out
from tsar.events.sequences import EventSequences, read_duration, read_events, require_events
from tsar.events.training import Budget, fit_energy, fit_events
from tsar.forecast import validate_levels
from tsar.samples import item_generator
from tsar.types import FloatArray, IntArray, PathLike
from tsar.unfitted import NotFittedError
from tsar.validation import validate_count

REMOVAL_GAPS = 2.0  # cost of adding or removing an event in `predict_sequence`
PROPOSALS = 4  # paths drawn for each that is kept
SIZES = ("d_model", "num_layers", "num_components", "context_length", "max_steps", "rerank_events")


class EventForecaster(BaseEstimator):  # type: ignore[misc]
    """Forecast sequences of events: each has a type and a time, at any distance from the one before.

    Parameters
    ----------
    context_length
        Events that the network looks at; half of them are history of a forecast.
    d_model, num_layers, num_components
        Width and depth of the network, and log-normals in the law of a gap.
    max_steps
        Training steps of 16 windows each.
    model
        Folder of an event model that ``tsar pretrain`` has made from a recipe of events. `fit` then trains nothing: it
        takes the types and the scale of time from the events, and the sizes above are those of the model. None: learn
        from the events.
    rerank
        None, or ``"energy"``: paths are drawn four times over and resampled by an energy of how they begin, learned by
        telling real continuations from drawn ones (HYPRO).
    rerank_events
        How much of a path the energy judges: the time in which so many events come on average.
    quantile_levels
        Levels of the counts that `predict` gives.
    num_samples
        Paths behind `predict`.
    id_column, timestamp_column, type_column
        Names of the columns; ``id_column=None``: one sequence.
    random_state
        Seed of training and paths; None counts as 0.

    Attributes
    ----------
    event_types_ : (V,) object
        The types seen by `fit`, sorted.
    log_likelihood_ : float
        Mean of the held-back part, nats an event, time in seconds or in the unit of the stamps.
    config_ : EventConfig
        Sizes of the networks.
    energy_gain_, temper_ : float
        With ``rerank="energy"``: by how many nats the energy tells held-back continuations from drawn ones better
        than chance, and the power of the weights that did so. Both are zero, and paths stay as they are drawn, unless
        the gain is more than two standard errors.

    Notes
    -----
    Stamps are date-times, ISO 8601 text, or numbers (floats too). Missing ids, stamps and types are refused. Events of
    one stamp keep the order of their rows. The first event of a sequence is read, not predicted. The silence after the
    last event of a sequence is learned from if ``fit(end=…)`` says how long it was. Runs on the CPU; the same seed
    gives the same answer, for each item whatever the others are.

    References
    ----------
    Antoniades et al. (2024), Neuroformer; Shchur et al. (2020), Intensity-free learning of temporal point processes;
    Xue et al. (2022), HYPRO.

    Examples
    --------
    >>> from tsar import EventForecaster
    >>> EventForecaster().fit(events).predict(horizon="2h")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        context_length: int = 64,
        d_model: int = 32,
        num_layers: int = 2,
        num_components: int = 8,
        max_steps: int = 300,
        model: PathLike | None = None,
        rerank: str | None = None,
        rerank_events: int = 20,
        quantile_levels: Sequence[float] = (0.1, 0.5, 0.9),
        num_samples: int = 100,
        id_column: str | None = "item_id",
        timestamp_column: str = "timestamp",
        type_column: str = "event_type",
        random_state: int | None = 0,
    ) -> None:
        self.context_length = context_length
        self.d_model = d_model
        self.num_layers = num_layers
        self.num_components = num_components
        self.max_steps = max_steps
        self.model = model
        self.rerank = rerank
        self.rerank_events = rerank_events
        self.quantile_levels = quantile_levels
        self.num_samples = num_samples
        self.id_column = id_column
        self.timestamp_column = timestamp_column
        self.type_column = type_column
        self.random_state = random_state

    # --------------------------------------------------------------------------------------------------------- fit

    def fit(self, df: Any, y: None = None, *, end: Any = None) -> EventForecaster:
        """Learn the law of the next event.

        Parameters
        ----------
        df
            Long frame (pandas, polars, pyarrow): one row an event, in any order.
        y
            Not used.
        end
            Stamp up to which events were recorded; the silence after the last event of each item is then learned from.
            None: not known, and rates come out a little high where sequences are short.

        Returns
        -------
        EventForecaster
            itself

        Raises
        ------
        FrameError
            ``event.null_type``, ``event.too_few``, with `model` ``event.too_many_types``, and those of ids and stamps.
        OptionError
            ``option.invalid`` for an option, or for an `end` that is before an event or no stamp.
        ModelError, ReleaseError
            With `model`: ``model.unknown_name``, ``release.missing_file``, ``release.bad_hash``,
            ``release.bad_manifest``.
        """
        self._validate_options()
        sequences = self._read(df)
        silences = np.array(
            [np.nan if end is None else _silence(end, sequences, i) for i in range(len(sequences.times))]
        )
        self.history_ = sequences
        self.event_types_ = sequences.event_types
        if self.model is not None:
            take_over(self, Path(self.model), silences)
        else:
            self._learn(sequences, silences)
        return self

    def _learn(self, sequences: EventSequences, silences: FloatArray) -> None:
        """Train the networks on the events."""
        sizes = {name: int(getattr(self, name)) for name in SIZES if name != "max_steps"}
        self.config_ = EventConfig(num_types=len(sequences.event_types), **sizes)
        seed = 0 if self.random_state is None else int(self.random_state)
        random = np.random.default_rng(seed)
        model, energy = build_networks(self.config_, seed)
        model.measure(torch.as_tensor(np.concatenate([np.diff(times) for times in sequences.times])))
        budget = Budget(steps=int(self.max_steps))
        self.log_likelihood_ = fit_events(model, sequences, silences, self.config_.context_length, budget, random)
        self.model_ = model.eval().requires_grad_(False)
        if self.rerank is not None:
            self.energy_gain_, self.temper_ = fit_energy(
                energy, model, sequences, silences, self.config_.context_length, random, max_steps=int(self.max_steps)
            )
            self.energy_ = energy.eval().requires_grad_(False)

    # ----------------------------------------------------------------------------------------------------- answers

    def predict(
        self, df: Any = None, *, horizon: Any = None, num_events: int | None = None, start: Any = None
    ) -> pd.DataFrame:
        """Forecast how many events of each type come.

        Parameters
        ----------
        df
            Events to go on from, as in `fit`; None: those given to `fit`.
        horizon
            Length of the horizon: ``"2h"``, a `pandas.Timedelta`, or a number where stamps are numbers.
        num_events
            Instead of `horizon`: among so many events that come next.
        start
            Stamp at which the horizon begins, not before the last event of any item; nothing came in between. None: at
            each item's last event.

        Returns
        -------
        pandas.DataFrame
            ``item_id, event_type, predictions`` (the mean) and one column a quantile level; one row an item and type,
            items in the order in which they came. Counts have no missing values.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted``.
        FrameError
            ``event.unknown_type``, and as `fit`.
        OptionError
            ``option.invalid`` unless either `horizon` or `num_events` is given, and for values that are not allowed;
            ``option.quantile_level``.
        """
        levels = validate_levels(self.quantile_levels)
        rows = []
        for item_id, _, codes, times, limit in self._paths(df, horizon, num_events, start, self.num_samples):
            inside = times <= limit
            counts = np.stack([((codes == code) & inside).sum(1) for code in range(len(self.event_types_))])
            quantiles = np.quantile(counts, levels, axis=1, method="inverted_cdf").T
            rows += [
                (item_id, kind, mean, *some)
                for kind, mean, some in zip(self.event_types_, counts.mean(1), quantiles, strict=True)
            ]
        names = [self.id_column or "item_id", self.type_column, "predictions", *(f"{level:g}" for level in levels)]
        return pd.DataFrame(rows, columns=names)

    def sample(
        self,
        df: Any = None,
        *,
        horizon: Any = None,
        num_events: int | None = None,
        start: Any = None,
        num_samples: int | None = None,
    ) -> pd.DataFrame:
        """Draw sequences of coming events.

        Parameters
        ----------
        df, horizon, num_events, start
            As in `predict`.
        num_samples
            Sequences an item; None: the option of this name.

        Returns
        -------
        pandas.DataFrame
            ``item_id, sample, timestamp, event_type``: one row an event, stamps of the kind that came. A sequence
            without events has no row.

        Raises
        ------
        NotFittedError, FrameError, OptionError
            As `predict`.
        """
        wanted = self.num_samples if num_samples is None else num_samples
        validate_count("num_samples", wanted)
        parts = []
        names = [self.id_column or "item_id", "sample", self.timestamp_column, self.type_column]
        for item_id, sequences, codes, times, limit in self._paths(df, horizon, num_events, start, wanted):
            rows, places = np.nonzero(times <= limit)
            stamps = sequences.to_stamps(times[rows, places])
            kinds = self.event_types_[codes[rows, places]]
            ids = np.full(len(rows), item_id, dtype=object)
            parts.append(pd.DataFrame(dict(zip(names, (ids, rows, stamps, kinds), strict=True))))
        return pd.concat(parts, ignore_index=True)

    def predict_sequence(
        self, df: Any = None, *, horizon: Any = None, num_events: int | None = None, start: Any = None
    ) -> pd.DataFrame:
        """Forecast one sequence: of the drawn paths that with the least mean distance from all the others.

        The distance of two sequences is what turning one into the other costs: moving an event costs how far it goes,
        adding or removing one two mean gaps (minimum Bayes risk decoding, as in HYPRO). The mean distance, not the
        counts, is what this answer is good at: where much is open it has fewer events than come on average.

        Parameters
        ----------
        df, horizon, num_events, start
            As in `predict`.

        Returns
        -------
        pandas.DataFrame
            ``item_id, timestamp, event_type``: one row an event. An item without events has no row.

        Raises
        ------
        NotFittedError, FrameError, OptionError
            As `predict`.
        """
        parts = []
        names = [self.id_column or "item_id", self.timestamp_column, self.type_column]
        for item_id, sequences, codes, times, limit in self._paths(df, horizon, num_events, start, self.num_samples):
            inside = times <= limit
            distances = pairwise_distances(times, codes, inside, REMOVAL_GAPS * float(self.model_.mean_gap))
            best = int(distances.mean(1).argmin())
            kept = inside[best]
            ids = np.full(int(kept.sum()), item_id, dtype=object)
            columns = ids, sequences.to_stamps(times[best, kept]), self.event_types_[codes[best, kept]]
            parts.append(pd.DataFrame(dict(zip(names, columns, strict=True))))
        return pd.concat(parts, ignore_index=True)

    def score(self, df: Any, y: None = None) -> float:
        """Measure how likely events were, given those before them.

        Each event is judged with at least half a window of history, if there is one.

        Parameters
        ----------
        df
            Long frame of events, as in `fit`.
        y
            Not used.

        Returns
        -------
        float
            Mean log-likelihood of an event, in nats; higher is better. Time is in seconds, or in the unit of the stamps
            where they are numbers.

        Raises
        ------
        NotFittedError, FrameError
            As `predict`; ``event.too_few`` if no item has two events.
        """
        self._require_fitted()
        sequences = read_events(df, self.id_column, self.timestamp_column, self.type_column, self.history_)
        return self.score_sequences(sequences)

    def score_sequences(self, sequences: EventSequences) -> float:
        """Measure how likely events were that have been read already, as `score` does.

        Parameters
        ----------
        sequences
            The events.

        Returns
        -------
        float
            Mean log-likelihood of an event, in nats.

        Raises
        ------
        FrameError
            ``event.too_few`` if no item has two events.
        """
        require_events(sequences, 2)
        half = max(self.config_.context_length // 2, 1)
        total, number = 0.0, 0
        for item, all_codes in enumerate(sequences.codes):
            codes, gaps = torch.as_tensor(all_codes), torch.as_tensor(sequences.gaps_of(item), dtype=torch.float32)
            for first in range(1, len(codes), half):
                begin, end = max(0, first - half), min(first + half, len(codes))
                last, unknown = torch.tensor([end - begin - 1]), torch.tensor([torch.nan])
                density, _ = self.model_.log_likelihood(codes[None, begin:end], gaps[None, begin:end], last, unknown)
                total += float(density[0, first - begin - 1 :].double().sum())
            number += len(codes) - 1
        return total / number

    # -------------------------------------------------------------------------------------------------------- files

    def save(self, folder: PathLike) -> None:
        """Write options, weights and history into a folder, as one whole step.

        Parameters
        ----------
        folder
            A new folder, or one where an event forecaster was saved before, which is replaced.

        Raises
        ------
        NotFittedError
            ``forecaster.not_fitted``.
        OptionError
            ``option.invalid`` if the folder is there and no saved event forecaster, or ids or types are not plain
            values.
        """
        from tsar.events.saved import save_events

        self._require_fitted()
        save_events(self, Path(folder))

    @classmethod
    def load(cls, folder: PathLike) -> EventForecaster:
        """Read what `save` wrote; answers are those of the saved one.

        Parameters
        ----------
        folder
            Where it was saved.

        Returns
        -------
        EventForecaster

        Raises
        ------
        ReleaseError
            ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest``.
        """
        from tsar.events.saved import load_events

        return load_events(cls, Path(folder))

    # ------------------------------------------------------------------------------------------------------ details

    def _paths(
        self, df: Any, horizon: Any, num_events: int | None, start: Any, num_samples: int
    ) -> Iterator[tuple[Any, EventSequences, IntArray, FloatArray, float]]:
        """Of each item: id, history, types (S, M) and times (S, M) of its paths, and the time at which they end."""
        self._require_fitted()
        if (horizon is None) == (num_events is None):
            raise OptionError("Give either horizon or num_events.", code="option.invalid")
        validate_count("num_samples", num_samples)
        sequences = self.history_
        if df is not None:
            sequences = read_events(df, self.id_column, self.timestamp_column, self.type_column, self.history_)
        duration = 0.0 if horizon is None else read_duration(horizon, sequences.origin)
        if num_events is not None:
            validate_count("num_events", num_events)
        expected = max(num_events or 0, duration / float(self.model_.mean_gap))
        if expected > MOST_EVENTS:
            text = f"The horizon holds about {expected:,.0f} events an item; at most {MOST_EVENTS:,} are drawn."
            raise OptionError(text, code="option.invalid", hint="Ask for a shorter horizon.")
        for item, item_id in enumerate(sequences.item_ids):
            last = sequences.times[item][-1]
            elapsed = 0.0 if start is None else _silence(start, sequences, item)
            codes, gaps = self._draw(sequences, item, num_samples, duration, num_events, elapsed)
            limit = np.inf if num_events is not None else last + elapsed + duration
            yield item_id, sequences, codes, last + np.cumsum(gaps, 1), limit

    def _draw(
        self,
        sequences: EventSequences,
        item: int,
        num_samples: int,
        duration: float,
        num_events: int | None,
        elapsed: float,
    ) -> tuple[IntArray, FloatArray]:
        random = item_generator(sequences.item_ids[item], self.random_state)
        past = max(self.config_.context_length // 2, 1)
        codes, gaps = sequences.codes[item][-past:], sequences.gaps_of(item)[-past:]
        drawn = num_samples * (PROPOSALS if self.rerank else 1)
        judged = self.config_.rerank_events * float(self.model_.mean_gap) if self.rerank else 0.0
        all_codes, all_gaps = np.tile(codes, (drawn, 1)), np.tile(gaps, (drawn, 1))
        new_codes, new_gaps = roll_out(
            self.model_, all_codes, all_gaps, random,
            window=self.config_.context_length, least=num_events or 1,
            duration=max(duration, judged - elapsed), elapsed=elapsed,
        )  # fmt: skip
        if self.rerank:
            history = History.of(self.model_, sequences.times[item], sequences.codes[item])
            weights = path_weights(self.energy_, self.model_, history, (new_codes, new_gaps), self.temper_)
            kept = resample(weights, num_samples, random)
            new_codes, new_gaps = new_codes[kept], new_gaps[kept]
        if num_events is not None:
            new_codes, new_gaps = new_codes[:, :num_events], new_gaps[:, :num_events]
        return new_codes, new_gaps

    def _read(self, df: Any) -> EventSequences:
        sequences = read_events(df, self.id_column, self.timestamp_column, self.type_column)
        require_events(sequences, 2)
        return sequences

    def _require_fitted(self) -> None:
        if not hasattr(self, "model_"):
            text = "This EventForecaster has not seen events yet."
            raise NotFittedError(text, code="forecaster.not_fitted", hint="Call fit first.")

    def _validate_options(self) -> None:
        for name in SIZES:
            validate_count(name, getattr(self, name))
        if self.context_length < 4:
            raise OptionError(f"context_length must be 4 or more, got {self.context_length}.", code="option.invalid")
        if self.rerank not in (None, "energy"):
            raise OptionError(f'rerank must be None or "energy", got {self.rerank!r}.', code="option.invalid")


def resample(weights: FloatArray, number: int, random: np.random.Generator) -> IntArray:
    """Indices (number,) drawn by weight, evenly: an index comes as often as its weight says, up to one."""
    points = (np.arange(number) + random.random()) / number
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1).astype(np.int64)


def _silence(stamp: Any, sequences: EventSequences, item: int) -> float:
    """Time from the last event of an item to a stamp; ``option.invalid`` if that is before it, or no stamp."""
    try:
        if sequences.origin is None:
            time = float(stamp)
        else:
            time = (pd.Timestamp(stamp) - sequences.origin) / pd.Timedelta(1, "s")
        if not np.isfinite(time):
            raise ValueError("not finite")
    except (TypeError, ValueError) as error:
        text = f"start and end must be stamps of the kind that the events have, got {stamp!r}: {error}."
        raise OptionError(text, code="option.invalid") from error
    silence = float(time - sequences.times[item][-1])
    if silence < 0:
        text = f"{stamp!r} is before the last event of item {sequences.item_ids[item]!r}."
        raise OptionError(text, code="option.invalid", hint="Leave later events out, or move start or end.")
    return silence
