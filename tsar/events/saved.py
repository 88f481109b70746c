"""An event forecaster as a folder of files, and back, without pickles."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load, save

from tsar.errors import OptionError, ReleaseError
from tsar.events.forecaster import EventForecaster
from tsar.events.network import EventConfig
from tsar.events.networks import build_networks
from tsar.events.sequences import EventSequences
from tsar.storage import read_folder, validate_destination, write_folder

KIND = "event_forecaster"


def save_events(forecaster: EventForecaster, folder: Path) -> None:
    """Write a fitted event forecaster; see `EventForecaster.save`."""
    validate_destination(folder, KIND, "saved event forecaster")
    history = forecaster.history_
    origin = history.origin
    learned = {
        "options": forecaster.get_params()
        | {"model": None if forecaster.model is None else str(forecaster.model)}
        | {"quantile_levels": [float(level) for level in forecaster.quantile_levels]},
        "log_likelihood": forecaster.log_likelihood_,
        "config": asdict(forecaster.config_),
        "energy_gain": getattr(forecaster, "energy_gain_", None),
        "temper": getattr(forecaster, "temper_", None),
        "event_types": list(history.event_types),
        "item_ids": list(history.item_ids),
        "lengths": [len(times) for times in history.times],
        "origin": None if origin is None else origin.isoformat(),
        "time_zone": None if origin is None or origin.tz is None else str(origin.tz),
    }
    buffer = io.BytesIO()
    np.savez(buffer, times=np.concatenate(history.times), codes=np.concatenate(history.codes))
    files = {
        "events.json": json.dumps(learned, indent=1, default=_plain).encode(),
        "model.safetensors": save(forecaster.model_.state_dict()),
        "history.npz": buffer.getvalue(),
    }
    if forecaster.rerank:
        files["energy.safetensors"] = save(forecaster.energy_.state_dict())
    write_folder(folder, files, kind=KIND)


def load_events(kind: type[EventForecaster], folder: Path) -> EventForecaster:
    """Read an event forecaster; see `EventForecaster.load`."""
    files = read_folder(folder)
    try:
        learned = json.loads(files["events.json"])
        forecaster = kind(**learned["options"])
        forecaster.config_ = EventConfig(**learned["config"])
        model, energy = build_networks(forecaster.config_, 0)
        model.load_state_dict(load(files["model.safetensors"]))
        model.known_types = len(learned["event_types"])
        forecaster.model_ = model.eval().requires_grad_(False)
        if forecaster.rerank is not None:
            energy.load_state_dict(load(files["energy.safetensors"]))
            forecaster.energy_ = energy.eval().requires_grad_(False)
            forecaster.energy_gain_, forecaster.temper_ = learned["energy_gain"], learned["temper"]
        forecaster.log_likelihood_ = learned["log_likelihood"]
        forecaster.history_ = _read_history(learned, files["history.npz"])
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ReleaseError(f"{folder} is no event forecaster: {error}.", code="release.bad_manifest") from error
    forecaster.event_types_ = forecaster.history_.event_types
    return forecaster


def _read_history(learned: dict[str, Any], content: bytes) -> EventSequences:
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    cuts = np.cumsum(learned["lengths"])[:-1]
    origin = None if learned["origin"] is None else pd.Timestamp(learned["origin"])
    if origin is not None and learned["time_zone"] is not None:
        origin = origin.tz_convert(learned["time_zone"])
    return EventSequences(
        item_ids=_objects(learned["item_ids"]),
        times=np.split(arrays["times"], cuts),
        codes=np.split(arrays["codes"], cuts),
        event_types=_objects(learned["event_types"]),
        origin=origin,
    )


def _objects(values: list[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise OptionError(
        f"{value!r} cannot be saved.", code="option.invalid", hint="Use text or numbers as ids and types."
    )
