"""Whether every period from 2 to 400 is followed, not only those of calendars: skill over the mean.

    python pretrain/check_periods.py

Noisy series of three shapes (sine, sawtooth, a random profile) and every period, zero-shot with default options, all in
a panel; two periods ahead, at least 16 steps. Skill is 1 - error / error of the true mean, where the error is the mean
absolute error against the series without its noise; a series is followed from a skill of 0.5.
"""

import argparse
import time

import numpy as np
import pandas as pd

from tsar import Forecaster

SHAPES = ("sine", "sawtooth", "profile")
RANGES = ((2, 7), (8, 15), (16, 31), (32, 63), (64, 127), (128, 255), (256, 341), (342, 400))
LEAST_PERIODS, SHORTEST, FOLLOWED = 8, 1024, 0.5


def make_series(period, shape, rng, length, noise):
    """Values of one series without its noise, and the noise."""
    phase = (np.arange(length) + rng.integers(period)) % period
    if shape == "sine":
        clean = np.sin(2 * np.pi * phase / period + rng.uniform(0.3, 1.2))
    elif shape == "sawtooth":
        clean = phase / (period - 1) - 0.5
    else:
        clean = rng.normal(size=period)[phase]
    clean = 10 + clean / clean.std()
    return clean, noise * rng.normal(size=length)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, default=0.1, help="in deviations of the series")
    parser.add_argument("--points", type=int, help="length of the history; default: 1024, at least 8 periods")
    parser.add_argument("--step", type=int, default=1, help="every how many periods")
    parser.add_argument("--option", action="append", default=[], help="name=value of Forecaster, True or False")
    parser.add_argument("--worst", type=int, default=8)
    options = parser.parse_args()
    extra = {name: value == "True" for name, value in (text.split("=") for text in options.option)}
    rows = []
    for low, high in RANGES:
        rng = np.random.default_rng(low)
        periods = [(p, shape) for p in range(low, high + 1, options.step) for shape in SHAPES]
        horizon, parts, truths = max(2 * high, 16), [], []
        for number, (period, shape) in enumerate(periods):
            length = options.points or max(SHORTEST, LEAST_PERIODS * period)
            clean, noise = make_series(period, shape, rng, length + horizon, options.noise)
            y = (clean + noise)[:length]
            parts.append(pd.DataFrame({"item_id": number, "timestamp": np.arange(length), "target": y}))
            truths.append(clean[length:])
        began = time.perf_counter()
        panel = pd.concat(parts, ignore_index=True)
        forecast = Forecaster(prediction_length=horizon, **extra).fit(panel).predict()
        median = forecast["predictions"].to_numpy().reshape(len(periods), horizon)
        seconds = time.perf_counter() - began
        for number, (period, shape) in enumerate(periods):
            ahead = max(2 * period, 16)
            truth = truths[number][:ahead]
            error = np.abs(median[number, :ahead] - truth).mean() / np.abs(10 - truth).mean()
            rows.append({"range": f"{low}-{high}", "period": period, "shape": shape, "skill": 1 - error})
        print(f"{low}-{high}: {len(periods)} series in {seconds:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    summary = table.groupby(["range", "shape"], sort=False)["skill"]
    share = (table["skill"] >= FOLLOWED).groupby([table["range"], table["shape"]], sort=False).mean()
    shown = pd.DataFrame({"median": summary.median(), "lowest": summary.min(), "followed": share}).unstack()
    print(shown.round(2).to_string())
    print(table.nsmallest(options.worst, "skill").round(3).to_string(index=False))
    print(
        f"followed: {(table['skill'] >= FOLLOWED).mean():.3f} of {len(table)}, mean skill {table['skill'].mean():.3f}"
    )


if __name__ == "__main__":
    main()
