"""The documentation builds without a warning, and holds every page, model and public name."""

import re
import subprocess
import sys
from pathlib import Path

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
