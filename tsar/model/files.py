"""A decoder as two files: its config and its weights. What else a release holds is not needed to run it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tsar.errors import ModelError, ReleaseError
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def model_files(config: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Return config and weights, in the precision given, as file name -> content."""
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    return {CONFIG: json.dumps(config.to_dict(), indent=1).encode(), WEIGHTS: save(plain, metadata={"format": "pt"})}


def read_decoder(files: Mapping[str, bytes], where: str) -> Decoder:
    """Build the decoder from the files of a release; in evaluation mode, single precision, without gradients.

    Raises
    ------
    ReleaseError
        ``release.missing_file`` without one of the two; ``release.bad_manifest`` if one cannot be read or the weights
        do not fit the config. `where` names the release in the message.
    ModelError
        ``model.bad_config``.
    """
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise ReleaseError(f"{where} has no {name}.", code="release.missing_file")
    try:
        config = ModelConfig.from_dict(json.loads(files[CONFIG]))
        weights = load(files[WEIGHTS])
    except (ValueError, TypeError, RecursionError, KeyError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ReleaseError(f"{where} cannot be read: {error}.", code="release.bad_manifest") from error
    if config.num_layers > len(weights):  # before a million layers are made; sizes cost nothing on the meta device
        text = f"The weights in {where} do not fit its config: {config.num_layers} layers, {len(weights)} weights."
        raise ReleaseError(text, code="release.bad_manifest")
    with torch.device("meta"):
        decoder = Decoder(config, initialize=False)
    problems = _mismatch(decoder, weights)
    if problems:
        raise ReleaseError(f"The weights in {where} do not fit its config: {problems}.", code="release.bad_manifest")
    # A copy is aligned in memory, a view into the file need not be, and products differ in the last bit between them.
    copies = {name: value.to(torch.float32, copy=True) for name, value in weights.items()}
    decoder.load_state_dict(copies, assign=True)
    decoder.levels = torch.tensor(config.quantile_levels)
    return decoder.eval().requires_grad_(False)


def _mismatch(decoder: Decoder, weights: Mapping[str, Tensor]) -> str:
    """Name up to three weights that are missing, unknown or of another shape."""
    wanted = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    differing = [name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)]
    return ", ".join(sorted(differing)[:3])
