"""Measure an exported model: size, time of a forecast beside torch in the same run, and scores on evaluation sets.

python pretrain/check_export.py --data ../shared/data/dev_eval --threads 1
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from score import commit, score_set, total_of

from tsar.decode import decode
from tsar.export import OnnxModel, export_onnx
from tsar.hub import load_model

CONTEXT, HORIZON = 512, 64
REPEATS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tsar-tiny")
    parser.add_argument("--data", type=Path, help="folder of evaluation sets; none: no scores")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    decoder = load_model(options.model)
    with tempfile.TemporaryDirectory() as name:
        models = {}
        for precision in ("float32", "int8"):
            path = Path(name) / f"{precision}.onnx"
            export_onnx(decoder, path, prediction_length=HORIZON, context_length=CONTEXT, precision=precision)
            print(f"{precision}: {path.stat().st_size / 1e6:.1f} MB")
            models[precision] = OnnxModel(path, threads=options.threads)
    runs = {"torch": lambda windows: decode(decoder, windows, HORIZON)}
    runs |= {f"onnxruntime, {precision}": model.decode for precision, model in models.items()}
    for rows in (1, 32):
        windows = np.random.default_rng(0).normal(size=(rows, CONTEXT)).cumsum(1)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(REPEATS):
            for name, run in runs.items():
                began = time.perf_counter()
                run(windows)
                times[name].append(time.perf_counter() - began)
        base = np.median(times["torch"])
        for name, taken in times.items():
            print(f"{rows} x {CONTEXT} -> {HORIZON}  {name}: {1000 * np.median(taken):.1f} ms,"
                  f" {base / np.median(taken):.2f} x torch")  # fmt: skip
    if options.data:
        print_scores(decoder, models, sorted(options.data.glob("*.parquet")))
    print(f"commit {commit()}, {options.threads} threads, torch {torch.__version__}")


def print_scores(decoder: torch.nn.Module, models: dict[str, OnnxModel], sets: list[Path]) -> None:
    """Scores of one plain pass, context 512, by torch and by each file."""

    def of(model: OnnxModel):
        return lambda values, offsets, horizon, **_: model.decode_panel(values, offsets)[:, :horizon]

    for name, forecast in {"torch": None, **{name: of(model) for name, model in models.items()}}.items():
        rows = [score_set(decoder, path, [CONTEXT], limit=200, forecast=forecast) for path in sets]
        total = total_of(rows)
        print(f"{name}: rel_MASE {total['rel_MASE']:.4f}, rel_WQL {total['rel_WQL']:.4f}, sets {len(rows)}")


if __name__ == "__main__":
    main()
