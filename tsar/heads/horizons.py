"""Several horizons, a head each: the next point, the next few, the next many (Time-MoE, Shi et al., 2025)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from tsar.heads.base import Head
from tsar.heads.quantile import QuantileHead, QuantileLaw


class HorizonHeads(Head):
    """Quantile heads of several lengths, trained together; decoding takes them in turn (`tsar.decode.horizons`).

    Parameters
    ----------
    d_model, output_length, num_levels, num_components
        As of every head; the last is not used.
    horizons
        Points that each head predicts, ascending, the last is `output_length`; none given: that one alone.
    """

    def __init__(
        self,
        d_model: int,
        output_length: int,
        num_levels: int,
        num_components: int = 1,
        horizons: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.horizons = horizons or (output_length,)
        self.heads = nn.ModuleList(QuantileHead(d_model, horizon, num_levels) for horizon in self.horizons)

    def initialize(self) -> None:
        """Draw fresh weights."""
        for head in self.heads:
            head.initialize()  # type: ignore[operator]

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return the quantiles of all heads end to end (B, T, sum of horizons, Q) in z."""
        answers = [
            head(hidden_BTD, anchor if anchor.dim() < hidden_BTD.dim() else anchor[..., :horizon])
            for head, horizon in zip(self.heads, self.horizons, strict=True)
        ]
        return torch.cat(answers, -2)

    def law(self, parameters: Tensor, levels: Tensor) -> HorizonLaw:
        """The law of the largest head, that knows the others."""
        parts = torch.split(parameters, list(self.horizons), -2)
        return HorizonLaw(
            {horizon: QuantileLaw(part, levels) for horizon, part in zip(self.horizons, parts, strict=True)}
        )


class HorizonLaw:
    """What the largest head says; `of` gives what another one says of fewer points.

    Parameters
    ----------
    laws
        By the number of points.
    """

    def __init__(self, laws: dict[int, QuantileLaw]) -> None:
        self.laws = laws
        self.largest = laws[max(laws)]

    def of(self, horizon: int) -> QuantileLaw:
        """The law (…, horizon) of the head for that many points."""
        return self.laws[horizon]

    def loss(self, target: Tensor) -> Tensor:
        """Pinball loss (…, output_length), so weighted that its mean is the mean over heads of each one's mean."""
        size = max(self.laws)
        losses = [
            nn.functional.pad(law.loss(target[..., :horizon]), (0, size - horizon)) * (size / horizon)
            for horizon, law in self.laws.items()
        ]
        return torch.stack(losses).mean(0)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log density (…) by the largest head."""
        return self.largest.log_prob(target)

    def quantile(self, levels: Tensor) -> Tensor:
        """Quantiles (…, Q) by the largest head."""
        return self.largest.quantile(levels)

    def sample(self, generator: Generator, num_samples: int) -> Tensor:
        """Draws (num_samples, …) by the largest head."""
        return self.largest.sample(generator, num_samples)
