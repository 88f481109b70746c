"""A learned vector for each id of a vocabulary."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tsar.tokenizers.vocabulary import VocabularyTokenizer


class IdEmbedding(nn.Module):
    """Look the vectors of ids up.

    Classes of one token of a point are ordered, so they start with sines and cosines of their place, as positions do
    (Vaswani et al., 2017): neighbours begin alike, and what is learned of one value holds for those beside it.
    """

    def __init__(self, vocabulary: VocabularyTokenizer, d_model: int) -> None:
        super().__init__()
        self.spans = [vocabulary.allowed(step) for step in range(vocabulary.tokens_per_point)]
        self.weight = nn.Parameter(torch.zeros(vocabulary.vocabulary_size, d_model))

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh vectors; those of ordered classes are smooth."""
        nn.init.normal_(self.weight)
        for span in self.spans:
            size = span.stop - span.start
            if size > 2:
                self.weight[span] = smooth_features(size, self.weight.shape[1]).to(self.weight)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, T, 1)."""
        vectors: Tensor = nn.functional.embedding(patches[..., 0], self.weight)
        return vectors


def smooth_features(size: int, width: int) -> Tensor:
    """Waves (size, width) over the place of each class, from half a wave to one of four classes, with drawn phase."""
    place = torch.arange(size, dtype=torch.float64) / size
    waves = torch.logspace(math.log2(0.5), math.log2(max(size / 4, 1.0)), width, base=2.0, dtype=torch.float64)
    phase = torch.rand(width, dtype=torch.float64)
    return math.sqrt(2) * torch.cos(2 * math.pi * (place[:, None] * waves + phase))
