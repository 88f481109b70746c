"""Indicators of the American economy, forecast together: each by itself, and by way of each other.

Quarterly data, 1959 to 2009, from statsmodels. Output, consumption, investment and jobs move together; whether that
helps a forecast of one year is what the backtest tells.
"""

import warnings
from pathlib import Path

import pandas as pd
import statsmodels.api as sm

from tsar import Forecaster, backtest
from tsar.errors import TsarWarning

TARGETS = ["realgdp", "realcons", "realinv", "unemp"]
OUTPUT = Path("demo-output")


def main() -> None:
    """Forecast a year ahead, compare the adapters, and look at the bands of one target."""
    data = sm.datasets.macrodata.load_pandas().data[TARGETS]
    economy = data.assign(country="US", quarter=pd.date_range("1959-01-01", periods=len(data), freq="QS"))
    names = {"id_column": "country", "timestamp_column": "quarter", "target": TARGETS, "prediction_length": 4}

    forecaster = Forecaster(**names).fit(economy)
    forecast = forecaster.predict(quantile_levels=[0.1, 0.9])
    OUTPUT.mkdir(exist_ok=True)
    forecast.to_csv(OUTPUT / "several_targets.csv", index=False)
    print(forecast.pivot(index="quarter", columns="target_name", values="predictions").round(1).to_string())

    print("\nbacktest of 4 windows, lower is better:")
    scores = {}
    for adapter in (None, "related", "linear"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TsarWarning)
            result = backtest(Forecaster(**names, channel_adapter=adapter), economy, windows=4)
        scores[str(adapter)] = result.scores
    table = pd.DataFrame(scores).T[["MASE", "WQL"]]
    print(table.round(3).to_string())
    table.to_csv(OUTPUT / "several_targets_scores.csv")

    numbers = forecaster.predict_quantiles(quantile_levels=[0.1, 0.5, 0.9])
    for target, bands in zip(numbers.target_names, numbers.quantiles, strict=True):
        low, middle, high = bands[-1]
        print(f"{target:10} in a year: {middle:10.1f}  (80 % between {low:.1f} and {high:.1f})")


if __name__ == "__main__":
    main()
