"""HTML, made of strings: every text that goes through here is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

STYLE = """
:root { color-scheme: light dark; --ink: #27313d; --soft: #66717e; --line: #dfe3e8; --page: #ffffff; --card: #f6f7f9;
  --median: #c8501e; --band: #e8853d; --cool: #3b6ea5; }
@media (prefers-color-scheme: dark) { :root { --ink: #dde3ea; --soft: #97a3b0; --line: #343d48; --page: #14181d;
  --card: #1c2229; --median: #f08a55; --band: #e8853d; --cool: #7fb0e4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.soft, figcaption, footer { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0 0; font-size: .9rem; }
a { color: var(--cool); text-decoration: none; } a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.25rem; font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; }
.card span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { max-width: 34rem; overflow-wrap: break-word; } td code { overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
tr.first td { font-weight: 600; }
figure { margin: .8rem 0 0; } figure.wide { max-width: 50rem; overflow-x: auto; }
figure.wide svg { min-width: 34rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; } figcaption b { color: var(--ink); font-size: .95rem; }
svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit !important; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: .6rem 1.8rem; }
.third { max-width: 24rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .85rem; }
@page { margin: 15mm; }
@media print { :root { color-scheme: light; --ink: #27313d; --soft: #66717e; --line: #dfe3e8; --page: #ffffff;
  --card: #ffffff; --median: #c8501e; --band: #e8853d; --cool: #3b6ea5; }
  body { font-size: 10pt; max-width: none; padding: 0; } nav { display: none; } h2 { margin-top: 1.6rem; }
  h2, h3 { break-after: avoid; } figure, tr, .cards { break-inside: avoid; } .pair { grid-template-columns: 1fr 1fr; }
  .pair > * { min-width: 0; } th { white-space: normal; } figure.wide svg { min-width: 0; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{generator}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="soft">{summary}</p>
<nav>{links}</nav>
</header>
<main>
{sections}
</main>
<footer>{footer}</footer>
</body>
</html>
"""


def make_page(
    title: str, summary: str, sections: Sequence[tuple[str, str, Sequence[str]]], *, footer: str, generator: str
) -> str:
    """Return the page; a section is its name, its heading and the pieces of HTML that follow."""
    return PAGE.format(
        title=escape(title), summary=escape(summary), style=STYLE, footer=escape(footer), generator=escape(generator),
        links="".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in sections),
        sections="\n".join(
            f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n' + "\n".join(parts) + "\n</section>"
            for name, heading, parts in sections
        ),
    )  # fmt: skip


def paragraph(text: str, *, soft: bool = False) -> str:
    """One paragraph."""
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def cards(facts: Iterable[tuple[str, Any]]) -> str:
    """Facts that catch the eye: a name and a value each."""
    parts = (
        f'<div class="card"><b>{escape(show(value))}</b><span>{escape(name)}</span></div>' for name, value in facts
    )
    return f'<div class="cards">{"".join(parts)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, first_is_best: bool = False) -> str:
    """A table; columns that hold numbers are set to the right."""
    filled = [list(row) for row in rows]
    numeric = [all(_is_number(row[place]) for row in filled) for place in range(len(columns))]

    def line(tag: str, cells: Sequence[Any]) -> str:
        marks = [' class="number"' if right else "" for right in numeric]
        return "".join(f"<{tag}{mark}>{escape(show(cell))}</{tag}>" for mark, cell in zip(marks, cells, strict=True))

    opened = ['<tr class="first">' if first_is_best and place == 0 else "<tr>" for place in range(len(filled))]
    body = "".join(f"{tag}{line('td', row)}</tr>" for tag, row in zip(opened, filled, strict=True))
    head = f"<thead><tr>{line('th', columns)}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def facts_table(facts: Iterable[tuple[str, Any]]) -> str:
    """A table of names and values, as code."""
    rows = (f"<tr><th>{escape(name)}</th><td><code>{escape(show(value))}</code></td></tr>" for name, value in facts)
    return f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'


def figure(svg: str, label: str, *, name: str = "", caption: str = "", wide: bool = False) -> str:
    """A drawing with what a screen reader says; above it a name, and a caption in smaller letters."""
    text = f"<figcaption><b>{escape(name)}</b> {escape(caption)}</figcaption>" if name or caption else ""
    kind = ' class="wide"' if wide else ""
    return f'<figure{kind} aria-label="{escape(label)}">{text}{svg}</figure>'


def side_by_side(parts: Iterable[str]) -> str:
    """Pieces in two columns where the window is wide enough."""
    return f'<div class="pair">{"".join(parts)}</div>'


def several(number: int, name: str) -> str:
    """A number of things: ``1 item``, ``2 items``."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def show(value: Any) -> str:
    """A value as text: numbers with four digits, missing ones as a dash."""
    if isinstance(value, (float, np.floating)):
        return _show_number(float(value))
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
        return f"{int(value):,}"
    return str(value)


def _show_number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = 0 if abs(value) >= 1000 else max(3 - int(np.floor(np.log10(abs(value)))) if value else 0, 0)
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
