"""Write a release: the folder that `tsar.hub` loads and `zoo/` ships."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from tsar.model.config import num_active_parameters, num_parameters
from tsar.model.files import model_files
from tsar.storage import write_folder
from tsar.training.checkpoint import RunState
from tsar.training.config import Recipe, recipe_to_yaml


def write_release(
    folder: Path, recipe: Recipe, weights: dict[str, Tensor], state: RunState, validation: dict[str, Any]
) -> None:
    """Write config, weights, recipe and the run's facts as one whole folder.

    Weights are stored in half precision, which halves the download and changes scores in the fourth digit; they are
    used in single precision. What a tokenizer has fitted stays exact.
    """
    facts = {**asdict(state), "parameters": num_parameters(recipe.model),
             "active_parameters": num_active_parameters(recipe.model), "validation": validation}  # fmt: skip
    write_folder(
        folder,
        {
            **model_files(recipe.model, {name: stored(name, value) for name, value in weights.items()}),
            "train.yaml": recipe_to_yaml(recipe).encode(),
            "train.json": json.dumps(facts, indent=1).encode(),
        },
        name=recipe.name,
    )


def stored(name: str, value: Tensor) -> Tensor:
    """One weight as it is written."""
    return value if name.startswith("tokenizer.") else value.half()
