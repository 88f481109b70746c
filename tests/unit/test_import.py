"""`import tsar` is free, and every public name is there."""

import subprocess
import sys

import pytest

import tsar

ROUNDS = 3  # the fastest counts: a busy machine slows single rounds


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("module", ["tsar", "tsar.cli"])
def test_import_brings_neither_torch_nor_pandas(module):
    assert run_python(f"import {module}, sys; print({{'torch', 'pandas', 'numpy'}} & set(sys.modules))") == "set()"


@pytest.mark.parametrize(
    "module", ["tsar.errors", "tsar.types", "tsar.logging", "tsar.freq", "tsar.frame", "tsar.registry"]
)
def test_module_never_brings_torch(module):
    assert run_python(f"import {module}, sys; print('torch' in sys.modules)") == "False"


def test_import_is_quick():
    code = "import time; t = time.perf_counter(); import tsar; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(ROUNDS)) < 0.3


@pytest.mark.parametrize("name", tsar.__all__)
def test_public_name_resolves(name):
    assert getattr(tsar, name) is not None


def test_public_names_are_listed():
    assert dir(tsar) == sorted(tsar.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        _ = tsar.forcast
