"""What training lowers. A new objective is a module here and a line in `OBJECTIVES`.

An objective wraps a decoder: one call takes windows, what is visible of them, perhaps a teacher's guide, and what else
is shown (`tsar.training.views.Extra`), and gives the loss of each window. What is hidden, disturbed or moved before is
the business of `tsar.training.corrupt`, so masked modelling, filling in the middle, noise and scheduled sampling are
probabilities there and no classes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.training.objectives.contrastive import Contrastive
from tsar.training.objectives.direct import Direct
from tsar.training.objectives.hidden_points import HiddenPoints
from tsar.training.objectives.mixture import Mixture
from tsar.training.objectives.next_patches import NextPatches
from tsar.training.objectives.next_token import NextToken, fit_vocabulary
from tsar.training.objectives.windows import MIN_HISTORY, encode_windows, move_padding_right

OBJECTIVES: dict[str, type[NextPatches] | type[HiddenPoints] | type[Contrastive] | type[NextToken]] = {
    "next_patches": NextPatches,
    "direct": Direct,
    "hidden_points": HiddenPoints,
    "contrastive": Contrastive,
    "next_token": NextToken,
}
"""By the name in a recipe."""

Objective = NextPatches | HiddenPoints | Contrastive | Mixture | NextToken

__all__ = [
    "MIN_HISTORY",
    "OBJECTIVES",
    "Contrastive",
    "Direct",
    "HiddenPoints",
    "Mixture",
    "NextPatches",
    "NextToken",
    "Objective",
    "encode_windows",
    "fit_vocabulary",
    "make_objective",
    "move_padding_right",
    "objective_problem",
    "parts_of",
]


def make_objective(
    decoder: Decoder, *, name: str | Mapping[str, float] = "auto", smooth_weight: float = 0.0, z_loss: float = 0.0
) -> Any:
    """Return the objective of this name, or the weighted sum of those named.

    Parameters
    ----------
    decoder
        The model to train.
    name
        A name in `OBJECTIVES`, or names and weights; ``"auto"``: the one that the decoder's attention, or its
        vocabulary, asks for.
    smooth_weight, z_loss
        Of `NextPatches`.
    """
    parts = [
        (_make(decoder, part, smooth_weight, z_loss), weight) for part, weight in parts_of(name, _kind(decoder.config))
    ]
    return parts[0][0] if len(parts) == 1 else Mixture(decoder, parts)


def _make(decoder: Decoder, name: str, smooth_weight: float, z_loss: float) -> Any:
    if name in ("next_patches", "direct"):
        kind = Direct if name == "direct" else NextPatches
        return kind(decoder, smooth_weight=smooth_weight, z_loss=z_loss)
    if name == "next_token":
        return NextToken(decoder, z_loss=z_loss)
    return OBJECTIVES[name](decoder)


def _kind(config: ModelConfig) -> str:
    """What a model learns: ``"forecast"``, ``"infill"``, or ``"tokens"``."""
    return "tokens" if config.has_vocabulary else config.task


def parts_of(name: str | Mapping[str, float], kind: str) -> list[tuple[str, float]]:
    """Return the names and weights that a recipe's objective stands for."""
    usual = {"infill": "hidden_points", "tokens": "next_token"}.get(kind, "next_patches")
    parts = {name: 1.0} if isinstance(name, str) else dict(name)
    return [(usual if part == "auto" else part, weight) for part, weight in parts.items()]


def objective_problem(name: str | Mapping[str, float], config: ModelConfig) -> str | None:
    """Say what is wrong with a recipe's objective for a model, if anything is."""
    task = _kind(config)
    parts = parts_of(name, task)
    if not parts:
        return "objective names nothing"
    for part, weight in parts:
        if part not in OBJECTIVES:
            return f"objective must be among {', '.join(('auto', *OBJECTIVES))}, got {part!r}"
        if not 0 < weight < float("inf"):
            return f"objective: the weight of {part} must be positive, got {weight}"
        if (part, task) in (("next_patches", "infill"), ("direct", "infill"), ("hidden_points", "forecast")):
            other = "causal" if task == "infill" else "full"
            return f"objective {part} needs model.attention {other}"
        if (part == "next_token") != (task == "tokens"):
            return f"objective {part} does not go with model.tokenizer {config.tokenizer}"
        if part != "direct" and (config.prompt_pool or config.body_sentence):
            return "model.prompt_pool and model.body_sentence have seen the whole window: they need objective direct"
    return None
