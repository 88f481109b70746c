"""A slice of ``pretrain/fuzz_frames.py``: generated frames end in a coded error or a right answer."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "pretrain" / "fuzz_frames.py"


@pytest.fixture(scope="module")
def fuzz_frames():
    spec = importlib.util.spec_from_file_location("fuzz_frames", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("first", "count", "sample"), [(0, 100, 0), pytest.param(1000, 2000, 100, marks=pytest.mark.slow)]
)
def test_a_coded_error_or_a_right_answer(fuzz_frames, first, count, sample, record_property):
    counts, failures = fuzz_frames.fuzz(1, range(first, first + count), sample)
    assert failures == []
    outcomes = {outcome: number for (kind, _, outcome), number in counts.items() if kind == "all"}
    assert outcomes["answer"] > count / 3, "most frames are answered"
    assert len(outcomes) > 5, "and many are refused, for many reasons"
    record_property("frames fuzzed", count)


def test_the_checks_notice_a_wrong_answer(fuzz_frames, monkeypatch):
    monkeypatch.setattr(fuzz_frames.Forecaster, "predict", lambda self, df=None: self.released_decoder() and df)
    _, failures = fuzz_frames.fuzz(1, range(40))
    assert len(failures) > 20
