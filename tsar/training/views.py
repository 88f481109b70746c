"""What a step shows of a batch: the corruption pipeline from windows to everything that an objective takes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from tsar.model.modes import FORECAST, MASKED, MIDDLE, PREFIX, SUFFIX
from tsar.training.corrupt import CorruptConfig, corrupt, hide


@dataclass(frozen=True)
class Extra:
    """What an objective takes besides windows and what is visible of them; None where the recipe asks for none of it.

    Attributes
    ----------
    inputs
        (B, L + F) what is read where `visible`, instead of the windows; NaN where unknown.
    roles
        (B, L + F) int64, the mode (`tsar.model.modes`) of each point.
    fed
        (B, T) bool, patches that the model's own median replaces.
    other_visible, other_inputs
        (B, L + F) each, a second view of the same windows.
    frequency
        (B,) int64, the resolution of each window (`tsar.freq.resolution`).
    """

    inputs: Tensor | None = None
    roles: Tensor | None = None
    fed: Tensor | None = None
    other_visible: Tensor | None = None
    other_inputs: Tensor | None = None
    frequency: Tensor | None = None

    def take(self, rows: slice) -> Extra:
        """Return those rows."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Extra(**{name: part if part is None else part[rows] for name, part in parts.items()})


@dataclass(frozen=True)
class View:
    """A batch as it is shown: windows (B, L + F), perhaps reordered, what is visible, and what else is given."""

    windows: Tensor
    visible: Tensor
    extra: Extra | None

    def take(self, rows: slice) -> View:
        """Return those rows."""
        return View(self.windows[rows], self.visible[rows], self.extra.take(rows) if self.extra is not None else None)


def make_view(
    windows: Tensor,
    context_length: int,
    patch_length: int,
    config: CorruptConfig,
    generator: Generator,
    *,
    cut: float | None = None,
    step: int = 0,
    modes: bool = False,
    twice: bool = False,
) -> View:
    """Draw what is shown of a batch.

    Parameters
    ----------
    windows
        (B, L + F) values, NaN where unknown.
    context_length, patch_length
        L and P.
    config
        How often what is done.
    generator
        Lives on the windows' device; its state decides.
    cut
        Instead of ``config.cut``.
    step
        Of the run; `feedback` rises with it.
    modes
        Whether tokens get their modes.
    twice
        Whether a second view is drawn (contrastive learning).
    """
    roles = torch.full(windows.shape, FORECAST, device=windows.device) if modes else None
    if config.middle > 0 and roles is not None:
        windows, roles = move_middles(windows, context_length, patch_length, config, generator)
    observed = torch.isfinite(windows)
    visible, masked = hide(observed, context_length, patch_length, config, generator, cut)
    if roles is not None:
        visible &= roles != MIDDLE
        roles = torch.where(masked & (roles == FORECAST), MASKED, roles)
    noisy = config.noise > 0
    inputs = add_noise(windows, config, generator) if noisy else None
    fed, other_visible, other_inputs = None, None, None
    if config.feedback > 0:
        rate = config.feedback * min(step / config.feedback_steps, 1.0)
        dice = torch.rand(len(windows), context_length // patch_length, generator=generator, device=windows.device)
        fed = dice < rate
    if twice:
        other_visible = corrupt(observed, context_length, patch_length, config, generator, cut)
        other_inputs = add_noise(windows, config, generator) if noisy else None
    is_plain = inputs is None and roles is None and fed is None and other_visible is None
    return View(windows, visible, None if is_plain else Extra(inputs, roles, fed, other_visible, other_inputs))


def add_noise(windows: Tensor, config: CorruptConfig, generator: Generator) -> Tensor:
    """Add Gaussian noise of a random size to some windows (B, W), in units of each one's deviation."""
    known = torch.isfinite(windows)
    clean = torch.where(known, windows, 0.0)
    count = known.sum(1, keepdim=True).clamp_min(1)
    mean = clean.sum(1, keepdim=True) / count
    deviation = (torch.where(known, clean - mean, 0.0).square().sum(1, keepdim=True) / count).sqrt()
    dice = torch.rand(2, len(windows), 1, generator=generator, device=windows.device)
    size = torch.where(dice[0] < config.noise, config.noise_size * dice[1], 0.0)
    noise = torch.randn(windows.shape, generator=generator, device=windows.device, dtype=windows.dtype)
    return windows + size * deviation * noise


def move_middles(
    windows: Tensor, context_length: int, patch_length: int, config: CorruptConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Move a run of patches to the end in some windows (B, L + F), and say which point plays which role.

    The run is as long as what is only predicted (F), or up to `max_span` patches longer; there is at least one patch on
    either side. A window of too few patches stays.
    """
    rows, length = windows.shape
    patches = length // patch_length
    least = (length - context_length) // patch_length
    spare = patches - 2 - least
    roles = torch.full((rows, patches), FORECAST, device=windows.device)
    if spare >= 0:
        dice = torch.rand(3, rows, 1, generator=generator, device=windows.device)
        run = least + (dice[0] * (1 + min(config.max_span, spare))).long()
        first = 1 + (dice[1] * (patches - run - 1)).long()
        place = torch.arange(patches, device=windows.device)
        moved = torch.where(place < first, PREFIX, torch.where(place < first + run, MIDDLE, SUFFIX))
        roles = torch.where(dice[2] < config.middle, moved, roles)
    order = roles.argsort(dim=1, stable=True)  # the modes are numbered in the order in which they are read
    source = (order.unsqueeze(-1) * patch_length + torch.arange(patch_length, device=windows.device)).flatten(1)
    return windows.gather(1, source), roles.gather(1, order).repeat_interleave(patch_length, 1)
