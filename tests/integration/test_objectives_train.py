"""Every objective, alone and mixed, lowers its loss on new waves; a run of it goes on after an interruption."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

from tsar.decode import decode
from tsar.hub import load_release
from tsar.model.decoder import Decoder
from tsar.storage import read_folder
from tsar.training.checkpoint import find_checkpoint
from tsar.training.config import Recipe, load_recipe
from tsar.training.loop import pretrain
from tsar.training.objectives import make_objective
from tsar.training.objectives.mixture import needs_two_views
from tsar.training.views import View, make_view

ALONE = ["corrupt.span=0", "corrupt.points=0", "corrupt.run=0", "corrupt.cut=0"]
FULL = ["model.attention=full", "model.scaling=window", "model.output_length=8"]
KINDS = {
    "next_patches": [],
    "masked_patches": [*FULL, "corrupt.patches=1"],
    "geometric_spans": [*FULL, "corrupt.geometric=1"],
    "masked_future": [*FULL, "corrupt.future=1"],
    "masked_input": ["corrupt.patches=1", "corrupt.patch_share=0.2"],
    "middle": ["model.modes=true", "corrupt.middle=1"],
    "noise": ["corrupt.noise=1"],
    "future_mixup": ["corrupt.span=1", "corrupt.future_mixup=1"],
    "scheduled_sampling": ["corrupt.feedback=0.5", "corrupt.feedback_steps=30"],
    "contrastive": ["objective=contrastive", "corrupt.points=1", "corrupt.noise=1"],
    "sum": ["objective={next_patches: 1.0, contrastive: 0.1}", "corrupt.points=1"],
    "mixed": [
        "model.modes=true", "corrupt.patches=0.2", "corrupt.geometric=0.2", "corrupt.middle=0.3", "corrupt.noise=0.3",
        "corrupt.span=0.3", "corrupt.future_mixup=0.3", "corrupt.feedback=0.1",
        "objective={next_patches: 1.0, contrastive: 0.1}",
    ],
}  # fmt: skip


def waves(recipe: Recipe, seed: int, twice: bool, step: int) -> View:
    """A corrupted batch of noisy waves of random period and phase."""
    dice = torch.Generator().manual_seed(seed)
    period, phase = 8 + 16 * torch.rand(64, 1, generator=dice), 6 * torch.rand(64, 1, generator=dice)
    place = torch.arange(64 + recipe.model.output_length)
    series = torch.sin(6.2832 * place / period + phase) + 0.1 * torch.randn(64, len(place), generator=dice)
    return make_view(
        series, 64, recipe.model.patch_length, recipe.corrupt, dice, step=step, modes=recipe.model.modes, twice=twice
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls(tiny_recipe, kind):
    recipe = load_recipe(tiny_recipe, [*ALONE, *KINDS[kind]])
    torch.manual_seed(0)
    objective = make_objective(Decoder(recipe.model), name=recipe.objective)
    twice = needs_two_views(objective)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)

    def loss(seed: int, step: int) -> torch.Tensor:
        view = waves(recipe, seed, twice, step)
        return objective(view.windows, view.visible, extra=view.extra).mean()

    with torch.no_grad():
        before = loss(1000, 1000)
    for step in range(50):
        optimizer.zero_grad()
        loss(step, step).backward()
        optimizer.step()
    with torch.no_grad():
        after = loss(1000, 1000)
    assert after < 0.8 * before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixed", "masked_future"])
def test_interrupted_is_uninterrupted_and_forecasts(tiny_recipe, tmp_path, kind):
    recipe = load_recipe(tiny_recipe, [*KINDS[kind], "train.steps=16", "train.validation_windows=1"])
    release = pretrain(recipe, tmp_path / "whole")
    for stop in (3, 11):
        pretrain(recipe, tmp_path / "parts", until=stop)
    pretrain(recipe, tmp_path / "parts")
    files = [read_folder(find_checkpoint(tmp_path / name)) for name in ("whole", "parts")]
    for name in ("weights.safetensors", "ema.safetensors", "optimizer.safetensors"):
        one, other = load(files[0][name]), load(files[1][name])
        assert one.keys() == other.keys()
        assert all(value.equal(other[key]) for key, value in one.items())
    model = load_release(release)
    assert model.config == recipe.model
    assert np.isfinite(decode(model, np.sin(np.arange(64.0) / 3)[None], 40)).all()
