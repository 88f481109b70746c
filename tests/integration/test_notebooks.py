"""The notebooks run from top to bottom, and are stored without outputs."""

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 20_000


def cells(path, kind="code"):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_and_has_no_outputs(path):
    assert path.stat().st_size < MOST_BYTES
    assert [cell for cell in cells(path) if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the notebook machinery, not of tsar: the cells run in their own process
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs, "the last cell shows something"
    CHECKS[path.stem](notebook)


def text_of(notebook) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


def check_quickstart(notebook):
    assert "inside the 80 % band" in text_of(notebook)
    kinds = [
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for one in cell.outputs
        for kind in one.get("data", {})
    ]
    assert "image/png" in kinds


def check_covariates(notebook):
    text = text_of(notebook)
    assert "of the error goes" in text
    assert "seasonal-naive" in text


CHECKS = {"quickstart": check_quickstart, "covariates_and_backtest": check_covariates}
