"""What a server takes at most, so that no request can take it away from the others."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tsar.errors import OptionError, ServeError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    Attributes
    ----------
    max_series, max_points
        In one request; points count after gaps were closed.
    max_horizon
        Steps ahead.
    max_levels
        Quantile levels in one request.
    max_answers
        Numbers in one answer: series times steps times levels.
    max_body_bytes
        Of a request.
    body_seconds
        How long a body may take to come.
    max_held_bytes
        Bodies of all requests that are open; one more is told to come back (429).
    max_waiting
        Requests that wait; one more is told to come back (429).
    max_batch_points
        Points that are forecast together.
    linger_seconds
        How long the first request of a batch waits for others.
    drain_seconds
        How long open requests are answered after SIGTERM.
    """

    max_series: int = 1_000
    max_points: int = 500_000
    max_horizon: int = 1_024
    max_levels: int = 99
    max_answers: int = 1_000_000
    max_body_bytes: int = 32_000_000
    body_seconds: float = 60.0
    max_held_bytes: int = 512_000_000
    max_waiting: int = 256
    max_batch_points: int = 500_000
    linger_seconds: float = 0.005
    drain_seconds: float = 60.0

    def validate(self) -> Limits:
        """Return itself, or raise ``option.invalid`` for a count below one or a negative time."""
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name.endswith("seconds") else 1
            if not value >= least:
                raise OptionError(f"{field.name} must be at least {least}, got {value!r}.", code="option.invalid")
        return self

    def check(self, what: str, count: int, most: int) -> None:
        """Raise ``serve.too_large`` if there are more than `most` of something."""
        if count > most:
            text = f"{count:,} {what}, this server takes {most:,} in one request."
            raise ServeError(text, code="serve.too_large", hint="Send several requests.")
