"""What covariates gain: the table of docs/covariates.md.

    python pretrain/check_covariates.py --data ../shared/data [--cutoffs 12] [--noise]

Sets with known drivers, the drivers known ahead as in most of the literature: hourly bicycle rental in Washington with
temperature, humidity and wind (dev_eval), and two hourly electricity loads with temperature (corpus, so the released
models have seen their past: here the gain counts, not the score). With --noise the drivers are replaced by noise.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from tsar import Forecaster
from tsar.errors import TsarWarning

DECILES = np.arange(1, 10) / 10
SETS = {
    "bike sharing": ("dev_eval/bike_sharing_hourly", "users", ("temp", "hum", "windspeed"), 24),
    "GEFCom2014 load": ("corpus/gefcom2014", "E/load", ("E/T",), 24),
    "GEFCom2014 load, two days": ("corpus/gefcom2014", "E/load", ("E/T",), 48),
    "GEFCom2012 load": ("corpus/gefcom2012", "load/5", ("temp/1", "temp/4", "temp/9"), 24),
}
LONGEST = 24 * 365 * 2


def load_set(name: str, data: Path, noise: bool) -> tuple[pd.DataFrame, list[str], int]:
    """Return the frame of a set, the names of its drivers, and the horizon."""
    path, target, drivers, horizon = SETS[name]
    series = pd.read_parquet(data / f"{path}.parquet").set_index("item_id")["target"]
    columns = {column: np.asarray(series[column], dtype=float) for column in (target, *drivers)}
    size = min(map(len, columns.values()))  # all end together
    frame = pd.DataFrame({column: values[-size:] for column, values in columns.items()}).rename(
        columns={target: "target"}
    )
    if noise:
        frame[list(drivers)] = np.random.default_rng(0).normal(size=(size, len(drivers)))
    frame.insert(0, "timestamp", pd.date_range("2010-01-01", periods=size, freq="h"))
    return frame.iloc[-LONGEST:].reset_index(drop=True), list(drivers), horizon


def main() -> None:
    """Print one row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev_eval and corpus")
    parser.add_argument("--cutoffs", type=int, default=12)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--noise", action="store_true", help="replace the drivers by noise")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    args = parser.parse_args()
    warnings.simplefilter("ignore", TsarWarning)
    print(
        "| set | MAE without | MAE with | change | WQL change | used | seconds a fit |\n|---|---|---|---|---|---|---|"
    )
    for name in args.sets:
        frame, drivers, horizon = load_set(name, args.data, args.noise)
        errors, losses, used, start = np.zeros(2), np.zeros(2), 0, time.perf_counter()
        for turn in range(args.cutoffs):
            cut = len(frame) - horizon - turn * (24 * 17)  # 17 days apart, so all weekdays
            past, ahead = frame[:cut], frame[cut : cut + horizon]
            plain = Forecaster(id_column=None, prediction_length=horizon)
            driven = Forecaster(
                id_column=None, prediction_length=horizon, future_covariates=drivers, covariate_method=args.method
            ).fit(past)
            used += driven.covariate_effect_.method != "none"
            answers = [
                plain.fit(past).predict_quantiles(),
                driven.predict_quantiles(future_df=ahead.drop(columns="target")),
            ]
            for place, answer in enumerate(answers):
                missed = ahead["target"].to_numpy()[:, None] - answer.quantiles[0]
                errors[place] += np.abs(missed[:, 4]).mean()
                losses[place] += np.maximum(DECILES * missed, (DECILES - 1) * missed).mean()
        seconds = (time.perf_counter() - start) / args.cutoffs
        means, changes = errors / args.cutoffs, [errors[1] / errors[0] - 1, losses[1] / losses[0] - 1]
        cells = [f"{means[0]:.4g}", f"{means[1]:.4g}", *(f"{change:+.1%}" for change in changes)]
        print(f"| {name} | {' | '.join(cells)} | {used} of {args.cutoffs} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
