#!/usr/bin/env python
"""Error against horizon for models that feed their forecasts back: trained plainly, with noise, on their own words.

    python pretrain/check_noise.py --steps 250

Trains `pretrain/recipes/timer.yaml` once for each variant, with the same seed and batches, and forecasts new synthetic
series, one token (16 points) at a time. Prints the mean absolute error of the median in blocks of the horizon, in units
of the mean absolute difference between neighbouring points of the history, and the share of points within 80 % bands.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from tsar.decode import decode
from tsar.hub import load_release
from tsar.training.augment import standardize
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain
from tsar.training.synth import DEFAULT_WEIGHTS, make_series

RECIPE = Path(__file__).parent / "recipes" / "timer.yaml"
VARIANTS = {
    "plain": [],
    "noise 0.1": ["corrupt.noise=0.5", "corrupt.noise_size=0.1"],
    "noise 0.4": ["corrupt.noise=0.5", "corrupt.noise_size=0.4"],
    "own words": ["corrupt.feedback=0.25", "corrupt.feedback_steps=100"],
}
CONTEXT, HORIZON, BLOCK, SEED = 384, 336, 48, 987_654_321


def held_out(rows: int) -> np.ndarray:
    """New series of every family, (families * rows, CONTEXT + HORIZON); those that never vary are left out."""
    dice = torch.Generator().manual_seed(SEED)
    series = torch.cat([make_series(family, rows, CONTEXT + HORIZON, dice) for family in DEFAULT_WEIGHTS])
    values = standardize(series).double().numpy()
    steps = np.nanmean(np.abs(np.diff(values[:, :CONTEXT])), 1)
    return values[np.isfinite(values).all(1) & (steps > 1e-3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--rows", type=int, default=24, help="series of each family")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/check_noise"))
    options = parser.parse_args()
    series = held_out(options.rows)
    history, future = series[:, :CONTEXT], series[:, CONTEXT:]
    unit = np.abs(np.diff(history)).mean(1, keepdims=True)
    settings = [f"train.steps={options.steps}", "shapes=[{context_length: 512, rows: 32}]", "train.threads=1",
                "train.validation_windows=0", "optim.lr=3e-3"]  # fmt: skip
    blocks = [f"{first + 1}-{first + BLOCK}" for first in range(0, HORIZON, BLOCK)]
    print(f"{len(series)} series, {options.steps} steps\n")
    print("| trained | " + " | ".join(blocks) + " | within 80 % |\n" + "|---" * (len(blocks) + 2) + "|")
    for name, extra in VARIANTS.items():
        recipe = load_recipe(RECIPE, [*settings, *extra])
        model = load_release(pretrain(recipe, options.run_dir / name.replace(" ", "-")))
        quantiles = decode(model, history, HORIZON)
        error = np.minimum(np.abs(quantiles[..., 4] - future) / unit, 100)
        inside = ((future >= quantiles[..., 0]) & (future <= quantiles[..., -1])).mean()
        row = error.reshape(len(series), -1, BLOCK).mean((0, 2))
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + f" | {inside:.3f} |", flush=True)


if __name__ == "__main__":
    main()
