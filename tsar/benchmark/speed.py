"""How fast a forecast is: latency, throughput, where the time goes, and how close that is to the machine's limit.

Everything that is compared takes turns within one run, so that a noisy machine is noisy for all; times are medians.
"""

from __future__ import annotations

import cProfile
import inspect
import pstats
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from torch.utils.flop_counter import FlopCounterMode

from tsar.benchmark.peers import make_peer
from tsar.decode.panel import decode_panel
from tsar.errors import OptionError
from tsar.forecaster import Forecaster
from tsar.frame import make_forecast_frame, normalize_targets
from tsar.hub import load_model
from tsar.model.decoder import Decoder
from tsar.types import FloatArray
from tsar.windows import make_batches

STAGES = ("frame -> series", "windows", "tokens", "model", "distribution", "-> frame")
MATRICES = ((1024, 256, 1024), (1024, 1024, 1024))
"""Products (m, k, n) by which the machine's peak is measured: one like the model's, one larger."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A panel to forecast: series, points of each, steps ahead."""

    batch: int
    context_length: int
    prediction_length: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.context_length} -> {self.prediction_length}"


WORKS = (
    Work(batch=1, context_length=512, prediction_length=64),
    Work(batch=32, context_length=512, prediction_length=64),
    Work(batch=256, context_length=512, prediction_length=64),
    Work(batch=32, context_length=2048, prediction_length=64),
    Work(batch=32, context_length=512, prediction_length=512),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Speed:
    """What `measure_speed` found.

    Attributes
    ----------
    table : pandas.DataFrame
        A row for each work and contestant: ``work``, ``what``, ``milliseconds`` (median), ``series_per_second``;
        ``utilisation``, the floating-point operations of the model as a share of the measured peak (NaN for peers);
        ``times_peer``, throughput over that of the first peer (NaN without one).
    stages : pandas.Series
        Share of the time of `Forecaster.predict` in each of the six stages, on the work with the most series.
    peak
        Floating-point operations a second of a matrix product, measured in the same run.
    threads
        Of torch.
    """

    table: pd.DataFrame
    stages: pd.Series
    peak: float
    threads: int

    def to_markdown(self) -> str:
        """Return the tables as Markdown."""
        lines = ["| series x points -> steps | what | ms | series/s | of peak | x peer |", "|---|---|" + "---:|" * 4]
        for work, what, *numbers in self.table.to_numpy().tolist():
            milliseconds, rate, utilisation, ratio = map(float, numbers)
            cells = (work, what, f"{milliseconds:.1f}", f"{rate:.0f}", _percent(utilisation), _ratio(ratio))
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", "| stage | share of predict |", "|---|---:|"]
        lines += [f"| {name} | {100 * share:.1f} % |" for name, share in self.stages.items()]
        peak = f"Peak of a matrix product: {self.peak / 1e9:.0f} GFLOP/s"
        return "\n".join([*lines, "", f"{peak}, {self.threads} threads, torch {torch.__version__}."])


def measure_speed(
    model: str | Path | Decoder = "tsar-tiny",
    *,
    works: Sequence[Work] = WORKS,
    peers: Sequence[str] = (),
    repeats: int = 5,
    seed: int = 0,
) -> Speed:
    """Time forecasts of simulated hourly series by the model alone, through `Forecaster`, and by peers.

    Parameters
    ----------
    model
        As in `Forecaster`.
    works
        What to forecast.
    peers
        Names of `tsar.benchmark.peers.PEERS`; their packages must be installed.
    repeats
        Timed runs of each, after one that is not timed.
    seed
        Of the series.

    Returns
    -------
    Speed
        Contestants are ``model`` (`decode_panel`, one pass), ``predict`` (the defaults of `Forecaster`), ``predict, one
        pass`` (``symmetrize=False``), and the peers. A peer that takes over ten times as long is run once.

    Raises
    ------
    OptionError
        ``option.invalid`` for an unknown peer or no work, ``dependency.missing`` if its package is not there.
    """
    if not works or repeats < 1:
        raise OptionError("works must name some work, and repeats be at least 1.", code="option.invalid")
    decoder = model if isinstance(model, Decoder) else load_model(model)
    others = {name: make_peer(name) for name in peers}
    peak = measure_peak()
    rows: list[dict[str, Any]] = []
    for work in works:
        rows += _measure_work(decoder, work, others, repeats, seed, peak)
    largest = max(works, key=lambda work: work.batch)
    frame = make_series_frame(largest, seed)
    stages = stage_shares(Forecaster(decoder, prediction_length=largest.prediction_length), frame)
    return Speed(table=pd.DataFrame(rows), stages=stages, peak=peak, threads=torch.get_num_threads())


def measure_peak(repeats: int = 15) -> float:
    """Return the floating-point operations a second of the faster of two float32 matrix products."""
    best = 0.0
    for rows, inner, columns in MATRICES:
        left, right = torch.randn(rows, inner), torch.randn(inner, columns)
        seconds = _times({"product": partial(torch.mm, left, right)}, repeats)["product"]
        best = max(best, 2 * rows * inner * columns / min(seconds))
    return best


def make_series(work: Work, seed: int = 0) -> FloatArray:
    """Simulate hourly series (I, N) with a day's season on a level that drifts."""
    rng = np.random.default_rng(seed)
    shape = (work.batch, work.context_length)
    day = np.sin(2 * np.pi * (np.arange(shape[1]) / 24 + rng.random((shape[0], 1))))
    level, noise = 0.1 * rng.normal(size=shape).cumsum(1), 0.3 * rng.normal(size=shape)
    series: FloatArray = rng.uniform(0.5, 3, (shape[0], 1)) * day + level + noise
    return series


def make_series_frame(work: Work, seed: int = 0) -> pd.DataFrame:
    """Put `make_series` into a long frame."""
    series = make_series(work, seed)
    hours = pd.date_range("2024-01-01", periods=work.context_length, freq="h")
    ids = np.repeat([f"item {item}" for item in range(work.batch)], work.context_length)
    return pd.DataFrame({"item_id": ids, "timestamp": np.tile(hours, work.batch), "target": series.reshape(-1)})


def stage_shares(forecaster: Forecaster, df: pd.DataFrame) -> pd.Series:
    """Return the share of each of `STAGES` in the time of one ``predict(df)``."""
    forecaster.predict(df)
    profile = cProfile.Profile()
    began = time.perf_counter()
    profile.runcall(forecaster.predict, df)
    total = time.perf_counter() - began  # what enters inference mode itself is in no profile since torch 2.15
    found = {place: times[3] for place, times in pstats.Stats(profile).stats.items()}  # type: ignore[attr-defined]

    def spent(function: Callable[..., Any]) -> float:
        code = inspect.unwrap(function).__code__
        return float(found.get((code.co_filename, code.co_firstlineno, code.co_name), 0.0))

    decoder = forecaster.released_decoder()
    seconds = {
        "frame -> series": spent(normalize_targets),
        "windows": spent(make_batches),
        "tokens": spent(type(decoder.tokenizer).encode),
        "model": spent(Decoder.forward),
        "-> frame": spent(make_forecast_frame),
    }
    seconds["distribution"] = total - sum(seconds.values())
    return pd.Series({name: seconds[name] / total for name in STAGES}, name="share")


def _measure_work(
    decoder: Decoder,
    work: Work,
    peers: Mapping[str, Callable[[FloatArray, int], object]],
    repeats: int,
    seed: int,
    peak: float,
) -> list[dict[str, Any]]:
    series, frame = make_series(work, seed), make_series_frame(work, seed)
    values, offsets = series.reshape(-1), np.arange(work.batch + 1) * work.context_length
    horizon, context = work.prediction_length, [decoder.config.context_length]
    forecaster = Forecaster(decoder, prediction_length=horizon)
    ours: dict[str, Callable[[], object]] = {
        "model": partial(decode_panel, decoder, values, offsets, horizon, context_lengths=context),
        "predict, one pass": partial(clone(forecaster).set_params(symmetrize=False).predict, frame),
        "predict": partial(forecaster.predict, frame),
    }
    contestants = ours | {name: partial(forecast, series, horizon) for name, forecast in peers.items()}
    operations = {name: _count_operations(call) for name, call in ours.items()}
    seconds = {name: float(np.median(times)) for name, times in _times(contestants, repeats).items()}
    first_peer = next(iter(peers), None)
    return [
        {
            "work": str(work),
            "what": name,
            "milliseconds": 1e3 * taken,
            "series_per_second": work.batch / taken,
            "utilisation": operations.get(name, np.nan) / taken / peak,
            "times_peer": np.nan if first_peer is None else seconds[first_peer] / taken,
        }
        for name, taken in seconds.items()
    ]


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that does not count."""
    return float(np.median(_times({"call": call}, repeats)["call"]))


def _count_operations(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _times(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, in turns, after one round that does not count, unless it took ten times the quickest."""
    first = {name: _seconds(call) for name, call in calls.items()}
    slow = {name for name, seconds in first.items() if seconds > 10 * min(first.values()) and seconds > 1}
    times: dict[str, list[float]] = {name: [first[name]] if name in slow else [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if name not in slow:
                times[name].append(_seconds(call))
    return times


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.0f} %"


def _ratio(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
