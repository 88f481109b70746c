"""The documentation builds without a warning, holds every page, model and public name, and needs no network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import tsar

pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")
pytest.importorskip("furo")
pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Reader(HTMLParser):
    """Collects what a page can be linked at, where its links lead, and what it loads."""

    def __init__(self):
        super().__init__()
        self.places, self.links, self.loaded = set(), set(), set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        elif tag in ("script", "img", "iframe", "link") and given.get("rel") not in ("index", "search", "next", "prev"):
            self.loaded |= {given[name] for name in ("src", "href") if given.get(name)}


@pytest.fixture(scope="module")
def pages(site):
    """What each page holds, by its path."""
    found = {}
    for path in site.rglob("*.html"):
        found[path.resolve()] = reader = Reader()
        reader.feed(path.read_text())
    return found


def test_every_link_within_the_site_leads_somewhere(pages):
    broken = []
    for page, reader in pages.items():
        for link in reader.links:
            parts = urlsplit(link)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            is_broken = target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].places
            if not parts.scheme and (not target.exists() or is_broken):
                broken.append(f"{page.name}: {link}")
    assert broken == []
    assert sum(len(reader.links) for reader in pages.values()) > 1000


def test_no_page_loads_anything_from_the_network(pages):
    assert {address for reader in pages.values() for address in reader.loaded if urlsplit(address).scheme} == set()


def test_search_and_formulas_work_offline(site):
    assert "conformal" in (site / "searchindex.js").read_text()
    assert (site / "benchmark.html").read_text().count("<math") > 10


def test_learned_attributes_keep_their_underscore(site):
    assert "<strong>covariate_effect_</strong>" in (site / "_generated" / "api.html").read_text()


def test_every_page_is_in_the_sidebar(site):
    index = (site / "index.html").read_text()
    sidebar = index[index.index('class="sidebar-tree"') : index.index("</aside>")]
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert {page for page in pages if f'href="{page}.html"' not in sidebar} == set()


def test_every_public_name_is_in_the_api(site):
    api = (site / "_generated" / "api.html").read_text()
    names = set(tsar.__all__) - {"__version__", "errors"}
    assert {name for name in names if f'id="tsar.{name}"' not in api} == set()


def test_every_model_has_its_card(site):
    models = (site / "_generated" / "models.html").read_text()
    assert {one.name for one in tsar.list_models() if f'id="{one.name}"' not in models} == set()


def test_every_error_code_can_be_linked(site):
    found = set(re.findall(r'id="([a-z_-]+)"', (site / "errors.html").read_text()))
    assert {code for code in tsar.errors.CODES if re.sub("[._]", "-", code) not in found} == set()
