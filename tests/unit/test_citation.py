"""The citation file is what citation tools read, and of this version."""

from pathlib import Path

import yaml

import tsar

FILE = Path(__file__).parent.parent.parent / "CITATION.cff"


def test_citation_names_the_package_and_its_version():
    citation = yaml.safe_load(FILE.read_text())
    assert {"cff-version", "message", "title", "authors", "type", "license", "abstract"} <= set(citation)
    assert citation["version"] == tsar.__version__
