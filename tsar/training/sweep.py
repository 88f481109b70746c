"""Scaling study: one recipe over a grid of settings, a table, fitted power laws and a picture."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike

from tsar.errors import RecipeError
from tsar.model.config import flops_per_token
from tsar.storage import write_atomically
from tsar.training.config import Recipe, load_recipe
from tsar.training.loop import pretrain

SIZES = ("parameters", "tokens", "flops")
"""What a loss may be a power of."""

LEAST_RATIO = 1.2
"""Largest over smallest value from which a size counts as varied."""


@dataclass(frozen=True)
class PowerLaw:
    """``loss = floor + scale * size ** -exponent``; `r2` is the share of the variance of the loss that it explains."""

    size: str
    scale: float
    exponent: float
    floor: float
    r2: float

    def __str__(self) -> str:
        floor = f"{self.floor:.4f} + " if self.floor else ""
        return f"loss = {floor}{self.scale:.4g} * {self.size} ^ {-self.exponent:.4f} (R2 {self.r2:.3f})"


@dataclass(frozen=True)
class JointLaw:
    """``loss = scale * parameters ** -of_size * tokens ** -of_data``, where both were varied."""

    scale: float
    of_size: float
    of_data: float
    r2: float

    def __str__(self) -> str:
        powers = f"parameters ^ {-self.of_size:.4f} * tokens ^ {-self.of_data:.4f}"
        return f"loss = {self.scale:.4g} * {powers} (R2 {self.r2:.3f})"


@dataclass(frozen=True)
class Sweep:
    """What came out: a row per run, a power law for each size that was varied, and one for both size and data."""

    rows: list[dict[str, Any]]
    laws: list[PowerLaw]
    joint: JointLaw | None = None

    def __str__(self) -> str:
        """Return the table and the laws as Markdown."""
        names = list(self.rows[0])
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in self.rows]
        return "\n".join([*lines, "", *(str(law) for law in (*self.laws, self.joint) if law is not None)])


def run_sweep(
    path: str | Path,
    grid: Sequence[str],
    run_dir: str | Path,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
) -> Sweep:
    """Train a recipe with every combination of settings, and write ``sweep.csv``, ``sweep.md`` and ``sweep.png``.

    Runs that are finished are taken as they are, an interrupted one goes on.

    Parameters
    ----------
    path
        The recipe.
    grid
        ``"model.num_layers=[2, 4]"``-like axes; ``"model.d_model,model.d_ff=[[64, 128], [96, 192]]"`` moves several
        settings together. The grid is their product.
    run_dir
        Holds a folder for each run.
    overrides
        Settings of all runs.
    minutes
        Wall time of each run; wins over the recipe's.

    Raises
    ------
    RecipeError
        As `load_recipe`; ``recipe.bad_value`` for an axis that is none, and without validation windows.
    KeyboardInterrupt
        If SIGTERM or SIGINT came during a run, which has saved what it had; nothing is written.
    """
    folder = Path(run_dir)
    points = list(itertools.product(*(parse_axis(axis) for axis in grid)))
    chosen = [[setting for part in point for setting in part] for point in points]
    recipes = [load_recipe(path, [*overrides, *settings]) for settings in chosen]
    if any(recipe.train.validation_windows < 1 for recipe in recipes):
        raise RecipeError("A sweep needs train.validation_windows.", code="recipe.bad_value")
    rows = []
    for settings, recipe in zip(chosen, recipes, strict=True):
        name = ",".join(settings).replace(" ", "").replace("/", "_")
        release = pretrain(recipe, folder / name, minutes=minutes)
        if release.parent != folder / name:  # a checkpoint: the run was interrupted
            raise KeyboardInterrupt
        rows.append({"run": name, **_facts(recipe, release)})
    sweep = Sweep(rows, fit_laws(rows), fit_joint_law(rows))
    _write(sweep, folder)
    return sweep


def parse_axis(axis: str) -> list[list[str]]:
    """Return the settings of each place on an axis, as overrides."""
    keys, separator, text = axis.partition("=")
    names = [name.strip() for name in keys.split(",")]
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        values = None
    if not separator or not isinstance(values, list) or not values:
        text = f'Axis {axis!r} is not of the form "key=[value, value]".'
        raise RecipeError(text, code="recipe.bad_value")
    together = values if len(names) > 1 else [[value] for value in values]
    if any(not isinstance(one, list) or len(one) != len(names) for one in together):
        text = f"Axis {axis!r} needs a list of {len(names)} values for each run."
        raise RecipeError(text, code="recipe.bad_value")
    return [[f"{name}={json.dumps(value)}" for name, value in zip(names, one, strict=True)] for one in together]


def fit_laws(rows: Sequence[dict[str, Any]]) -> list[PowerLaw]:
    """Fit a law for each size that varies over the runs."""
    laws = []
    for size in SIZES:
        values = np.array([row[size] for row in rows], dtype=float)
        if len(set(values)) > 1 and values.max() >= LEAST_RATIO * values.min():
            laws.append(fit_power_law(values, [row["loss"] for row in rows], size=size))
    return laws


def fit_power_law(sizes: ArrayLike, losses: ArrayLike, *, size: str = "size") -> PowerLaw:
    """Fit by least squares in logarithms; a floor is looked for where there are four sizes or more.

    The form is that of Kaplan et al. (2020) and Hoffmann et al. (2022), one size at a time.
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.asarray(losses, dtype=float)
    floors = np.linspace(0, 0.99 * y.min(), 200) if len(set(x)) >= 4 else np.zeros(1)
    best: PowerLaw | None = None
    for floor in floors:
        slope, offset = np.polyfit(x, np.log(y - floor), 1)
        error = y - floor - np.exp(offset + slope * x)
        r2 = 1 - float((error**2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-300))
        law = PowerLaw(size, float(np.exp(offset)), -float(slope), float(floor), r2)
        best = law if best is None or law.r2 > best.r2 + 1e-9 else best
    if best is None:
        raise RecipeError("There is nothing to fit.", code="recipe.bad_value")
    return best


