"""The training objectives: quantiles at every token, in every window at once.

A causal decoder learns the next `output_length` points (`NextPatches`), one with full attention the hidden points of
each token itself (`HiddenPoints`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens
from tsar.training.couple import group_rows

MIN_HISTORY = 4  # fewer observed points say too little about the scale to be worth a loss


class NextPatches(nn.Module):
    """Wrap a decoder so that one call gives the loss of a batch (what accelerate and DDP wrap in turn).

    Parameters
    ----------
    decoder
        The model to train.
    smooth_weight
        How strongly smooth series are weighted up: the weight of a token is ``(smooth_floor + step / scale) **
        -smooth_weight``. In units of the deviation a smooth trend has errors of a few hundredths, while its score
        (MASE) is measured in steps. 0 (all alike) scored better than 1, see pretrain/LOG.md.
    reach
        How many points after each token count, at most ``output_length``; None: all.
    """

    def __init__(
        self, decoder: Decoder, *, smooth_weight: float = 0.0, smooth_floor: float = 0.15, reach: int | None = None
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.smooth_weight = smooth_weight
        self.smooth_floor = smooth_floor
        self.reach = reach
        self.channels = 1  # neighbouring windows that are one item, see `tsar.training.couple`

    def forward(self, windows: Tensor, visible: Tensor, guide: Tensor | None = None, share: float = 0.0) -> Tensor:
        """Return the loss of each window.

        Parameters
        ----------
        windows
            (B, L + F) values, NaN where unknown; F = output_length.
        visible
            (B, L + F) bool, what the model may see; False throughout the last F.
        guide
            (B, T, F, Q) quantiles in z of a teacher (`tsar.training.distill`).
        share
            How much of the loss is the distance to them.

        Returns
        -------
        Tensor
            (B,) loss of the law in z (pinball, or negative log density) over all valid targets, times the square root
            of their share: a short series counts for more than its points, a long one for less, and the mean over any
            split of a batch is the same.
        """
        config = self.decoder.config
        tokens, windows = encode_windows(self.decoder, windows, visible, self.channels)
        law = self.decoder.law(tokens)
        targets = windows[:, config.patch_length :].unfold(1, config.output_length, config.patch_length)
        state = tokens.state
        valid = torch.isfinite(targets) & ((state.scale > 0) & (state.count >= MIN_HISTORY)).unsqueeze(-1)
        if self.reach is not None:
            valid[..., self.reach :] = False
        z = state.normalize(torch.where(valid, targets, state.loc.unsqueeze(-1)))
        error = law.loss(z)
        if guide is not None:
            error = (1 - share) * error + share * (law.quantile(self.decoder.levels) - guide).abs().mean(-1)
        smoothness = state.step / torch.where(state.scale > 0, state.scale, 1.0)
        weight = (self.smooth_floor + smoothness).pow(-self.smooth_weight)
        error = torch.where(valid, error * weight.unsqueeze(-1), 0.0).sum((1, 2))
        count = valid.sum((1, 2)).clamp_min(1)
        return error / (count * (valid.shape[1] * valid.shape[2])).sqrt()


class Direct(NextPatches):
    """Quantiles of what follows the window, at its last token alone: for models whose tokens see the whole window."""

    def forward(self, windows: Tensor, visible: Tensor, guide: Tensor | None = None, share: float = 0.0) -> Tensor:
        """Return the loss (B,) of each window; arguments as of `NextPatches`, no teacher."""
        context = windows.shape[1] - self.decoder.config.output_length
        tokens = self.decoder.tokenizer.encode(windows[:, :context], visible[:, :context])
        law = self.decoder.law(tokens, last=1)
        state = tokens.state.at(slice(-1, None))
        targets = windows[:, None, context:]
        valid = torch.isfinite(targets) & ((state.scale > 0) & (state.count >= MIN_HISTORY)).unsqueeze(-1)
        z = state.normalize(torch.where(valid, targets, state.loc.unsqueeze(-1)))
        error = torch.where(valid, law.loss(z), 0.0).sum((1, 2))
        loss: Tensor = error / (valid.sum((1, 2)).clamp_min(1) * targets.shape[-1]).sqrt()
        return loss


class HiddenPoints(nn.Module):
    """Wrap a decoder with full attention: quantiles of the points that are known but hidden, from both sides.

    This is masked reconstruction (BERT, Devlin et al., 2019; TST, Zerveas et al., 2021) of points, with a law each.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        # torch 2.13 compiles the gathers of this tokenizer to reads out of bounds
        self.encode: Any = torch.compiler.disable(decoder.tokenizer.encode)  # type: ignore[no-untyped-call]

    def forward(self, windows: Tensor, visible: Tensor, guide: Tensor | None = None, share: float = 0.0) -> Tensor:
        """Return the loss (B,) of each window over its hidden points; arguments as of `NextPatches`, no teacher."""
        config = self.decoder.config
        context = windows.shape[1] - config.output_length
        windows, visible = windows[:, :context], visible[:, :context]
        tokens = self.encode(windows, visible)
        law = self.decoder.law(tokens)
        targets = windows.view(len(windows), -1, config.patch_length)
        hidden = ~visible.view(len(visible), -1, config.patch_length)
        state = tokens.state
        valid = hidden & torch.isfinite(targets) & ((state.scale > 0) & (state.count >= MIN_HISTORY)).unsqueeze(-1)
        z = state.normalize(torch.where(valid, targets, state.loc.unsqueeze(-1)))
        error = torch.where(valid, law.loss(z), 0.0).sum((1, 2))
        count = valid.sum((1, 2)).clamp_min(1)
        loss: Tensor = error / (count * context).sqrt()
        return loss


