"""Forecast two real monthly series zero-shot, and score the model on eight held-back ends of each.

The series ship with statsmodels: sea-surface temperature off Peru (1950-2010, a strong season with El Niño on top) and
the turnover of electrical manufacturing in the euro area (1995-2016, season, trend and a crisis). Neither is in the
training corpus of the shipped models. Writes demo-output/forecast.csv and demo-output/forecast.png.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.datasets import elec_equip, elnino

from tsar import Forecaster, plot_forecast
from tsar.baselines import seasonal_naive
from tsar.metrics import mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss

HORIZON, SEASON, CUTOFFS = 24, 12, 8
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def load_series() -> pd.DataFrame:
    """Return both series as one long frame."""
    temperature = elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()  # a row per year, a column per month
    turnover = elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)
    parts = {"sea temperature": (temperature, "1950-01-01"), "electrical turnover": (turnover, "1995-01-01")}
    frames = [
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range(start, periods=len(y), freq="MS"), "target": y})
        for name, (y, start) in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)


def score(series: pd.DataFrame, forecaster: Forecaster) -> pd.DataFrame:
    """Compare with seasonal naive over eight cutoffs, a year apart: MASE of the median and WQL of all quantiles."""
    rows = {}
    for item_id, item in series.groupby("item_id", sort=False):
        ends = [len(item) - HORIZON - 12 * back for back in range(CUTOFFS)]
        pasts = [item["target"].to_numpy()[:end] for end in ends]
        actual = np.stack([item["target"].to_numpy()[end : end + HORIZON] for end in ends])
        panel = pd.concat([item.iloc[:end].assign(item_id=f"until {end}") for end in ends])
        quantiles = forecaster.predict(panel)[[str(level) for level in LEVELS]].to_numpy()
        naive = np.stack([seasonal_naive(past, HORIZON, SEASON) for past in pasts])
        scales = np.array([seasonal_error(past, SEASON) for past in pasts])
        for name, guess in (
            ("tsar-tiny", quantiles.reshape(CUTOFFS, HORIZON, len(LEVELS))),
            ("seasonal naive", np.repeat(naive[..., None], len(LEVELS), axis=2)),
        ):
            mase = mean_absolute_scaled_error(actual, guess[..., LEVELS.index(0.5)], scales)
            rows[item_id, name] = {"MASE": mase, "WQL": weighted_quantile_loss(actual, guess, LEVELS)}
    return pd.DataFrame(rows).T


def main() -> None:
    """Run the demonstration."""
    matplotlib.use("Agg")
    series = load_series()
    is_held_back = series.groupby("item_id").cumcount(ascending=False) < HORIZON
    past, future = series[~is_held_back], series[is_held_back]

    forecaster = Forecaster(model="tsar-tiny", prediction_length=HORIZON, quantile_levels=LEVELS)
    forecast = forecaster.fit(past).predict()

    (output := Path("demo-output")).mkdir(exist_ok=True)
    forecast.to_csv(output / "forecast.csv", index=False)
    figure, rows = plt.subplots(2, figsize=(9, 6.4), layout="constrained")
    for item_id, ax in zip(forecast["item_id"].unique(), rows, strict=True):
        plot_forecast(past, forecast, item_id=item_id, actual=future, ax=ax)
    figure.savefig(output / "forecast.png", dpi=150)
    print(forecast.drop(columns="target_name").head(6).round(2).to_string(index=False))
    print(f"\n{CUTOFFS} x {HORIZON} held-back months, lower is better:")
    print(score(series, forecaster).round(3).to_string())
    print(f"\nwritten: {output}/forecast.csv and forecast.png")


if __name__ == "__main__":
    main()