def fit_joint_law(rows: Sequence[dict[str, Any]]) -> JointLaw | None:
    """Fit both exponents by least squares in logarithms; None unless size and data vary and tell themselves apart."""
    size, data, loss = (np.log([float(row[name]) for row in rows]) for name in ("parameters", "tokens", "loss"))
    terms = np.stack([np.ones_like(size), -size, -data], 1)
    if len(rows) < 4 or np.linalg.matrix_rank(terms - terms.mean(0), tol=1e-6) < 2:
        return None
    solution, *_ = np.linalg.lstsq(terms, loss, rcond=None)
    r2 = 1 - float(((loss - terms @ solution) ** 2).sum() / max(((loss - loss.mean()) ** 2).sum(), 1e-300))
    return JointLaw(float(np.exp(solution[0])), float(solution[1]), float(solution[2]), r2)


def plot_sweep(sweep: Sweep) -> Any:
    """Draw the loss against each size that was varied, with the fitted law; return the figure."""
    from matplotlib.figure import Figure

    laws: list[PowerLaw | None] = [*sweep.laws] or [None]
    figure = Figure(figsize=(4.6 * len(laws), 3.6), layout="constrained")
    for ax, law in zip(np.atleast_1d(figure.subplots(1, len(laws))), laws, strict=True):
        size = law.size if law is not None else "parameters"
        x = np.array([row[size] for row in sweep.rows], dtype=float)
        ax.loglog(x, [row["loss"] for row in sweep.rows], "o", color="#0072B2")
        if law is not None:
            line = np.geomspace(x.min(), x.max(), 50)
            ax.loglog(line, law.floor + law.scale * line**-law.exponent, color="#0072B2", linewidth=1)
            ax.set_title(f"exponent {law.exponent:.3f}", fontsize=9)
        ax.set(xlabel=size, ylabel="validation loss")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _facts(recipe: Recipe, release: Path) -> dict[str, Any]:
    facts = json.loads((release / "train.json").read_text())
    tokens = recipe.shapes[0].context_length // recipe.model.patch_length
    return {
        "parameters": facts["parameters"],
        "windows": facts["windows"],
        "tokens": facts["tokens"],
        "flops": 3.0 * facts["tokens"] * flops_per_token(recipe.model, tokens),
        "minutes": round(facts["seconds"] / 60, 2),
        "loss": facts["validation"]["mean"],
    }


def _write(sweep: Sweep, folder: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(sweep.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(sweep.rows)
    write_atomically(folder / "sweep.csv", text.getvalue().encode())
    write_atomically(folder / "sweep.md", f"{sweep}\n".encode())
    picture = io.BytesIO()
    plot_sweep(sweep).savefig(picture, format="png", dpi=120)
    write_atomically(folder / "sweep.png", picture.getvalue())


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
