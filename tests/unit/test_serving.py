"""The server gives the numbers of `Forecaster`, refuses by code, and keeps requests apart."""

from __future__ import annotations

import json
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import tsar.decode.panel
from tests.serving_client import as_columns, ask, make_table, read, running
from tsar import Forecaster
from tsar.errors import OptionError
from tsar.serving import Limits, make_app
from tsar.serving.schemas import ForecastRequest
from tsar.serving.work import Worker

LEVELS = [0.1, 0.5, 0.95]


@pytest.fixture(scope="module")
def address(tiny_release):
    with running(tiny_release, linger_seconds=0.05) as address:
        yield address


@pytest.fixture
def table():
    return make_table(["a", "b"])


def frame_of(answer: dict) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"item_id": item["item_id"], "timestamp": item["timestamp"], "predictions": item["predictions"]})
        .assign(**item["quantiles"])
        for item in answer["items"]
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def expected(table, model, *, prediction_length=12, **options) -> pd.DataFrame:
    forecaster = Forecaster(model, prediction_length=prediction_length, quantile_levels=LEVELS, **options)
    return forecaster.fit(table).predict().drop(columns="target_name")


def request_of(table, **options) -> dict:
    return {"data": as_columns(table), "prediction_length": 12, "quantile_levels": LEVELS, **options}


def assert_same(answer: dict, frame: pd.DataFrame):
    got = frame_of(answer)
    got["timestamp"] = pd.to_datetime(got["timestamp"]).astype(frame["timestamp"].dtype)
    pd.testing.assert_frame_equal(got, frame, rtol=1e-5)


def test_columns_and_records_give_what_predict_gives(address, table, tiny_release):
    want = expected(table, tiny_release)
    status, answer = ask(address, request_of(table))
    assert status == 200
    assert (answer["freq"], answer["prediction_length"], answer["warnings"]) == ("h", 12, [])
    assert_same(answer, want)
    records = json.loads(table.assign(timestamp=table["timestamp"].astype(str)).to_json(orient="records"))
    assert_same(ask(address, {**request_of(table), "data": records})[1], want)


def test_constraints_freq_and_the_default_horizon(address, table, tiny_release):
    constraints = {"lower": 45.0, "upper": 60.0, "integer": True, "closed_hours": [3]}
    status, answer = ask(address, request_of(table, constraints=constraints, freq="h", prediction_length=None))
    assert status == 200
    assert_same(answer, expected(table, tiny_release, constraints=constraints, prediction_length=None))
    assert answer["prediction_length"] == 24


def test_integer_stamps_one_series_and_missing_values(address):
    data = {"timestamp": list(range(40)), "target": [None if i == 7 else float(i % 5) for i in range(40)]}
    status, answer = ask(address, {"data": data, "prediction_length": 3})
    assert status == 200
    (item,) = answer["items"]
    assert item["timestamp"] == [40, 41, 42]
    assert answer["freq"] is None


def test_what_was_repaired_is_told_and_unknown_is_null(address, table):
    table.loc[table["item_id"] == "b", "target"] = np.nan
    status, answer = ask(address, request_of(table.drop(index=[10, 11])))
    assert status == 200
    assert any("rows" in text for text in answer["warnings"])
    assert any("'b'" in text for text in answer["warnings"])
    assert set(answer["items"][1]["predictions"]) == {None}
    assert None not in answer["items"][0]["predictions"]


def test_errors_carry_code_items_and_hint(address, table):
    status, answer = ask(address, request_of(pd.concat([table, table.tail(1)])))
    assert status == 422
    assert answer["error"]["code"] == "frame.duplicate_timestamp"
    assert answer["error"]["item_ids"] == ["b"]
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"freq": "fortnight"}, 422, "frequency.unknown_alias"),
        ({"quantile_levels": [0.5, 0.5]}, 422, "option.quantile_level"),
        ({"quantile_levels": [1.5]}, 422, "serve.bad_request"),
        ({"prediction_length": 0}, 422, "serve.bad_request"),
        ({"prediction_length": 10**30}, 413, "serve.too_large"),
        ({"prediction_lenght": 3}, 422, "serve.bad_request"),
        ({"prediction_length": 5000}, 413, "serve.too_large"),
        ({"data": []}, 422, "serve.bad_request"),
        ({"data": {"timestamp": [1, 2], "target": [1.0]}}, 422, "serve.bad_request"),
        ({"data": {"timestamp": [1, "2"], "target": [1.0, 2.0]}}, 422, "frame.bad_timestamp"),
        ({"data": {"item_id": [1, "2"], "timestamp": [1, 2], "target": [1.0, 2.0]}}, 422, "frame.bad_id"),
        ({"data": {"timestamp": ["\ud800"], "target": [1.0]}}, 422, "serve.bad_request"),
        ({"constraints": {"lower": 5.0, "upper": 1.0}}, 422, "option.invalid"),
    ],
)
def test_what_cannot_be_used_is_refused(address, table, change, status, code):
    got, answer = ask(address, {**request_of(table), **change})
    assert (got, answer["error"]["code"]) == (status, code)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"data": NaN}', b"[[[[", b"null"])
def test_bodies_that_are_no_request(address, body):
    status, answer = ask(address, body)
    assert (status, answer["error"]["code"]) == (422, "serve.bad_request")


def test_other_addresses_are_told_in_the_same_form(address):
    assert ask(address, path="/nowhere")[0] == 404
    status, answer = ask(address, path="/forecast")
    assert (status, answer["error"]["code"]) == (405, "serve.bad_request")


