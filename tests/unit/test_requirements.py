"""What tsar needs is stated once, in pyproject.toml, with a lower bound; what repeats it agrees."""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
EXTRAS = {
    extra: [Requirement(text) for text in texts if not text.startswith("tsar-forecast[")]
    for extra, texts in PROJECT["project"]["optional-dependencies"].items()
}
BUILD = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
ALL = [*CORE, *(one for group in EXTRAS.values() for one in group), *BUILD]
PYTHONS = [
    line.rsplit(" ", 1)[1] for line in PROJECT["project"]["classifiers"] if re.search(r"Python :: \d\.\d+$", line)
]
FOR_DEVELOPERS = {"dev", "docs", "judges"}
PAGE = (ROOT / "docs" / "installation.md").read_text()


def lower_bound(requirement):
    return next(one.version for one in requirement.specifier if one.operator == ">=")


@pytest.mark.parametrize("requirement", ALL, ids=str)
def test_every_requirement_has_one_lower_bound(requirement):
    operators = sorted(one.operator for one in requirement.specifier)
    assert operators in ([">="], ["<", ">="])


def test_what_is_named_twice_has_one_range():
    ranges = defaultdict(set)
    for requirement in ALL:
        ranges[canonicalize_name(requirement.name)].add(str(requirement.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def test_everything_that_is_imported_is_stated():
    stated = {canonicalize_name(one.name) for one in CORE}
    stated |= {canonicalize_name(one.name) for extra in EXTRAS.keys() - FOR_DEVELOPERS for one in EXTRAS[extra]}
    homes = packages_distributions()
    missing = defaultdict(set)
    for path in (ROOT / "tsar").rglob("*.py"):
        for top in imported(ast.parse(path.read_text())) - {"tsar", *sys.stdlib_module_names}:
            if not stated & {canonicalize_name(name) for name in homes.get(top, [top])}:
                missing[top].add(path.name)
    assert missing == {}


def imported(tree):
    """Top names of all modules that a file imports, inside functions and by `tsar.optional.require` too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require":
            names |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    return {name.split(".")[0] for name in names}


def table(heading):
    """Rows of the table below a heading of the page on installation, as lists of cells."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_page_names_every_extra_and_what_it_brings():
    listed = {row[0].strip("`"): set(row[1].split(", ")) for row in table("Extras")}
    assert listed == {extra: {one.name for one in EXTRAS[extra]} for extra in EXTRAS.keys() - FOR_DEVELOPERS}


def test_oldest_versions_that_were_tested_are_the_lower_bounds():
    oldest = table("Versions")[0]
    bounds = {one.name: lower_bound(one) for one in CORE}
    assert oldest[0].startswith(f"{PYTHONS[0]}.")
    for cell, name in zip(oldest[1:5], ["torch", "pandas", "numpy", "scikit-learn"], strict=True):
        assert re.fullmatch(re.escape(bounds[name]) + r"(\.0)?(\+\w+)?", cell), f"{name}: measure the table again"


def test_every_python_that_is_promised_was_tested():
    assert {".".join(row[0].split(".")[:2]) for row in table("Versions")} == set(PYTHONS)


def test_pythons_are_the_same_everywhere():
    first, last = PYTHONS[0], PYTHONS[-1]
    assert PROJECT["project"]["requires-python"] == f">={first}"
    assert PROJECT["tool"]["mypy"]["python_version"] == first
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + first.replace(".", "")
    for page in ("README.md", "CONTRIBUTING.md", "docs/installation.md"):
        assert f"Python {first} to {last}" in " ".join((ROOT / page).read_text().split()), page
    script = (ROOT / "scripts" / "install").read_text()
    assert f"({first.replace('.', ', ')}) <= sys.version_info[:2] <= ({last.replace('.', ', ')})" in script
    assert f"python{first}" in (ROOT / "scripts" / "oldest").read_text()


def test_pytest_is_as_new_as_its_options_need():
    (requirement,) = (one for one in EXTRAS["dev"] if one.name == "pytest")
    assert PROJECT["tool"]["pytest"]["ini_options"]["minversion"] == lower_bound(requirement)
