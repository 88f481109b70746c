"""Backtest on real monthly series, calibrate the bands, keep within limits, and draw paths whose sums have bands.

Both series ship with statsmodels: sea-surface temperatures off Peru, and the turnover of electrical manufacturing in
the euro area. Writes demo-output/coverage.png and demo-output/backtest.png.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import elec_equip, elnino

from tsar import Constraints, Forecaster, aggregate_samples, backtest, leaderboard, plot_backtest, plot_coverage
from tsar.conformal import calibrate_backtest

HORIZON = 12


def load_series() -> pd.DataFrame:
    """Return two monthly series as one long frame."""
    temperature = elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()  # a row per year, a column per month
    turnover = elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)
    parts = {"sea temperature": (temperature, "1950-01-01"), "electrical turnover": (turnover, "1995-01-01")}
    frames = [
        pd.DataFrame({"item_id": name, "timestamp": pd.date_range(start, periods=len(y), freq="MS"), "target": y})
        for name, (y, start) in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    """Run the demonstration."""
    matplotlib.use("Agg")
    series = load_series()
    forecaster = Forecaster("tsar-tiny", prediction_length=HORIZON)

    print("how good is it here? three held-back years against simple methods:")
    models = {"tsar-tiny": forecaster, "drift": "drift", "theta": "theta", "arnet": "arnet"}
    board = leaderboard(series, models, prediction_length=HORIZON, windows=3)
    print(board.table.round(3).to_string(index=False))

    print("\ndo the bands hold what they say? fourteen years, each calibrated on the six before it:")
    raw = backtest(forecaster, series, windows=14)
    results = {"raw": raw.select(range(6, 14)), "calibrated": calibrate_backtest(raw)}
    for name, result in results.items():
        report = result.coverage_report(by_step=False).set_index("band")
        print(f"{name}: the 80 % band held {report.loc[0.8, 'coverage']:.0%}, width {report.loc[0.8, 'width']:.2f}")

    limits = Constraints(lower=0, upper={"sea temperature": 30.0})
    calibrated = Forecaster("tsar-tiny", prediction_length=HORIZON, calibrate=True, constraints=limits, random_state=0)
    calibrated.fit(series)
    print("\nthe next months, calibrated and within limits:")
    print(calibrated.predict(quantile_levels=[0.1, 0.9]).groupby("item_id").head(2).round(2).to_string(index=False))
    quarters = aggregate_samples(calibrated.sample(num_samples=200), 3)
    print("\nsums over quarters, from paths whose months go together:")
    print(quarters.drop(columns="target_name").round(1).to_string(index=False))

    (output := Path("demo-output")).mkdir(exist_ok=True)
    plot_coverage(results).figure.savefig(output / "coverage.png", dpi=150)
    figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    plot_backtest(results["calibrated"], item_id="electrical turnover", ax=ax)
    figure.savefig(output / "backtest.png", dpi=150)
    print(f"\nwritten: {output}/coverage.png and backtest.png")


if __name__ == "__main__":
    main()
