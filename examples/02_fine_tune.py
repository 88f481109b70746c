"""Fine-tune on 480 short sensor series and compare with zero-shot on what follows.

Accelerometer and gyroscope of a watch at ten readings a second (walking, running, standing, badminton) ship with aeon
(``pip install aeon``). The last 30 readings of each series are the test, in three windows; `fit` sees what lies before
and holds back its own validation ends inside. Writes demo-output/fine_tune.csv and demo-output/adapter/.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from aeon.datasets import load_basic_motions

from tsar import Forecaster
from tsar.metrics import mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss

HORIZON, WINDOWS = 10, 3
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def load_motions() -> pd.DataFrame:
    """Return every channel of every recording as a series of one long frame."""
    recordings, _ = load_basic_motions()
    series = recordings.reshape(-1, recordings.shape[-1])
    item, reading = np.indices(series.shape)
    return pd.DataFrame({"item_id": item.ravel(), "timestamp": reading.ravel(), "target": series.ravel()})


def score(frame: pd.DataFrame, forecaster: Forecaster) -> dict[str, float]:
    """MASE and WQL over the test windows."""
    forecasts, actual, scales = [], [], []
    age = frame.groupby("item_id").cumcount(ascending=False)
    for back in range(WINDOWS, 0, -1):
        past = frame[age >= back * HORIZON]
        future = frame[(age < back * HORIZON) & (age >= (back - 1) * HORIZON)]
        forecasts.append(forecaster.predict_quantiles(past, quantile_levels=LEVELS).quantiles)
        actual.append(future["target"].to_numpy().reshape(-1, HORIZON))
        scales += [seasonal_error(target.to_numpy(), 1) for _, target in past.groupby("item_id", sort=False)["target"]]
    quantiles, truth = np.concatenate(forecasts), np.concatenate(actual)
    mase = mean_absolute_scaled_error(truth, quantiles[..., LEVELS.index(0.5)], np.array(scales))
    return {"MASE": mase, "WQL": weighted_quantile_loss(truth, quantiles, LEVELS)}


def main() -> None:
    """Run the demonstration."""
    frame = load_motions()
    is_past = frame.groupby("item_id").cumcount(ascending=False) >= WINDOWS * HORIZON

    tuned = Forecaster(prediction_length=HORIZON, mode="full", fine_tune={"time_limit": 40})
    tuned.fit(frame[is_past])

    report = tuned.fine_tune_report_
    print(pd.DataFrame(report.steps).round(4).to_string(index=False))
    print(f"\nheld-back ends: {report.zero_shot_score:.4f} zero-shot, {report.tuned_score:.4f} tuned", end="")
    print(f" (alpha {report.alpha}, {report.seconds:.0f} s)")
    scores = {"zero-shot": score(frame, Forecaster(prediction_length=HORIZON)), "tuned": score(frame, tuned)}
    print(f"\n{WINDOWS} x {HORIZON} later readings, lower is better:")
    print(pd.DataFrame(scores).T.round(4).to_string())

    (output := Path("demo-output")).mkdir(exist_ok=True)
    pd.DataFrame(scores).T.to_csv(output / "fine_tune.csv")
    tuned.save_adapter(output / "adapter")
    print(f"\nwritten: {output}/fine_tune.csv and {output}/adapter")


if __name__ == "__main__":
    main()
