"""The sections of the page: each turns a part of the findings into HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsar.diagnosis import NAMES
from tsar.errors import OptionError
from tsar.plotting.backtest import plot_coverage
from tsar.ranking import BASELINE
from tsar.reporting import page
from tsar.reporting.figures import draw_anomalies, draw_forecast, draw_observed, draw_steps, make_svg
from tsar.reporting.gather import Findings
from tsar.types import IntArray, ObjectArray

Section = tuple[str, str, list[str]]

MEANINGS = {
    "all_missing": "no observed value at all; the forecast is missing",
    "too_short": "too few observed values to see a season or a trend",
    "mostly_missing": "more than half of the values are missing",
    "stale_end": "missing values at the end: the forecast starts from older ones",
    "constant": "one value only; the forecast repeats it",
    "tiny_spread": "hardly any movement beside the level: rounding is most of it",
    "intermittent": "many zeros, never negative",
    "exponential_growth": "grows by a factor rather than by an amount",
    "strong_trend": "a straight line explains most of it",
    "out_of_range": "values beyond 1e15",
}
MOST_ROWS = 10
MOST_BARS = 24
MOST_ANOMALY_FIGURES = 4
SHOWN_HISTORY = 400
ALONE, BESIDE = 9.6, 6.4  # width of drawings in inches


def health_section(found: Findings) -> Section:
    """Rows, items, frequency, gaps, missing values, and what is unusual."""
    panel, report, lengths = found.panel, found.panel.report, found.panel.lengths
    stamps = panel.timestamps()
    unobserved = int(np.isnan(panel.values).sum())
    parts = [
        page.cards(
            [
                ("items", report.num_items),
                ("rows", report.num_rows),
                ("frequency" + ", inferred" * report.freq_inferred, panel.freq or f"{panel.grid.step} per step"),
                ("points per item, median", float(np.median(lengths))),
                ("without a value", f"{unobserved / len(panel.values):.2%}".replace(".00", "")),
                ("rows inserted for gaps", report.inserted_rows),
            ]
        ),
        page.paragraph(
            f"From {_stamp(stamps.min())} to {_stamp(stamps.max())}. Items have {_range(lengths)} points. "
            f"{page.several(report.missing_values, 'value')} of the table missing, rows missing in "
            f"{page.several(report.items_with_gaps, 'item')}, {page.several(report.unobserved_items, 'item')} without "
            f"any value, {report.single_value_items:,} with just one. "
            f"The rows came {'' if report.was_sorted else 'un'}sorted."
        ),
    ]
    rows = []
    for name in NAMES:
        places = np.flatnonzero(found.diagnosis.findings[name])
        if len(places):
            rows.append((name, len(places), _some(panel.item_ids[places]), MEANINGS[name]))
    parts.append(page.heading("What is unusual"))
    parts.append(
        page.table(("finding", "items", "which", "what it means"), rows) if rows else page.paragraph("Nothing.")
    )
    return ("health", "Data health", [*parts, *_observed(found, unobserved)])


def _observed(found: Findings, unobserved: int) -> list[str]:
    """The picture of what was observed, where it tells anything."""
    panel = found.panel
    ends = panel.starts + panel.lengths * panel.grid.step
    if not unobserved and len(set(panel.starts.tolist())) == len(set(ends.tolist())) == 1:
        return []
    gaps = np.add.reduceat(np.isnan(panel.values).astype(int), panel.offsets[:-1])
    items = np.sort(np.argsort(-gaps, kind="stable")[:MOST_BARS])
    spans = [slice(panel.offsets[item], panel.offsets[item + 1]) for item in items]
    seen = [~np.isnan(panel.values[span]) for span in spans]
    own = [
        panel.grid.stamps(panel.starts[item] + np.arange(panel.lengths[item] + 1) * panel.grid.step) for item in items
    ]
    svg = make_svg(
        lambda ax: draw_observed(ax, own, seen, panel.item_ids[items]), width=ALONE, height=0.5 + 0.2 * len(items)
    )
    which = "all items" if len(items) == panel.num_items else f"the {len(items)} items with most holes"
    caption = f"in {which}; holes are pale"
    return [page.figure(svg, "observed values by item", name="What was observed", caption=caption, wide=True)]


def forecast_section(found: Findings, chosen: Sequence[tuple[int, str]]) -> Section:
    """A picture for each chosen item, numbers for them, a line about the others."""
    panel, horizon = found.panel, found.median.shape[1]
    stamps = panel.timestamps()
    names, figures, rows = found.diagnosis.names, [], []
    for item, why in chosen:
        span = slice(max(panel.offsets[item], panel.offsets[item + 1] - _shown(horizon)), panel.offsets[item + 1])
        past, median = panel.values[span], found.median[item]
        ahead = found.stamps[item * horizon : (item + 1) * horizon]
        figures.append(
            page.figure(
                make_svg(
                    _drawing(stamps[span], past, ahead, found.quantiles[item], found.levels, median),
                    width=ALONE if len(chosen) == 1 else BESIDE,
                ),
                f"history and forecast of {panel.item_ids[item]}",
                name=str(panel.item_ids[item]),
                caption=", ".join(filter(None, [why, str(names[item]).replace(",", ", ")])),
                wide=len(chosen) == 1,
            )
        )
        known = past[np.isfinite(past)]
        last = known[-1] if len(known) else np.nan
        band = tuple(found.quantiles[item, -1, [0, -1]])
        rows.append(
            (str(panel.item_ids[item]), float(last), float(median[0]), float(median[-1]), float(np.mean(median)),
             f"{page.show(band[0])} … {page.show(band[1])}")
        )  # fmt: skip
    low, high = page.show(float(found.levels[0])), page.show(float(found.levels[-1]))
    columns = ("item", "last value", "first step", "last step", "mean", f"last step, {low} … {high}")
    text = f"{page.several(horizon, 'step')}, from {_stamp(found.stamps.min())} to {_stamp(found.stamps.max())}. "
    text += f"The line is the median, the bands lie between the quantiles {low} and {high} and those within."
    others = panel.num_items - len(chosen)
    parts = [page.paragraph(text), page.side_by_side(figures), page.table(columns, rows)]
    if others:
        rest = np.setdiff1d(np.arange(panel.num_items), [item for item, _ in chosen])
        total = float(np.nansum(found.median[rest]))
        missing = int(np.isnan(found.median[rest]).any(1).sum())
        parts.append(
            page.paragraph(
                f"Not drawn: {page.several(others, 'other item')}. The medians of their forecasts sum to "
                f"{page.show(total)}; without a forecast: {missing:,}."
            )
        )
    return ("forecast", "Forecast", parts)


def _drawing(*numbers: Any) -> Any:
    return lambda ax: draw_forecast(ax, *numbers)


def backtest_section(found: Findings, windows: int) -> Section:
    """Scores against baselines, by step, and the hardest items."""
    if found.board is None:
        return ("backtest", "Backtest", [page.paragraph(f"There is none: {found.no_board}.")])
    table = found.board.table
    own = table[table["model"] == found.model_name].iloc[0]
    num_tested = int((found.board.results[found.model_name].windows.cuts >= 0).any(1).sum())
    items = page.several(found.panel.num_items, "item")
    text = (
        f"Up to {page.several(windows, 'window')} of {page.several(found.median.shape[1], 'step')} at the end of each "
        f"series, forecast from what was known before, for {num_tested:,} of {items}. "
    )
    if np.isfinite(own["skill"]):
        better = "less" if own["skill"] >= 0 else "more"
        text += f"{found.model_name} has {abs(own['skill']):.0%} {better} error (MASE) than repeating the last season."
    rows = [[row["model"], *(round(float(row[name]), 3) for name in table.columns[1:])] for _, row in table.iterrows()]
    errors = {}
    for name in sorted(found.board.results, key=lambda one: (one != found.model_name, one != BASELINE)):
        by_step = found.board.results[name].score_by("step")
        errors[name] = (by_step["step"].to_numpy(), by_step["MASE"].to_numpy(dtype=float))
    parts = [
        page.paragraph(text),
        page.table([str(name).replace("_", " ") for name in table.columns], rows, first_is_best=True),
        page.paragraph(
            "MASE: absolute error over that of repeating the last season within the history. WQL: loss of all "
            "quantiles over the size of the values. skill: 1 less the geometric mean over items of the MASE relative "
            f"to {BASELINE}. win rate: share of items and other models that it beats. coverage error: mean distance of "
            "the shares at or below the quantiles from their levels.",
            soft=True,
        ),
    ]
    if any(np.isfinite(values).any() for _, values in errors.values()):
        svg = make_svg(lambda ax: draw_steps(ax, errors), width=ALONE, height=3.0)
        parts += [page.heading("Error by step ahead"), page.figure(svg, "MASE by step ahead and model", wide=True)]
    return ("backtest", "Backtest", [*parts, *_hardest(found)])


def _hardest(found: Findings) -> list[str]:
    scored = np.flatnonzero(np.isfinite(found.item_errors))
    if len(scored) < 2:
        return []
    order = scored[np.argsort(-found.item_errors[scored], kind="stable")][:MOST_ROWS]
    rows = [
        (str(found.panel.item_ids[k]), round(float(found.item_errors[k]), 3), found.diagnosis.names[k] or "–")
        for k in order
    ]
    quartiles = np.quantile(found.item_errors[scored], [0.25, 0.5, 0.75])
    spread = (
        f"Half of the items have a MASE between {page.show(quartiles[0])} and {page.show(quartiles[2])}, the median "
    )
    return [
        page.heading("Hardest items"),
        page.table(("item", "MASE", "unusual"), rows),
        page.paragraph(spread + f"is {page.show(quartiles[1])}."),
    ]


def calibration_section(found: Findings) -> Section:
    """How often what came lay at or below each quantile, and within each band."""
    if found.board is None:
        return ("calibration", "Calibration", [page.paragraph(f"Unknown without a backtest: {found.no_board}.")])
    result = found.board.results[found.model_name]
    svg = make_svg(lambda ax: plot_coverage(result, ax=ax), width=3.6, height=3.4)
    drawing = f'<div class="third">{page.figure(svg, "share at or below each quantile")}</div>'
    try:
        table = result.coverage_report(by_step=False)
    except OptionError:  # no two levels around the median
        numbers = page.paragraph("No two of the quantile levels make a band.")
    else:
        rows = [
            (f"{row['band']:.0%}", f"{row['coverage']:.1%}", round(float(row["width"]), 3))
            for _, row in table.iterrows()
        ]
        numbers = page.table(("band", "coverage", "mean width"), rows)
    points = int(result.score_by()["points"].iloc[0])
    text = (
        f"In the backtest, over {points:,} points. On the dotted line the bands would be exactly as wide as they say; "
    )
    text += "below it at high levels, or above it at low ones, they are too narrow. Coverage is the share "
    text += "of what came that lay inside a band; widths are in units of the seasonal error of each history."
    return ("calibration", "Calibration", [page.paragraph(text), page.side_by_side([drawing, numbers])])


def anomaly_section(found: Findings, columns: dict[str, Any]) -> Section | None:
    """The worst anomalies of the history, drawn; None if nobody searched."""
    if found.points is None or found.intervals is None:
        return None
    points, intervals, id_column = found.points, found.intervals, columns["id_column"]
    judged = int(points["score"].notna().sum())
    where = f"{len(found.tested):,} of {found.panel.num_items:,} items" if found.panel.num_items > 1 else "the series"
    text = f"{judged:,} points of {where} were compared with what the model expected just before each; "
    flagged = page.several(int(points["is_anomaly"].sum()), "point")
    text += f"{flagged} out of line, in {page.several(len(intervals), 'run')}."
    if not judged:
        text = "No series is long enough: a point is judged by what the model expected from at least two patches."
    parts = [page.paragraph(text)]
    if len(intervals):
        worst = intervals.head(MOST_ROWS)
        has_ids = id_column in worst.columns
        rows = [
            [str(row[id_column])] * has_ids
            + [_stamp(row[columns["timestamp_column"]]), int(row["num_points"]), float(row["score"])]
            + [float(row["expected"]), float(row["seen"])]
            for _, row in worst.iterrows()
        ]
        names = ("run starts", "points", "score", "expected", "seen")
        parts.append(page.table((*(["item"] if has_ids else []), *names), rows))
        parts.append(page.paragraph("score: how far out, in deviations of a normal law.", soft=True))
        items = list(dict.fromkeys(intervals[id_column]))[:MOST_ANOMALY_FIGURES] if has_ids else [None]
        figures = []
        for item in items:
            part = points if item is None else points[points[id_column] == item]
            svg = make_svg(_anomaly_drawing(part, columns), width=ALONE if len(items) == 1 else BESIDE)
            figures.append(
                page.figure(svg, f"anomalies of {item}", name="" if item is None else str(item), wide=len(items) == 1)
            )
        parts.append(page.side_by_side(figures))
    return ("anomalies", "Anomalies", parts)


def _anomaly_drawing(part: pd.DataFrame, columns: dict[str, Any]) -> Any:
    names = {name: columns[name] for name in ("timestamp_column", "target")}
    return lambda ax: draw_anomalies(ax, part, **names)


def made_section(facts: Sequence[tuple[str, Any]], notes: Sequence[str]) -> Section:
    """Version, options, date, command, and what was warned of."""
    parts = [page.facts_table(facts)]
    if notes:
        parts += [page.heading("Warnings"), *(page.paragraph(note) for note in notes)]
    return ("made", "How it was made", parts)


def _shown(horizon: int) -> int:
    return int(min(max(4 * horizon, 60), SHOWN_HISTORY))


def _range(lengths: IntArray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _some(item_ids: ObjectArray, most: int = 4) -> str:
    shown = ", ".join(str(item) for item in item_ids[:most])
    return shown if len(item_ids) <= most else f"{shown} and {len(item_ids) - most:,} more"


def _stamp(stamp: Any) -> str:
    return str(stamp).removesuffix(" 00:00:00")
