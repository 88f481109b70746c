"""What tuning changed in a decoder, apart from it: applied to the released weights, written alone, taken in part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tsar.errors import ReleaseError
from tsar.model.decoder import Decoder
from tsar.model.lora import DOWN, UP

FACTS, WEIGHTS = "adapter.json", "adapter.safetensors"


@dataclass(frozen=True)
class Adapter:
    """New weights, and low-rank changes of weights, for one decoder.

    Attributes
    ----------
    mode
        How it was trained, ``"lora"`` for example.
    weights
        By name in the decoder; with the suffix ``.lora_down`` or ``.lora_up`` the factors of a change to be added.
    prompt_length
        Learned keys a layer that the decoder needs to have for it.
    """

    mode: str
    weights: Mapping[str, Tensor]
    prompt_length: int = 0

    def apply(self, base: Decoder) -> Decoder:
        """Return a new decoder, in evaluation mode and without gradients; `base` stays as it is."""
        known = base.state_dict()
        weights = {name: value.detach().clone() for name, value in known.items()}
        for name, value in self.weights.items():
            if name.endswith(DOWN):
                weight = name.removesuffix(DOWN)
                weights[weight] = known[weight] + self.weights[weight + UP] @ value
            elif not name.endswith(UP):
                weights[name] = value.detach().clone()
        with torch.device("meta"):  # no weights are drawn: the caller's random numbers stay where they were
            decoder = Decoder(replace(base.config, prompt_length=self.prompt_length), initialize=False)
        decoder.load_state_dict(weights, assign=True)
        decoder.levels = base.levels
        return decoder.to(base.levels.device).eval().requires_grad_(False)

    def part(self, base: Decoder, alpha: float) -> Adapter:
        """Return the adapter that goes the share `alpha` of the way from `base` (WiSE-FT, Wortsman et al., 2022)."""
        known = base.state_dict()

        def scaled(name: str, value: Tensor) -> Tensor:
            if name in known:
                return torch.lerp(known[name], value, alpha)
            return alpha * value if name.endswith((UP, "prompt.gate")) else value

        return replace(self, weights={name: scaled(name, value) for name, value in self.weights.items()})


def fingerprint(decoder: Decoder) -> str:
    """Return a hash of config and weights: the decoder that an adapter belongs to."""
    digest = hashlib.sha256(json.dumps(decoder.config.to_dict(), sort_keys=True).encode())
    for name, value in sorted(decoder.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def adapter_files(adapter: Adapter, base: Decoder) -> dict[str, bytes]:
    """Return an adapter and the fingerprint of its decoder as file name -> content."""
    facts = {"format_version": 1, "mode": adapter.mode, "prompt_length": adapter.prompt_length}
    weights = {name: value.detach().cpu().contiguous() for name, value in adapter.weights.items()}
    return {FACTS: json.dumps({**facts, "base": fingerprint(base)}, indent=1).encode(), WEIGHTS: save(weights)}


def read_adapter(files: Mapping[str, bytes], base: Decoder, where: str) -> Adapter:
    """Build an adapter from its files.

    Raises
    ------
    ReleaseError
        ``release.missing_file`` without one of the two; ``release.bad_manifest`` if one cannot be read or the adapter
        belongs to another decoder than `base`. `where` names the folder in the message.
    """
    for name in (FACTS, WEIGHTS):
        if name not in files:
            raise ReleaseError(f"{where} has no {name}, so it is no adapter.", code="release.missing_file")
    try:
        facts = json.loads(files[FACTS])
        weights = load(files[WEIGHTS])
        if facts["format_version"] != 1:
            raise ValueError(f"format_version {facts['format_version']}, expected 1")
        belongs = facts["base"] == fingerprint(base)
        adapter = Adapter(facts["mode"], weights, int(facts["prompt_length"]))
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ReleaseError(f"{where} cannot be read: {error}.", code="release.bad_manifest") from error
    if not belongs:
        raise ReleaseError(
            f"The adapter in {where} was trained on another model.",
            code="release.bad_manifest",
            hint="Load the model that it was trained on.",
        )
    device = base.levels.device
    return replace(adapter, weights={name: value.to(device) for name, value in weights.items()})
