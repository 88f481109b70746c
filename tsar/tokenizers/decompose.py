"""Decomposing tokenizer: windows -> trend, season and rest -> tokens, causally.

TEMPO (Cao et al., 2024) gives a model the parts of a series apart. Here they are computed rather than learned: the
trend is a trailing moving average over one period, the season the mean of the same phase in the past, the rest what is
left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tsar.tokenizers.patch import PatchTokenizer, Tokens
from tsar.tokenizers.period import Period, find_period

TREND_POINTS = 25
"""Length of the moving average where there is no period, as in Autoformer (Wu et al., 2021)."""


@dataclass(frozen=True)
class DecomposeTokenizer(PatchTokenizer):
    """A `PatchTokenizer` whose tokens also carry trend (in z), season and rest (arcsinh of deviations).

    The period is always looked for; with ``period=True`` the phases are features as well.
    """

    @property
    def num_features(self) -> int:
        """Width of a token's features: three channels of P more than `PatchTokenizer`."""
        return super().num_features + 3 * self.patch_length

    def find_period(self, context: Tensor, observed: Tensor) -> Period | None:
        """Return the period of each window, as `encode` takes it."""
        return find_period(context, observed)

    def encode(self, context: Tensor, observed: Tensor, period: Period | None = None) -> Tokens:
        """Turn windows into tokens; arguments as of `PatchTokenizer.encode`."""
        known = find_period(context, observed) if period is None else period
        tokens = super().encode(context, observed, known)
        scale = tokens.state.scale.unsqueeze(-1)
        shape = (context.shape[0], -1, self.patch_length)
        trend, season, rest = (part.reshape(shape) for part in decompose(context, observed, known))
        channels = [tokens.state.normalize(trend)]
        channels += [
            torch.where(scale > 0, torch.asinh(part / torch.where(scale > 0, scale, 1.0)), 0.0)
            for part in (season, rest)
        ]
        return replace(tokens, patches=torch.cat([tokens.patches, *channels], -1))


def decompose(context: Tensor, observed: Tensor, period: Period) -> tuple[Tensor, Tensor, Tensor]:
    """Split windows into parts that add up to the values wherever these are observed.

    Parameters
    ----------
    context
        (B, N); what is not observed is ignored.
    observed
        (B, N) bool.
    period
        That of each window. Without one the season is 0.

    Returns
    -------
    trend
        (B, N) mean of what was observed in the last period (`TREND_POINTS` without one), this point included; where
        that is nothing, the last trend there was; 0 before the first observed point.
    season
        (B, N) mean of values minus trend at the same phase of earlier periods; 0 before there are any.
    rest
        (B, N) what is left; 0 where nothing is observed.

    Notes
    -----
    Given the period, a point's parts depend on it and on earlier points alone.
    """
    origin = torch.where(observed, context, 0.0).gather(1, period.origin[:, None])
    values = torch.where(observed, context - origin, 0.0)
    seen = observed.to(values.dtype)
    length = torch.where(period.length > 0, period.length.round(), TREND_POINTS).long().clamp_min(1)
    count = _trailing_sum(seen, length)
    mean = _trailing_sum(values, length) / count.clamp_min(1)
    trend = mean.gather(1, _last_index(count > 0))
    swings = torch.where(observed, values - trend, 0.0)
    before = _same_phase_before(period, values.shape[1])
    pairs = torch.stack([_sum_before(swings, before), _sum_before(seen, before)])
    season = pairs[0] / pairs[1].clamp_min(1)
    started = observed.cummax(1).values
    trend = torch.where(started, trend + origin, 0.0)
    season = torch.where(started, season, 0.0)
    return trend, season, torch.where(observed, context - trend - season, 0.0)


def _trailing_sum(values: Tensor, length: Tensor) -> Tensor:
    """Sums (B, N) of the last `length` (B,) values, of fewer at the beginning."""
    sums = torch.nn.functional.pad(values.cumsum(1), (1, 0))
    end = torch.arange(1, values.shape[1] + 1, device=values.device).expand_as(values)
    return sums.gather(1, end) - sums.gather(1, (end - length[:, None]).clamp_min(0))


def _last_index(known: Tensor) -> Tensor:
    """For each point of (B, N), the last one up to it that is known; the first point before that."""
    index = torch.arange(known.shape[1], device=known.device).expand_as(known)
    return torch.where(known, index, -1).cummax(1).values.clamp_min(0)


def _same_phase_before(period: Period, size: int) -> Tensor:
    """Index (B, N) of the point one period earlier, -1 in the first period and where there is none.

    Periods need not be whole: cycle k begins at the rounded k-th multiple, so that no error adds up.
    """
    length = torch.where(period.length > 0, period.length, 2.0 * size).double()[:, None]
    place = torch.arange(size, device=length.device) - period.origin[:, None]
    cycle = ((place + 0.5) / length).floor()
    cycle = torch.where(place < (cycle * length).round(), cycle - 1, cycle)
    cycle = torch.where(place >= ((cycle + 1) * length).round(), cycle + 1, cycle)
    begin, earlier = (cycle * length).round().long(), ((cycle - 1) * length).round().long()
    before = torch.minimum(place - begin + earlier, begin - 1)
    return torch.where((cycle >= 1) & (before >= 0), before + period.origin[:, None], -1)


def _sum_before(values: Tensor, before: Tensor) -> Tensor:
    """Sum over the chain of points that `before` (B, N) leads to, the point itself left out; doubling its steps."""
    sums = values
    link = before
    for _ in range(max(values.shape[1], 2).bit_length()):
        place = link.clamp_min(0)
        linked = link >= 0
        sums = sums + torch.where(linked, sums.gather(1, place), 0.0)
        link = torch.where(linked, link.gather(1, place), -1)
    return sums - values
