"""Hawkes processes with exponential kernels, simulated exactly by thinning (Ogata, 1981), and their likelihood."""

import numpy as np
import pandas as pd

BASE = np.array([0.15, 0.05])
JUMPS = np.array([[0.5, 0.1], [0.7, 0.3]])  # JUMPS[k, j]: by how much an event j lifts the rate of k
DECAY = 1.2


def simulate(random, duration, history=None):
    """Times and types of events in (0, duration], after a history of (times up to 0, types)."""
    excited = np.zeros(2)
    if history is not None:
        excited = JUMPS[:, history[1]] @ np.exp(DECAY * history[0])
    now, times, codes = 0.0, [], []
    while True:
        bound = (BASE + excited).sum()
        gap = random.exponential(1 / bound)
        now += gap
        if now > duration:
            return np.array(times), np.array(codes, dtype=np.int64)
        excited = excited * np.exp(-DECAY * gap)
        rates = (BASE + excited).cumsum()
        code = int(np.searchsorted(rates, random.random() * bound))
        if code < 2:
            times.append(now)
            codes.append(code)
            excited = excited + JUMPS[:, code]


def log_likelihood(times, codes):
    """Log density of all events but the first, given those before."""
    excited, total = JUMPS[:, codes[0]].astype(float), 0.0
    for gap, code in zip(np.diff(times), codes[1:], strict=True):
        total -= BASE.sum() * gap + excited.sum() * (1 - np.exp(-DECAY * gap)) / DECAY
        excited = excited * np.exp(-DECAY * gap)
        total += np.log(BASE[code] + excited[code])
        excited = excited + JUMPS[:, code]
    return total


def poisson_log_likelihood(times, codes, rates):
    """The same of independent Poisson processes of given rates."""
    return np.log(rates[codes[1:]]).sum() - rates.sum() * (times[-1] - times[0])


def to_frame(sequences):
    """A long frame of (times, types) of several items."""
    return pd.concat(
        [
            pd.DataFrame({"item_id": f"item_{item}", "timestamp": times, "event_type": np.array(["a", "b"])[codes]})
            for item, (times, codes) in enumerate(sequences)
        ],
        ignore_index=True,
    )
