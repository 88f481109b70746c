"""How long experts take against a dense layer at equal active parameters, forward and backward, on one thread.

python pretrain/check_speed_experts.py
"""

from __future__ import annotations

import argparse
import time

import torch

from tsar.model.blocks.experts import Experts
from tsar.model.config import ModelConfig
from tsar.model.layers import SwiGLU

SHAPES = [(32, 32, 256, 512), (32, 32, 128, 384), (64, 64, 256, 512), (256, 32, 256, 1024)]
"""Rows, tokens, width, hidden width of the dense layer."""

REPEATS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| rows x tokens x width | dense, ms | 2 of 8 experts, ms | ratio |\n|---|---|---|---|")
    for rows, tokens, width, hidden in SHAPES:
        dense = SwiGLU(ModelConfig(d_model=width, d_ff=hidden))
        experts = Experts(ModelConfig(d_model=width, d_ff=hidden // 2, feed_forward="experts"))
        experts.initialize()
        x = torch.randn(rows, tokens, width)
        best = {"dense": float("inf"), "experts": float("inf")}
        for _ in range(repeats):  # in turn, so that a busy machine slows both
            for name, layer in (("dense", dense), ("experts", experts)):
                began = time.perf_counter()
                layer(x).sum().backward()
                best[name] = min(best[name], time.perf_counter() - began)
        ratio = best["experts"] / best["dense"]
        print(
            f"| {rows} x {tokens} x {width} | {1e3 * best['dense']:.1f} | {1e3 * best['experts']:.1f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
