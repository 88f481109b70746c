"""Sphinx: the Markdown pages here as a site, with pages made from the zoo, the examples and the docstrings.

`scripts/docs` builds it with warnings as errors. The pages stay plain Markdown that any viewer shows; what only the
site needs (sidebar, links to source files) is added here, while they are read.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import generated  # noqa: E402
from docutils import nodes  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402

import tsar  # noqa: E402

project, author, copyright = "tsar", "The tsar authors", "The tsar authors, Apache-2.0"
version = release = tsar.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # blocks of other languages than their mark says are shown plain

default_role = "py:obj"  # names in docstrings link where there is something to link to
autodoc_member_order = "bysource"
autodoc_typehints = "signature"  # types stand there, a parameter a line; below, what each means
autodoc_typehints_format = "short"
python_display_short_literal_types = True
maximum_signature_line_length = 88
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # parameters that share a description stay together
napoleon_attr_annotations = False
napoleon_custom_sections = [("Attributes", "params_style")]  # keeps the underscore at the end of learned attributes

html_theme = "furo"
html_title = f"tsar {release}"
html_math_renderer = "mathml"  # browsers draw it themselves: no script, no network
toc_object_entries_show_parents = "hide"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#a44a14", "color-brand-content": "#a44a14"},
    "dark_css_variables": {"color-brand-primary": "#f2a065", "color-brand-content": "#f2a065"},
}

# Title in the sidebar and page; pages that are not there (yet) are left out, pages that are not named go to the end.
SIDEBAR: dict[str, list[tuple[str, str]]] = {
    "Start": [
        ("Installation", "installation"),
        ("Quickstart", "quickstart"),
        ("The flow", "flow"),
        ("Your data", "your_data"),
        ("Command line", "cli"),
        ("Examples", "_generated/examples"),
    ],
    "Forecasts": [
        ("Covariates", "covariates"),
        ("Several targets", "channels"),
        ("Uncertainty", "calibration"),
        ("Backtesting", "backtesting"),
        ("Fine-tuning", "fine_tuning"),
        ("Explanations", "explain"),
        ("Report", "report"),
        ("Periods", "periods"),
        ("Examples in context", "in_context"),
        ("Adaptation", "adaptation"),
    ],
    "Models": [
        ("Pretraining", "pretraining"),
        ("Models", "_generated/models"),
        ("Accuracy", "accuracy"),
        ("How it compares", "compares"),
        ("Benchmark", "benchmark"),
        ("Scaling", "scaling"),
        ("Designs", "zoo-of-designs"),
        ("Extending", "extending"),
    ],
    "Other tasks": [
        ("Imputation", "imputation"),
        ("Anomalies", "anomalies"),
        ("Classification", "classification"),
        ("Generation", "generation"),
        ("Events", "events"),
        ("Streaming", "streaming"),
    ],
    "At work": [
        ("Many series", "many_series"),
        ("Speed", "speed"),
        ("Serving", "serving"),
        ("Export", "export"),
        ("Other libraries", "interop"),
        ("Robustness", "robustness"),
        ("Frames fuzzed", "frames_fuzzed"),
    ],
    "Reference": [
        ("API", "_generated/api"),
        ("Errors", "errors"),
        ("Capabilities", "capabilities"),
        ("Design decisions", "decisions"),
        ("Changes", "_generated/changes"),
        ("Contributing", "_generated/contributing"),
    ],
}


def make_toctrees() -> str:
    """The sidebar as MyST."""
    generated_pages = {f"_generated/{path.stem}" for path in (HERE / "_generated").glob("*.md")}
    pages = {path.stem for path in HERE.glob("*.md")} - {"index"} | generated_pages
    named = {page for entries in SIDEBAR.values() for _, page in entries}
    groups = {**SIDEBAR, "More": [(page.replace("_", " ").capitalize(), page) for page in sorted(pages - named)]}
    parts = []
    for caption, entries in groups.items():
        lines = [f"{title} <{page}>" for title, page in entries if page in pages]
        if lines:
            parts.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```"]))
    return "\n\n".join(parts)


def example_link(match: re.Match[str]) -> str:
    """Where a script of the examples stands on the site."""
    return f"](_generated/examples.md#{match[1].replace('_', '-')})"


def adjust(app: Any, page: str, source: list[str]) -> None:
    """Change a page as it is read: one title, links that lead somewhere on the site."""
    text = generated.one_title(source[0])
    text = re.sub(r"\]\(\.\./examples/\d+_(\w+)\.py\)", example_link, text)
    text = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", text)  # other files of the repository are no pages
    if page == "index":
        text = f"{text}\n\n{make_toctrees()}\n"
    source[0] = text


def skip(app: Any, what: str, name: str, member: Any, is_skipped: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to every estimator (its docstrings refer to its own site)."""
    return True if name.endswith("_request") else None


def link_pages(app: Any, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Let docstrings that name a page of the documentation link to it."""
    lines[:] = [re.sub(r"`*docs/([\w-]+)\.md`*", r":doc:`/\1`", line) for line in lines]


def write_inline_math(translator: Any, node: Any) -> None:
    """Write a formula as MathML."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_block_math(translator: Any, node: Any) -> None:
    """Write a formula on a line of its own as MathML."""
    translator.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Write the generated pages before Sphinx looks for pages."""
    generated.write(HERE / "_generated")
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_block_math, None))
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("source-read", adjust)
    app.connect("autodoc-skip-member", skip)
