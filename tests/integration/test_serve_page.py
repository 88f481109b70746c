"""The page of the server in a real browser: a CSV in, a drawn forecast out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from tests.serving_client import make_table, running

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell", "/tmp/chromium")
CHROMIUM = os.environ.get("TSAR_CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; name one with TSAR_CHROMIUM"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tiny_release):
    with running(tiny_release) as address:
        yield address


@pytest.fixture(params=["light", "dark"])
def page(browser, address, request):
    """The page, which fails the test for any message on the console and any request to elsewhere."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    page.goto(address)
    yield page
    if folder := os.environ.get("TSAR_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{request.node.name}.png", full_page=True)
    context.close()
    assert [text for text in said if "422" not in text] == []  # the browser logs refused requests
    assert [url for url in asked if not url.startswith((address, "blob:"))] == []


def write(folder, table, **options):
    table.to_csv(folder / "my data.csv", index=False, **options)
    return folder / "my data.csv"


def choose(page, path):
    """Choose a file: the columns that the page took it to have."""
    page.set_input_files("#file", path)
    page.wait_for_selector("#options:not([hidden])")
    return [page.input_value(f"#{one}") for one in ("id", "stamp", "target")]


def forecast(page):
    """Press the button: the request and its answer."""
    with page.expect_response("**/forecast") as told:
        page.click("#go")
    page.wait_for_selector("#picture svg")
    return told.value.request.post_data_json["data"], told.value.json()


def test_forecast_of_a_file_is_drawn_and_saved(page, tmp_path):
    table = make_table(["north", 'the "south"'], periods=200)
    table.loc[180:182, "target"] = None
    renamed = table.rename(columns={"item_id": "store", "timestamp": "date", "target": "sales"})
    assert choose(page, write(tmp_path, renamed, sep=";")) == ["store", "date", "sales"]
    page.fill("#steps", "36")
    page.click("#go")
    page.wait_for_selector("#picture svg")
    assert page.locator("#picture polygon.band").count() == 2
    assert page.locator("#picture polyline.past").count() >= 1
    page.select_option("#item", "1")
    assert page.get_attribute("#picture svg", "aria-label") == 'History and forecast of the "south"'
    with page.expect_download() as download:
        page.click("#save")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "item_id,timestamp,predictions,0.1,0.25,0.5,0.75,0.9"
    assert len(lines) == 1 + 2 * 36
    assert lines[-1].startswith('"the ""south""",2024-01-10T19:00:00,')
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_mistake_is_told_with_its_code(page, tmp_path):
    table = make_table(["a"])
    table.loc[5, "timestamp"] = table.loc[4, "timestamp"]
    page.set_input_files("#file", write(tmp_path, table))
    page.click("#go")
    page.wait_for_selector("#wrong:not([hidden])")
    assert "frame.duplicate_timestamp" in page.inner_text("#wrong")
    assert page.is_hidden("#result")


