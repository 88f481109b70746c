"""Vocabulary tokenizers: values -> whole numbers of a closed vocabulary, one or several a point, and back.

A window is divided by its mean absolute value (Chronos, Ansari et al., 2024), then every point is spelt: as the nearest
of 4,096 evenly spaced values (`QuantizeTokenizer`), of values spaced as the quantiles of a heavy-tailed law
(`QuantileBinsTokenizer`), as a coarse and a fine number (`TwoLevelTokenizer`), or as sign, exponent and digits
(`DigitsTokenizer`). The first two numbers of each vocabulary are special: `PAD`, for what is not observed, and `EOS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tsar.scaling import ScaleState
from tsar.tokenizers.patch import Tokens

PAD, EOS = 0, 1
NUM_SPECIALS = 2
LIMIT = 15.0  # mean absolute values: beyond, values are clipped


@dataclass(frozen=True)
class VocabularyTokenizer:
    """What the vocabulary tokenizers share; each says how a scaled value is spelt.

    Parameters
    ----------
    vocabulary_size
        V, specials included, where the spelling leaves it open.
    """

    vocabulary_size: int = 4096
    tokens_per_point = 1
    has_vocabulary = True

    def spell(self, scaled: Tensor) -> Tensor:
        """Ids (…, S) of finite scaled values (…)."""
        raise NotImplementedError

    def read(self, ids: Tensor) -> Tensor:
        """Scaled values (…), float64, of ids (…, S)."""
        raise NotImplementedError

    @cached_property
    def allowed(self) -> Tensor:
        """Which ids (S, V) may stand at each place of a point."""
        raise NotImplementedError

    def find_period(self, context: Tensor, observed: Tensor) -> None:
        """Vocabulary tokens carry no period."""
        return

    def encode(self, context: Tensor, observed: Tensor, period: None = None) -> Tokens:
        """Turn windows (B, L) into L * S ids each; `PAD` where not observed.

        The state is that of the whole window, the same at every token. What stands before the first observed point is
        masked.
        """
        state = self.state_of(context, observed)
        ids = self.ids_of(context, observed, state)
        seen = observed.to(torch.uint8).cummax(1).values.bool()
        return Tokens(ids, seen.repeat_interleave(self.tokens_per_point, 1), state)

    def state_of(self, context: Tensor, observed: Tensor) -> ScaleState:
        """Mean absolute value of each window as the scale, 1 where all is zero; (B, L * S) each."""
        values = torch.where(observed, context, 0.0)
        count = observed.sum(1).to(values.dtype)
        scale = values.abs().sum(1) / count.clamp_min(1)
        scale = torch.where(scale > 0, scale, 1.0)
        place = torch.arange(context.shape[1], device=context.device)
        last = values.gather(1, torch.where(observed, place, 0).amax(1, keepdim=True)).squeeze(1)
        least = torch.where(observed, context, torch.inf).amin(1)
        step = torch.where(count > 0, torch.where(observed, context, -torch.inf).amax(1) - least, 0.0)
        shape = (-1, context.shape[1] * self.tokens_per_point)
        columns = (torch.zeros_like(scale), scale, step, last, count)
        return ScaleState(*(column.unsqueeze(1).expand(shape) for column in columns))

    def ids_of(self, values: Tensor, known: Tensor, state: ScaleState) -> Tensor:
        """Ids (B, L * S) of values (B, L) at a given state."""
        scaled = torch.where(known, values / state.scale[:, :1], 0.0)
        return torch.where(known.unsqueeze(-1), self.spell(scaled), PAD).flatten(1)

    def decode(self, ids: Tensor, scale: Tensor) -> Tensor:
        """Values (B, L), float64, of ids (B, L * S) and the scale (B,) of each window; NaN for specials."""
        words = ids.view(len(ids), -1, self.tokens_per_point)
        values = self.read(words) * scale.unsqueeze(1)
        return torch.where((words >= NUM_SPECIALS).all(-1), values, torch.nan)

    def clipped(self, context: Tensor, observed: Tensor) -> Tensor:
        """Where an observed value (B, L) lies beyond what the vocabulary can say, bool."""
        return observed & ((context / self.state_of(context, observed).scale[:, :1]).abs() > LIMIT)


@dataclass(frozen=True)
class QuantizeTokenizer(VocabularyTokenizer):
    """The nearest of V - 2 evenly spaced values on [-15, 15], as Chronos."""

    @cached_property
    def centres(self) -> Tensor:
        """The values (V - 2,), float64, ascending."""
        return torch.linspace(-LIMIT, LIMIT, self.vocabulary_size - NUM_SPECIALS, dtype=torch.float64)

    @cached_property
    def edges(self) -> Tensor:
        """Halfway between neighbouring values."""
        return (self.centres[1:] + self.centres[:-1]) / 2

    def spell(self, scaled: Tensor) -> Tensor:
        """Number of the nearest value."""
        edges = self.edges.to(scaled.device)
        return (torch.bucketize(scaled.double().contiguous(), edges) + NUM_SPECIALS).unsqueeze(-1)

    def read(self, ids: Tensor) -> Tensor:
        """Value of each number."""
        return self.centres.to(ids.device)[(ids[..., 0] - NUM_SPECIALS).clamp_min(0)]

    @cached_property
    def allowed(self) -> Tensor:
        """All but the specials."""
        return (torch.arange(self.vocabulary_size) >= NUM_SPECIALS).unsqueeze(0)


@dataclass(frozen=True)
class QuantileBinsTokenizer(QuantizeTokenizer):
    """The nearest of values spaced as the quantiles of a Student t with two degrees of freedom, narrow near zero."""

    @cached_property
    def centres(self) -> Tensor:
        """The values (V - 2,), float64, ascending; the outermost at the limits."""
        count = self.vocabulary_size - NUM_SPECIALS
        share = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        quantile = (2 * share - 1) / (2 * share * (1 - share)).sqrt()
        return quantile * (LIMIT / quantile[-1])


@dataclass(frozen=True)
class TwoLevelTokenizer(VocabularyTokenizer):
    """A coarse number, then a fine one within it: V / 2 - 1 each, so few words tell many values apart."""

    vocabulary_size: int = 130
    tokens_per_point = 2

    @property
    def parts(self) -> int:
        """Numbers at each level."""
        return (self.vocabulary_size - NUM_SPECIALS) // 2

    def spell(self, scaled: Tensor) -> Tensor:
        """Coarse and fine number."""
        place = ((scaled.double() / LIMIT + 1) / 2 * self.parts**2).floor().clamp(0, self.parts**2 - 1).long()
        return torch.stack([place // self.parts, place % self.parts + self.parts], -1) + NUM_SPECIALS

    def read(self, ids: Tensor) -> Tensor:
        """Middle of the fine interval."""
        coarse, fine = (ids - NUM_SPECIALS).clamp_min(0).unbind(-1)
        place = coarse * self.parts + (fine - self.parts)
        return ((place.double() + 0.5) / self.parts**2 * 2 - 1) * LIMIT

    @cached_property
    def allowed(self) -> Tensor:
        """Coarse numbers first, then fine ones."""
        place = torch.arange(self.vocabulary_size) - NUM_SPECIALS
        coarse = (place >= 0) & (place < self.parts)
        return torch.stack([coarse, (place >= self.parts) & (place < 2 * self.parts)])


NUM_DIGITS = 3
EXPONENTS = tuple(range(-4, 2))  # of the first digit: from 0.0001 to 10


@dataclass(frozen=True)
class DigitsTokenizer(VocabularyTokenizer):
    """Sign, exponent and three digits, each a word of a vocabulary of twenty (as language models read numbers)."""

    vocabulary_size: int = NUM_SPECIALS + 2 + len(EXPONENTS) + 10
    tokens_per_point = 2 + NUM_DIGITS

    def spell(self, scaled: Tensor) -> Tensor:
        """Words of each value; below the smallest that can be said, digits run out towards zero."""
        size = scaled.double().abs().clamp_max(LIMIT)
        exponent = torch.floor(torch.log10(size.clamp_min(1e-12))).clamp(EXPONENTS[0], EXPONENTS[-1])
        whole = torch.round(size / 10**exponent * 10 ** (NUM_DIGITS - 1)).long()
        carried = whole >= 10**NUM_DIGITS  # 9.996 is 10.0
        exponent = torch.where(carried, exponent + 1, exponent)
        whole = torch.where(carried, torch.round(size / 10**exponent * 10 ** (NUM_DIGITS - 1)).long(), whole)
        digits = [whole // 10**place % 10 for place in range(NUM_DIGITS - 1, -1, -1)]
        words = [(scaled < 0).long(), exponent.long() - EXPONENTS[0] + 2]
        words += [digit + 2 + len(EXPONENTS) for digit in digits]
        return torch.stack(words, -1) + NUM_SPECIALS

    def read(self, ids: Tensor) -> Tensor:
        """Value of the words."""
        sign, exponent, *digits = (ids - NUM_SPECIALS).clamp_min(0).unbind(-1)
        whole = sum((digit - 2 - len(EXPONENTS)) * 10**place for place, digit in enumerate(reversed(digits)))
        size = torch.as_tensor(whole).double() * 10.0 ** (exponent - 2 + EXPONENTS[0] - (NUM_DIGITS - 1)).double()
        return torch.where(sign == 1, -size, size)

    @cached_property
    def allowed(self) -> Tensor:
        """A sign, an exponent, then digits."""
        place = torch.arange(self.vocabulary_size) - NUM_SPECIALS
        first = 2 + len(EXPONENTS)
        sign, exponent = (place >= 0) & (place < 2), (place >= 2) & (place < first)
        digit = (place >= first) & (place < first + 10)
        return torch.stack([sign, exponent, *[digit] * NUM_DIGITS])
