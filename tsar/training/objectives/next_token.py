"""Next token: a decoder with a vocabulary learns the law of the next word at every word."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tsar.heads.categorical import CategoricalLaw
from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens
from tsar.training.objectives.windows import move_padding_right
from tsar.training.views import Extra


class NextToken(nn.Module):
    """Wrap a decoder with a vocabulary: cross-entropy of every word given those before it (Chronos, as a decoder).

    Parameters
    ----------
    decoder
        The model to train.
    z_loss
        Weight of the squared log-normaliser, see `NextPatches`.
    """

    def __init__(self, decoder: Decoder, z_loss: float = 0.0) -> None:
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
        """Return the loss (B,) of each window over the words of all known points but the first.

        Arguments as of `NextPatches`, no teacher, inputs as they are. Points that are not visible are read as `PAD` and
        asked for all the same; of those the first word only, since the others would need it as input.
        """
        tokenizer = self.decoder.tokenizer
        windows, visible = move_padding_right(windows, visible, 1)
        state = tokenizer.state_of(windows, visible)
        read = tokenizer.ids_of(windows, visible, state)
        known = torch.isfinite(windows)
        said = tokenizer.ids_of(windows, known, state)
        words = tokenizer.tokens_per_point
        is_first = torch.arange(said.shape[1], device=said.device) % words == 0
        valid = known.repeat_interleave(words, 1) & (is_first | visible.repeat_interleave(words, 1))
        answer = cast(CategoricalLaw, self.decoder.law(Tokens(read[:, :-1], None, state)))
        logits = answer.logits.squeeze(2)
        allowed = tokenizer.allowed.to(logits.device).repeat(windows.shape[1], 1)[1:]
        law = CategoricalLaw(logits.float().masked_fill(~allowed, -torch.inf))
        valid, target = valid[:, 1:], said[:, 1:]
        error = law.loss(torch.where(valid, target, allowed.to(torch.uint8).argmax(-1)))
        if self.z_loss > 0:
            error = error + self.z_loss * law.logits.logsumexp(-1).square()
        loss: Tensor = torch.where(valid, error, 0.0).sum(1) / (valid.sum(1).clamp_min(1) * valid.shape[1]).sqrt()
        return loss
