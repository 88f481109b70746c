"""Patch tokenizer: windows -> tokens. A token is `patch_length` neighbouring points and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tsar.scaling import SCALERS, ScaleState
from tsar.tokenizers.period import NUM_FEATURES, Period, find_period, period_features

NUM_STATISTICS = 4


@dataclass(frozen=True)
class Tokens:
    """What the decoder reads.

    Attributes
    ----------
    patches
        (B, T, 3 P + 4) float: the values in z, the values as steps from the patch's last one, the observed mask, and
        four statistics of the state; eight more about the period, if the tokenizer gives it.
    mask
        (B, T) bool: False for padding, that is, tokens before the first observed value. None: nothing is padding.
    state
        `ScaleState`, (B, T) each: how to go back to data units at every token.
    anchor
        (B, T, P) in z, around what the answer of every point is given; None: the last observed value of `state`.
    modes
        (B, T) int64, the role of each token (`tsar.model.modes`); None: all forecast.
    group
        (B,) windows with the same number are channels of one item, at the same times; None: every window stands alone.
    frequency
        (B,) int64, the resolution of each window (`tsar.freq.resolution`); None: what the decoder says.
    """

    patches: Tensor
    mask: Tensor | None
    state: ScaleState
    anchor: Tensor | None = None
    modes: Tensor | None = None
    group: Tensor | None = None
    frequency: Tensor | None = None

    def after(self, num_tokens: int) -> Tokens:
        """Return the tokens after the first `num_tokens`."""
        rest = slice(num_tokens, None)
        mask = None if self.mask is None else self.mask[:, rest]
        anchor = None if self.anchor is None else self.anchor[:, rest]
        modes = None if self.modes is None else self.modes[:, rest]
        return Tokens(self.patches[:, rest], mask, self.state.at(rest), anchor, modes, self.group, self.frequency)


@dataclass(frozen=True)
class PatchTokenizer:
    """Cut windows into patches and normalise them.

    Patches follow PatchTST (Nie et al., 2023), the mask channel Chronos-Bolt.

    Two views of the same points are given. The coarse one places them in the range seen so far. The fine one measures
    them in steps (mean absolute difference) from the patch's last value: on a smooth trend the steps are a few percent
    of the deviation and would vanish in low-precision arithmetic.

    Parameters
    ----------
    patch_length
        P.
    scaling
        ``"causal"`` or ``"window"``.
    period
        Whether each token says where it stands in the window's period. Found in the whole window, it is the one thing
        about a token that later points may change.
    """

    patch_length: int
    scaling: str = "causal"
    period: bool = False

    @property
    def num_features(self) -> int:
        """Width of a token's features, 3 P + 4, or 3 P + 12 with the period."""
        return 3 * self.patch_length + NUM_STATISTICS + (NUM_FEATURES if self.period else 0)

    def find_period(self, context: Tensor, observed: Tensor) -> Period | None:
        """Return the period of each window, as `encode` takes it; None if the tokenizer does not use it."""
        return find_period(context, observed) if self.period else None

    def encode(self, context: Tensor, observed: Tensor, period: Period | None = None) -> Tokens:
        """Turn windows into tokens.

        Parameters
        ----------
        context
            (B, L) values, right-aligned; L a multiple of P. What is not observed is ignored, NaN included.
        observed
            (B, L) bool.
        period
            Known already, as when a window is continued; None: that of the window.

        Returns
        -------
        Tokens
            T = L / P tokens a window.
        """
        batch = context.shape[0]
        values = context.reshape(batch, -1, self.patch_length)
        seen = observed.reshape(batch, -1, self.patch_length)
        values = torch.where(seen, values, 0.0)
        state = SCALERS[self.scaling](values, seen)
        features = self.features(values, seen, state)
        if self.period:
            known = find_period(context, observed) if period is None else period
            phases = period_features(known, values.shape[1], self.patch_length)
            features = torch.cat([features, phases.to(features.dtype)], -1)
        return Tokens(patches=features, mask=state.count > 0, state=state)

    def features(self, values: Tensor, seen: Tensor, state: ScaleState) -> Tensor:
        """Return the features (B, T, 3 P + 4) of patches (B, T, P), 0 where not `seen`, at given states."""
        coarse = torch.where(seen, state.normalize(values), 0.0)
        step = state.step.unsqueeze(-1)
        fine = torch.asinh((values - state.last.unsqueeze(-1)) / torch.where(step > 0, step, 1.0))
        fine = torch.where(seen & (step > 0), fine, 0.0)
        return torch.cat([coarse, fine, seen.to(coarse.dtype), statistics(state)], -1)


def statistics(state: ScaleState) -> Tensor:
    """Return unit-free numbers (B, T, 4): smoothness, history seen, how loc and scale moved since the last token."""
    known = state.scale > 0
    safe_scale = torch.where(known, state.scale, 1.0)
    smoothness = torch.where(known, torch.log((state.step / safe_scale).clamp_min(1e-6)), 0.0)
    history = torch.log1p(state.count) / 4
    before_loc = torch.cat([state.loc[:, :1], state.loc[:, :-1]], 1)
    before_scale = torch.cat([state.scale[:, :1], state.scale[:, :-1]], 1)
    both = known & (before_scale > 0)
    moved = torch.where(both, torch.asinh((state.loc - before_loc) / safe_scale), 0.0)
    grown = torch.where(both, torch.log(safe_scale / torch.where(both, before_scale, 1.0)), 0.0)
    return torch.stack([smoothness, history, moved, grown.clamp(-8, 8)], -1)
