"""Distillation: a trained, larger decoder says what a small one should forecast, at every token of every window.

The outcome of a window is one draw; the teacher's quantiles are the whole law, so each window teaches more (Hinton et
al., 2015). The student sees the same corrupted windows as the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT
from tsar.training.objectives import encode_windows


@dataclass(frozen=True)
class Teacher:
    """A decoder that answers for training windows.

    Parameters
    ----------
    decoder
        In evaluation mode, with the same patches, output length, levels and scaling as the student.
    symmetrize
        Answer with the mean of f(x) and -f(-x): twice the work, a better teacher.
    """

    decoder: Decoder
    symmetrize: bool = True

    @torch.no_grad()
    def __call__(self, windows: Tensor, visible: Tensor) -> Tensor:
        """Return the quantiles (B, T, output_length, Q) in z that follow each token; arguments as of `NextPatches`."""
        answer = self._answer(windows, visible)
        if self.symmetrize:
            answer = (answer - self._answer(-windows, visible).flip(-1)) / 2
        return answer

    def _answer(self, windows: Tensor, visible: Tensor) -> Tensor:
        tokens, _ = encode_windows(self.decoder, windows, visible)
        quantiles: Tensor = self.decoder(tokens).clamp(-Z_LIMIT, Z_LIMIT)
        return quantiles


def incompatibility(student: Decoder, teacher: Decoder) -> str | None:
    """Name the first setting in which the two must agree and do not."""
    for name in ("patch_length", "output_length", "quantile_levels", "scaling"):
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            return f"{name} is {theirs}, but {ours} in the recipe"
    if student.config.has_vocabulary or teacher.config.has_vocabulary:
        return "a model with a vocabulary has no quantiles of one pass"
    return None
