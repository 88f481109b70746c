"""In CI no judge is missing in silence: what `tests/conftest.py` makes of skips, and the counts that it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass\n"
TESTS = """
import pytest

def test_judged(): pytest.importorskip("no_such_library")
def test_other(): pytest.skip("no mounts here")

@pytest.mark.parametrize("kills", [30, 2])
def test_counts(kills, record_property): record_property("kills", kills)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("required", "workers"), [("", 0), ("1", 1)])
def test_a_missing_library_is_a_failure_in_ci_only(tmp_path, required, workers):
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "test_all.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", str(workers)]
    outside = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}  # as terminals
    environment = {**outside, "PYTHONPATH": str(ROOT), "TSAR_REQUIRE_JUDGES": required}
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    printed = done.stdout
    assert done.returncode == (1 if required else 0), printed
    assert ("2 passed, 1 skipped, 1 error" if required else "2 passed, 3 skipped") in printed.replace("1 failed, ", "")
    assert printed.count("TSAR_REQUIRE_JUDGES is set") == (2 if required else 0)
    assert "       32 kills\n" in printed
