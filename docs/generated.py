"""Pages of the site that are made from something else: models, API, examples, changes."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import tsar
from tsar import errors

ROOT = Path(__file__).parent.parent
GROUPS = {
    "Forecasts": ["Forecaster", "Forecast", "Constraints", "FineTuneConfig", "StreamingForecaster"],
    "Backtests": ["backtest", "leaderboard", "diagnose", "explain", "report"],
    "Samples and sums": ["aggregate_samples", "reconcile"],
    "Other tasks": [
        "impute", "detect_anomalies", "embed", "TimeSeriesClassifier", "TimeSeriesRegressor", "generate",
        "EventForecaster",
    ],
    "Models": ["list_models", "load_model"],
    "Pictures": ["plot_forecast", "plot_backtest", "plot_coverage", "plot_explanation"],
}  # fmt: skip


def write(folder: Path) -> None:
    """Write all of them; files that are right already are left alone, so that Sphinx does not read them again."""
    folder.mkdir(exist_ok=True)
    pages = {
        "api": make_api(),
        "models": make_models(),
        "examples": make_examples(),
        "changes": (ROOT / "CHANGELOG.md").read_text(),
        "contributing": _without_links((ROOT / "CONTRIBUTING.md").read_text()),
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def one_title(text: str) -> str:
    """Move headings down by one level where a page has more than one of the first, but for the first of all."""
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    titles = [match for part in parts[::2] for match in re.findall(r"^# ", part, flags=re.MULTILINE)]
    return text if len(titles) < 2 else _demoted(text, keep_first=True)


def make_api() -> str:
    """Every public name, by topic; those without a topic at the end."""
    public = [name for name in tsar.__all__ if name not in ("__version__", "errors")]
    known = [name for names in GROUPS.values() for name in names]
    groups = {**GROUPS, "More": [name for name in public if name not in known]}
    lines = ["# API", "", "Everything that `import tsar` offers; names below `tsar` that are not here may change."]
    for title, names in groups.items():
        there = [name for name in names if name in public]
        if there:
            lines += ["", f"## {title}", *(line for name in there for line in _directive(name))]
    lines += ["", "## Errors", "", "[Errors](../errors.md) explains every code.", "", "```{eval-rst}"]
    kinds = [one for one in vars(errors).values() if inspect.isclass(one) and one.__module__ == "tsar.errors"]
    lines += [line for kind in kinds for line in (f".. autoexception:: tsar.errors.{kind.__name__}", "")]
    return "\n".join([*lines, "```", ""])


def _directive(name: str) -> list[str]:
    is_class = inspect.isclass(getattr(tsar, name))
    kind, members = ("autoclass", ["   :members:"]) if is_class else ("autofunction", [])
    return ["", "```{eval-rst}", f".. {kind}:: tsar.{name}", *members, "```"]


def make_models() -> str:
    """A table of the zoo, and the card of each."""
    lines = ["# Models", "", "The releases that ship with tsar, and the card of each, as they lie in `zoo/`.", ""]
    lines += ["| model | weights | relative MASE | relative WQL | what it is |", "|---|--:|--:|--:|---|"]
    cards = []
    for release in tsar.list_models():
        scores = _aggregate(release.path / "eval.json")
        summary = release.summary.replace("|", "/")
        lines.append(f"| [{release.name}](#{release.name}) | {release.parameters:,} | {scores} | {summary} |")
        cards.append(_demoted(_without_links((release.path / "card.md").read_text())))
    lines += [
        "",
        "Scores are over those of seasonal naive, geometric mean over the development sets; below 1 is better.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n\n".join(cards)


def _aggregate(path: Path) -> str:
    found = json.loads(path.read_text()).get("total", {}) if path.is_file() else {}
    return " | ".join(f"{found[name]:.3f}" if name in found else "" for name in ("rel_MASE", "rel_WQL"))


def make_examples() -> str:
    """The scripts of `examples/`, as they are."""
    lines = [
        "# Examples",
        "",
        "Each is run by the tests. Two notebooks lie beside them: `quickstart.ipynb`, `covariates_and_backtest.ipynb`.",
    ]
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text()
        title = path.stem[3:].replace("_", " ").capitalize()
        lines += ["", f"## {title}", "", f"`examples/{path.name}`", "", "```python", text.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _demoted(text: str, *, keep_first: bool = False) -> str:
    """Headings one level down, outside of code."""
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [re.sub(r"^(#+ )", r"#\1", part, flags=re.MULTILINE) for part in parts[::2]]
    joined = "".join(parts)
    return joined.replace("## ", "# ", 1) if keep_first else joined


def _without_links(text: str) -> str:
    """Relative links as plain text: their files are elsewhere."""
    return re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]+\)", r"\1", text)
