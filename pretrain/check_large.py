"""Measure `tsar forecast` from parquet to parquet: wall time and peak memory, one process and Ray.

    python pretrain/check_large.py --series 100000 --threads 2
    python pretrain/check_large.py --series 30000 --shards 8 --ray 2

Prints a row of a Markdown table per run; docs/many_series.md has those of the releases.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
PAGE = os.sysconf("SC_PAGE_SIZE")
SERIES_PER_BLOCK = 5_000


def write_shard(path: Path, first: int, num_series: int, length: int, rng: np.random.Generator) -> None:
    """Write daily series with a week, a trend and noise, block by block."""
    days = np.datetime64("2024-01-01", "us") + np.arange(length) * np.timedelta64(1, "D")
    time_of_series = np.arange(length)
    writer = None
    for start in range(first, first + num_series, SERIES_PER_BLOCK):
        count = min(SERIES_PER_BLOCK, first + num_series - start)
        level, size = rng.uniform(50, 500, (count, 1)), rng.uniform(0.5, 20, (count, 1))
        week = np.sin(2 * np.pi * (time_of_series + rng.integers(0, 7, (count, 1))) / 7)
        values = level + size * (week + rng.normal(0, 0.5, (count, length)) + rng.normal(0, 0.01) * time_of_series)
        ids = pa.array([f"series {number:07}" for number in range(start, start + count)])
        table = pa.table(
            {
                "item_id": ids.take(pa.array(np.repeat(np.arange(count), length))),
                "timestamp": np.tile(days, count),
                "target": values.ravel(),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(arguments: list[str], threads: int) -> tuple[float, float, float]:
    """Return wall seconds, peak GiB of the process and all below it together, and its CPU seconds."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
    }
    began, before = time.perf_counter(), os.times()
    process = subprocess.Popen([sys.executable, "-m", "tsar.cli", "forecast", *arguments], env=environment)
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    after = os.times()
    if code:
        raise SystemExit(f"tsar forecast ended with {code}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, peak[0], cpu


def watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    """Keep the largest sum of resident memory of a process and its descendants (pages they share count in each)."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(resident(number) for number in descendants(process.pid)) * PAGE / 2**30)
        time.sleep(0.2)


def descendants(number: int) -> list[int]:
    """Return the ids of a process and of those below it."""
    found = [number]
    for place in found:
        try:
            for task in Path(f"/proc/{place}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def resident(number: int) -> int:
    """Return the pages of a process that are in memory."""
    try:
        return int(Path(f"/proc/{number}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0


def largest_difference(one: Path, other: Path) -> float:
    """Return the largest relative difference of all numbers of two folders; all else must be equal."""
    worst = 0.0
    for path in sorted(one.glob("*.parquet")):
        left, right = pq.read_table(path).to_pandas(), pq.read_table(other / path.name).to_pandas()
        numbers = left.select_dtypes("float").columns
        if not left.drop(columns=numbers).equals(right.drop(columns=numbers)):
            raise SystemExit(f"{path.name} differs in ids, timestamps or errors")
        a, b = left[numbers].to_numpy(), right[numbers].to_numpy()
        worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(np.abs(a), 1e-9))))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of the single process")
    parser.add_argument("--ray", type=int, default=0, metavar="WORKERS", help="the same shards again on Ray")
    parser.add_argument("--model", default="tsar-tiny", help="name or folder of a release")
    parser.add_argument("--quick", action="store_true", help="with --no-symmetrize --no-follow-period")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        (folder / "in").mkdir()
        each = -(-options.series // options.shards)
        for shard, first in enumerate(range(0, options.series, each)):
            count = min(each, options.series - first)
            write_shard(folder / "in" / f"{shard:04}.parquet", first, count, options.length, rng)
        common = [
            "--model",
            options.model,
            "--freq",
            "D",
            "--prediction-length",
            str(options.horizon),
            "--device",
            "cpu",
        ]
        common += ["--no-symmetrize", "--no-follow-period"] if options.quick else []
        single = ["in/0000.parquet", "--output", "out.parquet"] if options.shards == 1 else ["in", "--output", "out"]
        os.chdir(folder)
        print("| run | series | seconds | CPU seconds | series a second | peak GiB |\n|---|---|---|---|---|---|")
        first = report(
            f"one process, {options.threads} threads", options.series, measure(single + common, options.threads)
        )
        if options.ray:
            on_ray = ["in", "--output", "ray", "--engine", "ray", "--workers", str(options.ray)]
            second = report(f"Ray, {options.ray} workers", options.series, measure(on_ray + common, 1))
            difference = largest_difference(Path("out"), Path("ray"))
            print(
                f"\nRay / one process: {first / second:.2f} x throughput, largest relative difference {difference:.1e}"
            )


def report(name: str, num_series: int, measured: tuple[float, float, float]) -> float:
    """Print a row and return the seconds."""
    seconds, peak, cpu = measured
    print(
        f"| {name} | {num_series:,} | {seconds:.0f} | {cpu:.0f} | {num_series / seconds:.0f} | {peak:.2f} |", flush=True
    )
    return seconds


if __name__ == "__main__":
    main()
