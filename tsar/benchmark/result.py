"""What a benchmark found: scores of every set and model, their summary, and both as files and a picture."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsar import __version__
from tsar.benchmark.picture import draw_relative_scores
from tsar.benchmark.scores import bootstrap_interval, geometric_mean, skill_score, win_rate
from tsar.errors import OptionError
from tsar.storage import validate_destination, write_folder
from tsar.types import FloatArray, PathLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RELATIVE = {"MASE": "rel_MASE", "WQL": "rel_WQL", "sMAPE": "rel_sMAPE"}
KIND = "benchmark"
_MARKDOWN_DIGITS = 3


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """Scores of a benchmark.

    Attributes
    ----------
    scores : pandas.DataFrame
        A row per set and model: ``set``, ``model``, ``series``, ``MASE``, ``WQL``, ``sMAPE``, ``coverage_error``,
        ``coverage_LEVEL`` …, ``not_finite`` (series with a missing forecast, scored as 0), ``seconds``, and the first
        three divided by the baseline's: ``rel_MASE``, ``rel_WQL``, ``rel_sMAPE``.
    baseline : str
        Whose scores are 1.
    seed : int
        Of the bootstrap.
    """

    scores: pd.DataFrame
    baseline: str
    seed: int = 0

    @property
    def models(self) -> list[str]:
        """Names of the models, the baseline included, in the order they were given."""
        return [str(name) for name in self.scores["model"].drop_duplicates()]

    @property
    def uncounted_sets(self) -> list[str]:
        """Names of sets on which MASE or WQL is no number, or is 0 for the baseline only; they count for no model."""
        finite = np.isfinite(self.scores[["rel_MASE", "rel_WQL"]].to_numpy()).all(axis=1)
        return list(dict.fromkeys(self.scores["set"].to_numpy()[~finite].tolist()))

    def relative(self, metric: str = "MASE") -> pd.DataFrame:
        """Return a table of sets and models: the score divided by the baseline's.

        Raises
        ------
        OptionError
            ``option.invalid`` for a metric that is not relative.
        """
        if metric not in RELATIVE:
            raise OptionError(f"metric must be one of {', '.join(RELATIVE)}, got {metric!r}.", code="option.invalid")
        sets = self.scores["set"].drop_duplicates()
        table = self.scores.pivot(index="set", columns="model", values=RELATIVE[metric])
        return table.loc[sets, self.models]

    def summary(self, metric: str = "MASE") -> pd.DataFrame:
        """Return a row per model, best skill first.

        Parameters
        ----------
        metric
            What skill and win rate compare: ``MASE``, ``WQL`` or ``sMAPE``.

        Returns
        -------
        pandas.DataFrame
            Index ``model``. ``rel_MASE`` and ``rel_WQL``, geometric means over sets; ``skill``, ``win_rate`` and their
            95 % bootstrap intervals ``…_lower`` and ``…_upper``; ``coverage_error``, mean over sets; ``seconds`` and
            ``not_finite``, summed; ``sets``, how many count: those of `uncounted_sets` do for no model.

        Raises
        ------
        OptionError
            ``option.invalid`` for another metric.
        """
        relative = {name: self.relative(name).drop(index=self.uncounted_sets) for name in ("MASE", "WQL", metric)}
        compared = relative[metric].to_numpy()
        columns = {f"rel_{name}": _over_sets(relative[name].to_numpy()) for name in ("MASE", "WQL")}
        for name, statistic in (("skill", skill_score), ("win_rate", win_rate)):
            columns[name] = statistic(compared) if len(compared) else np.full(len(self.models), np.nan)
            bounds = bootstrap_interval(statistic, compared, self.seed) if len(compared) else (columns[name],) * 2
            columns[f"{name}_lower"], columns[f"{name}_upper"] = bounds
        table = pd.DataFrame(columns, index=pd.Index(self.models, name="model"))
        by_model = self.scores.groupby("model", sort=False)
        table["coverage_error"] = by_model["coverage_error"].mean()
        table["seconds"] = by_model["seconds"].sum()
        table["not_finite"] = by_model["not_finite"].sum()
        table["sets"] = len(compared)
        return table.sort_values("skill", ascending=False, kind="stable")

    def plot(self, metric: str = "MASE", ax: Axes | None = None) -> Axes:
        """Draw the relative score of every set and model as dots; the baseline is the line at 1.

        Parameters
        ----------
        metric
            ``MASE``, ``WQL`` or ``sMAPE``.
        ax
            Where to draw; None: a new figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        relative = self.relative(metric)
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=figure_size(relative), layout="constrained")
        draw_relative_scores(relative, self.baseline, metric, ax)
        return ax

    def to_markdown(self, metric: str = "MASE") -> str:
        """Return the summary and the relative MASE of every set as Markdown; no intervals if there is one set only."""
        summary = self.summary(metric)
        shown = pd.DataFrame(index=summary.index)
        shown[["relative MASE", "relative WQL"]] = summary[["rel_MASE", "rel_WQL"]].map(_number)
        for name, title in (("skill", f"skill ({metric})"), ("win_rate", "win rate")):
            value, low, high = (summary[f"{name}{end}"].map(_number) for end in ("", "_lower", "_upper"))
            shown[title] = value + " (" + low + ", " + high + ")" if summary["sets"].iloc[0] > 1 else value
        shown["coverage error"] = summary["coverage_error"].map(_number)
        shown["seconds"] = summary["seconds"].map(lambda seconds: f"{seconds:.1f}")
        shown["sets"] = summary["sets"]
        relative = self.relative("MASE").map(_number)
        return f"{_markdown(shown)}\n\nRelative MASE by set:\n\n{_markdown(relative)}\n"

    def save(self, folder: PathLike) -> None:
        """Write ``scores.csv``, ``summary.csv``, ``result.json``, ``summary.md`` and ``relative_mase.png`` as one step.

        An earlier result in the folder is replaced.

        Raises
        ------
        OptionError
            ``option.invalid`` if the folder holds anything else.
        """
        folder = Path(folder)
        validate_output(folder)
        summary = self.summary()
        facts = {
            "tsar_version": __version__,
            "baseline": self.baseline,
            "seed": self.seed,
            "summary": _records(summary.reset_index()),
            "scores": _records(self.scores),
        }
        files = {
            "scores.csv": self.scores.to_csv(index=False).encode(),
            "summary.csv": summary.to_csv().encode(),
            "result.json": json.dumps(facts, indent=1, allow_nan=False).encode(),
            "summary.md": self.to_markdown().encode(),
            "relative_mase.png": self._picture(),
        }
        write_folder(folder, files, kind=KIND)

    def _picture(self) -> bytes:
        """Draw without pyplot, so that no window opens and no state is left."""
        from matplotlib.figure import Figure

        relative = self.relative("MASE")
        figure = Figure(figsize=figure_size(relative), layout="constrained")
        draw_relative_scores(relative, self.baseline, "MASE", figure.subplots())
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150)
        return content.getvalue()


def validate_output(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier result, since saving would replace it.

    Raises
    ------
    OptionError
        ``option.invalid``.
    """
    validate_destination(folder, KIND, "benchmark result")


def figure_size(relative: pd.DataFrame) -> tuple[float, float]:
    """Return width and height in inches that leave every set a row."""
    return 8.0, 1.4 + 0.34 * len(relative)


def _over_sets(relative: FloatArray) -> FloatArray:
    return geometric_mean(relative) if len(relative) else np.full(relative.shape[1], np.nan)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, which knows neither NaN nor infinity."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def _number(value: float) -> str:
    return f"{value:.{_MARKDOWN_DIGITS}f}" if np.isfinite(value) else "-"


def _markdown(table: pd.DataFrame) -> str:
    body = zip(table.index, table.to_numpy(), strict=True)
    rows = [[table.index.name, *table.columns], *([name, *row] for name, row in body)]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * len(table.columns) + "|", *lines[1:]])
