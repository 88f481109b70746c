"""Clients that mean harm or are broken: each gets an answer or is dropped, and the others notice nothing."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from tests.serving_client import as_columns, ask, make_table, read, running

GOOD = {"data": as_columns(make_table(["a"], periods=30)), "prediction_length": 2, "quantile_levels": [0.5]}
BODY = json.dumps(GOOD).encode()


@pytest.fixture(scope="module")
def address(tiny_release):
    with running(tiny_release, linger_seconds=0.0, max_body_bytes=4_000_000) as address:
        yield address


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(length: int, *headers: str, content_type: str = "application/json") -> bytes:
    lines = [
        "POST /forecast HTTP/1.1",
        "Host: x",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def read_all(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def tell(address: str, data: bytes) -> tuple[int, dict]:
    """Send bytes as they are, with Connection: close in them: status and answer."""
    with connect(address) as client:
        client.sendall(data)
        answer = read_all(client)
    headers, _, body = answer.partition(b"\r\n\r\n")
    return int(headers.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 1_000_000, 400),
        (b'{"data":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"prediction_length":' + b"9" * 100_000 + b"}", 400),
        (BODY.replace(b"[0.5]", b"[NaN]"), 422),
        (BODY.replace(b'"target": [', b'"target": [Infinity, '), 422),
        (BODY.replace(b'"target": [', b'"target": [1e999, '), 422),
        (b"\0" * 1000, 422),
        (b'{"data": "' + b"x" * 3_000_000 + b'"}', 422),
    ],
    ids=["deep", "deep and closed", "a long number", "NaN", "Infinity", "1e999", "zeros", "a long text"],
)
def test_hostile_json_is_refused(address, body, status):
    got, answer = ask(address, body)
    assert (got, answer["error"]["code"]) == (status, "serve.bad_request")
    assert ask(address, GOOD)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b"{" + b",".join(b'"k%d":1' % number for number in range(250_000)) + b"}",
        b'{"data":[{' + b",".join(b'"k%d":1' % number for number in range(250_000)) + b"}]}",
        b'{"data":{"timestamp":[' + b",".join([b"{}"] * 300_000) + b'],"target":[]}}',
        b'{"quantile_levels":[' + b",".join([b"2"] * 300_000) + b"]}",
    ],
    ids=["rows", "fields", "fields of a row", "stamps", "levels"],
)
def test_a_million_mistakes_are_not_all_named(address, body):
    status, answer = ask(address, body)
    assert (status, answer["error"]["code"]) == (422, "serve.bad_request")
    further = answer["error"]["message"].partition(" and ")[2].partition(" more")[0]
    assert int(further or 0) < 10


def test_a_long_name_does_not_come_back(address):
    status, answer = ask(address, b'{"' + b"k" * 1_000_000 + b'": 1}')
    assert status == 422
    assert len(answer["error"]["message"]) < 1000


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/xml"])
def test_a_wrong_content_type_is_told(address, content_type):
    """The first is what curl sends without -H."""
    status, answer = tell(address, head(len(BODY), "Connection: close", content_type=content_type) + BODY)
    assert (status, answer["error"]["code"]) == (422, "serve.bad_request")
    assert "Content-Type: application/json" in answer["error"]["hint"]


def test_compressed_bodies_are_not_unpacked(address):
    bomb = gzip.compress(b"[" * 50_000_000)
    status, answer = tell(address, head(len(bomb), "Content-Encoding: gzip", "Connection: close") + bomb)
    assert (status, answer["error"]["code"]) == (400, "serve.bad_request")


def test_pipelined_requests_are_answered_in_order(address):
    bad = b'{"data": []}'
    with connect(address) as client:
        client.sendall(
            (head(len(BODY)) + BODY + head(len(bad)) + bad) * 5 + head(len(BODY), "Connection: close") + BODY
        )
        answer = read_all(client)
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 422] * 5 + [200]


def test_two_lengths_are_refused_and_nothing_is_smuggled(address):
    with connect(address) as client:
        client.sendall(b"POST /forecast HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}")
        assert read_all(client).startswith(b"HTTP/1.1 400")


def test_clients_that_leave_are_forgotten(address):
    for length in (len(BODY), len(BODY) + 1):  # with all of the request told, and without its end
        for _ in range(30):
            with connect(address) as client:
                client.sendall(head(length) + BODY)
    assert ask(address, GOOD)[0] == 200
    assert json.loads(read(address, "/health"))["waiting"] == 0


def test_what_nobody_waits_for_is_not_forecast(tiny_release):
    with running(tiny_release, linger_seconds=1.5) as address:
        clients = [connect(address) for _ in range(5)]
        for client in clients:
            client.sendall(head(len(BODY)) + BODY)
        while json.loads(read(address, "/health"))["waiting"] < 5:
            time.sleep(0.01)
        for client in clients[1:]:
            client.close()
        assert clients[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        clients[0].close()
        assert "tsar_batch_requests_sum 1.0" in read(address, "/metrics")
        assert ask(address, GOOD)[0] == 200


def test_three_hundred_idle_connections_keep_nobody_out(address):
    clients = [connect(address) for _ in range(300)]
    try:
        for client in clients[::2]:
            client.sendall(head(1000) + b"{")
        assert ask(address, GOOD)[0] == 200
    finally:
        for client in clients:
            client.close()


def test_a_slow_body_is_given_up(tiny_release):
    with running(tiny_release, body_seconds=0.5) as address, connect(address) as client:
        client.sendall(head(1000) + b"{")
        answer = read_all(client)  # the server closes: the rest of the body would be taken for a request
        text = read(address, "/metrics")
        assert ask(address, GOOD)[0] == 200
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "serve.too_slow"
    assert 'tsar_requests_total{status="408"} 1' in text


def test_open_bodies_are_counted_together(tiny_release):
    with running(tiny_release, max_held_bytes=100_000) as address:
        clients = [connect(address) for _ in range(3)]
        for client in clients:
            client.sendall(head(50_000) + b" " * 40_000)
        (refused,) = (answer for client in clients if (answer := peek(client)))
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"serve.busy" in refused
        for client in clients:
            client.close()
        while (told := ask(address, b" " * 90_000))[0] == 429:  # the server has yet to see that they left
            time.sleep(0.02)
        assert told[0] == 422
        assert [ask(address, b" " * 90_000)[0] for _ in range(5)] == [422] * 5  # what was answered counts no more


def peek(client: socket.socket) -> bytes:
    client.settimeout(1)
    try:
        return read_all(client)
    except TimeoutError:
        return b""
