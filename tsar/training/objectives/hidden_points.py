"""Hidden points: a decoder with full attention learns the law of what is known but hidden, from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tsar.model.decoder import Decoder
from tsar.training.objectives.windows import targets_in_z, tell_frequency
from tsar.training.views import Extra


class HiddenPoints(nn.Module):
    """Wrap a decoder with full attention: quantiles of the points that are known but hidden, from both sides.

    This is masked reconstruction (BERT, Devlin et al., 2019; TST, Zerveas et al., 2021) of points, with a law each.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        # torch 2.13 compiles the gathers of this tokenizer to reads out of bounds
        self.encode: Any = torch.compiler.disable(decoder.tokenizer.encode)  # type: ignore[no-untyped-call]

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
        """Return the loss (B,) of each window over its hidden points; arguments as of `NextPatches`, no teacher."""
        config = self.decoder.config
        context = windows.shape[1] - config.output_length
        windows, visible = windows[:, :context], visible[:, :context]
        inputs = windows if extra is None or extra.inputs is None else extra.inputs[:, :context]
        tokens = tell_frequency(self.encode(inputs, visible), extra)
        if extra is not None and extra.roles is not None:
            tokens = replace(tokens, modes=extra.roles[:, : context : config.patch_length])
        law = self.decoder.law(tokens)
        targets = windows.view(len(windows), -1, config.patch_length)
        hidden = ~visible.view(len(visible), -1, config.patch_length)
        z, valid = targets_in_z(targets, tokens.state)
        valid &= hidden
        error = torch.where(valid, law.loss(z), 0.0).sum((1, 2))
        count = valid.sum((1, 2)).clamp_min(1)
        loss: Tensor = error / (count * context).sqrt()
        return loss
