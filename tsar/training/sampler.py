"""Stateless sampler: block k of windows is a pure function of the seed and k.

A block is a few windows from one origin (the corpus or one synthetic family), drawn with a generator seeded by
``(seed, k)``. A step takes the next blocks in order, whatever the number of processes, so a resumed or re-divided run
sees the same samples: there is no state to save. (On another device type the generator draws other numbers.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor

from tsar.errors import CorpusError
from tsar.training.augment import AugmentConfig, augment, standardize
from tsar.training.corpus import Corpus
from tsar.training.synth import DEFAULT_WEIGHTS, make_series

CORPUS = "corpus"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a batch is made of.

    Attributes
    ----------
    corpus_share
        Share of blocks from the corpus; the rest is synthetic. Without a corpus all blocks are synthetic.
    block_size
        Windows in a block.
    families
        Weight of each synthetic family; empty: the default weights of `tsar.training.synth`.
    augment_corpus, augment_synthetic
        Probabilities of the transforms for each origin.
    """

    corpus_share: float = 0.5
    block_size: int = 16
    families: dict[str, float] = field(default_factory=dict)
    augment_corpus: AugmentConfig = AugmentConfig()
    augment_synthetic: AugmentConfig = AugmentConfig(mixup=0.15, time_flip=0.0, modulate=0.05)


@dataclass(frozen=True)
class BlockSampler:
    """Makes block k.

    Parameters
    ----------
    config
        What a batch is made of.
    seed
        First half of every generator's seed.
    corpus
        Real series, or None.
    device
        Where the windows are made.
    """

    config: DataConfig
    seed: int
    corpus: Corpus | None = None
    device: torch.device = torch.device("cpu")

    def __post_init__(self) -> None:
        if self.corpus is None and self.config.corpus_share >= 1:
            raise CorpusError(
                "The recipe takes all samples from the corpus, but there is none.",
                code="corpus.missing",
                hint="Give data.corpus in the recipe, or lower data.corpus_share.",
            )

    def block(self, index: int, length: int) -> Tensor:
        """Return the standardised windows (block_size, length) float32 of block `index`; NaN where nothing is known."""
        dice = np.random.default_rng([self.seed, index])
        generator = Generator(self.device).manual_seed(int(dice.integers(1 << 62)))
        origin = self._origin(dice)
        rows = self.config.block_size
        if origin == CORPUS and self.corpus is not None:
            return augment(self.corpus.sample(rows, length, generator), self.config.augment_corpus, generator)
        series = make_series(origin, rows, length, generator)
        return augment(series, self.config.augment_synthetic, generator)

    def blocks(self, first: int, count: int, length: int) -> Tensor:
        """Return `count` blocks from `first` on, end to end."""
        return torch.cat([self.block(first + offset, length) for offset in range(count)])

    def generator(self, index: int, purpose: int) -> Generator:
        """Return a generator for what is drawn about block `index` besides its series (purpose > 0 tells which)."""
        dice = np.random.default_rng([self.seed, index, purpose])
        return Generator(self.device).manual_seed(int(dice.integers(1 << 62)))

    def _origin(self, dice: np.random.Generator) -> str:
        if self.corpus is not None and dice.random() < self.config.corpus_share:
            return CORPUS
        weights = self.config.families or DEFAULT_WEIGHTS
        share = np.array(list(weights.values()), dtype=float)
        return str(dice.choice(list(weights), p=share / share.sum()))


__all__ = ["BlockSampler", "DataConfig", "standardize"]
