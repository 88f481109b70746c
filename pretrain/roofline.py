"""Project time and cost of pretraining larger models from what was measured on one H100.

    python pretrain/roofline.py [--price 2.5]

A training step of a decoder does 6 floating-point operations a weight and token in its products, and moves activations
between memory and the small operations around them (norms, rotary code, gates, optimizer, corruption). The first takes
peak product speed, the second memory speed, one after the other. Two numbers of each machine are measured
(`pretrain/LOG.md`, first session), and the two runs there give the traffic a layer and token in units of the width.
Between machines gradients are exchanged once a step, behind the backward pass as far as that lasts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

PEAK = 781e12  # bf16 products of an H100, measured: 8,192 x 8,192
MEMORY = 3.0e12  # bytes a second of a copy, measured
LINK = {
    1: float("inf"),
    8: 450e9,
    256: 50e9,
}  # bytes a second and GPU: NVLink in a machine, InfiniBand between; published
PRICE = 2.5  # dollars an H100 hour, a guess: say yours
TOKENS_PER_WEIGHT = 20  # as large language models are trained (Hoffmann et al., 2022); see the note in docs/scaling.md
TOKENS_PER_STEP = 65_536  # of one GPU: 1,024 windows of 1,024 points
LONGEST = 64  # tokens of a window


@dataclass(frozen=True)
class Size:
    """A decoder: weights that work for a token, width, layers."""

    name: str
    weights: float
    width: int
    layers: int


MEASURED = {  # model FLOPs utilisation of the step: tsar-tiny alone, tsar-small with batches
    Size("tsar-tiny", 3.8e6, 256, 6): 0.097,
    Size("tsar-small", 11.0e6, 384, 8): 0.12,
}
PROJECTED = (
    Size("30 M", 30e6, 512, 12),
    Size("300 M", 300e6, 1024, 24),
    Size("3 B", 3e9, 2560, 38),
)
GPUS = (1, 8, 256)


def operations(size: Size) -> float:
    """Floating-point operations of training, a token: products with weights and attention."""
    return 6 * size.weights + 3 * 2 * 2 * size.layers * size.width * LONGEST / 2


def traffic(size: Size, utilisation: float) -> float:
    """Bytes a token, layer and unit of width that would explain a measured utilisation."""
    seconds = operations(size) / (utilisation * PEAK) - operations(size) / PEAK
    return seconds * MEMORY / (size.layers * size.width)


def seconds_per_token(size: Size, bytes_per_unit: float) -> float:
    """Seconds of one GPU for a token of a training step, without the exchange of gradients."""
    return operations(size) / PEAK + bytes_per_unit * size.layers * size.width / MEMORY


def exchange(size: Size, gpus: int, step: float) -> float:
    """Seconds a step that the exchange of bf16 gradients adds: what does not fit behind the backward pass."""
    taken = 2 * 2 * size.weights * (gpus - 1) / gpus / LINK[gpus]
    return max(taken - 2 / 3 * step, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=PRICE, help="dollars an H100 hour (default: %(default)s)")
    price = parser.parse_args().price
    found = [traffic(size, utilisation) for size, utilisation in MEASURED.items()]
    for size, amount in zip(MEASURED, found, strict=True):
        print(f"{size.name}: {operations(size) / 1e6:.0f} MFLOP a token, {amount:.0f} bytes a token, layer and unit")
    low, high = min(found), max(found)
    print("\n| active weights | tokens | GPUs | steps | utilisation | tokens a second | hours | GPU hours | dollars |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in PROJECTED:
        tokens = TOKENS_PER_WEIGHT * size.weights
        for gpus in GPUS:
            ends, steps = [], tokens / gpus / TOKENS_PER_STEP
            for amount in (high, low):
                step = TOKENS_PER_STEP * seconds_per_token(size, amount)
                speed = gpus * TOKENS_PER_STEP / (step + exchange(size, gpus, step))
                ends.append((operations(size) * speed / (gpus * PEAK), speed, tokens / speed / 3600))
            (worse, slow, long), (better, fast, short) = ends
            cells = [size.name, f"{tokens / 1e9:.1f} B", str(gpus), f"{steps:,.0f}", f"{worse:.0%} to {better:.0%}"]
            cells += [f"{slow / 1e6:.3g} M to {fast / 1e6:.3g} M", f"{short:.2g} to {long:.2g}"]
            cells += [f"{scale * short:.2g} to {scale * long:.2g}" for scale in (gpus, price * gpus)]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
