"""Generated series against real ones, on data that statsmodels and aeon ship and on a simulated domain.

    python pretrain/check_generation.py [--sets "sea temperature" …] [--labelled GunPoint …] [--no-tuning] [--seed 0]

Discriminative score (accuracy of a classifier minus 0.5: 0 is chance, 0.5 certainty) and predictive score (error of a
model trained on generated series over that of one trained on real ones), see `tsar.tasks.generation_scores`. Generators
see one half of the series, and are scored against the other; ``real`` scores the first half itself, what a perfect
generator would get. Rivals: ``noise`` has mean and deviation of each series, ``surrogate`` its spectrum with
random phases (Theiler et al., 1992). Of labelled sets each class is generated apart, and the scores are means.
"""

import argparse
import time

import numpy as np
import pandas as pd
from aeon.datasets import load_classification
from statsmodels.datasets import co2, elnino, sunspots

from tsar import Forecaster, generate
from tsar.tasks.generation_scores import discriminative_score, predictive_score

LABELLED = ["GunPoint", "ItalyPowerDemand"]
TUNING = {"max_steps": 100, "batch_size": 16, "patience": 10}
LONGEST = 60  # series a half and class


def windows(values, length, step):
    """Overlapping windows of all of the series, dealt in turn; ``real`` and ``unseen`` therefore share points."""
    cut = np.lib.stride_tricks.sliding_window_view(np.asarray(values, dtype=float), length)[::step]
    return cut[::2][:LONGEST], cut[1::2][:LONGEST]


def simulated(seed):
    """Sines of period 12 in autoregressive noise."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(LONGEST, 292))
    for t in range(2, 292):
        noise[:, t] += 0.6 * noise[:, t - 1] + 0.2 * noise[:, t - 2]
    return 10 + 3 * np.sin(2 * np.pi * (np.arange(192) / 12 + random.random((LONGEST, 1)))) + noise[:, 100:]


def load(name):
    """Pairs of halves, one a class, and whether the series are aligned."""
    if name in LABELLED:
        X, y = load_classification(name)
        shuffled = np.random.default_rng(0).permutation(len(X))
        X, y = X[shuffled, 0], y[shuffled]
        return [(X[y == one][::2][:LONGEST], X[y == one][1::2][:LONGEST]) for one in np.unique(y)], True
    series = {
        "simulated": lambda: (simulated(0), simulated(1)),
        "sea temperature": lambda: windows(elnino.load_pandas().data.to_numpy()[:, 1:].ravel(), 120, 6),
        "carbon dioxide": lambda: windows(co2.load_pandas().data["co2"].interpolate(), 208, 18),
        "sunspots": lambda: windows(sunspots.load_pandas().data["SUNACTIVITY"], 64, 4),
    }
    return [series[name]()], False


def to_frame(X):
    length = X.shape[1]
    frame = {"item_id": np.repeat(np.arange(len(X)), length), "timestamp": np.tile(np.arange(length), len(X))}
    return pd.DataFrame({**frame, "target": X.ravel()})


def surrogate(X, random):
    """Same spectrum, random phases (Theiler et al., 1992)."""
    spectrum = np.fft.rfft(X, axis=1)
    turn = np.exp(2j * np.pi * random.random(spectrum.shape))
    turn[:, 0] = 1
    return np.fft.irfft(spectrum * turn, X.shape[1], axis=1)


def compare(name, tuning, seed):
    halves, is_aligned = load(name)
    rows = {}
    for shown, unseen in halves:
        random, df = np.random.default_rng(seed), to_frame(shown)
        options = {"like": df, "random_state": seed, "start_length": 0 if is_aligned else None}
        n, length = shown.shape
        started = time.perf_counter()
        made = {"real": shown, "zero-shot": generate(n, length, **options)}
        seconds = time.perf_counter() - started
        if tuning:
            horizon = min(16, length // 4)
            tuned = Forecaster(mode="full", prediction_length=horizon, fine_tune=TUNING, random_state=seed).fit(df)
            made["tuned"] = generate(n, length, model=tuned.model_, **options)
        made["surrogate"] = surrogate(shown, random)
        made["noise"] = shown.mean(1, keepdims=True) + shown.std(1, keepdims=True) * random.normal(size=shown.shape)
        for kind, new in made.items():
            values = new if isinstance(new, np.ndarray) else new["target"].to_numpy().reshape(n, length)
            lags = min(16, length // 2 - 1)
            scores = discriminative_score(unseen, values), predictive_score(unseen, values, lags=lags)
            rows.setdefault(kind, []).append(scores)
    for kind, scores in rows.items():
        discriminative, predictive = np.mean(scores, axis=0)
        size = f"{n} x {length}, {len(halves)} class(es), zero-shot in {seconds:.1f} s" if kind == "real" else ""
        print(f"{name:16s} {kind:10s} {discriminative:6.3f} {predictive:6.3f}  {size}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=["simulated", "sea temperature", "carbon dioxide", "sunspots"])
    parser.add_argument("--labelled", nargs="*", default=LABELLED)
    parser.add_argument("--no-tuning", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in [*options.sets, *options.labelled]:
        compare(name, not options.no_tuning, options.seed)


if __name__ == "__main__":
    main()
