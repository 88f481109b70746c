"""Re-ranked against plain paths of events, the same draws, on simulated processes; the table of docs/events.md.

    python pretrain/check_rerank.py [hawkes switching items self_correcting renewal] [--seeds 0 1] [--window 64]

60 sequences of 200 time units to learn from, 80 others to forecast, each once: the time in which 30 events come on
average, after its last event that leaves so much. Both rows of a process read the same 50 draws an item, with equal
weights and with those of the energy. Scores: root mean squared error of the mean count by type; distance (events moved,
or added and removed at a cost of two mean gaps) from what came, of drawn paths on average, and of the one path of least
mean distance from the others. Differences are paired by item, with their standard error.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from tsar.events.distance import pairwise_distances
from tsar.events.energy import History, path_weights
from tsar.events.forecaster import EventForecaster
from tsar.events.rollout import roll_out
from tsar.events.simulate import Hawkes, Renewal, SelfCorrecting

BASE, JUMPS = np.array([0.15, 0.05]), np.array([[0.5, 0.1], [0.7, 0.3]])
PROCESSES = {
    "hawkes": Hawkes(base=BASE, jumps=JUMPS, decay=1.2),
    "switching": Hawkes(base=BASE * 4, jumps=JUMPS * 0.5, decay=1.2, quiet=0.1, stay=30.0),
    "items": Hawkes(base=BASE * 1.5, jumps=JUMPS * 0.6, decay=1.2, spread=0.6),
    "self_correcting": SelfCorrecting(drift=np.array([0.3, 0.15]), pull=np.array([0.6, 0.6]), spread=0.3),
    "renewal": Renewal(mean=1.5, shape=2.0, chain=np.array([[0.8, 0.2], [0.5, 0.5]]), memory=0.98, swing=0.5),
}
DURATION, REACH, COST = 200.0, 30, 2.0


def to_frame(sequences):
    parts = [pd.DataFrame({"item_id": i, "timestamp": t, "event_type": c}) for i, (t, c) in enumerate(sequences)]
    return pd.concat(parts, ignore_index=True)


def fit(process, random, seed, window, steps, train=60):
    sequences = [process.draw(random, DURATION) for _ in range(train)]
    forecaster = EventForecaster(
        rerank="energy", rerank_events=REACH, context_length=window, max_steps=steps, random_state=seed
    )
    return forecaster.fit(to_frame([one for one in sequences if len(one[0]) > 1]), end=DURATION)


def draw_tests(process, random, number, horizon, window):
    """Sequences and the place of the last event of their history."""
    found = []
    while len(found) < number:
        times, codes = process.draw(random, DURATION)
        now = int(np.searchsorted(times, DURATION - horizon)) - 1
        if now >= window // 2:
            found.append((times, codes, now))
    return found


def compare(forecaster, tests, paths, seed, window):
    """Scores (2, I, 4) of equal weights and those of the energy: squared error, two distances, share of draws."""
    model, half = forecaster.model_, window // 2
    unit = float(model.mean_gap)
    horizon = REACH * unit
    codes = np.repeat([c[n + 1 - half : n + 1] for _, c, n in tests], paths, 0)
    gaps = np.repeat([np.diff(t, prepend=np.nan)[n + 1 - half : n + 1] for t, _, n in tests], paths, 0)
    random = np.random.default_rng([seed, 1])
    drawn = roll_out(model, codes, gaps, random, window=window, least=1, duration=horizon)
    answers = []
    for place, (times, kinds, now) in enumerate(tests):
        mine = slice(place * paths, (place + 1) * paths)
        new_codes, clock = drawn[0][mine], np.cumsum(drawn[1][mine], 1)
        history = History.of(model, times[: now + 1], kinds[: now + 1])
        learned = path_weights(forecaster.energy_, model, history, (new_codes, drawn[1][mine]), forecaster.temper_)
        came = (times > times[now]) & (times <= times[now] + horizon)
        width = max(clock.shape[1], int(came.sum()))
        all_times, all_codes = np.full((paths + 1, width), np.inf), np.zeros((paths + 1, width), dtype=np.int64)
        all_times[0, : came.sum()], all_codes[0, : came.sum()] = times[came] - times[now], kinds[came]
        all_times[1:, : clock.shape[1]], all_codes[1:, : clock.shape[1]] = clock, new_codes
        inside = all_times <= horizon
        counts = np.stack([((all_codes == kind) & inside).sum(1) for kind in range(len(forecaster.event_types_))], 1)
        distances = pairwise_distances(all_times / unit, all_codes, inside, COST)
        from_truth, among = distances[0, 1:], distances[1:, 1:]
        answers.append([
            [((weights @ counts[1:] - counts[0]) ** 2).mean(), weights @ from_truth,
             from_truth[np.argmin(among @ weights)], 1 / (weights**2).sum() / paths]
            for weights in (np.full(paths, 1 / paths), learned)
        ])  # fmt: skip
    return np.array(answers).swapaxes(0, 1)


def difference(values):
    paired = values[1] - values[0]
    return f"{paired.mean():+.2f} ± {paired.std(ddof=1) / np.sqrt(len(paired)):.2f}"


def run(name, seed, window, steps, paths=50, tests=80):
    process, random = PROCESSES[name], np.random.default_rng([seed, 7])
    began = time.process_time()
    forecaster = fit(process, random, seed, window, steps)
    seconds = time.process_time() - began
    chosen = draw_tests(process, random, tests, REACH * float(forecaster.model_.mean_gap), window)
    scores = compare(forecaster, chosen, paths, seed, window)
    error, mean, one, share = (scores[:, :, number] for number in range(4))
    plain, ranked = np.sqrt(error.mean(1))
    return (
        f"| {name} | {seed} | {forecaster.energy_gain_:.2f} ({forecaster.temper_:g}) | {plain:.2f} | {ranked:.2f} | "
        f"{difference(error)} | {mean[0].mean():.1f} | {difference(mean)} | {one[0].mean():.1f} | {difference(one)} | "
        f"{share[1].mean():.2f} | {seconds:.0f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", nargs="*", default=list(PROCESSES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| process | seed | gain (power) | RMSE plain | RMSE re-ranked | squared error, difference | distance | "
        "difference | one path | difference | draws that count | fit, CPU s |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in options.processes:
        for seed in options.seeds:
            print(run(name, seed, options.window, options.steps), flush=True)


if __name__ == "__main__":
    main()
