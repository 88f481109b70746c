"""The decoder: tokens -> quantiles of what follows each token."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

import tsar.model.forks  # noqa: F401 a forked child must not hang
from tsar.freq.resolution import resolution
from tsar.heads import HEADS, Head, Law
from tsar.heads.categorical import CategoricalHead
from tsar.heads.highway import Highway
from tsar.model.blocks import BLOCKS
from tsar.model.body import LanguageBody
from tsar.model.cache import Cache
from tsar.model.config import ModelConfig
from tsar.model.frequency import FrequencyVectors
from tsar.model.ids import IdEmbedding
from tsar.model.layers import PatchEmbedding, RMSNorm, rotary_table
from tsar.model.modes import ModeVectors
from tsar.model.stages import Stages
from tsar.tokenizers import TOKENIZERS
from tsar.tokenizers.patch import PatchTokenizer, Tokens
from tsar.tokenizers.vocabulary import VocabularyTokenizer


class Decoder(nn.Module):
    """Transformer over patches; every position predicts the next `output_length` points.

    With ``config.attention == "full"`` every position sees all others and predicts its own points instead.

    Parameters
    ----------
    config
        Sizes; see `ModelConfig`.
    initialize
        Draw fresh weights; False leaves them as they are, for weights that are about to be loaded.
    """

    levels: Tensor

    def __init__(self, config: ModelConfig, *, initialize: bool = True) -> None:
        super().__init__()
        self.config = config
        fills_gaps = config.task == "infill" and config.tokenizer == "patch"
        kind: Any = TOKENIZERS["gap" if fills_gaps else config.tokenizer]
        self.tokenizer: PatchTokenizer  # or likewise, with ids
        self.embedding: PatchEmbedding | IdEmbedding
        if config.has_vocabulary:
            self.tokenizer = kind(num_bins=config.num_bins)
            self.embedding = IdEmbedding(self.vocabulary, config.d_model, config.token_lags)
        else:
            self.tokenizer = kind(patch_length=config.patch_length, scaling=config.scaling, period=config.period)
            self.embedding = PatchEmbedding(self.tokenizer.num_features, config.d_model)
        self.body = LanguageBody(config) if config.body else None
        num_layers = 0 if config.body else config.num_layers
        names = (config.blocks[number % len(config.blocks)] for number in range(num_layers))
        self.modes = ModeVectors(config.d_model) if config.modes else None
        self.frequencies = FrequencyVectors(config.d_model) if config.freq_token else None
        self.frequency = 0  # the resolution where tokens do not say theirs, see `at_frequency`
        self.blocks = nn.ModuleList(BLOCKS[name](config, number) for number, name in enumerate(names))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        classes = self.vocabulary.vocabulary_size if config.has_vocabulary else config.num_components
        sizes = (config.d_model, config.output_length, len(config.quantile_levels), classes)
        self.head: Head = HEADS[config.head](*sizes, **config.head_options)
        if isinstance(self.head, CategoricalHead):
            self.head.says_ids = config.has_vocabulary
        reach = (config.patch_length, config.highway, config.output_length)
        self.highway = Highway(*reach) if config.highway else None
        self.stages = Stages(config) if config.stages else None
        self.register_buffer("levels", torch.tensor(config.quantile_levels), persistent=False)
        if initialize:
            self.initialize()

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights: normal with deviation fan_in ** -0.5; layers that write to the residual start at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for part in (*self.blocks, self.body, self.head, self.highway, self.stages):
            if part is not None:
                part.initialize()
        if isinstance(self.embedding, IdEmbedding):
            self.embedding.initialize()

    @property
    def vocabulary(self) -> VocabularyTokenizer:
        """The tokenizer of a model whose `config.has_vocabulary`."""
        return cast(VocabularyTokenizer, self.tokenizer)

    @property
    def can_cache(self) -> bool:
        """Whether tokens read once stay as they are, so that a rollout need not read them again."""
        remade = self.body is not None or bool(self.config.horizons or self.config.stages)
        causal = self.config.scaling == "causal" and not remade
        return causal and all(block.can_cache for block in self.blocks)

    def at_frequency(self, freq: str | int | None) -> Decoder:
        """Return this model for series of a frequency, on the same weights: itself unless ``config.freq_token``."""
        if self.frequencies is None:
            return self
        told = copy.copy(self)
        told.frequency = resolution(freq)
        return told

    def statistics(self) -> dict[str, Any]:
        """Figures of the parts that have ``statistics()``: the mean over them of a number, a list of all else."""
        found = defaultdict(list)
        parts: list[Any] = [module for module in self.modules() if hasattr(type(module), "statistics")]
        for part in parts[1:]:  # after the decoder itself
            for name, value in part.statistics().items():
                found[name].append(value)
        return {name: sum(all_) / len(all_) if isinstance(all_[0], float) else all_ for name, all_ in found.items()}

    def forward(
        self, tokens: Tokens, *, cache: Cache | None = None, last: int | None = None, at: Sequence[int] | None = None
    ) -> Tensor:
        """Predict what follows each token (with full attention: the points of each token itself).

        Parameters
        ----------
        tokens
            (B, T) tokens. Without a cache they are the whole sequence; with one, those after what it has read.
        cache
            Keys and values of earlier tokens; extended in place.
        last
            Answer at this many last positions only; what no answer depends on is not computed.
        at
            Of the last positions only these, counted from the first of them.

        Returns
        -------
        Tensor
            (B, T or `last` or `at`, output_length, Q) quantiles in z; bring them to data units with the tokens' state.
        """
        return self.law(tokens, cache=cache, last=last, at=at).quantile(self.levels)

    def law(
        self, tokens: Tokens, *, cache: Cache | None = None, last: int | None = None, at: Sequence[int] | None = None
    ) -> Law:
        """Return the law in z, (B, T, output_length), of what follows each token; parameters as of `forward`."""
        hidden = self.trunk(tokens, cache=cache, last=last)
        anchor = tokens.anchor
        if anchor is None:
            anchor = tokens.state.normalize(tokens.state.last.unsqueeze(-1)).squeeze(-1)
        anchor = anchor.to(hidden.dtype)
        if last is not None:
            anchor = anchor[:, -last:]
        if at is not None:
            hidden, anchor = hidden[:, at], anchor[:, at]
        parameters = self.head(hidden, anchor)
        if self.highway is not None:
            patches = tokens.patches[:, -(last or 0) :]
            parameters = parameters + self.highway(patches if at is None else patches[:, at])
        return self.head.law(parameters, self.levels)

    def trunk(
        self,
        tokens: Tokens,
        *,
        cache: Cache | None = None,
        states: list[Tensor] | None = None,
        last: int | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, T, D) after the final norm: what the head reads, and what an embedding is made of.

        With `states`, those before the first block and after each block, (B, T, D) and not normed, are appended to it.
        With `last`, the last block answers for that many last tokens only, (B, `last`, D).
        With `positions` (B, T), tokens stand there, and not one after the other.
        """
        patches, dtype = tokens.patches, self.norm.weight.dtype
        patches = patches.to(dtype) if patches.is_floating_point() else patches
        already = cache.num_tokens if cache is not None else 0
        key_mask = tokens.mask
        if cache is not None:
            everything = torch.ones_like(patches[..., 0], dtype=torch.bool)
            key_mask = cache.extend_mask(everything if key_mask is None else key_mask)
        x = self.embedding(patches).to(dtype)  # under autocast too, the residual stream keeps full precision
        if self.modes is not None:
            x = x + self.modes(tokens.modes)
        if self.frequencies is not None:
            if tokens.frequency is None:
                tokens = replace(tokens, frequency=torch.full_like(patches[:, 0, 0], self.frequency, dtype=torch.int64))
            x = x + self.frequencies(tokens.frequency)
        if self.stages is not None:
            staged: Tensor = self.norm(self.stages(x, self.blocks, key_mask, states)[:, -(last or 0) :])
            return staged
        mask = None if key_mask is None else attention_mask(key_mask, patches.shape[1])
        if positions is None:
            positions = torch.arange(already, already + patches.shape[1], device=patches.device)
        if self.config.position == "none":
            positions = torch.zeros_like(positions)
        rotary = rotary_table(positions, self.config.head_dim, self.config.rope_base)
        for index, block in enumerate(self.blocks):
            if states is not None:
                states.append(x)
            asking = last if index == len(self.blocks) - 1 else None
            x = block(x, rotary, mask, cache.layers[index] if cache is not None else None, asking, tokens)
        if self.body is not None:
            x = self.body(x, tokens)[:, -(last or 0) :]
        if states is not None:
            states.append(x)
        hidden: Tensor = self.norm(x)
        return hidden


def attention_mask(key_mask: Tensor, num_queries: int) -> Tensor | None:
    """Causal mask that hides padding, (B, 1, Tq, Tk) bool, or None where plain causal attention is the same.

    Padding tokens stand at the left; they see themselves only, so that no row is empty.
    """
    traced = torch.compiler.is_exporting()  # a graph cannot depend on what is in the mask
    if not traced and num_queries == key_mask.shape[1] and bool(key_mask.all()):
        return None
    num_keys = key_mask.shape[1]
    query = torch.arange(num_keys - num_queries, num_keys, device=key_mask.device)[:, None]
    key = torch.arange(num_keys, device=key_mask.device)[None, :]
    return ((key <= query) & key_mask[:, None, None, :]) | (key == query)
