"""Counters and histograms in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from threading import Lock

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
COUNTERS = {
    "tsar_requests_total": "Forecast requests by HTTP status.",
    "tsar_errors_total": "Requests that were refused or failed, by error code.",
    "tsar_series_total": "Series forecast.",
    "tsar_points_total": "Rows of history received in answered requests.",
}
HISTOGRAMS = {
    "tsar_request_seconds": ("Time from the first byte of a forecast request to its answer.", SECONDS),
    "tsar_batch_seconds": ("Time to answer one batch.", SECONDS),
    "tsar_batch_requests": ("Requests answered together.", SIZES),
}


class Metrics:
    """What `/metrics` tells; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter({(name, ""): 0 for name in COUNTERS if "series" in name})
        self._buckets = {name: [0] * (len(edges) + 1) for name, (_, edges) in HISTOGRAMS.items()}
        self._sums = dict.fromkeys(HISTOGRAMS, 0.0)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def count(self, name: str, amount: int = 1, **labels: str | int) -> None:
        """Add to a counter of `COUNTERS`."""
        text = ",".join(f'{label}="{value}"' for label, value in labels.items())
        with self._lock:
            self._counts[name, text] += amount

    def observe(self, name: str, value: float) -> None:
        """Put a value into a histogram of `HISTOGRAMS`."""
        with self._lock:
            self._buckets[name][bisect_left(HISTOGRAMS[name][1], value)] += 1
            self._sums[name] += value

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show a value that is read when somebody asks."""
        self._gauges[name] = (meaning, read)

    def to_text(self) -> str:
        """All of them, as Prometheus reads it."""
        with self._lock:
            lines = [line for name in COUNTERS for line in self._counter_lines(name)]
            lines += [line for name in HISTOGRAMS for line in self._histogram_lines(name)]
        for name, (meaning, read) in self._gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {read():g}"]
        return "\n".join(lines) + "\n"

    def _counter_lines(self, name: str) -> list[str]:
        found = [(text, value) for (one, text), value in self._counts.items() if one == name]
        series = [f"{name}{{{text}}} {value}" if text else f"{name} {value}" for text, value in sorted(found)]
        return [f"# HELP {name} {COUNTERS[name]}", f"# TYPE {name} counter", *series]

    def _histogram_lines(self, name: str) -> list[str]:
        meaning, edges = HISTOGRAMS[name]
        lines, total = [f"# HELP {name} {meaning}", f"# TYPE {name} histogram"], 0
        for edge, count in zip([*map(str, edges), "+Inf"], self._buckets[name], strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{edge}"}} {total}')
        return [*lines, f"{name}_sum {self._sums[name]}", f"{name}_count {total}"]
