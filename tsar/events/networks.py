"""The two networks of events, made together from their sizes."""

from __future__ import annotations

import torch

from tsar.events.energy import EnergyModel
from tsar.events.network import EventConfig, EventModel, make_config


def build_networks(config: EventConfig, seed: int) -> tuple[EventModel, EnergyModel]:
    """Fresh networks; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EventModel(config.num_types, make_config(config.d_model, config.num_layers), config.num_components)
        past = max(1, config.context_length // 4)
        energy = EnergyModel(config.num_types, past, config.rerank_events)
    return model, energy
