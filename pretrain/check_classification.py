"""Classification and regression on labelled sets that aeon ships, against 1-NN-DTW and ROCKET of the same library.

    python pretrain/check_classification.py [--sets GunPoint OSULeaf] [--heads ridge logistic] [--reference]

Train and test halves are those of the UCR and TSER archives. Nothing is drawn at random but ROCKET's kernels (seed 0).
"""

import argparse
import time

import numpy as np
from aeon.datasets import load_classification, load_regression
from sklearn.neighbors import KNeighborsRegressor

from tsar import TimeSeriesClassifier, TimeSeriesRegressor

CLASSIFICATION = [
    "ArrowHead", "GunPoint", "ItalyPowerDemand", "OSULeaf", "ACSF1", "PickupGestureWiimoteZ", "BasicMotions",
    "JapaneseVowels",
]  # fmt: skip
REGRESSION = ["Covid3Month", "CardanoSentiment"]


def load(loader, name):
    train, test = (loader(name, split=split) for split in ("train", "test"))
    return *train, *test


def classify(name, heads, reference):
    X, y, X_test, y_test = load(load_classification, name)
    for head in heads:
        start = time.perf_counter()
        model = TimeSeriesClassifier(head=head).fit(X, y)
        fitted = time.perf_counter()
        score = model.score(X_test, y_test)
        count = len(X_test) * len(X_test[0])
        each = 1000 * (time.perf_counter() - fitted) / count
        print(
            f"{name} tsar {head}: accuracy {score:.3f}, fit {fitted - start:.1f} s, {each:.1f} ms a series", flush=True
        )
    if not reference:
        return
    from aeon.classification.convolution_based import RocketClassifier
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    neighbour = KNeighborsTimeSeriesClassifier(distance="dtw", n_neighbors=1).fit(X, y)
    print(f"{name} 1-NN-DTW: {neighbour.score(X_test, y_test):.3f}")
    if not isinstance(X, list):  # ROCKET of aeon takes series of one length
        print(f"{name} ROCKET: {RocketClassifier(random_state=0).fit(X, y).score(X_test, y_test):.3f}", flush=True)


def regress(name):
    X, y, X_test, y_test = load(load_regression, name)
    y, y_test = y.astype(float), y_test.astype(float)
    guesses = {
        "tsar": TimeSeriesRegressor().fit(X, y).predict(X_test),
        "1-NN": KNeighborsRegressor(1).fit(X.reshape(len(X), -1), y).predict(X_test.reshape(len(X_test), -1)),
        "mean": np.full(len(y_test), y.mean()),
    }
    scores = {model: np.sqrt(np.mean((guess - y_test) ** 2)) for model, guess in guesses.items()}
    print(name, "RMSE", *(f"{model} {score:.4f}" for model, score in scores.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[*CLASSIFICATION, *REGRESSION])
    parser.add_argument("--heads", nargs="*", default=["ridge", "logistic"])
    parser.add_argument("--reference", action="store_true", help="also 1-NN-DTW and ROCKET (minutes)")
    options = parser.parse_args()
    for name in options.sets:
        if name in REGRESSION:
            regress(name)
        else:
            classify(name, options.heads, options.reference)


if __name__ == "__main__":
    main()
