"""What a machine can do at most: the pace of a product of matrices, against which a training run is measured."""

from __future__ import annotations

import time

import torch

SIZES = {"cpu": 768, "cuda": 8192}
REPEATS = 5


def measure_peak(device: torch.device, precision: str) -> float:
    """Return the TFLOP/s of the fastest of a few products of square matrices, in fp32 or bf16."""
    size = SIZES.get(device.type, SIZES["cpu"])
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(REPEATS + 1):
        _wait(device)
        began = time.perf_counter()
        torch.mm(one, one)
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds[1:]) / 1e12


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
