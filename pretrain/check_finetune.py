#!/usr/bin/env python
"""What fine-tuning is worth: MASE and WQL before and after, on sets whose last windows are held out.

    python pretrain/check_finetune.py --data ../shared/data/dev_eval --modes full --sets bike_sharing_hourly co2

Protocol: the last windows of every series (three, more for sets of few series) are the test. Everything before the
first of them is given to `fit` once, which holds back its own validation ends inside. Then the released and the tuned
model forecast the same test windows from the same histories. Scores are means over all windows. Sets are development
sets and series that ship with statsmodels and aeon; `--limit` series of each, drawn with a seed.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from tsar import Forecaster
from tsar.benchmark.scores import geometric_mean
from tsar.errors import TsarWarning
from tsar.metrics import mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
LEAST_WINDOWS, MOST_WINDOWS_OF_A_SERIES = 60, 20
PACKAGED = ("co2", "elnino", "sunspots", "elec_equip", "fertility", "basic_motions", "covid_3month", "gunpoint")


def packaged(name: str) -> tuple[list[np.ndarray], str, int, int]:
    """Series, freq, prediction length and seasonality of a set that ships with statsmodels or aeon."""
    if name in ("basic_motions", "covid_3month", "gunpoint"):
        import aeon.datasets

        cases, _ = getattr(aeon.datasets, f"load_{name}")()
        return list(cases.reshape(-1, cases.shape[-1]).astype(float)), "", 7 if name == "covid_3month" else 10, 1
    from statsmodels import datasets

    if name == "co2":
        weekly = datasets.co2.load_pandas().data["co2"]
        return [weekly.to_numpy(dtype=float)], "W-SAT", 26, 52
    if name == "fertility":
        countries = datasets.fertility.load_pandas().data.filter(regex=r"^\d{4}$").to_numpy(dtype=float)
        return (
            [rates[np.isfinite(rates).argmax() :] for rates in countries if np.isfinite(rates).sum() > 30],
            "YS",
            5,
            1,
        )
    if name == "elnino":
        return [datasets.elnino.load_pandas().data.drop(columns="YEAR").to_numpy(dtype=float).ravel()], "MS", 12, 12
    if name == "sunspots":
        return [datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(dtype=float)], "YS", 11, 11
    return [datasets.elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)], "MS", 12, 12


def load_set(name: str, folder: Path, limit: int) -> tuple[list[np.ndarray], str, int, int]:
    if name in PACKAGED:
        return packaged(name)
    table = pq.read_table(folder / f"{name}.parquet")
    series = [np.asarray(target, dtype=float) for target in table["target"].to_pylist()]
    if len(series) > limit:
        series = [series[i] for i in np.sort(np.random.default_rng(0).choice(len(series), limit, replace=False))]
    return (
        series, table["freq"][0].as_py(), table["prediction_length"][0].as_py(), table["seasonality"][0].as_py()
    )  # fmt: skip


def to_frame(pasts: list[np.ndarray]) -> pd.DataFrame:
    """Integer stamps: what a step is does not matter to the model, and any length fits."""
    lengths = [len(past) for past in pasts]
    return pd.DataFrame(
        {
            "item_id": np.repeat(np.arange(len(pasts)), lengths),
            "timestamp": np.concatenate([np.arange(length) for length in lengths]),
            "target": np.concatenate(pasts),
        }
    )


def check(series: list[np.ndarray], horizon: int, season: int, mode: str, fine_tune: dict, model: str) -> dict:
    """Scores of the released and of the tuned model on the last windows of all series."""
    windows = int(np.clip(-(-LEAST_WINDOWS // len(series)), 3, MOST_WINDOWS_OF_A_SERIES))
    series = [values for values in series if len(values) >= (windows + 2) * horizon]
    began = time.process_time()
    tuned = Forecaster(model, prediction_length=horizon, mode=mode, fine_tune=fine_tune or None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        tuned.fit(to_frame([values[: len(values) - windows * horizon] for values in series]))
    seconds = time.process_time() - began
    pasts, actual = [], []
    for values in series:
        for back in range(windows, 0, -1):
            end = len(values) - back * horizon
            pasts.append(values[:end])
            actual.append(values[end : end + horizon])
    truth = np.stack(actual)
    scales = np.array([seasonal_error(past, season) for past in pasts])
    recent = to_frame([past[-1100:] for past in pasts])
    row: dict = {"mode": mode, "series": len(series), "windows": len(pasts), "seconds": round(seconds)}
    for name, forecaster in (("zero_shot", Forecaster(model, prediction_length=horizon)), ("tuned", tuned)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TsarWarning)
            quantiles = forecaster.predict_quantiles(recent).at(LEVELS)
        row[f"{name}_MASE"] = mean_absolute_scaled_error(truth, quantiles[..., 4], scales)
        row[f"{name}_WQL"] = weighted_quantile_loss(truth, quantiles, LEVELS)
    report = tuned.fine_tune_report_
    row |= {
        "alpha": report.alpha,
        "share": report.trained_share,
        "steps": report.steps[-1]["step"] if report.steps else 0,
    }
    row |= {"validation": [report.zero_shot_score, report.tuned_score], "validation_windows": report.num_windows}
    row["curve"] = [round(step["validation_score"], 4) for step in report.steps]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="tsar-tiny")
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--modes", nargs="+", default=["full"])
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--options",
        type=json.loads,
        default={"time_limit": None},
        help="fine_tune as JSON; without a time limit it repeats",
    )
    parser.add_argument("--jsonl", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ratios: dict[str, list[tuple[float, float]]] = {mode: [] for mode in args.modes}
    for name in args.sets:
        series, _, horizon, season = load_set(name, args.data, args.limit)
        for mode in args.modes:
            row = {"set": name, **check(series, horizon, season, mode, args.options, args.model)}
            ratios[mode].append((row["tuned_MASE"] / row["zero_shot_MASE"], row["tuned_WQL"] / row["zero_shot_WQL"]))
            print(
                f"{name:28s} {mode:15s} MASE {row['zero_shot_MASE']:.4f} -> {row['tuned_MASE']:.4f} "
                f"({100 * (ratios[mode][-1][0] - 1):+.1f} %)  WQL {row['zero_shot_WQL']:.4f} -> {row['tuned_WQL']:.4f} "
                f"({100 * (ratios[mode][-1][1] - 1):+.1f} %)  {row['seconds']} CPU s  alpha {row['alpha']}  "
                f"trained {100 * row['share']:.2f} %  steps {row['steps']}  "
                f"validation ({row['validation_windows']} windows) {row['validation'][0]:.4f} -> "
                f"{row['validation'][1]:.4f} {row['curve']}",
                flush=True,
            )
            if args.jsonl:
                with open(args.jsonl, "a") as file:
                    file.write(json.dumps({**row, "options": args.options}) + "\n")
    for mode, pairs in ratios.items():
        mase, wql = geometric_mean(np.array(pairs))
        print(f"geometric mean over {len(pairs)} sets, {mode}: MASE x {mase:.4f}, WQL x {wql:.4f}")


if __name__ == "__main__":
    main()
