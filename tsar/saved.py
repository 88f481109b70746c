"""A forecaster as a folder of files, and back: options, weights and what `fit` learned, without pickles."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsar.channels.adapters import describe_adapter
from tsar.channels.joint import channels_from_bytes, channels_to_bytes
from tsar.conformal import Calibration
from tsar.constraints import normalize_constraints
from tsar.errors import OptionError, ReleaseError, TsarError
from tsar.forecast import validate_levels
from tsar.frame import panel_from_bytes, panel_to_bytes
from tsar.hub import release_files
from tsar.storage import read_folder, validate_destination, write_folder

MODEL_FOLDER = "model"
KIND = "forecaster"


def save_forecaster(forecaster: Any, folder: Path) -> None:
    """Write a forecaster into a folder as one whole step; see `Forecaster.save`."""
    validate_destination(folder, KIND, "saved forecaster")
    options = forecaster.get_params(deep=False) | {"model": MODEL_FOLDER}
    options["quantile_levels"] = validate_levels(forecaster.quantile_levels).tolist()
    options["channel_adapter"] = describe_adapter(forecaster.channel_adapter)
    constraints = normalize_constraints(forecaster.constraints)
    options["constraints"] = None if constraints is None else constraints.to_dict()
    files = {"options.json": json.dumps(options, indent=1, default=_plain).encode()}
    model = getattr(forecaster, "model_", forecaster.model)  # the tuned decoder if there is one
    files |= {f"{MODEL_FOLDER}/{name}": content for name, content in release_files(model).items()}
    if hasattr(forecaster, "fine_tune_report_"):
        files["fine_tune.json"] = json.dumps(asdict(forecaster.fine_tune_report_), indent=1, default=_plain).encode()
    if hasattr(forecaster, "panel_"):
        files["history.bin"] = panel_to_bytes(forecaster.panel_)
        files["bounds.json"] = json.dumps(forecaster.bound_columns_, default=_plain).encode()
    if getattr(forecaster, "channel_adapter_", None) is not None:
        files["channel_adapter.npz"] = channels_to_bytes(forecaster.channel_adapter_)
    if hasattr(forecaster, "calibration_"):
        files["calibration.npz"] = forecaster.calibration_.to_bytes()
    write_folder(folder, files, kind=KIND)


def load_forecaster(kind: Any, folder: Path) -> Any:
    """Read a forecaster of a class from a folder; see `Forecaster.load`."""
    files = read_folder(folder)
    try:
        return _make_forecaster(kind, folder, files)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, TsarError):
            raise
        raise ReleaseError(f"{folder} is no forecaster: {error}.", code="release.bad_manifest") from error


def _make_forecaster(kind: Any, folder: Path, files: dict[str, bytes]) -> Any:
    options = json.loads(files["options.json"])
    if options["model"] != MODEL_FOLDER:  # its weights are its own: no other path is read
        raise ValueError(f"its model is {options['model']!r}")
    forecaster = kind(**options | {"model": str(folder / MODEL_FOLDER)})
    if "fine_tune.json" in files:
        from tsar.training.tune_config import FineTuneReport

        forecaster.model_, forecaster.adapter_ = forecaster.released_decoder(), None
        forecaster.fine_tune_report_ = FineTuneReport(**json.loads(files["fine_tune.json"]))
    if "channel_adapter.npz" in files:
        content = files["channel_adapter.npz"]
        forecaster.channel_adapter_ = channels_from_bytes(forecaster.channel_adapter, content)
    if "calibration.npz" in files:
        forecaster.calibration_ = Calibration.from_bytes(files["calibration.npz"])
    if "history.bin" in files:
        stored = json.loads(files.get("bounds.json", b"{}"))
        bounds = {name: np.asarray(values, dtype=float) for name, values in stored.items()}
        forecaster.remember(panel_from_bytes(files["history.bin"]), bounds)
    return forecaster


def _plain(value: Any) -> Any:
    """Arrays, devices and option records as JSON knows them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, torch.device):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise OptionError(f"The option {value!r} cannot be saved.", code="option.invalid", hint="Use plain values.")