OBJECTIVES: dict[str, type[NextPatches] | type[HiddenPoints]] = {
    "next_patches": NextPatches,
    "direct": Direct,
    "hidden_points": HiddenPoints,
}
"""By the name in a recipe."""


def make_objective(decoder: Decoder, *, name: str = "auto", smooth_weight: float = 0.0) -> NextPatches | HiddenPoints:
    """Return the objective of this name; ``"auto"``: the one that the decoder's attention asks for."""
    if name == "auto":
        name = "hidden_points" if decoder.config.task == "infill" else "next_patches"
    if name == "next_patches":
        return NextPatches(decoder, smooth_weight=smooth_weight)
    return OBJECTIVES[name](decoder)


def encode_windows(decoder: Decoder, windows: Tensor, visible: Tensor, channels: int = 1) -> tuple[Tokens, Tensor]:
    """Tokens of training windows, their padding at the right and without a mask, and the windows moved likewise.

    Windows that are channels of one item, `channels` neighbours, stay where they are, since they share their times.
    """
    config = decoder.config
    if channels > 1:
        context = windows.shape[1] - config.output_length
        tokens = decoder.tokenizer.encode(windows[:, :context], visible[:, :context])
        return replace(tokens, group=group_rows(len(windows), channels, windows.device)), windows
    windows, visible = move_padding_right(windows, visible, config.patch_length)
    context = windows.shape[1] - config.output_length
    tokens = decoder.tokenizer.encode(windows[:, :context], visible[:, :context])
    return replace(tokens, mask=None), windows


def move_padding_right(windows: Tensor, visible: Tensor, patch_length: int) -> tuple[Tensor, Tensor]:
    """Shift each window left by its leading patches without a visible point, and fill up with unknowns at the right.

    Under causal attention padding at the right is inert without any mask, so training takes the fastest attention path.
    """
    length = windows.shape[1]
    first = visible.to(torch.uint8).argmax(1, keepdim=True)
    shift = (first // patch_length) * patch_length
    source = torch.arange(length, device=windows.device) + shift
    inside = source < length
    source = source.clamp_max(length - 1)
    return torch.where(inside, windows.gather(1, source), torch.nan), visible.gather(1, source) & inside
