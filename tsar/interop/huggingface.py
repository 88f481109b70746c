"""Releases as the Hugging Face hub keeps them: ``config.json``, ``model.safetensors`` and a ``README.md`` card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tsar.errors import ModelError, OptionError
from tsar.hub import load_release, release_files
from tsar.model.decoder import Decoder
from tsar.model.files import CONFIG, WEIGHTS, read_decoder
from tsar.storage import MANIFEST, is_free, read_manifest, write_folder
from tsar.upgrade import upgrade_files

CARD, OUR_CARD = "README.md", "card.md"


def from_pretrained(source: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Decoder:
    """Load a decoder from a local folder of the hub's layout, or from the hub.

    Parameters
    ----------
    source
        A folder (hashes are checked if it has a manifest), or ``owner/name`` on the hub.
    revision
        Branch, tag or commit on the hub; a commit is the safe choice.
    local_files_only
        Whether to look in the local cache only.

    Raises
    ------
    ModelError
        ``model.not_on_hub`` if it is no folder and the hub cannot be reached or does not have it.
    ReleaseError
        ``release.missing_file``, ``release.bad_hash``, ``release.bad_manifest`` for a damaged folder.
    MissingDependencyError
        ``dependency.missing`` without ``huggingface_hub``, which only the hub needs.
    """
    folder = Path(source) if Path(source).is_dir() else _download(str(source), revision, local_files_only)
    if (folder / MANIFEST).is_file():
        return load_release(folder)
    files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS) if (folder / name).is_file()}
    return read_decoder(upgrade_files(files), str(folder))


def publish(model: str | Path | Decoder, folder: str | Path, *, license: str = "apache-2.0") -> Path:
    """Write a release in the hub's layout, as one atomic step; nothing is uploaded.

    Parameters
    ----------
    model
        As in `tsar.load_model`.
    folder
        Where to; a release that is there is replaced, anything else refused.
    license
        Identifier of the licence in the card's metadata.

    Returns
    -------
    Path
        The folder, which `tsar.load_model` and `from_pretrained` read.

    Raises
    ------
    OptionError
        ``option.invalid`` for a folder that holds anything but a release.
    """
    target = Path(folder)
    if not (is_free(target) or _is_release(target)):
        text = f"{target} holds something that is no release."
        raise OptionError(text, code="option.invalid", hint="Name a new or empty folder.")
    files = dict(release_files(model))
    files.pop(MANIFEST)
    text = files.pop(OUR_CARD, b"# A tsar model\n").decode()
    files[CARD] = f"---\n{yaml.safe_dump(card_metadata(license), sort_keys=False)}---\n\n{text}".encode()
    write_folder(target, files)
    return target


def card_metadata(license: str) -> dict[str, Any]:
    """Return the metadata that heads a card on the hub."""
    return {
        "library_name": "tsar-forecast",
        "pipeline_tag": "time-series-forecasting",
        "license": license,
        "tags": ["time-series", "forecasting", "safetensors"],
    }


def _is_release(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and {CONFIG, WEIGHTS} <= set(read_manifest(folder)["sha256"])


def _download(name: str, revision: str | None, local_files_only: bool) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return Path(
            hub.snapshot_download(
                name, revision=revision, local_files_only=local_files_only,
                allow_patterns=["*.json", "*.yaml", "*.md", WEIGHTS],
            )
        )  # fmt: skip
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name!r} is no folder here, and the hub did not give it: {type(error).__name__}.",
            code="model.not_on_hub",
            hint="Check name, revision and network, or copy the folder here and give its path.",
        ) from error
