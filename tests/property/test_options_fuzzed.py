"""A slice of ``pretrain/fuzz_options.py``: combinations of options end in a coded error or a sound answer."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "pretrain"


@pytest.fixture(scope="module")
def fuzz_options():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)  # it takes the decoder from its neighbour
        spec = importlib.util.spec_from_file_location("fuzz_options", FOLDER / "fuzz_options.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclass looks there
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize(("first", "count"), [(0, 25), pytest.param(1000, 300, marks=pytest.mark.slow)])
def test_a_coded_error_or_a_sound_answer(fuzz_options, first, count):
    counts, failures = fuzz_options.fuzz(0, range(first, first + count))
    assert failures == []
    assert counts["answer"] > count / 2, "most combinations are answered"


def test_the_checks_notice_a_wrong_answer(fuzz_options, monkeypatch):
    predict = fuzz_options.Forecaster.predict

    def later(self, *args, **kwargs):
        self.asked_ = True
        return predict(self, *args, **kwargs)

    monkeypatch.setattr(fuzz_options.Forecaster, "predict", later)
    counts, failures = fuzz_options.fuzz(0, range(5))
    assert counts["answer"] == 0
    assert len(failures) == 5
