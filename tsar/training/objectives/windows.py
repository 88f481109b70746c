"""Windows of training -> tokens, with their padding at the right, where causal attention needs no mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tsar.model.decoder import Decoder
from tsar.scaling import ScaleState, first_observed_index
from tsar.tokenizers.patch import Tokens
from tsar.training.couple import group_rows
from tsar.training.views import Extra

MIN_HISTORY = 4  # fewer observed points say too little about the scale to be worth a loss


@dataclass(frozen=True)
class Encoded:
    """Tokens of a batch, and windows (B, L + F), visible, inputs and roles (None: all forecast) moved as they were.

    `history` tells which points come from the first L, and are neither padding nor only predicted.
    """

    tokens: Tokens
    windows: Tensor
    visible: Tensor
    inputs: Tensor
    roles: Tensor | None
    history: Tensor


def encode_windows(decoder: Decoder, windows: Tensor, visible: Tensor) -> tuple[Tokens, Tensor]:
    """Tokens of training windows, their padding at the right and without a mask, and the windows moved likewise."""
    encoded = encode_view(decoder, windows, visible, None)
    return encoded.tokens, encoded.windows


def encode_view(decoder: Decoder, windows: Tensor, visible: Tensor, extra: Extra | None, channels: int = 1) -> Encoded:
    """As `encode_windows`, reading the extra's inputs and roles.

    Windows that are channels of one item, `channels` neighbours, stay where they are, since they share their times.
    """
    config = decoder.config
    together = channels > 1
    source, inside = _padding_shift(torch.ones_like(visible) if together else visible, config.patch_length)
    moved = torch.where(inside, windows.gather(1, source), torch.nan)
    visible = visible.gather(1, source) & inside
    roles = extra.roles.gather(1, source) if extra is not None and extra.roles is not None else None
    inputs = moved if extra is None or extra.inputs is None else extra.inputs.gather(1, source)
    tokens = tell_frequency(encode_inputs(decoder, inputs, visible, roles), extra)
    if together:
        context = windows.shape[1] - config.output_length
        seen = visible[:, :context].view(len(visible), -1, config.patch_length).any(-1)
        mask = seen.to(torch.uint8).cummax(1).values.bool()
        tokens = replace(tokens, mask=mask, group=group_rows(len(windows), channels, windows.device))
    return Encoded(tokens, moved, visible, inputs, roles, inside & (source < windows.shape[1] - config.output_length))


def encode_inputs(decoder: Decoder, inputs: Tensor, visible: Tensor, roles: Tensor | None) -> Tokens:
    """Tokens of what is read; a token's mode is the role of the first point that it has to predict."""
    config = decoder.config
    context = inputs.shape[1] - config.output_length
    tokens = decoder.tokenizer.encode(inputs[:, :context], visible[:, :context])
    if roles is not None:
        ahead = config.patch_length if config.attention == "causal" else 0
        modes = roles[:, ahead : ahead + context : config.patch_length]
        return replace(tokens, mask=None, modes=modes)
    return replace(tokens, mask=None)


def tell_frequency(tokens: Tokens, extra: Extra | None) -> Tokens:
    """Tokens of a batch with the resolutions of its windows, if the recipe draws them."""
    return tokens if extra is None or extra.frequency is None else replace(tokens, frequency=extra.frequency)


def targets_in_z(targets: Tensor, state: ScaleState) -> tuple[Tensor, Tensor]:
    """Targets (B, T, K) in z of their tokens, 0 where not usable, and which are: known, after enough history."""
    valid = torch.isfinite(targets) & ((state.scale > 0) & (state.count >= MIN_HISTORY)).unsqueeze(-1)
    return state.normalize(torch.where(valid, targets, state.loc.unsqueeze(-1))), valid


def move_padding_right(windows: Tensor, visible: Tensor, patch_length: int) -> tuple[Tensor, Tensor]:
    """Shift each window left by its leading patches without a visible point, and fill up with unknowns at the right.

    Under causal attention padding at the right is inert without any mask, so training takes the fastest attention path.
    """
    source, inside = _padding_shift(visible, patch_length)
    return torch.where(inside, windows.gather(1, source), torch.nan), visible.gather(1, source) & inside


def _padding_shift(visible: Tensor, patch_length: int) -> tuple[Tensor, Tensor]:
    """Where each point of the shifted windows comes from, and whether that is inside of the window."""
    length = visible.shape[1]
    first = first_observed_index(visible, keepdim=True)
    shift = (first // patch_length) * patch_length
    source = torch.arange(length, device=visible.device) + shift
    return source.clamp_max(length - 1), source < length
