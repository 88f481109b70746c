"""Stateless sampler: the batch of a step is a pure function of the seed and the step.

Block k is a few windows from one origin (the corpus or one synthetic family), drawn with a generator seeded by
``(seed, k)``. Every step adds `fresh` blocks to a pool of the last `pool` blocks and draws its windows from the whole
pool: blocks can be large, which is what makes them cheap, and batches are mixed all the same. The pool at a step
follows from the step alone, so a resumed or re-divided run sees the same samples: there is no state to save. (On
another device type the generator draws other numbers.)
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor

from tsar.errors import CorpusError
from tsar.scaling import first_observed_index
from tsar.training.augment import AugmentConfig, augment
from tsar.training.corpus import Corpus
from tsar.training.synth import DEFAULT_WEIGHTS, make_series

CORPUS, REPLAY = "corpus", "replay"
STEPS_AHEAD = 4  # of the blocks that threads make
BATCH, CORRUPTION, COUPLING = 1, 2, 3  # what else is drawn about a step, see BlockSampler.generator


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a batch is made of.

    Attributes
    ----------
    corpus_share
        Share of blocks from the corpus; the rest is synthetic. Without a corpus all blocks are synthetic.
    block_size
        Windows in a block.
    fresh
        New blocks a step. With ``fresh * block_size`` below a batch's rows, windows are drawn more than once on average
        (cut and hidden differently each time).
    pool
        Blocks that a batch is drawn from.
    channels
        Neighbouring windows of a batch that are coupled as channels of one item (`tsar.training.couple`), for models
        with ``"channel"`` blocks; 1 for none.
    families
        Weight of each synthetic family; empty: the default weights of `tsar.training.synth`.
    augment_corpus, augment_synthetic
        Probabilities of the transforms for each origin.
    replay, replay_share
        Corpus (as ``corpus`` of the recipe) of an earlier run, and the share of blocks drawn from it before anything
        else is: a model that goes on with new data forgets less (Ibrahim et al., 2024).
    workers
        Threads that make blocks ahead of time; 0: made when they are needed. The batches are the same.
    """

    corpus_share: float = 0.5
    block_size: int = 16
    fresh: int = 4
    pool: int = 64
    channels: int = 1
    families: dict[str, float] = field(default_factory=dict)
    augment_corpus: AugmentConfig = field(default_factory=AugmentConfig)
    augment_synthetic: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(mixup=0.15, time_flip=0.0, modulate=0.05)
    )
    replay: str | None = None
    replay_share: float = 0.0
    workers: int = 0


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
    replay
        Real series of an earlier run, or None.
    """

    config: DataConfig
    seed: int
    corpus: Corpus | None = None
    device: torch.device = torch.device("cpu")
    replay: Corpus | None = None

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
        corpus = {CORPUS: self.corpus, REPLAY: self.replay}.get(origin)
        if corpus is not None:
            return augment(corpus.sample(rows, length, generator), self.config.augment_corpus, generator)
        series = make_series(origin, rows, length, generator)
        return augment(series, self.config.augment_synthetic, generator)

    def origin(self, index: int) -> str:
        """Return where block `index` comes from."""
        dice = np.random.default_rng([self.seed, index])
        dice.integers(1 << 62)  # as `block` draws it
        return self._origin(dice)

    def resolutions(self, index: int) -> Tensor:
        """Return the resolution (block_size,) int64 of each window of block `index`; 0 for synthetic ones."""
        dice = np.random.default_rng([self.seed, index])
        generator = Generator(self.device).manual_seed(int(dice.integers(1 << 62)))  # as `block` draws it
        corpus = {CORPUS: self.corpus, REPLAY: self.replay}.get(self._origin(dice))
        if corpus is None:
            return torch.zeros(self.config.block_size, dtype=torch.int64, device=self.device)
        return corpus.sample_resolutions(self.config.block_size, generator)

    def generator(self, index: int, purpose: int) -> Generator:
        """Return a generator for what is drawn at step `index` besides series; `purpose` > 0 tells for what."""
        dice = np.random.default_rng([self.seed, index, purpose])
        return Generator(self.device).manual_seed(int(dice.integers(1 << 62)))

    def _origin(self, dice: np.random.Generator) -> str:
        if self.replay is not None and dice.random() < self.config.replay_share:
            return REPLAY
        if self.corpus is not None and dice.random() < self.config.corpus_share:
            return CORPUS
        weights = self.config.families or DEFAULT_WEIGHTS
        share = np.array(list(weights.values()), dtype=float)
        return str(dice.choice(list(weights), p=share / share.sum()))


class Pool:
    """The blocks that batches are drawn from, kept between steps only to save work.

    Parameters
    ----------
    sampler
        Makes the blocks.
    length
        Points of a window; shorter windows are cut from these.

    Notes
    -----
    With ``config.workers`` threads make the blocks of the next steps meanwhile. A block depends on seed and number
    alone, so nothing about the batches changes, and a resumed run makes the same ones.
    """

    def __init__(self, sampler: BlockSampler, length: int) -> None:
        self.sampler = sampler
        config = sampler.config
        self.workers = ThreadPoolExecutor(config.workers, "tsar-blocks") if config.workers else None
        self.ahead: dict[int, Future[Tensor]] = {}
        self.windows = torch.empty(config.pool, config.block_size, length, device=sampler.device)
        self.held = [-1] * config.pool
        self.known: dict[int, Tensor] = {}  # resolutions of blocks

    def batch(self, step: int, rows: int, length: int) -> Tensor:
        """Return the windows (rows, length) of a step, from the blocks step * fresh … step * fresh + pool - 1."""
        config = self.sampler.config
        first = step * config.fresh
        for index in range(first, first + config.pool):
            slot = index % config.pool
            if self.held[slot] != index:
                self.windows[slot] = self._block(index)
                self.held[slot] = index
        self._order_ahead(first + config.pool)
        generator = self.sampler.generator(step, BATCH)
        place = self._draw_places(rows, generator)
        oldest = first % config.pool * config.block_size
        windows = self.windows.flatten(0, 1)[(place + oldest) % (config.pool * config.block_size)]
        return _cut(windows, length, generator)

    def origins(self, step: int, rows: int) -> list[str]:
        """Return where each of the windows that `batch` gives comes from."""
        _, blocks = self._places(step, rows)
        names = {block: self.sampler.origin(block) for block in set(blocks)}
        return [names[block] for block in blocks]

    def resolutions(self, step: int, rows: int) -> Tensor:
        """Return the resolution (rows,) int64 of each of the windows that `batch` gives."""
        place, blocks = self._places(step, rows)
        self.known = {block: self._resolutions_of(block) for block in sorted(set(blocks))}
        within = (place % self.sampler.config.block_size).tolist()
        return torch.stack([self.known[block][row] for block, row in zip(blocks, within, strict=True)])

    def _places(self, step: int, rows: int) -> tuple[Tensor, list[int]]:
        """Return where in the pool the windows of a step stand, and the number of the block of each."""
        config = self.sampler.config
        place = self._draw_places(rows, self.sampler.generator(step, BATCH))
        return place, (step * config.fresh + place // config.block_size).tolist()

    def _draw_places(self, rows: int, generator: Generator) -> Tensor:
        """Places (rows,) in the pool, counted from its oldest window."""
        size = self.sampler.config.pool * self.sampler.config.block_size
        return torch.randint(size, (rows,), generator=generator, device=self.windows.device)

    def _resolutions_of(self, block: int) -> Tensor:
        return self.known[block] if block in self.known else self.sampler.resolutions(block)

    def close(self) -> None:
        """Let the threads go; blocks ordered ahead are forgotten."""
        if self.workers is not None:
            self.workers.shutdown(wait=True, cancel_futures=True)

    def _block(self, index: int) -> Tensor:
        ordered = self.ahead.pop(index, None)
        return self.sampler.block(index, self.windows.shape[-1]) if ordered is None else ordered.result()

    def _order_ahead(self, first: int) -> None:
        """Let the threads make the blocks of the next steps."""
        if self.workers is None:
            return
        wanted = range(first, first + STEPS_AHEAD * self.sampler.config.fresh)
        self.ahead = {index: made for index, made in self.ahead.items() if index in wanted}
        for index in wanted:
            if index not in self.ahead:
                self.ahead[index] = self.workers.submit(self.sampler.block, index, self.windows.shape[-1])


def _cut(windows: Tensor, length: int, generator: Generator) -> Tensor:
    """Cut windows to `length` at a random place that wastes none of the points of a short series."""
    rows, full = windows.shape
    if length == full:
        return windows
    first = first_observed_index(torch.isfinite(windows), keepdim=True)
    room = (full - length - first).clamp_min(0) + 1
    back = (torch.rand(rows, 1, generator=generator, device=windows.device) * room).long()
    start = full - length - back
    return windows.gather(1, start + torch.arange(length, device=windows.device))
