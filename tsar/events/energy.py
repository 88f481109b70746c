"""An energy of whole continuations: paths that look drawn, not real, get less weight (Xue et al., 2022, HYPRO).

The law of a path is that of the proposer times exp(-energy). The energy is learned by noise-contrastive estimation in its
multi-way form: which of several continuations is the real one, the others being the proposer's own draws.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tsar.events.network import EventModel, EventTrunk
from tsar.model.config import ModelConfig
from tsar.types import FloatArray, IntArray


class EnergyModel(nn.Module):
    """Energy (B,) of the last `num_events` events of windows (B, T); zero before training."""

    def __init__(self, num_types: int, config: ModelConfig, num_events: int) -> None:
        super().__init__()
        self.num_events, self.num_types = num_events, num_types
        self.trunk = EventTrunk(num_types, config)
        self.head = nn.Sequential(
            nn.Linear(config.d_model + num_types + 2, config.d_model), nn.SiLU(), nn.Linear(config.d_model, 1)
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, model: EventModel, codes: Tensor, gaps: Tensor) -> Tensor:
        """Return the energies; `model` gives the scale of the gaps."""
        z, clock = model.normalize(gaps), model.clock(gaps)
        pooled = self.trunk(codes, z, clock)[:, -self.num_events :].mean(1)
        counts = nn.functional.one_hot(codes[:, -self.num_events :], self.num_types).float().mean(1)
        time = (clock[:, -1:] - clock[:, -self.num_events - 1 : -self.num_events]) / self.num_events
        summary = torch.cat([pooled, counts, time, (time + 1e-3).log()], -1)
        energy: Tensor = self.head(summary).squeeze(-1)
        return energy


def contrast(energy: EnergyModel, model: EventModel, codes: Tensor, gaps: Tensor) -> Tensor:
    """Loss (B,) of telling the first of (B, M, T) continuations, the real one, from the others."""
    rows, choices, length = codes.shape
    values = energy(model, codes.reshape(-1, length), gaps.reshape(-1, length)).view(rows, choices)
    return -torch.log_softmax(-values, -1)[:, 0]


@torch.no_grad()
def path_weights(energy: EnergyModel, model: EventModel, codes: IntArray, gaps: FloatArray) -> FloatArray:
    """Weights (B,), summing to one, of windows (B, T) that end in a drawn continuation."""
    values = energy(model, torch.as_tensor(codes), torch.as_tensor(gaps, dtype=torch.float32))
    weights: FloatArray = torch.softmax(-values.double(), 0).numpy()
    return weights
