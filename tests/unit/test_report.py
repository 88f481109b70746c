"""The report is one valid page with every section, whatever the table holds, and needs nothing but itself."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import tsar
from tsar import Forecaster
from tsar.baselines import SeasonalNaive
from tsar.errors import OptionError
from tsar.reporting.figures import MOST_POINTS, thin

SECTIONS = ["health", "forecast", "backtest", "calibration", "anomalies", "made"]
VOID = {"meta"}
MOST_BYTES = 3_000_000
pytestmark = pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")


class Page(HTMLParser):
    """Balance of the tags, ids, text and sections of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.text, self.tags = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def make_table(num_items=2, length=70, seed=0, names=None):
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=length, freq="D")
    parts = []
    for item in range(num_items):
        values = (item + 1) * (20 + 5 * np.sin(2 * np.pi * np.arange(length) / 7)) + rng.normal(0, 1, length)
        name = names[item] if names else f"item {item}"
        parts.append(pd.DataFrame({"item_id": name, "timestamp": days, "target": values}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def write(tmp_path, tiny_release):
    def run(df, forecaster=None, **options):
        forecaster = Forecaster(tiny_release, prediction_length=5) if forecaster is None else forecaster
        path = tsar.report(df, tmp_path / "report.html", forecaster, **{"windows": 2, **options})
        text = path.read_text()
        assert len(text) < MOST_BYTES
        assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\((?!#)", text)
        page = Page(text)
        assert len(page.ids) == len(set(page.ids))
        return text, page

    return run


def sections(page):
    return [name for name in page.ids if name in SECTIONS]


def test_a_page_has_every_section_and_a_figure_for_each_item(write):
    text, page = write(make_table(), title="Sales & more", command="tsar report sales.csv")
    assert sections(page) == SECTIONS
    assert page.tags.count("svg") >= 2 + 1 + 1  # forecasts, error by step, coverage
    for words in ("seasonal-naive", "theta", "MASE", "tsar report sales.csv", "prediction_length=5", tsar.__version__):
        assert words in page.text
    assert "<title>Sales &amp; more</title>" in text


def test_names_are_escaped(write, tiny_release):
    bad = "<script>alert('x')</script> & \"co\" $1$"
    table = make_table(names=[bad, "b"]).rename(columns={"item_id": "<b>", "target": "<i>t", "timestamp": "<u>"})
    forecaster = Forecaster(tiny_release, prediction_length=5, id_column="<b>", timestamp_column="<u>", target="<i>t")
    _, page = write(table, forecaster, title="</title><script>")
    assert bad in page.text
    assert not {"i", "u", "script"} & set(page.tags)


def test_one_short_series_has_a_forecast_and_says_why_there_is_no_backtest(write):
    table = make_table(1, 6)
    _, page = write(table)
    assert sections(page) == SECTIONS
    assert "too_short" in page.text
    assert "no item is long enough for one window" in page.text


def test_a_series_without_ids_and_integer_stamps(write, tiny_release):
    table = pd.DataFrame({"timestamp": np.arange(10, 90, 2), "target": np.arange(40.0) % 5})
    forecaster = Forecaster(tiny_release, prediction_length=4, id_column=None)
    _, page = write(table, forecaster)
    assert sections(page) == SECTIONS
    assert "From 10 to 88" in page.text
    assert "4 steps, from 90 to 96" in page.text


@pytest.mark.slow
def test_missing_values_and_rows_are_counted_and_drawn(write):
    table = make_table(3)
    table.loc[10:19, "target"] = np.nan
    table.loc[table["item_id"] == "item 2", "target"] = np.nan
    _, page = write(table.drop(index=range(100, 105)))
    assert sections(page) == SECTIONS
    assert "80 values of the table missing, rows missing in 1 item, 1 item without any value" in page.text
    assert "What was observed" in page.text
    assert "all_missing" in page.text
    assert "missing rows inserted" in page.text  # the warning stands on the page


@pytest.mark.slow
def test_of_many_items_some_are_drawn_and_the_rest_summed_up(write):
    table = make_table(30, 40)
    _, page = write(table, items=4, backtest_items=10, against=["seasonal-naive"])
    assert "for 10 of 30 items" in page.text
    assert "Not drawn: 26 other items" in page.text
    assert page.text.count("among the largest") == page.text.count("among the hardest to forecast") == 2
    assert "item 29among" in re.sub(r"\s", " ", page.text).replace(" among", "among")  # the largest


def test_a_zone_keeps_the_clock_on_the_wall(write):
    table = make_table(1)
    table["timestamp"] = table["timestamp"].dt.tz_localize("Europe/Paris")
    _, page = write(table)
    assert "2024-01-01" in page.text


@pytest.mark.slow
def test_a_baseline_is_reported_too_without_anomalies(write):
    _, page = write(make_table(), SeasonalNaive(prediction_length=3), against=["drift"])
    assert sections(page) == [name for name in SECTIONS if name != "anomalies"]
    assert "SeasonalNaive" in page.text


@pytest.mark.slow
def test_a_fitted_forecaster_and_future_covariates(write, tiny_release):
    table = make_table(2, 80).assign(promotion=lambda df: df.index % 3)
    past, future = table[table["timestamp"] < "2024-03-16"], table[table["timestamp"] >= "2024-03-16"]
    ahead = future[["item_id", "timestamp", "promotion"]]
    forecaster = Forecaster(tiny_release, prediction_length=5, future_covariates=["promotion"]).fit(past)
    before = dict(vars(forecaster))
    _, page = write(past, forecaster, future_df=ahead, against=["seasonal-naive"])
    assert vars(forecaster) == before
    assert "future_covariates=['promotion']" in page.text


@pytest.mark.parametrize("option", ["items", "backtest_items"])
def test_bad_numbers_are_refused_before_the_work(option, tmp_path):
    with pytest.raises(OptionError) as caught:
        tsar.report(make_table(), tmp_path / "r.html", **{option: 0})
    assert caught.value.code == "option.invalid"
    assert not (tmp_path / "r.html").exists()


@pytest.mark.slow
def test_warnings_are_given_once_as_well(tmp_path, tiny_release):
    with pytest.warns(tsar.errors.TsarWarning) as caught:
        table = make_table().drop(index=[20, 21])
        tsar.report(table, tmp_path / "r.html", Forecaster(tiny_release, prediction_length=5), windows=2)
    assert len([one for one in caught if "missing rows" in str(one.message)]) == 1


def test_thinning_keeps_extremes_and_what_is_flagged():
    values = np.sin(np.arange(20_000) / 50)
    values[[777, 15_000]] = 9, -9
    always = np.zeros(20_000, dtype=bool)
    always[4321] = True
    kept = thin(values, always)
    assert len(kept) <= MOST_POINTS + 1
    assert {777, 15_000, 4321} <= set(kept)
