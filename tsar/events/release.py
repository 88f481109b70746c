"""A pretrained event model as a folder of files; a forecaster takes it over without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from tsar.errors import FrameError, ModelError, ReleaseError
from tsar.events.energy import EnergyModel
from tsar.events.network import EventConfig, EventModel
from tsar.events.networks import build_networks
from tsar.storage import read_folder, write_folder
from tsar.types import FloatArray

if TYPE_CHECKING:
    from tsar.events.forecaster import EventForecaster

KIND = "event_model"


def write_event_release(
    folder: Path, config: EventConfig, model: EventModel, energy: EnergyModel, facts: dict[str, Any], recipe: str
) -> None:
    """Write sizes, weights, recipe and the run's facts as one whole folder."""
    files = {
        "event_config.json": json.dumps(asdict(config), indent=1).encode(),
        "model.safetensors": save(model.state_dict()),
        "energy.safetensors": save(energy.state_dict()),
        "train.yaml": recipe.encode(),
        "train.json": json.dumps(facts, indent=1).encode(),
    }
    write_folder(folder, files, kind=KIND)


def read_event_release(folder: Path) -> tuple[EventConfig, EventModel, EnergyModel, dict[str, Any]]:
    """Return sizes, networks and facts.

    Raises
    ------
    ModelError
        ``model.unknown_name`` if there is no such folder.
    ReleaseError
        ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest``.
    """
    if not folder.is_dir():
        raise ModelError(f"There is no event model at {folder}.", code="model.unknown_name")
    files = read_folder(folder)
    try:
        config = EventConfig(**json.loads(files["event_config.json"]))
        model, energy = build_networks(config, 0)
        model.load_state_dict(load(files["model.safetensors"]))
        energy.load_state_dict(load(files["energy.safetensors"]))
        facts = json.loads(files["train.json"])
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ReleaseError(f"{folder} is no event model: {error}.", code="release.bad_manifest") from error
    return config, model.eval().requires_grad_(False), energy.eval().requires_grad_(False), facts


def take_over(forecaster: EventForecaster, folder: Path, silences: FloatArray) -> None:
    """Make a pretrained model the forecaster's own: no training, only the types and the scale of time are new.

    Raises
    ------
    FrameError
        ``event.too_many_types``.
    ModelError, ReleaseError
        As `read_event_release`.
    """
    config, model, energy, facts = read_event_release(folder)
    sequences = forecaster.history_
    if len(sequences.event_types) > config.num_types:
        raise FrameError(
            f"the events have {len(sequences.event_types)} types, but the model tells {config.num_types} apart",
            code="event.too_many_types",
            item_ids=list(sequences.item_ids[:1]),
            hint="join rare types, or learn from the events with model=None",
        )
    gaps = np.concatenate([np.diff(times) for times in sequences.times])
    mean_gap = (gaps.sum() + np.nansum(silences)) / len(gaps)
    model.rescale(torch.as_tensor(gaps), float(mean_gap) or 1.0)
    model.known_types = len(sequences.event_types)
    forecaster.config_, forecaster.model_ = config, model
    if forecaster.rerank is not None:
        forecaster.energy_, forecaster.energy_gain_, forecaster.temper_ = energy, facts["energy_gain"], facts["temper"]
    forecaster.log_likelihood_ = forecaster.score_sequences(sequences)
