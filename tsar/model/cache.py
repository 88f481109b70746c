"""Key/value cache: what attention remembers of tokens already read, so that a rollout reads each token once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class LayerCache:
    """Keys and values of one layer, (B, G, T, K) each, growing along T."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens and return all of them."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values

    def select(self, rows: Tensor, num_tokens: int) -> LayerCache:
        """Return the first `num_tokens` tokens of the given rows as a new cache."""
        if self.keys is None or self.values is None:
            return LayerCache()
        return LayerCache(self.keys[rows, :, :num_tokens], self.values[rows, :, :num_tokens])


@dataclass
class Cache:
    """One `LayerCache` a layer and the mask of the tokens read so far.

    Attributes
    ----------
    layers
        In the order of the decoder's blocks.
    mask
        (B, T) bool, False for padding tokens.
    """

    layers: list[LayerCache] = field(default_factory=list)
    mask: Tensor | None = None

    @classmethod
    def empty(cls, num_layers: int) -> Cache:
        """Make a cache that has read nothing."""
        return cls(layers=[LayerCache() for _ in range(num_layers)])

    @property
    def num_tokens(self) -> int:
        """How many tokens were read."""
        return 0 if self.mask is None else self.mask.shape[1]

    def extend_mask(self, mask: Tensor) -> Tensor:
        """Add the mask of new tokens and return the mask of all."""
        self.mask = mask if self.mask is None else torch.cat([self.mask, mask], 1)
        return self.mask

    def select(self, rows: Tensor, num_tokens: int) -> Cache:
        """Return the first `num_tokens` tokens of the given rows (repeats allowed) as a new cache."""
        mask = None if self.mask is None else self.mask[rows, :num_tokens]
        return Cache([layer.select(rows, num_tokens) for layer in self.layers], mask)
