"""Vocabulary model -> sample paths -> quantiles: draw an id, read it, draw the next (Ansari et al., 2024, Chronos).

The context is read once; its keys and values serve all paths. The random numbers are fixed and the same for every
window: a forecast is deterministic, does not depend on its company, and that of a longer horizon begins with that of a
shorter one, as long as both leave equal room in the window. At each step the numbers of the paths are spread evenly
over (0, 1): each path follows the law, and twenty of them say more about it than twenty independent ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tsar.heads.categorical import sharpened
from tsar.heads.empirical import empirical_quantiles
from tsar.model.cache import Cache, LayerCache
from tsar.model.decoder import Decoder
from tsar.model.ids import lagged
from tsar.tokenizers.patch import Tokens
from tsar.types import FloatArray

SEED = 20_240_312
PATHS = 320
"""Paths that go through the model together: bounds the memory."""

ROOM = 0.25
"""Largest share of the window that is left free for what is drawn; when it is full, the oldest points make room."""


def sampled_quantiles(model: Decoder, values: Tensor, observed: Tensor, horizon: int) -> Tensor:
    """Quantiles (B, horizon, Q) float64 of what follows the windows, from ``config.num_samples`` paths.

    Windows that never vary stay as they are; those without an observed value give finite numbers of no meaning.
    """
    config = model.config
    groups = torch.split(torch.arange(len(values), device=values.device), max(PATHS // config.num_samples, 1))
    parts = []
    for rows in groups:
        paths = sample_paths(model, values[rows], observed[rows], horizon)
        parts.append(empirical_quantiles(paths.transpose(1, 2), model.levels.to(torch.float64)))
    quantiles = torch.cat(parts)
    low = torch.where(observed, values, torch.inf).amin(1)
    high = torch.where(observed, values, -torch.inf).amax(1)
    constant = low == high
    quantiles[constant] = low[constant][:, None, None].to(quantiles.dtype)
    return quantiles


def sample_paths(
    model: Decoder,
    values: Tensor,
    observed: Tensor,
    horizon: int,
    *,
    num_samples: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int = SEED,
    use_cache: bool = True,
) -> Tensor:
    """Draw paths that continue windows.

    Parameters
    ----------
    model
        A decoder whose config `has_vocabulary`, in evaluation mode.
    values, observed
        (B, L) values and which of them are known.
    horizon
        Points of each path, any number from 1.
    num_samples, temperature, top_k
        Instead of those of the config.
    seed
        Of the random numbers, the same for all windows.
    use_cache
        Whether tokens that were read are remembered; the paths are the same.

    Returns
    -------
    Tensor
        (B, num_samples, horizon) float64 in the units of `values`.
    """
    config = model.config
    count = config.num_samples if num_samples is None else num_samples
    draw = IdDraw(
        model,
        config.temperature if temperature is None else temperature,
        config.top_k if top_k is None else top_k,
    )
    steps = horizon * model.vocabulary.tokens_per_point
    numbers = torch.from_numpy(uniforms(seed, steps, count)).to(values.device)  # (steps, S)
    paths = Paths(model, values, observed, horizon, count, use_cache=use_cache)
    for step in range(steps):
        chosen = draw(paths.logits(), step, numbers[step].repeat(len(values)))
        paths.append(chosen, read=step + 1 < steps)
    return paths.values().view(len(values), count, horizon)


@lru_cache(maxsize=4)
def uniforms(seed: int, steps: int, count: int) -> FloatArray:
    """Numbers (steps, count) in (0, 1): at each step one in each of `count` equal parts, in drawn order."""
    generator = np.random.default_rng([seed, count])
    rows = [(generator.permutation(count) + generator.random(count)) / count for _ in range(steps)]
    return np.stack(rows).clip(1e-12, 1 - 1e-12)


class IdDraw:
    """Logits and random numbers -> ids: only those that are allowed at this token of a point."""

    def __init__(self, model: Decoder, temperature: float, top_k: int) -> None:
        self.vocabulary, self.temperature, self.top_k = model.vocabulary, temperature, top_k

    def law(self, logits: Tensor, step: int) -> tuple[Tensor, int]:
        """Probabilities (…, classes) float64 of the allowed ids at token `step` of a path, and the first such id."""
        span = self.vocabulary.allowed(step % self.vocabulary.tokens_per_point)
        allowed = logits[..., span].to(torch.float64)
        return sharpened(allowed, self.temperature, self.top_k).softmax(-1), span.start

    def __call__(self, logits: Tensor, step: int, numbers: Tensor) -> Tensor:
        """Ids (N,) drawn from logits (N, V) with numbers (N,) in (0, 1)."""
        probabilities, first = self.law(logits, step)
        return inverse(probabilities, numbers) + first


def inverse(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """Classes (…) where the cumulated weights (…, C), not all 0, pass the numbers (…) in (0, 1); never one of 0."""
    reached = probabilities.cumsum(-1)
    wanted = numbers.unsqueeze(-1) * reached[..., -1:]
    index = torch.searchsorted(reached.contiguous(), wanted.contiguous(), right=True)
    return index.clamp_max(reached.shape[-1] - 1).squeeze(-1)


class Paths:
    """Windows as they grow: the ids of every path, and what the model remembers of them."""

    def __init__(
        self, model: Decoder, values: Tensor, observed: Tensor, horizon: int, count: int, *, use_cache: bool = True
    ) -> None:
        self.model, self.count = model, count
        vocabulary, config = model.vocabulary, model.config
        self.per_point = vocabulary.tokens_per_point
        room = min(horizon, max(int(ROOM * config.context_length), 1))
        keep = max(config.context_length - room, 1)
        values, observed = values[:, -keep:], observed[:, -keep:]
        self.scale = vocabulary.find_scale(values, observed)
        self.rows = torch.arange(len(values), device=values.device).repeat_interleave(count)
        tokens = vocabulary.encode(values, observed, scale=self.scale)
        self.ids, self.mask = tokens.patches[..., 0], _mask(tokens)
        self.room = room * self.per_point
        self.longest = config.context_length * self.per_point
        self.drawn: list[Tensor] = []
        blocks_cache = model.body is None and all(block.can_cache for block in model.blocks)
        self.use_cache = use_cache and blocks_cache
        self.cache: Cache | None = None
        self.hidden = self._read_context()

    def logits(self) -> Tensor:
        """Logits (N, V) of the id that follows each path."""
        logits: Tensor = self.model.head(self.hidden, self.hidden[..., 0])
        return logits[:, -1, 0]

    def append(self, ids: Tensor, *, read: bool = True) -> None:
        """Take the next id (N,) of each path, and read it unless it is the last."""
        self.drawn.append(ids)
        if not read:
            return
        longer = torch.cat([self.ids, ids[:, None]], 1)
        whole = len(self.drawn) % self.per_point == 0
        mask = torch.cat([self.mask, torch.ones_like(ids[:, None], dtype=torch.bool)], 1)
        full = whole and longer.shape[1] + self.per_point > self.longest
        self.ids, self.mask = (longer[:, self.room :], mask[:, self.room :]) if full else (longer, mask)
        if full or self.cache is None:
            self._read()
        else:
            one = id_tokens(self.ids, torch.ones_like(ids[:, None], dtype=torch.bool), self.model, last=1)
            self.hidden = self.model.trunk(one, cache=self.cache, last=1)

    def values(self) -> Tensor:
        """The values (N, points) of what was drawn."""
        decoded: Tensor = self.model.vocabulary.decode(torch.stack(self.drawn, 1), self.scale[self.rows])
        return decoded

    def _read_context(self) -> Tensor:
        """Read each window once, for all of its paths."""
        self._read()
        self.ids, self.mask = self.ids[self.rows], self.mask[self.rows]
        if self.cache is not None:
            self.cache = growing(self.cache.select(self.rows, self.cache.num_tokens), self.longest)
        return self.hidden[self.rows]

    def _read(self) -> None:
        """Read the windows as they are, anew."""
        self.cache = Cache.empty(self.model.config.num_layers) if self.use_cache else None
        self.hidden = self.model.trunk(id_tokens(self.ids, self.mask, self.model), cache=self.cache, last=1)
        if self.cache is not None and len(self.ids) == len(self.rows):
            self.cache = growing(self.cache, self.longest)


def id_tokens(ids: Tensor, mask: Tensor, model: Decoder, last: int | None = None) -> Tokens:
    """Tokens for the trunk, of ids (N, T), or the `last` of them, and which of these are no padding."""
    lags = model.config.token_lags
    read = lagged(ids if last is None else ids[:, -last - lags + 1 :], lags)
    return Tokens(patches=read if last is None else read[:, -last:], mask=mask, state=None)  # type: ignore[arg-type]


def _mask(tokens: Tokens) -> Tensor:
    return torch.ones_like(tokens.patches[..., 0], dtype=torch.bool) if tokens.mask is None else tokens.mask


class GrowingLayerCache(LayerCache):
    """Keys and values in memory that is there from the start: a new token is written, the old ones are not copied."""

    def __init__(self, start: LayerCache, longest: int) -> None:
        self.keys, self.values = start.keys, start.values
        if start.keys is not None and start.values is not None:
            batch, groups, self.length, width = start.keys.shape
            self.memory = start.keys.new_empty(2, batch, groups, max(longest, self.length), width)
            self.memory[0, :, :, : self.length] = start.keys
            self.memory[1, :, :, : self.length] = start.values

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens and return all of them."""
        end = self.length + keys.shape[2]
        if end > self.memory.shape[3]:
            self.memory = torch.cat([self.memory, torch.empty_like(self.memory)], 3)
        self.memory[0, :, :, self.length : end] = keys
        self.memory[1, :, :, self.length : end] = values
        self.length = end
        self.keys, self.values = self.memory[0, :, :, :end], self.memory[1, :, :, :end]
        return self.keys, self.values


def growing(cache: Cache, longest: int) -> Cache:
    """The same cache with room for `longest` tokens."""
    return Cache([GrowingLayerCache(layer, longest) for layer in cache.layers], cache.mask)
