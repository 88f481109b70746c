"""The releases that ship with tsar, found by name; no torch here, so that listing them is instant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tsar.errors import ModelError
from tsar.storage import MANIFEST

_PACKAGE = Path(__file__).parent
PARTS = ("config.json", "model.safetensors", "train.yaml")
ZOO_FOLDERS = (_PACKAGE / "_zoo", _PACKAGE.parent / "zoo")  # in a wheel; in a checkout


@dataclass(frozen=True)
class ReleaseInfo:
    """What is known of a release without loading it.

    Attributes
    ----------
    name, path
        Its name and folder.
    parameters
        Number of weights.
    summary
        First sentence of its card.
    task
        ``"forecast"``, or ``"infill"`` for a release that fills gaps (`tsar.impute`).
    """

    name: str
    path: Path
    parameters: int
    summary: str
    task: str = "forecast"


@lru_cache(maxsize=1)
def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for zoo in ZOO_FOLDERS:
        for manifest in sorted(zoo.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return found


def list_models() -> list[ReleaseInfo]:
    """Return the releases that ship with this installation; nothing is loaded.

    Returns
    -------
    list of ReleaseInfo
        By name: ``name``, ``path``, ``parameters``, ``summary``, and ``task`` (``"forecast"`` or ``"infill"``).
    """
    return [_describe(name, path) for name, path in sorted(_folders().items())]


def broken_releases() -> list[Path]:
    """Return the folders beside the shipped releases that hold weights or a config, and no manifest."""
    folders = [folder for zoo in ZOO_FOLDERS for folder in sorted(zoo.glob("*/")) if not (folder / MANIFEST).is_file()]
    return [folder for folder in folders if any((folder / name).is_file() for name in PARTS)]


def is_shipped(name: str) -> bool:
    """Tell whether a release of this name ships with this installation."""
    return name in _folders()


def find_model(name: str) -> Path:
    """Return the folder of a shipped release.

    Raises
    ------
    ModelError
        ``model.unknown_name``, with the names there are.
    """
    folders = _folders()
    if name not in folders:
        raise ModelError(
            f"There is no model named {name!r}.",
            code="model.unknown_name",
            hint=f"Shipped here: {', '.join(sorted(folders)) or 'none'}. A folder's path works as well.",
        )
    return folders[name]


def _describe(name: str, path: Path) -> ReleaseInfo:
    facts = path / "train.json"
    parameters = int(json.loads(facts.read_text()).get("parameters", 0)) if facts.is_file() else 0
    card = path / "card.md"
    lines = [line.strip() for line in card.read_text().splitlines()] if card.is_file() else []
    text = next((line for line in lines if line and not line.startswith(("#", "---", "|"))), "")
    config = path / "config.json"
    attention = json.loads(config.read_text()).get("attention", "causal") if config.is_file() else "causal"
    return ReleaseInfo(name, path, parameters, text, "forecast" if attention == "causal" else "infill")
