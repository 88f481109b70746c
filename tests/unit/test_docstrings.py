"""Docstrings of the public names say what the signature takes, what comes back, and which errors there are."""

import inspect
import re

import pytest

import tsar
from tsar import errors

CHECKED_BY_OTHERS = ("_request", "get_metadata_routing", "get_params", "set_params")  # scikit-learn's own
NEVER_RAISE = {"Constraints.to_dict", "Forecaster.remember", "list_models", "plot_coverage"}


def public_callables() -> dict[str, object]:
    """Name -> function, class or method, of all that `import tsar` offers."""
    found = {}
    for name in tsar.__all__:
        one = getattr(tsar, name)
        if callable(one):
            found[name] = one
        if inspect.isclass(one):
            methods = inspect.getmembers(one, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
            found |= {
                f"{name}.{method}": function
                for method, function in methods
                if not method.startswith("_")
                and not method.endswith(CHECKED_BY_OTHERS)
                and function.__module__.startswith("tsar")
            }
    return found


CALLABLES = public_callables()


def sections_of(doc: str) -> dict[str, str]:
    """Title -> text of the sections of a numpydoc docstring; what stands before them has no title."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", inspect.cleandoc(doc), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries_of(section: str) -> list[str]:
    """Names that a section describes, in order."""
    heads = [line for line in section.splitlines() if line and not line[0].isspace()]
    return [name.strip().lstrip("*") for head in heads for name in head.split(" : ")[0].split(",")]


def misfit_of(function: object, doc: str) -> str:
    """What the docstring gets wrong about the signature, empty if nothing."""
    sections = sections_of(doc)
    taken = [name for name in inspect.signature(function).parameters if name != "self"]
    if "Parameters" not in sections:
        unnamed = [name for name in taken if f"`{name}`" not in doc]
        return f"says nothing of {unnamed}" if unnamed else ""
    described = entries_of(sections["Parameters"])
    return "" if described == taken else f"describes {described}, takes {taken}"


def returns_something(function: object) -> bool:
    return inspect.signature(function).return_annotation not in (None, "None")


@pytest.mark.parametrize("name", CALLABLES)
def test_parameters_are_those_of_the_signature(name):
    assert misfit_of(CALLABLES[name], inspect.getdoc(CALLABLES[name])) == ""


@pytest.mark.parametrize("name", [one for one in CALLABLES if not inspect.isclass(CALLABLES[one])])
def test_what_comes_back_is_said(name):
    sections = sections_of(inspect.getdoc(CALLABLES[name]))
    is_said = "Returns" in sections or sections[""].startswith("Return ")
    assert is_said == returns_something(CALLABLES[name])


@pytest.mark.parametrize("name", [one for one in CALLABLES if not inspect.isclass(CALLABLES[one])])
def test_errors_are_named_with_codes_that_exist(name):
    doc = inspect.getdoc(CALLABLES[name])
    if name in NEVER_RAISE:
        assert "Raises" not in sections_of(doc)
        return
    raised = sections_of(doc).get("Raises", "")
    has_codes = re.search(r"``[a-z]+\.[a-z_]+``", raised)
    refers = re.search(r"\bAs (in |of )?`", raised) or "Errors are those of `" in doc
    assert has_codes or refers


@pytest.mark.parametrize("name", CALLABLES)
def test_codes_and_classes_of_errors_exist(name):
    raised = sections_of(inspect.getdoc(CALLABLES[name])).get("Raises", "")
    assert set(re.findall(r"``([a-z]+\.[a-z_]+)``", raised)) <= set(errors.CODES)
    builtins = {"ValueError", "KeyError", "ImportError"}
    assert [kind for kind in entries_of(raised) if kind not in builtins and not hasattr(errors, kind)] == []


@pytest.mark.parametrize(
    ("doc", "misfit"),
    [
        ("Do.\n\nParameters\n----------\none, two\n    Numbers.\n", ""),
        ("Do with `one` and `two`.", ""),
        ("Do with `one`.", "says nothing of ['two']"),
        ("Do.\n\nParameters\n----------\none\n    Number.\n", "describes ['one'], takes ['one', 'two']"),
        ("Do.\n\nParameters\n----------\ntwo, one\n    N.\n", "describes ['two', 'one'], takes ['one', 'two']"),
    ],
)
def test_the_check_sees_what_is_wrong(doc, misfit):
    def function(one, two):
        """Do nothing."""

    assert misfit_of(function, doc) == misfit
