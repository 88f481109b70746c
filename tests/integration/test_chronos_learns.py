"""The recipe of a vocabulary model, shortened, finds seasons: better than the value one season ago."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.hub import load_release
from tsar.token_draft import sample_drafted_paths
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain

RECIPE = Path(__file__).parents[2] / "pretrain" / "recipes" / "chronos.yaml"
SEASON, ROWS, NOISE = 12, 16, 0.7


def seasonal(length: int) -> np.ndarray:
    """Years of 12 months (ROWS, length): three harmonics of drawn size, noise of `NOISE` deviations, a level."""
    generator = np.random.default_rng(5)
    time = np.arange(length)
    wave = np.zeros((ROWS, length))
    for order in (1, 2, 3):
        phase = 2 * np.pi * generator.random((ROWS, 1))
        wave += generator.normal(size=(ROWS, 1)) / order * np.cos(2 * np.pi * order * time / SEASON + phase)
    wave /= wave.std(1, keepdims=True)
    return wave + NOISE * generator.normal(size=wave.shape) + generator.choice([0.0, 1.0], size=(ROWS, 1))


@pytest.mark.slow
def test_the_recipe_beats_seasonal_naive_and_its_drafts_save_passes(tmp_path):
    shorter = ["train.steps=500", "train.threads=1", "train.validation_windows=1"]
    decoder = load_release(pretrain(load_recipe(RECIPE, shorter), tmp_path / "run"))
    length = decoder.config.context_length
    series = seasonal(length + SEASON)
    past, future = series[:, :length], series[:, length:]
    quantiles = decode(decoder, past, SEASON)
    error = np.abs(quantiles[..., quantiles.shape[-1] // 2] - future).mean()
    naive = np.abs(past[:, -SEASON:] - future).mean()
    assert error < 0.95 * naive
    covered = ((future > quantiles[..., 0]) & (future < quantiles[..., -1])).mean()
    assert 0.6 < covered < 0.95, "a band of 80 %"
    values = torch.from_numpy(past[:2])
    drafted = sample_drafted_paths(
        decoder, values, torch.isfinite(values), SEASON, season_length=SEASON, draft_length=6, num_samples=8
    )
    assert drafted.accepted > 0.3
    assert drafted.passes < 0.8 * (SEASON - 1)
