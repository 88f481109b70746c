"""A mixture: the weighted sum of several objectives on one decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tsar.model.decoder import Decoder
from tsar.training.views import Extra


class Mixture(nn.Module):
    """Wrap a decoder: the loss of a window is the weighted sum of what the parts say of it."""

    def __init__(self, decoder: Decoder, parts: Sequence[tuple[Any, float]]) -> None:
        super().__init__()
        self.decoder = decoder
        self.parts = list(parts)  # a plain list: the decoder they share is stored once

    @property
    def needs_two_views(self) -> bool:
        """Whether a part compares two views of a window."""
        return any(needs_two_views(part) for part, _ in self.parts)

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
        """Return the loss (B,) of each window; arguments as of `NextPatches`."""
        losses = [weight * part(windows, visible, guide, share, extra) for part, weight in self.parts]
        total: Tensor = sum(losses[1:], losses[0])
        return total


def needs_two_views(objective: nn.Module) -> bool:
    """Whether an objective compares two views of a window."""
    return bool(getattr(objective, "needs_two_views", False))
