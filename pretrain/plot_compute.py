#!/usr/bin/env python
"""Draw score against training compute, for the runs of `pretrain/experiments/runs.csv` and of ablations.

    python pretrain/plot_compute.py docs/score_vs_compute.png

Compute is 6 x weights x patch tokens (forward and backward). Scores are of plain forecasts of one pass on the
development sets, relative to seasonal naive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

EXPERIMENTS = Path(__file__).parent / "experiments"
COLOURS = {"mini": "#0072B2", "control": "#999999", "tsar-tiny": "#D55E00", "tsar-small": "#009E73"}


def load_runs() -> pd.DataFrame:
    runs = pd.read_csv(EXPERIMENTS / "runs.csv")
    lines = (EXPERIMENTS / "mini.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    mini = pd.DataFrame(
        {
            "model": "mini",
            "parameters": row["parameters"],
            "tokens": row["tokens"],
            "rel_MASE": row["rel_MASE"],
            "rel_WQL": row["rel_WQL"],
        }
        for row in rows
    )
    return pd.concat([runs, mini], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    runs = load_runs()
    runs["flops"] = 6.0 * runs["parameters"] * runs["tokens"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, metric, name in zip(axes, ("rel_MASE", "rel_WQL"), ("relative MASE", "relative WQL"), strict=True):
        for model, part in runs.groupby("model", sort=False):
            weights = f"{part['parameters'].median() / 1e6:.1f} M"
            ax.scatter(part["flops"], part[metric], color=COLOURS[str(model)], label=f"{model}, {weights}", alpha=0.8)
        ax.axhline(1, color="black", linewidth=0.8, linestyle=":")
        ax.set(xscale="log", xlabel="training compute, FLOPs", ylabel=f"{name}, ten development sets")
        ax.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    axes[0].annotate("seasonal naive", (runs["flops"].max(), 1), ha="right", va="bottom", fontsize=8)
    figure.savefig(output, dpi=130)


if __name__ == "__main__":
    main()