@pytest.fixture(scope="module")
def small(tiny_release):
    limits = {"max_series": 2, "max_points": 300, "max_answers": 100, "max_body_bytes": 20_000}
    with running(tiny_release, **limits) as address:
        yield address


def test_limits_hold(small):
    def code(body):
        status, answer = ask(small, body)
        return status, answer["error"]["code"], answer["error"]["message"].split(",")[0]

    three = make_table("abc", periods=5)
    assert code(request_of(three)) == (413, "serve.too_large", "3 series")
    assert code(request_of(make_table("a", periods=301)))[:2] == (413, "serve.too_large")
    assert code(request_of(make_table("a"), prediction_length=34)) == (
        413,
        "serve.too_large",
        "102 numbers in the answer",
    )
    sparse = make_table("a", periods=3, freq="h")
    sparse.loc[2, "timestamp"] += pd.Timedelta(days=30)
    assert code(request_of(sparse, freq="h"))[1:] == ("serve.too_large", "723 points with the gaps closed")
    assert code(b" " * 20_001)[:2] == (413, "serve.too_large")
    assert code(b" " * 200_000)[:2] == (413, "serve.too_large")


def test_requests_are_forecast_together_and_kept_apart(address, tiny_release):
    """Of 16 requests at once, with ids that occur in all of them, every third one is wrong."""
    tables = [make_table(["x", "y"], seed=seed) for seed in range(16)]
    for table in tables[::3]:
        table.loc[5, "timestamp"] = table.loc[6, "timestamp"]
    before = batches(address)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda table: ask(address, request_of(table)), tables))
    for place, (status, answer) in enumerate(answers):
        if place % 3 == 0:
            assert (status, answer["error"]["code"]) == (422, "frame.duplicate_timestamp")
        else:
            assert_same(answer, expected(tables[place], tiny_release))
    assert batches(address) - before < 16


def batches(address) -> int:
    (line,) = (line for line in read(address, "/metrics").splitlines() if line.startswith("tsar_batch_requests_count"))
    return int(line.split()[1])


def test_a_batch_that_fails_is_forecast_one_by_one(tiny_release):
    """A bound that only one of two panels breaks: its error is its own."""
    worker = Worker(tiny_release)
    requests = [ForecastRequest.model_validate(request_of(make_table(["a"], seed=seed))) for seed in range(2)]
    whole = worker._quantiles

    def fails_together(works):
        if len(works) > 1:
            raise MemoryError("too many at once")
        return whole(works)

    worker._quantiles = fails_together
    assert [answer.items[0].item_id for answer in worker.answer(requests, Limits())] == ["a", "a"]


def test_too_little_memory_is_no_mistake_of_the_request(address, table, monkeypatch):
    def does_not_fit(*_):
        torch.empty(2**50)  # what torch raises where memory ends

    monkeypatch.setattr(tsar.decode.panel, "decode", does_not_fit)
    status, answer = ask(address, request_of(table))
    assert (status, answer["error"]["code"]) == (503, "resource.memory")


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready"])
def test_head_answers_as_get_does_without_a_body(address, path):
    with urllib.request.urlopen(urllib.request.Request(address + path, method="HEAD"), timeout=60) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 0
        assert response.read() == b""


def test_workers_in_many_threads_tell_each_request_its_own_notes(tiny_release):
    before = list(warnings.filters)
    requests = []
    for gap in range(8):
        table = make_table(["a"], seed=gap)
        requests.append(ForecastRequest.model_validate(request_of(table.drop(index=range(10, 10 + gap)))))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda request: Worker(tiny_release).answer([request], Limits())[0], 5 * requests))
    for place, answer in enumerate(answers):
        gap = place % 8
        assert [note.split(",")[0] for note in answer.warnings] == [f"missing rows inserted: {gap}"] * bool(gap)
    assert warnings.filters == before


def test_health_metrics_and_description(address, table):
    ask(address, request_of(table))
    ask(address, b"{")
    state = json.loads(read(address, "/health/ready"))
    assert (state["status"], state["ready"], state["waiting"]) == ("ok", True, 0)
    text = read(address, "/metrics")
    for line in (
        'tsar_requests_total{status="422"}',
        'tsar_errors_total{code="serve.bad_request"}',
        "tsar_series_total",
    ):
        assert line in text


def test_prometheus_reads_the_metrics(address, table):
    parser = pytest.importorskip("prometheus_client.parser")
    ask(address, request_of(table))
    text = read(address, "/metrics")
    families = {family.name: family.type for family in parser.text_string_to_metric_families(text)}
    assert families["tsar_request_seconds"] == "histogram"


def test_the_description_is_exact(address):
    schema = json.loads(read(address, "/openapi.json"))
    assert set(schema["paths"]) == {"/forecast", "/health", "/health/ready", "/metrics"}
    answers = schema["paths"]["/forecast"]["post"]["responses"]
    assert set(answers) == {"200", "400", "408", "413", "422", "429", "500", "503"} | {"400"}
    parts = schema["components"]["schemas"]
    assert parts["ForecastRequest"]["required"] == ["data"]
    assert parts["ForecastRequest"]["additionalProperties"] is False


def test_the_page_loads_nothing_from_elsewhere(address):
    page = read(address, "/")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_limits_are_checked(tiny_release):
    with pytest.raises(OptionError, match="max_series must be at least 1"):
        make_app(tiny_release, limits=Limits(max_series=0))
