"""Events: which comes next, when, and how many come within a horizon.

    python examples/13_events.py

A shop's visits and orders: visits come in bursts, and a visit makes an order likely. Half a minute on one core.
"""

import numpy as np
import pandas as pd

from tsar import EventForecaster


def simulate_shop(random, minutes=240):
    """Visits in bursts; each third visit is followed by an order some minutes later."""
    starts = random.uniform(0, minutes, random.poisson(minutes / 20))
    visits = np.concatenate([start + random.exponential(2.0, 6).cumsum() for start in starts])
    orders = visits[random.random(len(visits)) < 1 / 3]
    orders = orders + random.exponential(3.0, len(orders))
    times = np.concatenate([visits, orders])
    kinds = np.repeat(["visit", "order"], [len(visits), len(orders)])
    inside = times < minutes
    return pd.DataFrame({"timestamp": times[inside], "event_type": kinds[inside]}).sort_values("timestamp")


random = np.random.default_rng(0)
opening = pd.Timestamp("2026-03-02 09:00")
days = []
for day in range(30):
    events = simulate_shop(random)
    stamps = opening + pd.to_timedelta(events["timestamp"], unit="min")
    days.append(events.assign(item_id=f"day {day}", timestamp=stamps))
events = pd.concat(days, ignore_index=True)

closing = opening + pd.Timedelta("4h")
forecaster = EventForecaster(max_steps=100).fit(events[events["item_id"] != "day 29"], end=closing)
today = events[events["item_id"] == "day 29"]
now = opening + pd.Timedelta("3h")
seen = today[today["timestamp"] <= now]

print("in the last hour:")
print(forecaster.predict(seen, horizon="1h", start=now).round(1).to_string(index=False))
print("what came:", today[today["timestamp"] > now]["event_type"].value_counts().to_dict())
print("one way it could go on:")
print(forecaster.sample(seen, num_events=5, start=now, num_samples=1).to_string(index=False))
