#!/usr/bin/env python
"""Two minutes before a long run on a GPU: the machine's ceilings, the sampler's pace, and the step's.

    python pretrain/runs/check_device.py pretrain/recipes/tsar-tiny-gpu.yaml

Prints one line a measurement; model FLOPs utilisation is against the matrix product measured here.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import torch

from tsar.model.config import flops_per_token, num_parameters
from tsar.model.decoder import Decoder
from tsar.training.config import Recipe, load_recipe
from tsar.training.corpus import load_corpus
from tsar.training.corrupt import corrupt
from tsar.training.objectives import NextPatches
from tsar.training.optim import clip_gradients, make_optimizer
from tsar.training.sampler import BlockSampler, Pool


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return sorted(times[1:])[repeats // 2]


def measure_ceilings(device: torch.device) -> float:
    size = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    flops = 2 * size**3 / seconds(lambda: a @ b, 9, device)
    copy = torch.randn(size * size * (16 if device.type == "cuda" else 1), device=device)
    into = torch.empty_like(copy)
    bandwidth = 2 * 4 * copy.numel() / seconds(lambda: into.copy_(copy), 9, device)
    print(f"matmul {flops / 1e12:.2f} TFLOP/s ({dtype}), copy {bandwidth / 1e9:.0f} GB/s", flush=True)
    return flops


def measure_step(recipe: Recipe, sampler: BlockSampler, ceiling: float, device: torch.device) -> None:
    pool = Pool(sampler, max(shape.context_length for shape in recipe.shapes) + recipe.model.output_length)
    for shape in recipe.shapes:
        length = shape.context_length + recipe.model.output_length
        counter = itertools.count()
        making = seconds(lambda: pool.batch(next(counter), shape.rows, length), 9, device)  # noqa: B023
        windows = pool.batch(next(counter), shape.rows, length)
        visible = corrupt(
            torch.isfinite(windows), shape.context_length, recipe.model.patch_length, recipe.corrupt,
            sampler.generator(0, 1), cut=shape.cut,
        )  # fmt: skip
        objective = NextPatches(Decoder(recipe.model)).to(device)
        optimizer = make_optimizer(objective, recipe.optim)
        call = torch.compile(objective, dynamic=False) if recipe.train.compile else objective

        def step() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.train.precision == "bf16"):
                loss = call(windows, visible).mean()  # noqa: B023
            loss.backward()
            clip_gradients(objective.parameters(), 1.0)  # noqa: B023
            optimizer.step()  # noqa: B023
            optimizer.zero_grad()  # noqa: B023

        began = time.perf_counter()
        step()
        first = time.perf_counter() - began
        took = seconds(step, 9, device)
        tokens = shape.rows * shape.context_length // recipe.model.patch_length
        flops = 3 * tokens * flops_per_token(recipe.model, shape.context_length // recipe.model.patch_length)
        print(
            f"rows {shape.rows} context {shape.context_length}: first step {first:.1f} s, step {took * 1e3:.1f} ms, "
            f"{shape.rows / took:.0f} windows/s, "
            f"{tokens / took / 1e6:.2f} M tokens/s, {flops / took / 1e12:.2f} TFLOP/s, "
            f"MFU {flops / took / ceiling:.1%}; "
            f"making the batch {making * 1e3:.1f} ms",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], help="key.name=value, wins over the recipe")
    args = parser.parse_args()
    recipe = load_recipe(args.recipe, args.set)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}", flush=True)
    ceiling = measure_ceilings(device)
    began = time.perf_counter()
    corpus = load_corpus(recipe.corpus, device=device) if recipe.corpus else None
    print(f"corpus loaded in {time.perf_counter() - began:.1f} s; {num_parameters(recipe.model):,} weights", flush=True)
    sampler = BlockSampler(recipe.data, recipe.seed, corpus, device)
    if corpus is not None:
        generator = torch.Generator(device).manual_seed(0)
        rows, length = recipe.data.block_size, recipe.shapes[0].context_length
        print(
            f"corpus block {seconds(lambda: corpus.sample(rows, length, generator), 5, device) * 1e3:.2f} ms",
            flush=True,
        )
    measure_step(recipe, sampler, ceiling, device)


if __name__ == "__main__":
    main()
