"""Load a release: a shipped one by name, any by its folder. Never a network call, never code from a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from tsar.errors import ModelError, OptionError
from tsar.model.decoder import Decoder
from tsar.model.files import CONFIG, model_files, read_decoder
from tsar.registry import find_model, is_shipped
from tsar.storage import MANIFEST, make_manifest, read_folder
from tsar.upgrade import upgrade_files


def load_model(model: str | Path | Decoder, device: str | torch.device = "cpu") -> Decoder:
    """Return a decoder in evaluation mode.

    Parameters
    ----------
    model
        Name of a shipped release, path of a release folder, or a decoder (returned as it is, on its own device).
    device
        Where to put the weights. Releases are kept in memory per folder, manifest and device, so that a second call is
        free, and a folder that was replaced is read anew.

    Returns
    -------
    Decoder

    Raises
    ------
    ModelError
        ``model.unknown_name`` for a name that is neither shipped nor a folder.
    ReleaseError
        ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest`` for a damaged folder.
    """
    if isinstance(model, Decoder):
        return model.eval()
    folder = find_release(model).resolve()
    manifest = folder / MANIFEST
    return _load_cached(folder, manifest.read_bytes() if manifest.is_file() else b"", str(device))


def find_release(model: str | Path) -> Path:
    """Return the folder of a release: a path has a separator or is a folder with a manifest, all else is a name."""
    try:
        path = Path(model)
    except TypeError as error:
        text = f"A model is a name, a path or a Decoder, not of type {type(model).__name__}."
        raise ModelError(text, code="model.unknown_name") from error
    if isinstance(model, Path) or path.name != str(model) or (path / MANIFEST).is_file():
        if not path.is_dir():
            raise ModelError(f"There is no release folder at {path}.", code="model.unknown_name")
        _refuse_relatives(path)
        return path
    if not is_shipped(str(model)):
        _refuse_relatives(path)
    return find_model(str(model))


def _refuse_relatives(folder: Path) -> None:
    """Refuse what holds a release, or was made with one, and say where that is."""
    if (folder / CONFIG).is_file():
        return
    text = f"{folder} is no release."
    if (folder / "release" / CONFIG).is_file():
        hint = f"It is the run of one: take {folder / 'release'}."
        raise ModelError(text, code="model.unknown_name", hint=hint)
    if (folder / "options.json").is_file():
        hint = f"It is a saved forecaster: Forecaster.load({str(folder)!r}), or --forecaster on the command line."
        raise ModelError(text, code="model.unknown_name", hint=hint)


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into the GPU if torch sees one, else the CPU; refuse a device that is not there.

    Raises
    ------
    OptionError
        ``device.unavailable``.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch built without CUDA raises the second
        raise OptionError(
            f"The device {device!r} cannot be used: {error}".splitlines()[0],
            code="device.unavailable",
            hint='device="auto" takes what is there.',
        ) from error
    return wanted


@lru_cache(maxsize=8)
def _load_cached(folder: Path, manifest: bytes, device: str) -> Decoder:
    """Read a release once; the hashes in its manifest, which is a key here, tell it from others in the same place."""
    return load_release(folder).to(device)


def load_release(folder: Path) -> Decoder:
    """Read a release folder from disk after checking every hash."""
    return read_decoder(upgrade_files(read_folder(folder)), str(folder))


def release_files(model: str | Path | Decoder) -> dict[str, bytes]:
    """Return the files of a release, manifest included, for writing elsewhere; a decoder is turned into one."""
    if not isinstance(model, Decoder):
        folder = find_release(model)
        return {**read_folder(folder), MANIFEST: (folder / MANIFEST).read_bytes()}
    files = model_files(model.config, model.state_dict())
    return {**files, MANIFEST: make_manifest(files)}
