"""Load `tsar serve` on loopback and see what is lost, how long it takes, and whether the numbers are those of predict.

    python pretrain/check_serve.py tsar-tiny --requests 400 --clients 1 8 32

Starts the server in a process of its own. Each client keeps one connection and sends one request after another: 4
hourly series of 336 points, 24 steps, nine levels. Printed as Markdown for docs/serving.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd

from tsar import Forecaster

ITEMS, POINTS, STEPS, TABLES = 4, 336, 24, 16


def make_table(seed: int) -> pd.DataFrame:
    """Noisy waves."""
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2024-01-01", periods=POINTS, freq="h")
    wave = 100 + 30 * np.sin(2 * np.pi * np.arange(POINTS) / 24)
    parts = [
        pd.DataFrame({"item_id": f"s{item}", "timestamp": stamps, "target": wave + rng.normal(0, 5, POINTS)})
        for item in range(ITEMS)
    ]
    return pd.concat(parts, ignore_index=True)


def make_body(table: pd.DataFrame) -> bytes:
    columns = {"item_id": table["item_id"].tolist(), "timestamp": table["timestamp"].astype(str).tolist()}
    return json.dumps({"data": {**columns, "target": table["target"].tolist()}, "prediction_length": STEPS}).encode()


def send(port: int, bodies: list[bytes], places: list[int], results: dict[int, tuple[float, int, bytes]]) -> None:
    """One client: its requests one after another on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for place in places:
        begin = time.perf_counter()
        connection.request("POST", "/forecast", bodies[place % len(bodies)], {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        results[place] = (time.perf_counter() - begin, response.status, body)


def load(
    port: int, bodies: list[bytes], requests: int, clients: int
) -> tuple[float, dict[int, tuple[float, int, bytes]]]:
    results: dict[int, tuple[float, int, bytes]] = {}
    parts = [list(range(client, requests, clients)) for client in range(clients)]
    threads = [threading.Thread(target=send, args=(port, bodies, part, results)) for part in parts]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, results


def worst_difference(results: dict[int, tuple[float, int, bytes]], expected: list[np.ndarray]) -> float:
    """Largest relative difference of any quantile of any answer from `Forecaster.predict` alone."""
    worst = 0.0
    for place, (_, status, body) in results.items():
        if status == 200:
            items = json.loads(body)["items"]
            got = np.array([list(item["quantiles"].values()) for item in items])
            want = expected[place % len(expected)]
            worst = max(worst, float(np.max(np.abs(got - want) / np.abs(want))))
    return worst


def start(model: str) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tsar.cli", "serve", "--model", model, "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"], env=dict(os.environ))
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process, port
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"tsar serve ended with {process.returncode}")


def batches(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("tsar_batch_requests_count"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tsar-tiny")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    tables = [make_table(seed) for seed in range(TABLES)]
    bodies = [make_body(table) for table in tables]
    forecaster = Forecaster(options.model, prediction_length=STEPS)
    expected = [np.moveaxis(forecaster.predict_quantiles(table).quantiles, 1, 2) for table in tables]
    process, port = start(options.model)
    print("| clients | requests/s | series/s | p50 ms | p95 ms | requests a batch | lost | largest difference |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    try:
        load(port, bodies, 8, 1)
        for clients in options.clients:
            before = batches(port)
            seconds, results = load(port, bodies, options.requests, clients)
            times = np.array([one for one, _, _ in results.values()]) * 1000
            lost = options.requests - sum(status == 200 for _, status, _ in results.values())
            worst = worst_difference(results, expected)
            together = options.requests / (batches(port) - before)
            rate = options.requests / seconds
            print(
                f"| {clients} | {rate:.1f} | {rate * ITEMS:.0f} | {np.median(times):.0f} "
                f"| {np.percentile(times, 95):.0f} | {together:.1f} | {lost} | {worst:.1e} |",
                flush=True,
            )
    finally:
        process.send_signal(signal.SIGTERM)
        print(f"\nexit code after SIGTERM: {process.wait(timeout=60)}")


if __name__ == "__main__":
    main()
