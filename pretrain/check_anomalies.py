#!/usr/bin/env python
"""Compare anomaly scores on the labelled sets that aeon ships: `detect_anomalies` against residuals over their IQR.

    python pretrain/check_anomalies.py

Every way scores the test part of each channel with the training part, where there is one, as history; the score of a
set of several channels is the mean over channels. VUS-PR and VUS-ROC (Paparrizos et al., 2022) and the best point-wise
F1 are aeon's and scikit-learn's; *first* says whether the highest score of all lies within 100 points of an anomaly, as
the UCR archive counts. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from aeon.benchmarking.metrics.anomaly_detection import range_pr_vus_score, range_roc_vus_score
from aeon.datasets import load_ecg_diff_count_3, load_kdd_tsad_135
from sklearn.metrics import precision_recall_curve
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.stattools import acf

from tsar.tasks.anomaly import detect_anomalies, smooth_scores

SMOOTH = (1, 16)
BUFFER = 100  # points around an anomaly that VUS counts in part; aeon's 500 takes minutes a score
LONGEST_SEASON = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    warnings.simplefilter("ignore", FutureWarning)  # aeon will ship the second set no longer
    parser.add_argument("--model", default="tsar-tiny")
    args = parser.parse_args()
    print("| set | score | smoothed over | VUS-PR | VUS-ROC | best F1 | first | seconds |")
    print("|---|---|--:|--:|--:|--:|---|--:|")
    for name, (values, labels, history) in read_sets().items():
        for way, make in {
            args.model: lambda x: by_model(x, args.model), "seasonal naive, IQR": naive, "STL, IQR": stl,
        }.items():  # fmt: skip
            began = time.perf_counter()
            raw = [make(channel)[history:] for channel in values.T]
            took = time.perf_counter() - began
            for width in SMOOTH:
                score = np.mean([np.nan_to_num(smooth_scores(one, width)) for one in raw], axis=0)
                print(f"| {name} | {way} | {width} |", " | ".join(rate(labels, score)), f"| {took:.1f} |", flush=True)


def read_sets() -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Return name -> values (N, C), labels of the part that is judged, length of the history before it."""
    kdd, labels = load_kdd_tsad_135(split="test")  # the training part is its beginning, without an anomaly
    history = len(load_kdd_tsad_135(split="train")[0])
    ecg, ecg_labels = load_ecg_diff_count_3("unsupervised")
    return {
        "KDD-TSAD 135": (np.asarray(kdd, float).reshape(len(labels), -1), np.asarray(labels)[history:], history),
        "ecg-diff-count-3": (np.asarray(ecg, float).reshape(len(ecg_labels), -1), np.asarray(ecg_labels), 0),
    }


def by_model(values: np.ndarray, model: str) -> np.ndarray:
    """Score of `detect_anomalies`."""
    frame = pd.DataFrame({"timestamp": np.arange(len(values)), "target": values})
    return detect_anomalies(frame, model, id_column=None)["score"].to_numpy()


def naive(values: np.ndarray) -> np.ndarray:
    """Difference from one season before, in interquartile ranges."""
    season = find_season(values)
    return in_ranges(np.concatenate([np.full(season, np.nan), values[season:] - values[:-season]]))


def stl(values: np.ndarray) -> np.ndarray:
    """What STL leaves over, in interquartile ranges; sees the whole series."""
    return in_ranges(STL(values, period=max(find_season(values), 2)).fit().resid)


def in_ranges(residuals: np.ndarray) -> np.ndarray:
    low, middle, high = np.nanquantile(residuals, [0.25, 0.5, 0.75])
    return np.abs(residuals - middle) / max(high - low, 1e-9)


def find_season(values: np.ndarray) -> int:
    """Lag of the highest autocorrelation after it has first fallen below zero; 1 if there is none."""
    lags = acf(values, nlags=min(LONGEST_SEASON, len(values) // 3), fft=True)
    below = np.flatnonzero(lags < 0)
    return int(below[0] + np.argmax(lags[below[0] :])) if len(below) else 1


def rate(labels: np.ndarray, score: np.ndarray) -> list[str]:
    """VUS-PR, VUS-ROC, best F1, and whether the highest score is at an anomaly."""
    precision, recall, _ = precision_recall_curve(labels, score)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
    near = labels[max(np.argmax(score) - BUFFER, 0) : np.argmax(score) + BUFFER]
    volumes = [vus(labels, score, max_buffer_size=BUFFER) for vus in (range_pr_vus_score, range_roc_vus_score)]
    return [*(f"{value:.3f}" for value in (*volumes, best)), "yes" if near.any() else "no"]


if __name__ == "__main__":
    main()
