"""What parts of a model ask of training beyond the objective: a loss of their own, and a word after each step."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def auxiliary_loss(model: nn.Module) -> Tensor | float:
    """Sum, over the modules that have ``auxiliary_loss()``, what their last pass adds to the objective; 0 without."""
    found = [module.auxiliary_loss() for module in _having(model, "auxiliary_loss")]
    total: Tensor | float = sum((loss for loss in found if loss is not None), 0.0)
    return total


def after_step(model: nn.Module) -> None:
    """Tell the modules that have ``after_step()`` that the weights were updated."""
    for module in _having(model, "after_step"):
        module.after_step()


def _having(model: nn.Module, name: str) -> list[Any]:
    return [module for module in model.modules() if hasattr(type(module), name)]
