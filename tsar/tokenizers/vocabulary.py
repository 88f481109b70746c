"""Values -> whole numbers of a vocabulary, and back: what a model of words needs to forecast (Ansari et al., 2024).

A new vocabulary is a class with `sizes`, `split` and `join`, and a line in `TOKENIZERS`. Everything else is here: the
scale (mean absolute value of the window, as in Chronos), the specials, missing values, and which ids may stand where.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tsar.scaling import ScaleState
from tsar.tokenizers.patch import Tokens

PAD, EOS = 0, 1
NUM_SPECIALS = 2


class VocabularyTokenizer(nn.Module):
    """Turn every point of a window into `tokens_per_point` ids.

    Parameters
    ----------
    num_bins
        How many values of a point are told apart, as far as the vocabulary leaves a choice.

    Notes
    -----
    The ids of a vocabulary are `PAD` (not observed), `EOS` (kept free: no series ends inside of a window), then those
    of the first token of a point, those of its second one, and so on, each with a range of its own. Given the scale,
    the ids of a point depend on this point alone; the scale depends on the whole window.
    """

    def __init__(self, num_bins: int = 4096) -> None:
        super().__init__()
        self.num_bins = num_bins

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many classes each token of a point has."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value, in units of the scale, that is not clipped."""
        raise NotImplementedError

    def split(self, z: Tensor) -> Tensor:
        """Classes (…, tokens_per_point) int64, each counted from 0, of scaled values (…); clipped to `bounds`."""
        raise NotImplementedError

    def join(self, classes: Tensor) -> Tensor:
        """Scaled values (…) float64 of classes (…, tokens_per_point)."""
        raise NotImplementedError

    def fit(self, z: Tensor) -> None:
        """Adapt the vocabulary, before training, to a sample (N,) of finite scaled values; most have nothing to fit."""

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, specials included."""
        return NUM_SPECIALS + sum(self.sizes)

    @property
    def tokens_per_point(self) -> int:
        """Ids of one point."""
        return len(self.sizes)

    def allowed(self, step: int) -> slice:
        """Return the ids that may stand for token `step` (from 0) of a point."""
        first = NUM_SPECIALS + sum(self.sizes[:step])
        return slice(first, first + self.sizes[step])

    def find_period(self, context: Tensor, observed: Tensor) -> None:
        """A vocabulary says nothing about periods; here for the likeness with other tokenizers."""

    def find_scale(self, values: Tensor, observed: Tensor) -> Tensor:
        """Mean absolute observed value (B, 1) of windows (B, L); 1 where that is 0 or nothing is observed."""
        size = torch.where(observed, values, 0.0).abs().sum(1, keepdim=True)
        size = size / observed.sum(1, keepdim=True).clamp_min(1)
        return torch.where(size > 0, size, 1.0)

    def ids(self, values: Tensor, observed: Tensor, scale: Tensor) -> Tensor:
        """Ids (B, L * tokens_per_point) int64 of values (B, L) at a scale (B, 1); `PAD` where not observed."""
        z = torch.where(observed, values, 0.0) / scale
        starts = torch.tensor([self.allowed(step).start for step in range(len(self.sizes))], device=values.device)
        ids = torch.where(observed.unsqueeze(-1), self.split(z) + starts, PAD)
        return ids.flatten(-2)

    def decode(self, ids: Tensor, scale: Tensor) -> Tensor:
        """Return values (…, L) float64, in the units of `scale` (…, 1), of ids (…, L * tokens_per_point).

        NaN where any id of a point is a special or stands in the wrong place.
        """
        points = ids.reshape(*ids.shape[:-1], -1, self.tokens_per_point)
        spans = [self.allowed(step) for step in range(self.tokens_per_point)]
        first = torch.tensor([span.start for span in spans], device=ids.device)
        sizes = torch.tensor(self.sizes, device=ids.device)
        classes = points - first
        valid = ((classes >= 0) & (classes < sizes)).all(-1)
        z = self.join(torch.where(valid.unsqueeze(-1), classes, 0))
        return torch.where(valid, z * scale, torch.nan)

    def clipped(self, values: Tensor, observed: Tensor, scale: Tensor | None = None) -> Tensor:
        """Where an observed value (B, L) lies beyond what the vocabulary can say, bool of the same shape."""
        scale = self.find_scale(values, observed) if scale is None else scale
        z = torch.where(observed, values, 0.0) / scale
        return observed & ((z < self.bounds[0]) | (z > self.bounds[1]))

    def encode(self, context: Tensor, observed: Tensor, period: None = None, *, scale: Tensor | None = None) -> Tokens:
        """Turn windows into tokens: ids and the scale to go back.

        Parameters
        ----------
        context
            (B, L) values. What is not observed is ignored, NaN included.
        observed
            (B, L) bool.
        period
            Always None.
        scale
            (B, 1), known already, as when a window is continued; None: that of the window.

        Returns
        -------
        Tokens
            `patches` holds the ids (B, L * tokens_per_point, 1) int64, `state` the scale at each of them. Points before
            the first observed one are masked as padding; later ones that are missing are `PAD`, and seen.
        """
        scale = self.find_scale(context, observed) if scale is None else scale
        ids = self.ids(context, observed, scale)
        count = observed.cumsum(1).repeat_interleave(self.tokens_per_point, 1)
        nothing = torch.zeros_like(count, dtype=scale.dtype)
        state = ScaleState(loc=nothing, scale=nothing + scale, step=nothing, last=nothing, count=count)
        return Tokens(patches=ids.unsqueeze(-1), mask=count > 0, state=state, anchor=nothing)
