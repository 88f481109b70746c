"""Next token: a causal decoder over a vocabulary learns the law of the next id at every id at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tsar.model.decoder import Decoder
from tsar.training.objectives.next_patches import log_normalizer
from tsar.training.objectives.windows import MIN_HISTORY, move_padding_right
from tsar.training.views import Extra

LIFTS = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 4.0)
"""Levels that windows are moved to. Training windows have mean 0; a scale without a centre sees levels."""


class NextToken(nn.Module):
    """Wrap a decoder with a vocabulary: cross-entropy of the next id (Ansari et al., 2024, Chronos).

    The scale of a window is that of the first half of what is visible in it, so that the ids of the second half are
    predicted as in a forecast: at a scale that does not know them. The first token of a point is asked for wherever the
    point is known, the further ones where it is visible, since they are said after those before them.

    Parameters
    ----------
    decoder
        The model to train.
    z_loss
        As in `NextPatches`.
    """

    def __init__(self, decoder: Decoder, *, z_loss: float = 0.0) -> None:
        super().__init__()
        self.decoder = decoder
        self.z_loss = z_loss

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
        """Return the loss (B,) of each window; arguments as of `NextPatches`, no teacher, inputs as they are."""
        vocabulary = self.decoder.vocabulary
        windows, visible = move_padding_right(lifted(windows), visible, 1)
        scale = vocabulary.find_scale(windows, first_half(visible))
        tokens = replace(vocabulary.encode(windows[:, :-1], visible[:, :-1], scale=scale), mask=None)
        num_read = tokens.patches.shape[1]
        law = self.decoder.law(tokens)
        known = torch.isfinite(windows)
        following = slice(1, num_read + 1)
        asked = vocabulary.ids(windows, known, scale)[:, following]
        error = law.loss(asked.to(torch.float32).unsqueeze(-1)).squeeze(-1)
        if self.z_loss:
            error = error + self.z_loss * log_normalizer(law).squeeze(-1).square()
        seen_enough = nn.functional.pad(visible[:, :-1].cumsum(1), (1, 0)) >= MIN_HISTORY
        is_first = torch.arange(vocabulary.tokens_per_point, device=windows.device) == 0
        valid = torch.where(is_first, known.unsqueeze(-1), visible.unsqueeze(-1)) & seen_enough.unsqueeze(-1)
        valid = valid.flatten(1)[:, following]
        loss: Tensor = torch.where(valid, error, 0.0).sum(1) / (valid.sum(1).clamp_min(1) * num_read).sqrt()
        return loss


def lifted(windows: Tensor) -> Tensor:
    """Windows (B, W) at levels of `LIFTS`; which one, a window's own values say, so that no batch changes it."""
    lift = torch.tensor(LIFTS, dtype=windows.dtype, device=windows.device)
    size = torch.where(torch.isfinite(windows), windows, 0.0).abs().double().sum(1)
    return windows + lift[(size * 1e3).long() % len(LIFTS)].unsqueeze(1)


def first_half(visible: Tensor) -> Tensor:
    """Which points (B, W) are in the first half of the visible ones, at least `MIN_HISTORY` of them."""
    count = visible.sum(1, keepdim=True)
    return visible & (visible.cumsum(1) <= torch.clamp_min((count + 1) // 2, MIN_HISTORY))


@torch.no_grad()
def fit_vocabulary(decoder: Decoder, windows: Tensor) -> None:
    """Adapt the decoder's vocabulary to scaled training windows (B, W), NaN where unknown; most have nothing to fit."""
    if not decoder.config.has_vocabulary:
        return
    windows = lifted(windows)
    known = torch.isfinite(windows)
    z = windows / decoder.vocabulary.find_scale(windows, first_half(known))
    decoder.vocabulary.fit(z[known])
