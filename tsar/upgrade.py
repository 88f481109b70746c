"""Releases of older formats: their config is brought up to date, one version at a time, when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tsar.model.config import FORMAT_VERSION
from tsar.model.files import CONFIG

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

# version -> what makes a config of the next version of it. None yet: version 1 is the first that was released.
UPGRADES: Mapping[int, Upgrade] = {}


def upgrade_files(files: Mapping[str, bytes], upgrades: Mapping[int, Upgrade] = UPGRADES) -> Mapping[str, bytes]:
    """Return the files of a release with a config of the present format.

    Files of the present format, of a newer one, and those that are damaged are returned as they are: who reads them
    says what is wrong.

    Parameters
    ----------
    files
        File name -> content, hashes checked.
    upgrades
        From each older version to the next.
    """
    try:
        config = dict(json.loads(files[CONFIG]))
    except (KeyError, ValueError, TypeError, RecursionError):
        return files
    upgraded = upgrade_config(config, upgrades)
    return files if upgraded == config else {**files, CONFIG: json.dumps(upgraded).encode()}


def upgrade_config(config: Mapping[str, Any], upgrades: Mapping[int, Upgrade] = UPGRADES) -> dict[str, Any]:
    """Return a config one version further, again and again, as long as there is a step from its version."""
    result = dict(config)
    while type(version := result.get("format_version")) is int and version < FORMAT_VERSION and version in upgrades:
        result = {**upgrades[version](result), "format_version": version + 1}
    return result
