"""Direct: the law of what follows the window, at its last token alone."""

from __future__ import annotations

import torch
from torch import Tensor

from tsar.training.objectives.next_patches import NextPatches
from tsar.training.objectives.windows import targets_in_z, tell_frequency
from tsar.training.views import Extra


class Direct(NextPatches):
    """Learn from the answer of the last token: for models whose tokens see the whole window."""

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
        """Return the loss (B,) of each window; arguments as of `NextPatches`, no teacher, inputs as they are."""
        context = windows.shape[1] - self.decoder.config.output_length
        tokens = tell_frequency(self.decoder.tokenizer.encode(windows[:, :context], visible[:, :context]), extra)
        law = self.decoder.law(tokens, last=1)
        targets = windows[:, None, context:]
        z, valid = targets_in_z(targets, tokens.state.at(slice(-1, None)))
        error = torch.where(valid, law.loss(z), 0.0).sum((1, 2))
        loss: Tensor = error / (valid.sum((1, 2)).clamp_min(1) * targets.shape[-1]).sqrt()
        return loss
