"""Contrastive learning: two corruptions of one window are to be more alike than those of different windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.errors import TrainingError
from tsar.model.decoder import Decoder
from tsar.training.objectives.windows import encode_view
from tsar.training.views import Extra

TEMPERATURE = 0.1


class Contrastive(nn.Module):
    """Wrap a decoder: InfoNCE (van den Oord et al., 2018; SimCLR, Chen et al., 2020) on mean-pooled states.

    The head learns nothing by it; in a mixture with another objective the states learn from both.
    """

    needs_two_views = True

    def __init__(self, decoder: Decoder, *, temperature: float = TEMPERATURE) -> None:
        super().__init__()
        self.decoder = decoder
        self.temperature = temperature

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
        """Return the loss (B,) of each window: how surprising its other view is among those of the batch.

        Arguments as of `NextPatches`; without a teacher, and with two views in `extra`.
        """
        if extra is None or extra.other_visible is None:
            raise TrainingError(
                "The contrastive objective needs two views of each window.",
                code="training.no_second_view",
                hint="Draw them with tsar.training.views.make_view(..., twice=True).",
            )
        roles = extra.roles
        one = self._pooled(windows, visible, Extra(extra.inputs, roles, frequency=extra.frequency))
        other = self._pooled(windows, extra.other_visible, Extra(extra.other_inputs, roles, frequency=extra.frequency))
        likeness = one @ other.T / self.temperature
        same = torch.arange(len(windows), device=windows.device)
        both = F.cross_entropy(likeness, same, reduction="none"), F.cross_entropy(likeness.T, same, reduction="none")
        return (both[0] + both[1]) / 2

    def _pooled(self, windows: Tensor, visible: Tensor, extra: Extra) -> Tensor:
        """Mean state (B, D) over the tokens that are not padding, of length one."""
        encoded = encode_view(self.decoder, windows, visible, extra)
        hidden = self.decoder.trunk(encoded.tokens).float()
        patch = self.decoder.config.patch_length
        counted = encoded.history[:, patch - 1 : hidden.shape[1] * patch : patch].unsqueeze(-1)
        return F.normalize((hidden * counted).sum(1) / counted.sum(1).clamp_min(1), dim=-1)
