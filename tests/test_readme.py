"""What the README and the docs show runs, as it stands there."""

import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from tsar.cli import make_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_README_LINES = 150


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def by_name(page: Path) -> str:
    return page.name


def run_blocks(page: Path, names: dict) -> None:
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


QUICKSTART = ROOT / "docs" / "quickstart.md"
SELF_CONTAINED = {"README.md", "quickstart.md"}  # the other pages go on from the names of the quickstart
QUICK = {"README.md", "quickstart.md", "your_data.md", "backtesting.md", "errors.md"}
NEEDS = {"interop.md": ["sktime"], "export.md": ["onnx", "onnxscript", "onnxruntime"]}  # packages of extras
WITH_PYTHON = [
    pytest.param(page, marks=() if page.name in QUICK else pytest.mark.slow) for page in PAGES if blocks(page, "python")
]
COMMANDS = sorted({line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()})


@pytest.fixture
def registries():
    """The registries as they were, after a page has put parts of its own into them."""
    from tsar.heads import HEADS
    from tsar.model.blocks import BLOCKS, FEED_FORWARDS
    from tsar.tokenizers import TOKENIZERS
    from tsar.training.objectives import OBJECTIVES
    from tsar.training.synth import FAMILIES

    with ExitStack() as stack:
        for registry in (HEADS, BLOCKS, FEED_FORWARDS, TOKENIZERS, OBJECTIVES, FAMILIES):
            stack.enter_context(patch.dict(registry))
        yield


@pytest.mark.usefixtures("registries")
@pytest.mark.filterwarnings("ignore:Using `json`-module:UserWarning")  # GluonTS without orjson
@pytest.mark.filterwarnings("ignore:The default of config ``remember_data``:FutureWarning")  # sktime 1.2
@pytest.mark.parametrize("page", WITH_PYTHON, ids=by_name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    for module in NEEDS.get(page.name, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    names = {}
    if page.name not in SELF_CONTAINED:
        run_blocks(QUICKSTART, names)
    run_blocks(page, names)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("tsar ")])
def test_commands_are_understood(command):
    options = make_parser().parse_args(shlex.split(command)[1:])
    recipe = getattr(options, "recipe", None)
    assert recipe is None or (ROOT / recipe).is_file() or (ROOT / "pretrain" / "recipes" / f"{recipe}.yaml").is_file()


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("./scripts/")])
def test_scripts_are_there(command):
    script = ROOT / shlex.split(command)[0]
    assert script.is_file()
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < MAX_README_LINES
