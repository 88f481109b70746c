"""The page of the server in a real browser: a CSV in, a drawn forecast out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


def test_forecast_of_a_file_is_drawn_and_saved(page, tmp_path):
    table = make_table(["north", 'the "south"'], periods=200)
    table.loc[180:182, "target"] = None
    renamed = table.rename(columns={"item_id": "store", "timestamp": "date", "target": "sales"})
    page.set_input_files("#file", write(tmp_path, renamed, sep=";"))
    assert [page.input_value(f"#{one}") for one in ("id", "stamp", "target")] == ["store", "date", "sales"]
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


def test_it_fits_a_telephone(page, tmp_path):
    page.set_viewport_size({"width": 360, "height": 740})
    page.set_input_files("#file", write(tmp_path, make_table(["a"])))
    page.click("#go")
    page.wait_for_selector("#picture svg")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
