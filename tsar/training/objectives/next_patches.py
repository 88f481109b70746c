"""Next patches: a causal decoder learns the law of the next `output_length` points at every token at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tsar.errors import RecipeError
from tsar.heads import Law
from tsar.model.decoder import Decoder
from tsar.model.modes import MIDDLE
from tsar.training.objectives.windows import Encoded, encode_inputs, encode_view, targets_in_z
from tsar.training.views import Extra


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
    z_loss
        Weight of the squared log-normaliser of a categorical head's logits (PaLM, Chowdhery et al., 2022), which keeps
        them from drifting; for laws that have ``logits``.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        smooth_weight: float = 0.0,
        smooth_floor: float = 0.15,
        reach: int | None = None,
        z_loss: float = 0.0,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.smooth_weight = smooth_weight
        self.smooth_floor = smooth_floor
        self.reach = reach
        self.z_loss = z_loss
        self.channels = 1  # neighbouring windows that are one item, see `tsar.training.couple`

    def forward(
        self,
        windows: Tensor,
        visible: Tensor,
        guide: Tensor | None = None,
        share: float = 0.0,
        extra: Extra | None = None,
    ) -> Tensor:
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
        extra
            Inputs that differ from the targets, the role of each point, and which patches the model's own medians
            replace; None: none of it.

        Returns
        -------
        Tensor
            (B,) loss of the law in z (pinball, or negative log density) over all valid targets, times the square root
            of their share: a short series counts for more than its points, a long one for less, and the mean over any
            split of a batch is the same.
        """
        config = self.decoder.config
        encoded = encode_view(self.decoder, windows, visible, extra, self.channels)
        if extra is not None and extra.fed is not None:
            encoded = self._feed_back(encoded, extra.fed)
        tokens = encoded.tokens
        law = self.decoder.law(tokens)
        targets = encoded.windows[:, config.patch_length :].unfold(1, config.output_length, config.patch_length)
        state = tokens.state
        z, valid = targets_in_z(targets, state)
        if encoded.roles is not None:
            valid &= self._follows(encoded.roles)
        if self.reach is not None:
            valid[..., self.reach :] = False
        error = law.loss(z)
        if self.z_loss:
            error = error + self.z_loss * log_normalizer(law).square()
        if guide is not None:
            error = (1 - share) * error + share * (law.quantile(self.decoder.levels) - guide).abs().mean(-1)
        smoothness = state.step / torch.where(state.scale > 0, state.scale, 1.0)
        weight = (self.smooth_floor + smoothness).pow(-self.smooth_weight)
        error = torch.where(valid, error * weight.unsqueeze(-1), 0.0).sum((1, 2))
        count = valid.sum((1, 2)).clamp_min(1)
        return error / (count * (valid.shape[1] * valid.shape[2])).sqrt()

    @torch.no_grad()
    def _feed_back(self, encoded: Encoded, fed: Tensor) -> Encoded:
        """Replace what is visible of the chosen patches by the median that the token before says."""
        config = self.decoder.config
        shape = (len(fed), -1, config.patch_length)
        middle = self.decoder.law(encoded.tokens).quantile(self.decoder.levels[len(self.decoder.levels) // 2 :][:1])
        said = encoded.tokens.state.denormalize(middle[:, :, : config.patch_length, 0].to(encoded.inputs.dtype))
        said = torch.cat([said[:, :1], said[:, :-1]], 1)
        known = encoded.tokens.state.scale > 0
        usable = torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], 1) & fed
        inputs = encoded.inputs.clone()
        context = fed.shape[1] * config.patch_length
        read = inputs[:, :context].view(shape)
        inputs[:, :context] = torch.where(usable.unsqueeze(-1), said, read).flatten(1)
        tokens = encode_inputs(self.decoder, inputs, encoded.visible, encoded.roles)
        tokens = replace(tokens, frequency=encoded.tokens.frequency)
        return Encoded(tokens, encoded.windows, encoded.visible, inputs, encoded.roles, encoded.history)

    def _follows(self, roles: Tensor) -> Tensor:
        """Which targets (B, T, F) go on from the token's own part of the series, or are the gap that is asked for."""
        config = self.decoder.config
        ahead = roles[:, config.patch_length :].unfold(1, config.output_length, config.patch_length)
        own = roles[:, config.patch_length - 1 : -config.output_length : config.patch_length].unsqueeze(-1)
        return (ahead == ahead[..., :1]) & ((ahead == own) | (ahead == MIDDLE))


def log_normalizer(law: Law) -> Tensor:
    """Log of the sum of a categorical law's exponentiated logits, (…)."""
    logits = getattr(law, "logits", None)
    if logits is None:
        raise RecipeError(f"optim.z_loss: a {type(law).__name__} has no logits.", code="recipe.bad_value")
    normalizer: Tensor = logits.logsumexp(-1)
    return normalizer
