"""A real server on loopback, and a client of the standard library, for the tests of `tsar serve`."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd


@contextmanager
def running(model, **limits) -> Iterator[str]:
    """Address of a server in a thread of this process; it has stopped when the block ends."""
    import uvicorn

    from tsar.serving import Limits, make_app

    config = uvicorn.Config(make_app(model, limits=Limits(**limits)), port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def ask(address: str, body=None, *, path: str = "/forecast") -> tuple[int, dict]:
    """POST a body, or GET without one: status and answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def read(address: str, path: str) -> str:
    """GET text."""
    with urllib.request.urlopen(address + path, timeout=60) as response:
        return response.read().decode()


def make_table(item_ids, *, periods: int = 96, freq: str = "h", seed: int = 0) -> pd.DataFrame:
    """Noisy waves, long."""
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2024-01-01", periods=periods, freq=freq)
    wave = 50 + 20 * np.sin(2 * np.pi * np.arange(periods) / 24)
    parts = [
        pd.DataFrame({"item_id": one, "timestamp": stamps, "target": wave + rng.normal(0, 2, periods)})
        for one in item_ids
    ]
    return pd.concat(parts, ignore_index=True)


def as_columns(df: pd.DataFrame) -> dict:
    """A table as the columns of a request."""
    target = [None if np.isnan(value) else value for value in df["target"]]
    return {"item_id": df["item_id"].tolist(), "timestamp": df["timestamp"].astype(str).tolist(), "target": target}
