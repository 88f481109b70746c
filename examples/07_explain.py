"""What moved a forecast: sunspots with their cycle of eleven years, and a river with a shift of its level.

Both series come with statsmodels. Segments of the history are hidden one after the other, and the forecast is made
again without each: what changes is the effect of the segment. Pictures go to demo-output/explain.png.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import nile, sunspots

from tsar import Forecaster, explain, plot_explanation

HORIZON = 11


def load_series() -> pd.DataFrame:
    """Return both yearly series as one long frame."""
    spots = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    flow = nile.load_pandas().data["volume"].to_numpy(dtype=float)
    parts = {"sunspots": (spots, 1700), "Nile at Aswan": (flow, 1871)}
    frames = [
        pd.DataFrame({"item_id": name, "timestamp": range(first, first + len(y)), "target": y})
        for name, (y, first) in parts.items()
    ]
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    """Print and draw the effect of every segment."""
    matplotlib.use("Agg")
    series = load_series()
    forecaster = Forecaster(prediction_length=HORIZON).fit(series)
    explanation = explain(forecaster, segments=10, blocks=1)

    segments = explanation[explanation["kind"] == "segment"]
    strongest = segments[segments["rank"] <= 3].sort_values(["item_id", "rank"])
    columns = ["item_id", "timestamp", "name", "num_points", "change", "effect", "relative_effect", "rank"]
    print("The three segments that moved each forecast most:")
    print(strongest[columns].round(2).to_string(index=False))
    parts = explanation[explanation["kind"] == "part"].pivot(index="item_id", columns="name", values="change")
    print("\nParts of the median, in the mean over the horizon:")
    print(parts.round(1).to_string())

    forecast = forecaster.predict()
    figure, rows = plt.subplots(2, figsize=(9, 6.4), layout="constrained")
    for item_id, ax in zip(forecast["item_id"].unique(), rows, strict=True):
        plot_explanation(explanation, series, item_id=item_id, forecast=forecast, ax=ax)
    (output := Path("demo-output")).mkdir(exist_ok=True)
    figure.savefig(output / "explain.png", dpi=120)
    print(f"\nwritten: {output}/explain.png")


if __name__ == "__main__":
    main()
