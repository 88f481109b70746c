"""Fill the gaps of a monthly series, find what is unusual in it, and keep a forecast up to date as values arrive.

Sea-surface temperature off Peru (1950-2010, statsmodels). A fifth of the months is hidden in blocks of up to a year,
and the fill is compared with straight lines; then one wrong reading is put in and looked for. Writes
demo-output/anomalies.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import elnino

from tsar import StreamingForecaster, detect_anomalies, impute


def load_series() -> pd.DataFrame:
    """Return the series as a long frame."""
    temperature = elnino.load_pandas().data.set_index("YEAR").to_numpy(dtype=float).ravel()
    stamps = pd.date_range("1950-01-01", periods=len(temperature), freq="MS")
    return pd.DataFrame({"item_id": "Peru", "timestamp": stamps, "target": temperature})


def fill(series: pd.DataFrame) -> None:
    """Hide a fifth of the months, fill them, compare."""
    rng, hidden = np.random.default_rng(0), np.zeros(len(series), dtype=bool)
    while hidden.mean() < 0.2:
        start = rng.integers(1, len(series) - 13)
        hidden[start : start + rng.integers(1, 13)] = True
    actual = series["target"].to_numpy()
    filled = impute(series.assign(target=np.where(hidden, np.nan, actual)), quantile_levels=[0.1, 0.9])
    straight = np.interp(np.arange(len(series)), np.flatnonzero(~hidden), actual[~hidden])
    inside = ((actual >= filled["0.1"]) & (actual <= filled["0.9"]))[hidden]
    for name, guess in (("impute", filled["target"].to_numpy()), ("straight lines", straight)):
        print(f"{name}: mean error {np.abs(guess - actual)[hidden].mean():.2f} degrees")
    print(f"{inside.mean():.0%} of the hidden months are in the 80 % band")


def find(series: pd.DataFrame) -> None:
    """Put a wrong reading in and look for it."""
    wrong = series.copy()
    wrong.loc[500, "target"] += 6
    points, intervals = detect_anomalies(wrong, explain=True)
    print(
        f"\n{points['is_anomaly'].sum()} of {len(points)} months are unusual, in {len(intervals)} intervals; the worst:"
    )
    print(intervals.head(3).to_string(index=False))
    folder = Path("demo-output")
    folder.mkdir(exist_ok=True)
    points.to_csv(folder / "anomalies.csv", index=False)


def keep_up(series: pd.DataFrame) -> None:
    """Forecast the next month again and again while values arrive."""
    stream = StreamingForecaster(prediction_length=1).start(series[:600])
    before, errors = stream.streams_[0].tokens_read, []
    for value in series["target"][600:660]:
        errors.append(abs(stream.predict()["predictions"].iloc[0] - value))
        stream.update(value)
    print(f"\nfive years of one month ahead: mean error {np.mean(errors):.2f} degrees,", end=" ")
    print(f"{stream.streams_[0].tokens_read - before} tokens read for 60 values")


def main() -> None:
    """Run the demonstration."""
    series = load_series()
    fill(series)
    find(series)
    keep_up(series)


if __name__ == "__main__":
    main()
