"""Errors carry a known code, their items and a hint, and the documentation knows every code."""

from __future__ import annotations

import ast
import pickle
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster, errors
from tsar.errors import CODES, FrameError, TsarError, TsarWarning

ROOT = Path(__file__).parent.parent.parent
BUILTINS = {
    "FrameError": {ValueError},
    "FrequencyError": {ValueError},
    "CovariateError": {ValueError},
    "OptionError": {ValueError},
    "NotFittedError": {ValueError, AttributeError},
    "ModelError": {ValueError},
    "ReleaseError": {OSError},
    "RecipeError": {ValueError},
    "CorpusError": {ValueError},
    "CheckpointError": {OSError},
    "TrainingError": {RuntimeError},
    "BenchmarkError": {ValueError},
    "MissingDependencyError": {ImportError},
    "ResourceError": {RuntimeError},
    "ServeError": {RuntimeError},
}
CLASSES = [getattr(errors, name) for name in BUILTINS]


def documented_codes() -> dict[str, str]:
    """Code -> text of its paragraph in docs/errors.md."""
    parts = re.split(r"^## (\S+)$", (ROOT / "docs" / "errors.md").read_text(), flags=re.MULTILINE)[1:]
    codes = parts[0::2]
    assert len(codes) == len(set(codes)), "a code is documented twice"
    return dict(zip(codes, parts[1::2], strict=True))


def raised_codes() -> set[str]:
    """Every literal ``code="..."`` in the source."""
    calls = (
        node
        for path in (ROOT / "tsar").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    )
    keywords = (keyword.value for call in calls for keyword in call.keywords if keyword.arg == "code")
    return {value.value for value in keywords if isinstance(value, ast.Constant)}


def test_documentation_and_codes_agree():
    assert set(documented_codes()) == set(CODES)


def test_every_paragraph_has_a_meaning_an_example_and_a_remedy():
    thin = [
        code for code, text in documented_codes().items() if not re.search(r"\w.*\n\n> .*\w.*\n\n\S", text, re.DOTALL)
    ]
    assert thin == []


def raising_classes() -> dict[str, set[str]]:
    """Family of codes -> classes that the source raises with them."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tsar").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            given = node.keywords if isinstance(node, ast.Call) else []
            codes = [one.value.value for one in given if one.arg == "code" and isinstance(one.value, ast.Constant)]
            for code in codes if codes and ast.unparse(node.func) != "validate_count" else ():  # hands it on
                found.setdefault(code.split(".")[0], set()).add(ast.unparse(node.func))
    return found


def test_the_table_of_families_names_the_class_and_its_builtins():
    rows = re.findall(r"^\| (.+?) \| `(\w+)` \| (.+?) \| \[", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    documented = {family: kind for families, kind, _ in rows for family in re.findall(r"`(\w+)\.…`", families)}
    assert {family: {kind} for family, kind in documented.items()} == raising_classes()
    assert set(documented) == {code.split(".")[0] for code in CODES}
    for _, kind, builtins in rows:
        assert set(re.findall(r"`(\w+)`", builtins)) == {one.__name__ for one in BUILTINS[kind]}


def test_codes_are_spelled_alike():
    assert [code for code in CODES if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", code)] == []


def test_source_raises_known_codes_only():
    assert raised_codes() <= set(CODES)


def test_every_class_is_tested_here():
    assert set(TsarError.__subclasses__()) == set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_derive_from_the_builtin_that_fits(kind):
    assert BUILTINS[kind.__name__] <= set(kind.__mro__)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickling(kind):
    error = kind("it broke", code="frame.empty", item_ids=["a", 7], hint="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.code, copy.item_ids, copy.hint) == (str(error), "frame.empty", ("a", 7), "mend it")


def test_message_names_items_hint_and_code():
    error = FrameError("it broke.", code="frame.empty", item_ids=list("abcde"), hint="mend it.")
    assert str(error) == "it broke (items 'a', 'b', 'c' and 2 more). Hint: mend it. [frame.empty]"


def test_message_without_items_and_hint():
    assert str(FrameError("it broke", code="frame.empty")) == "it broke. [frame.empty]"


def test_unknown_code_is_refused():
    with pytest.raises(KeyError, match=re.escape("frame.nonsense")):
        FrameError("it broke", code="frame.nonsense")


def test_warning_is_a_user_warning():
    assert issubclass(TsarWarning, UserWarning)


def test_quiet_is_of_one_thread_and_leaves_the_filters_of_the_process_alone():
    filters, seen, inside = list(warnings.filters), [], threading.Barrier(2)

    def loud() -> None:
        inside.wait()
        with pytest.warns(TsarWarning) as caught:
            errors.warn("heard")
        seen.extend(str(warning.message) for warning in caught)
        inside.wait()

    other = threading.Thread(target=loud)
    other.start()
    with errors.quiet():
        inside.wait()
        inside.wait()
        errors.warn("not heard")  # in the tests an error where it is
    other.join()
    assert seen == ["heard"]
    assert warnings.filters == filters


def test_threads_collect_their_own_warnings():
    filters, together = list(warnings.filters), threading.Barrier(4)

    def gather(number: int) -> list[str]:
        with errors.collect() as texts:
            for place in range(20):
                together.wait()
                errors.warn(f"{place} of {number}")
        return texts

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(gather, range(4)))
    assert found == [[f"{place} of {number}" for place in range(20)] for number in range(4)]
    assert warnings.filters == filters


def test_a_kind_of_warning_is_given_once():
    with pytest.warns(TsarWarning) as caught, errors.once():
        for text in ("3 rows: a", "4 rows: b", "3 items: a"):
            errors.warn(text)
        with errors.once():
            errors.warn("5 rows: c")
        with errors.quiet():
            errors.warn("unheard")
        errors.warn("unheard")
    assert [str(warning.message) for warning in caught] == ["3 rows: a", "3 items: a", "unheard"]


def test_warnings_point_to_the_line_of_the_caller():
    target = np.sin(np.arange(100.0)) + np.arange(100) % 3
    days = pd.date_range("2024-01-01", periods=100)
    df = pd.DataFrame({"item_id": "a", "timestamp": days, "target": target, "load": -target, "noise": range(100)})
    plain = Forecaster(prediction_length=5)
    several = Forecaster(prediction_length=5, target=["target", "load"])
    explained = Forecaster(prediction_length=5, past_covariates=["noise"])
    for call in (plain.fit, plain.predict, several.fit, explained.fit, explained.predict):
        with pytest.warns(TsarWarning) as caught:
            call(df.drop(index=[50, 51]))
        assert {warning.filename for warning in caught} == {__file__}
        assert sum("missing rows inserted" in str(warning.message) for warning in caught) == 1
