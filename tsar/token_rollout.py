"""Words -> distribution: sample paths of a model with a vocabulary, word by word, and take their quantiles.

The cache holds what was read, so each word goes through the model once. The random numbers of a step are those of a
fixed seed and the same for every series, one in each of `num_samples` equal shares, so that a forecast is
deterministic, the same in any company, and needs fewer paths than independent draws would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from tsar.heads.categorical import CategoricalLaw
from tsar.model.cache import Cache
from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens

SEED = 0


def path_quantiles(model: Decoder, values: Tensor, observed: Tensor, horizon: int) -> Tensor:
    """Quantiles (B, horizon, Q), float64, of what follows windows (B, L).

    The window keeps its last points if the horizon leaves no room for all of them within the context length; it keeps
    at least half of that. A window that never varies continues as it is.
    """
    keep = max(model.config.context_length - horizon, model.config.context_length // 2)
    values, observed = values[:, -keep:], observed[:, -keep:]
    paths = sample_paths(model, values, observed, horizon)
    quantiles = torch.quantile(paths, model.levels.to(paths.dtype), dim=0).permute(1, 2, 0)
    state = model.tokenizer.state_of(values, observed).at(0)
    constant = (state.step == 0)[:, None, None]
    return torch.where(constant, state.last[:, None, None].to(quantiles.dtype), quantiles)


def sample_paths(model: Decoder, values: Tensor, observed: Tensor, horizon: int, *, use_cache: bool = True) -> Tensor:
    """Draw paths (num_samples, B, horizon) that continue windows (B, L), in their units."""
    config, tokenizer = model.config, model.tokenizer
    batch, count = len(values), config.num_samples
    tokens = tokenizer.encode(values, observed)
    scale = tokens.state.scale[:, 0].repeat(count)
    rows = torch.arange(batch, device=values.device).repeat(count)
    allowed = tokenizer.allowed.to(values.device)
    cache = Cache.empty(config.num_layers) if use_cache and model.can_cache else None
    answer = last_law(model, tokens, allowed[0], cache)
    law = CategoricalLaw(answer.logits[rows])
    if cache is not None:
        cache = cache.select(rows, cache.num_tokens)
    grown = Tokens(tokens.patches[rows], _rows_of(tokens.mask, rows), tokens.state.at(slice(-1, None)))
    words = []
    for step in range(horizon * tokenizer.tokens_per_point):
        uniform = uniforms(step, count, values.device).repeat_interleave(batch)
        word = law.at(uniform[:, None], temperature=config.temperature, top_k=config.top_k)
        words.append(word)
        place = (step + 1) % tokenizer.tokens_per_point
        grown = _grow(grown, word)
        if step + 1 < horizon * tokenizer.tokens_per_point:
            new = grown if cache is None else grown.after(cache.num_tokens)
            law = last_law(model, new, allowed[place], cache)
    paths: Tensor = tokenizer.decode(torch.cat(words, 1), scale)
    return paths.view(count, batch, horizon)


def last_law(model: Decoder, tokens: Tokens, allowed: Tensor, cache: Cache | None) -> CategoricalLaw:
    """Law (B,) of the word after the tokens, over the words allowed (V,)."""
    law = cast(CategoricalLaw, model.law(tokens, cache=cache, last=1))
    return CategoricalLaw(law.logits[:, 0, 0].float().masked_fill(~allowed, -torch.inf))


def uniforms(step: int, count: int, device: torch.device) -> Tensor:
    """One random number (count,) in each of `count` equal shares of [0, 1), in random order."""
    generator = torch.Generator().manual_seed(SEED + step)
    order = torch.randperm(count, generator=generator)
    return ((order + torch.rand(count, generator=generator)) / count).to(device)


def _grow(tokens: Tokens, word: Tensor) -> Tokens:
    mask = None if tokens.mask is None else torch.cat([tokens.mask, torch.ones_like(word, dtype=torch.bool)], 1)
    return replace(tokens, patches=torch.cat([tokens.patches, word], 1), mask=mask)


def _rows_of(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if mask is None else mask[rows]
