"""`tsar serve` as a process: asked by many at once, refuses what is too much, stops without losing anything."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from tests.serving_client import as_columns, ask, make_table, read, running
from tsar import Forecaster

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@contextmanager
def process(model, *options):
    """A server in a process of its own: the process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tsar.cli", "serve", "--model", str(model), "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert started.poll() is None, started.stderr.read()
            try:
                assert json.loads(read(address, "/health/ready"))["ready"]
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield started, address
    finally:
        started.kill()
        started.communicate()


def request_of(seed: int, items: int = 2) -> dict:
    table = make_table([f"s{item}" for item in range(items)], seed=seed)
    return {"data": as_columns(table), "prediction_length": 12, "quantile_levels": [0.1, 0.5, 0.9]}


def medians(answer: dict) -> np.ndarray:
    return np.array([item["predictions"] for item in answer["items"]])


def test_what_was_accepted_is_answered_after_sigterm(tiny_release, record_property):
    with process(tiny_release, "--linger-seconds", "1.5") as (server, address), ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, address, request_of(seed)) for seed in range(20)]
        while json.loads(read(address, "/health"))["waiting"] < 20:
            time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
        assert server.wait(timeout=20) == 0
    assert [status for status, _ in answers] == [200] * 20
    for seed, (_, answer) in enumerate(answers):
        direct = Forecaster(tiny_release, prediction_length=12).fit(make_table(["s0", "s1"], seed=seed)).predict()
        np.testing.assert_allclose(medians(answer).ravel(), direct["predictions"], rtol=1e-5)
    record_property("requests served", len(answers))


def test_nothing_is_lost_under_load(tiny_release, record_property):
    with process(tiny_release) as (_, address):
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda seed: ask(address, request_of(seed % 7)), range(300)))
        text = read(address, "/metrics")
    assert {status for status, _ in answers} == {200}
    for place, (_, answer) in enumerate(answers):
        np.testing.assert_allclose(medians(answer), medians(answers[place % 7][1]), rtol=1e-5)
    assert 'tsar_requests_total{status="200"} 300' in text
    assert "tsar_series_total 600" in text
    record_property("requests served", len(answers))


def test_more_than_may_wait_are_told_to_come_back(tiny_release):
    with running(tiny_release, linger_seconds=1.0, max_waiting=4) as address, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda seed: ask(address, request_of(seed)), range(12)))
    statuses = [status for status, _ in answers]
    assert (statuses.count(200), statuses.count(429)) == (4, 8)
    assert {answer["error"]["code"] for status, answer in answers if status == 429} == {"serve.busy"}


def test_sigterm_under_load_loses_nothing_that_was_begun(tiny_release):
    """Each client gets a whole answer or none is begun; a body that never ends does not hold up the exit."""
    with process(tiny_release, "--body-seconds", "2") as (server, address), ThreadPoolExecutor(16) as pool:
        host, port = address.removeprefix("http://").split(":")
        endless = socket.create_connection((host, int(port)))
        endless.sendall(b"POST /forecast HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        ending = threading.Event()

        def ask_until_the_end(seed):
            statuses = []
            while not ending.is_set():
                try:
                    statuses.append(ask(address, request_of(seed))[0])
                except OSError:  # nobody listens any more, or the connection was closed before it was read
                    break
            return statuses

        asked = [pool.submit(ask_until_the_end, seed) for seed in range(16)]
        while 'tsar_requests_total{status="200"}' not in read(address, "/metrics"):
            time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
        ending.set()
        statuses = [status for one in asked for status in one.result()]
        endless.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 16


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_quietly(tiny_release, number):
    """The first process of a container ignores a signal without a handler: it would be killed a grace period later."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tsar.cli", "serve", "--model", str(tiny_release), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started:
        while True:  # it listens before it loads
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.005)
        started.send_signal(number)
        _, said = started.communicate(timeout=60)
    assert started.returncode == 0
    assert "Application startup complete" not in said


def test_it_says_where_it_listens_and_nothing_of_web_sockets(tiny_release):
    with process(tiny_release) as (server, address):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            upgrade = "Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
            client.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\n{upgrade}Sec-WebSocket-Key: eA==\r\n\r\n".encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0
    assert f"Listening on {address} (Ctrl+C ends it)" in said
    assert "upgrade" not in said
    assert "WebSocket" not in said


def test_a_port_that_is_taken_is_one_line(tiny_release, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tsar.cli", "serve", "--model", str(tiny_release), "--port", port]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("tsar: error: Nothing can listen on 127.0.0.1")
    assert len(done.stderr.splitlines()) == 1


def test_schemathesis_finds_nothing(tiny_release, tmp_path, record_property):
    """The server does what its own description says, for requests made from it, right and wrong ones."""
    pytest.importorskip("schemathesis")
    with running(tiny_release, linger_seconds=0.0) as address:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"]
        command += ["--checks", "all", "--max-examples", "60", "--phases", "examples,coverage,fuzzing", "--seed", "1"]
        command += ["--exclude-checks", "positive_data_acceptance"]  # a schema cannot say which stamps make a panel
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        statuses = [line for line in read(address, "/metrics").splitlines() if line.startswith("tsar_requests_total")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert any('status="200"' in line for line in statuses)
    assert not any('status="500"' in line for line in statuses)
    record_property("requests of schemathesis", sum(int(float(line.split()[-1])) for line in statuses))
