"""Windows that belong together: coupled channels for training, and which rows of a batch are channels of one item."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

LONGEST_LAG = 32
"""Points by which a channel follows the first of its item, at most."""


def couple(windows: Tensor, channels: int, generator: Generator) -> Tensor:
    """Make neighbouring windows channels of one item: each is mixed with the first of its item, some points ago.

    Parameters
    ----------
    windows
        (B, L) standardised, NaN where nothing is known; B a multiple of `channels`.
    channels
        C; 1 leaves everything as it is, and draws nothing.
    generator
        Draws lags, up to `LONGEST_LAG` points, and strengths, alike from 0 to 1.

    Returns
    -------
    Tensor
        (B, L) of about the variance that they had.
    """
    if channels == 1:
        return windows
    rows, length = windows.shape
    items, device = windows.view(-1, channels, length), windows.device
    lag = torch.randint(1, LONGEST_LAG + 1, (len(items), channels, 1), generator=generator, device=device)
    strength = torch.rand(len(items), channels, 1, generator=generator, device=device)
    strength[:, 0] = 0.0
    ago = (torch.arange(length, device=device) - lag).clamp_min(0)
    leader = items[:, :1].expand(-1, channels, -1).gather(2, ago)
    followed = (1 - strength.square()).sqrt() * items + strength * leader
    return torch.where(torch.isfinite(leader), followed, items).view(rows, length)


def group_rows(num_rows: int, channels: int, device: torch.device) -> Tensor | None:
    """Return which rows are channels of one item, (B,); every other item's stand alone, so that both are learned."""
    if channels == 1:
        return None
    row = torch.arange(num_rows, device=device)
    item = row // channels
    return torch.where(item % 2 == 0, item, num_rows + row)
