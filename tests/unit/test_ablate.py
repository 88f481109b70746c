"""Which variants `pretrain/ablate.py` runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PRETRAIN = Path(__file__).parents[2] / "pretrain"
TEXT = """
base                      # as it is
patch model.patch_length=32 'optim.lr=1e-3'
seed-2 seed=2
"""


@pytest.fixture(scope="module")
def ablate():
    sys.path.insert(0, str(PRETRAIN))  # scripts import each other by name
    try:
        spec = importlib.util.spec_from_file_location("ablate", PRETRAIN / "ablate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PRETRAIN))
    return module


def test_variants_without_a_result_wait_in_order(ablate):
    done = [{"name": "patch", "overrides": ["model.patch_length=32", "optim.lr=1e-3"]}]
    assert ablate.waiting_variants(TEXT, done) == [("base", []), ("seed-2", ["seed=2"])]


@pytest.mark.parametrize(
    ("text", "done"),
    [
        (TEXT, [{"name": "patch", "overrides": ["model.patch_length=8"]}]),
        (TEXT, [{"name": "base", "overrides": ["seed=3"]}]),
        (TEXT + "base seed=3", []),
    ],
)
def test_a_name_of_two_variants_is_refused(ablate, text, done):
    with pytest.raises(SystemExit, match="stands for two variants"):
        ablate.waiting_variants(text, done)