def test_a_broken_file_is_told(page, tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text("date,y\n2024-01-01,1\n2024-01-02\n")
    page.set_input_files("#file", path)
    page.wait_for_selector("#wrong:not([hidden])")
    assert page.inner_text("#wrong") == "Row 3 has 1 cells, the first line 2."
    path.write_bytes(b"PK\x03\x04 and so on")
    page.set_input_files("#file", path)
    page.wait_for_selector("#wrong:has-text('Excel')")
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    page.set_input_files("#file", path)
    page.wait_for_selector("#wrong:has-text('no text file')")


STAMPS = pd.date_range("2024-01-01", periods=60, freq="D")


@pytest.mark.parametrize(
    ("written", "freq"),
    [
        ("%d.%m.%Y", "D"), ("%m/%d/%Y", "D"), ("%d/%m/%y", "D"), ("%Y%m%d", "D"), ("%d-%b-%y", "D"), ("%B %d, %Y", "D"),
        ("%d.%m.%Y %H:%M", "h"), ("%m/%d/%Y %I:%M %p", "h"), ("%b %Y", "MS"), ("%m/%Y", "MS"), ("%Y-%m", "MS"),
    ],
)  # fmt: skip
def test_dates_as_people_write_them(page, tmp_path, written, freq):
    stamps = pd.date_range("2024-01-01", periods=60, freq=freq)
    table = pd.DataFrame({"when": stamps.strftime(written), "kW": np.arange(60) % 7})
    assert choose(page, write(tmp_path, table)) == ["", "when", "kW"]
    sent, answer = forecast(page)
    assert pd.to_datetime(pd.Series(sent["timestamp"])).tolist() == stamps.tolist()
    assert answer["freq"] == freq


def test_quarters(page, tmp_path):
    quarters = pd.period_range("1990Q1", periods=40, freq="Q")
    assert choose(page, write(tmp_path, pd.DataFrame({"q": quarters.astype(str), "v": range(40)}))) == ["", "q", "v"]
    sent, _ = forecast(page)
    assert pd.to_datetime(pd.Series(sent["timestamp"])).tolist() == quarters.to_timestamp().tolist()


def test_day_and_month_are_asked_for_where_they_could_be_either(page, tmp_path):
    table = pd.DataFrame({"day": [f"0{day}/0{month}/2024" for month in (3, 4) for day in range(1, 8)], "y": range(14)})
    choose(page, write(tmp_path, table))
    assert page.is_visible("#order")
    assert page.input_value("#day") == "first"
    sent, _ = forecast(page)
    assert sent["timestamp"][1] == "2024-03-02T00:00:00"
    page.select_option("#day", "second")
    page.select_option("#target", "y")
    with page.expect_response("**/forecast") as told:
        page.click("#go")
    assert told.value.request.post_data_json["data"]["timestamp"][1] == "2024-02-03T00:00:00"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_decimal_commas_and_encodings(page, tmp_path, encoding):
    values = [f"1.{100 + row},5" for row in range(60)]
    table = pd.DataFrame({"Datum": STAMPS.strftime("%d.%m.%Y"), "Filiale": "Köln", "Umsatz": values})
    assert choose(page, write(tmp_path, table, sep=";", encoding=encoding)) == ["Filiale", "Datum", "Umsatz"]
    sent, answer = forecast(page)
    assert sent["target"] == [1100.5 + row for row in range(60)]
    assert answer["items"][0]["item_id"] == "Köln"


def test_a_comma_that_could_be_either_is_told(page, tmp_path):
    choose(page, write(tmp_path, pd.DataFrame({"date": STAMPS, "y": [f"1,{100 + row}" for row in range(60)]})))
    page.click("#go")
    page.wait_for_selector("#wrong:has-text('1,100 a decimal one')")


def test_a_wide_table_is_a_series_per_column(page, tmp_path):
    table = pd.DataFrame({"date": STAMPS, "north": range(60), "south": range(100, 160), "note": ""})
    assert choose(page, write(tmp_path, table))[2] == "each column"
    sent, answer = forecast(page)
    assert [item["item_id"] for item in answer["items"]] == ["north", "south"]
    assert sent["target"] == [*range(60), *range(100, 160)]


def test_the_forecast_follows_the_history_in_every_time_zone(browser, address, tmp_path):
    """Dates without a time are read as UTC by a browser, date-times as local: both must stand on one axis."""
    context = browser.new_context(timezone_id="Australia/Sydney")
    page = context.new_page()
    page.goto(address)
    choose(page, write(tmp_path, pd.DataFrame({"date": STAMPS.strftime("%Y-%m-%d"), "y": np.arange(60) % 7})))
    forecast(page)
    history, median = (page.get_attribute(f"#picture polyline.{one}", "points").split() for one in ("past", "median"))
    places = [float(point.split(",")[0]) for point in [*history, *median[1:]]]
    np.testing.assert_allclose(np.diff(places), np.diff(places).mean(), atol=0.11)
    context.close()


def test_it_fits_a_telephone(page, tmp_path):
    page.set_viewport_size({"width": 360, "height": 740})
    page.set_input_files("#file", write(tmp_path, make_table(["a"])))
    page.click("#go")
    page.wait_for_selector("#picture svg")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
