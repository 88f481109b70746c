"""One series as a stream: a new value costs the model one token, whatever the length of the history.

A forecast reads patches that end at the last value, so that every new value moves the patches by one point. The tokens
that end at n, n - P, n - 2 P, … are the same as those read when the series ended at n - P: a stream keeps one cache for
each of the P phases, and a new value adds one token to the cache of its own phase. The running statistics of the causal
scaler are sums, which a new value adds to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tsar.decode.panel import answering_tokens, decode_panel, join_answers
from tsar.model.cache import Cache
from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT, ScaleState
from tsar.tokenizers.patch import Tokens
from tsar.types import FloatArray

KEPT = 0.75
"""Share of the context that stays when the window is full and is read anew."""


@dataclass
class _Sums:
    """The running sums behind `tsar.scaling.causal_state`, of a window and its mirror image at once."""

    origin: float = 0.0
    last: float = 0.0
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    steps: float = 0.0
    num_steps: int = 0

    def add(self, value: float) -> None:
        """Add one value; NaN changes nothing."""
        if np.isnan(value):
            return
        if self.count == 0:
            self.origin = value
        else:
            self.steps += abs(value - self.last)
            self.num_steps += 1
        centred = value - self.origin
        self.total += centred
        self.squares += centred * centred
        self.count += 1
        self.last = value

    def state(self) -> ScaleState:
        """Return the state (2, 1): of the window, and of its mirror image."""
        count = max(self.count, 1)
        mean, step = self.total / count, self.steps / max(self.num_steps, 1)
        scale = max(self.squares / count - mean * mean, 0.0) ** 0.5 if step > 0 else 0.0
        loc = self.origin + mean if self.count else 0.0
        columns = ([loc, -loc], [scale] * 2, [step] * 2, [self.last, -self.last], [float(self.count)] * 2)
        return ScaleState(*(torch.tensor(column, dtype=torch.float64)[:, None] for column in columns))


class SeriesStream:
    """The window of one series, and all the model remembers of it.

    Parameters
    ----------
    model
        A causal decoder without period features, in evaluation mode.
    values
        (N,) history, NaN where missing; the last `context_length` points are read.

    Attributes
    ----------
    held : list of float
        The window: what a forecast is made from. It grows to ``context_length``, then is cut to its last three quarters
        and read anew, which costs a few tokens a value on the mean.
    tokens_read : int
        Tokens that went through the model so far, one a value and those of the windows read anew.
    """

    def __init__(self, model: Decoder, values: FloatArray) -> None:
        self.model = model
        self.tokens_read = 0
        self._read(values[-model.config.context_length :].tolist())

    @torch.inference_mode()
    def push(self, value: float) -> None:
        """Append one value, NaN if it is missing."""
        if len(self.held) >= self.model.config.context_length or abs(value) > self.largest:
            keep = int(KEPT * self.model.config.context_length) - 1
            self._read([*(self.held[-keep:] if len(self.held) > keep else self.held), value])
            return
        patch = self.model.config.patch_length
        self.held.append(value)
        self.sums.add(value / self.unit)
        state = self.sums.state()
        before = self.states[0] if len(self.states) == patch else state
        self.states.append(state)
        tokens = self._token(self.held[-patch:], before, state)
        self.answer = self._run(tokens, self.caches[len(self.held) % patch])

    @torch.inference_mode()
    def quantiles(self, prediction_length: int) -> FloatArray:
        """Quantiles (F, Q) of what follows; NaN if nothing in the window was observed. Nothing is remembered."""
        config = self.model.config
        if not np.isfinite(self.held).any():
            return np.full((prediction_length, len(config.quantile_levels)), np.nan)
        if prediction_length > config.one_pass_length:  # paths are fed back, from the window itself
            values = np.array(self.held)
            bounds = np.array([0, len(values)])
            one: FloatArray = decode_panel(
                self.model, values, bounds, prediction_length, context_lengths=[len(values)], symmetrize=True
            )[0]
            return one
        answer, state = self.answer, self.states[-1]
        hidden = -(-max(prediction_length - config.output_length, 0) // config.patch_length)
        if hidden:
            token = self._token([np.nan] * config.patch_length, state, state)
            cache = self.caches[len(self.held) % config.patch_length]
            copy = cache.select(torch.arange(2), cache.num_tokens)
            mask = (state.count > 0).expand(-1, hidden)
            tokens = Tokens(token.patches.expand(-1, hidden, -1), mask, _repeat(state, hidden))
            answer = torch.cat([answer, self.model(tokens, cache=copy)], 1)
        answering = answering_tokens(hidden, config)
        z = answer[:, answering].clamp(-Z_LIMIT, Z_LIMIT).to(torch.float64)
        both = join_answers(_repeat(state, z.shape[1]).denormalize(z.flatten(2)).view(z.shape), answering, config)
        quantiles = both[0] - (both[0] + both[1].flip(-1)) / 2
        largest = torch.finfo(quantiles.dtype).max
        result: FloatArray = (quantiles * self.unit)[:prediction_length].clamp(-largest, largest).numpy()
        return result

    @torch.inference_mode()
    def _read(self, window: list[float]) -> None:
        """Read a window from its start, for all phases at once."""
        patch = self.model.config.patch_length
        self.held = window
        top = np.nanmax(np.abs(window), initial=0.0)
        self.unit = float(2.0 ** np.clip(np.frexp(top)[1], -1000, 1000))
        self.largest = max(top, 1e-200) * 2.0**200 if top < 1e200 else np.inf  # squares of more may overflow
        self.sums = _Sums()
        self.states: deque[ScaleState] = deque(maxlen=patch)
        for place, value in enumerate(window):
            self.sums.add(value / self.unit)
            if len(window) - place <= patch:
                self.states.append(self.sums.state())
        self.caches = [Cache.empty(self.model.config.num_layers) for _ in range(patch)]
        phases = min(patch, len(window))
        width = -(-len(window) // patch) * patch
        rows = np.full((phases, width), np.nan)
        for back in range(phases):
            rows[back, width - len(window) + back :] = np.array(window[: len(window) - back]) / self.unit
        values = torch.from_numpy(np.concatenate([rows, -rows]))
        tokens = self.model.tokenizer.encode(values, torch.isfinite(values))
        cache = Cache.empty(self.model.config.num_layers)
        answers = self.model(tokens, cache=cache, last=1)
        self.tokens_read += phases * width // patch
        for back in range(phases):
            pair = torch.tensor([back, phases + back])
            self.caches[(len(window) - back) % patch] = cache.select(pair, cache.num_tokens)
        self.answer = answers[[0, phases]]

    def _token(self, points: list[float], before: ScaleState, state: ScaleState) -> Tokens:
        """One token of the last P points (fewer are padded at the left), for the window and its mirror image."""
        tokenizer = self.model.tokenizer
        row = np.full(tokenizer.patch_length, np.nan)
        row[len(row) - len(points) :] = np.array(points) / self.unit
        values = torch.from_numpy(np.stack([row, -row]))[:, None]
        seen = torch.isfinite(values)
        two = ScaleState(*(torch.cat([getattr(before, name), getattr(state, name)], 1) for name in vars(state)))
        both = (torch.where(seen, values, 0.0).expand(-1, 2, -1), seen.expand(-1, 2, -1))
        patches = tokenizer.features(*both, two)[:, 1:]
        return Tokens(patches=patches, mask=state.count > 0, state=state)

    def _run(self, tokens: Tokens, cache: Cache) -> Tensor:
        self.tokens_read += 1
        answer: Tensor = self.model(tokens, cache=cache)
        return answer


def _repeat(state: ScaleState, times: int) -> ScaleState:
    return ScaleState(*(getattr(state, name).expand(-1, times) for name in vars(state)))
