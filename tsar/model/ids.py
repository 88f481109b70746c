"""A learned vector for each id of a vocabulary."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tsar.tokenizers.vocabulary import PAD, VocabularyTokenizer


class IdEmbedding(nn.Module):
    """Look the vectors of ids up.

    Classes of one token of a point are ordered, so they start with sines and cosines of their place, as positions do
    (Vaswani et al., 2017): neighbours begin alike, and what is learned of one value holds for those beside it.

    With `lags` above 1 the vectors of the ids before are added, each times a learned gain: one layer of attention then
    finds earlier places that looked like this one (smeared keys, Olsson et al., 2022), which a season is followed by.
    """

    def __init__(self, vocabulary: VocabularyTokenizer, d_model: int, lags: int = 1) -> None:
        super().__init__()
        self.spans = [vocabulary.allowed(step) for step in range(vocabulary.tokens_per_point)]
        self.weight = nn.Parameter(torch.zeros(vocabulary.vocabulary_size, d_model))
        self.gains = nn.Parameter(torch.zeros(lags - 1, d_model)) if lags > 1 else None

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh vectors; those of ordered classes are smooth."""
        nn.init.normal_(self.weight)
        for span in self.spans:
            size = span.stop - span.start
            if size > 2:
                self.weight[span] = smooth_features(size, self.weight.shape[1]).to(self.weight)
        if self.gains is not None:
            nn.init.normal_(self.gains, std=0.5)

    @property
    def lags(self) -> int:
        """Ids that a position reads: its own, and those before it."""
        return 1 if self.gains is None else 1 + len(self.gains)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, T, 1), or of ids and those before them (B, T, lags)."""
        if self.gains is None:
            own: Tensor = nn.functional.embedding(patches[..., 0], self.weight)
            return own
        if patches.shape[-1] != self.lags:
            patches = lagged(patches[..., 0], self.lags)
        vectors = nn.functional.embedding(patches, self.weight)
        smeared: Tensor = vectors[..., 0, :] + (vectors[..., 1:, :] * self.gains).sum(-2)
        return smeared


def lagged(ids: Tensor, lags: int) -> Tensor:
    """Each id (B, T) and those before it, (B, T, lags); `PAD` before the first."""
    return nn.functional.pad(ids, (lags - 1, 0), value=PAD).unfold(1, lags, 1).flip(-1)


def smooth_features(size: int, width: int) -> Tensor:
    """Waves (size, width) over the place of each class, from half a wave to one of four classes, with drawn phase."""
    place = torch.arange(size, dtype=torch.float64) / size
    waves = torch.logspace(math.log2(0.5), math.log2(max(size / 4, 1.0)), width, base=2.0, dtype=torch.float64)
    phase = torch.rand(width, dtype=torch.float64)
    return math.sqrt(2) * torch.cos(2 * math.pi * (place[:, None] * waves + phase))
