"""Event forecasts against a Poisson process and against the truth, on simulated Hawkes processes.

    python pretrain/check_events.py [--seeds 0 1 2] [--train 60] [--test 40] [--horizon 40] [--steps 300]

Two types that excite themselves and each other, 60 sequences of 150 time units to learn from, others to forecast
after 110 units. ``truth`` continues them by the process itself. Scores: log-likelihood an event; root mean squared
error of the mean count and pinball loss of the counts (levels 0.1 … 0.9) by item and type; distance (Mei et al., 2019:
events moved, or added and removed at a cost of 2) of single paths from what came.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.unit.hawkes import log_likelihood, poisson_log_likelihood, simulate, to_frame
from tsar.events.distance import sequence_distance
from tsar.events.forecaster import EventForecaster

PAST, DURATION, PATHS, COST = 110.0, 150.0, 100, 2.0
LEVELS = np.arange(1, 10) / 10


def paths_of(forecaster, history, horizon):
    """Per item, its paths as (times after the cutoff, types)."""
    table = forecaster.sample(to_frame(history), horizon=horizon, start=PAST, num_samples=PATHS)
    groups = dict(list(table.groupby(["item_id", "sample"])))
    empty = np.array([]), np.array([], dtype=np.int64)
    answers = []
    for item in range(len(history)):
        parts = [groups.get((f"item_{item}", sample)) for sample in range(PATHS)]
        answers.append(
            [
                empty
                if part is None
                else (part["timestamp"].to_numpy() - PAST, (part["event_type"] == "b").to_numpy().astype(np.int64))
                for part in parts
            ]
        )
    return answers


def poisson_path(random, rates, horizon):
    counts = random.poisson(rates * horizon)
    times, codes = random.random(counts.sum()) * horizon, np.repeat([0, 1], counts)
    order = np.argsort(times)
    return times[order], codes[order]


def scores(paths, future):
    """Error of the mean count, pinball loss, distance."""
    squared, pinball, distance = [], [], []
    for some, (times, codes) in zip(paths, future, strict=True):
        counts = np.array([[(path[1] == kind).sum() for kind in (0, 1)] for path in some])
        came = np.array([(codes == kind).sum() for kind in (0, 1)])
        squared.append((counts.mean(0) - came) ** 2)
        error = came - np.quantile(counts, LEVELS, axis=0, method="inverted_cdf")
        pinball.append(np.maximum(LEVELS[:, None] * error, (LEVELS[:, None] - 1) * error))
        distance.append(np.mean([sequence_distance(*path, times, codes, COST) for path in some[:25]]))
    return np.sqrt(np.mean(squared)), np.mean(pinball), np.mean(distance)


def run(seed, options):
    random = np.random.default_rng(seed)
    train = [simulate(random, DURATION) for _ in range(options.train)]
    test = [simulate(random, DURATION) for _ in range(options.test)]
    horizon = options.horizon
    history = [(t[t <= PAST], c[t <= PAST]) for t, c in test]
    future = [(t[(t > PAST) & (t <= PAST + horizon)] - PAST, c[(t > PAST) & (t <= PAST + horizon)]) for t, c in test]
    rates = np.array([sum((c == kind).sum() for _, c in train) for kind in (0, 1)]) / (DURATION * options.train)
    number = sum(len(times) - 1 for times, _ in test)
    results = {}
    likelihood = sum(poisson_log_likelihood(*one, rates) for one in test) / number
    paths = [[poisson_path(random, rates, horizon) for _ in range(PATHS)] for _ in test]
    results["Poisson"] = (likelihood, *scores(paths, future), 0.0)
    forecaster = EventForecaster(rerank="energy", max_steps=options.steps, random_state=seed)
    began = time.perf_counter()
    forecaster.fit(to_frame(train), end=DURATION)
    seconds = time.perf_counter() - began
    likelihood = forecaster.score(to_frame(test))
    results["re-ranked"] = (likelihood, *scores(paths_of(forecaster, history, horizon), future), seconds)
    forecaster.set_params(rerank=None)
    results["plain"] = (likelihood, *scores(paths_of(forecaster, history, horizon), future), seconds)
    likelihood = sum(log_likelihood(*one) for one in test) / number
    truth = [[simulate(random, horizon, (t - PAST, c)) for _ in range(PATHS)] for t, c in history]
    results["truth"] = (likelihood, *scores(truth, future), 0.0)
    return results, forecaster.energy_gain_


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--horizon", type=float, default=40.0)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    print("| seed | paths | log-likelihood | RMSE of counts | pinball of counts | distance | fit, s |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    for seed in options.seeds:
        results, gain = run(seed, options)
        for name in ("Poisson", "plain", "re-ranked", "truth"):
            likelihood, rmse, pinball, distance, seconds = results[name]
            line = (
                f"| {seed} | {name} | {likelihood:.3f} | {rmse:.2f} | {pinball:.2f} | {distance:.1f} | {seconds:.0f} |"
            )
            print(line, flush=True)
        print(f"<!-- seed {seed}: gain of the energy {gain:.3f} nats -->", flush=True)


if __name__ == "__main__":
    main()
