"""Make new series: from nothing, like the series of a frame, and of one class; and ask a classifier how real they look.

The real series are windows of sea-surface temperatures off Peru and of sunspots, which ship with statsmodels.
"""

import numpy as np
import pandas as pd
from statsmodels.datasets import elnino, sunspots

from tsar import generate
from tsar.tasks.generation_scores import discriminative_score, predictive_score

LENGTH, STEP = 96, 8


def make_frame() -> pd.DataFrame:
    """Cut both series into windows, a row per point, with a column that says which series it was."""
    sources = {
        "sea": elnino.load_pandas().data.to_numpy()[:, 1:].ravel(),
        "sun": sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(),
    }
    parts = []
    for kind, values in sources.items():
        for start in range(0, len(values) - LENGTH + 1, STEP):
            part = pd.DataFrame({"timestamp": np.arange(start, start + LENGTH)})
            parts.append(part.assign(item_id=f"{kind}_{start}", target=values[start : start + LENGTH], kind=kind))
    return pd.concat(parts, ignore_index=True)


def noise_like(real: pd.DataFrame) -> pd.DataFrame:
    """White noise with the mean and deviation of each series: a bad generator."""
    groups = real.groupby("item_id")["target"]
    random = np.random.default_rng(0).standard_normal(len(real))
    return real.assign(target=groups.transform("mean") + groups.transform("std") * random)


def main() -> None:
    """Run the demonstration."""
    df = make_frame()
    print("from nothing:", generate(3, 48, freq="D").shape)
    print("like a frame:", generate(3, 48, like=df).shape)
    for kind in ("sea", "sun"):
        real = df[df["kind"] == kind]
        count = real["item_id"].nunique()
        new = generate(count, LENGTH, like=df, label=kind, label_column="kind")
        print(f"{kind}: real {real['target'].min():.1f} to {real['target'].max():.1f},", end=" ")
        print(f"generated {new['target'].min():.1f} to {new['target'].max():.1f}")
        for name, other in (("generated", new), ("white noise", noise_like(real))):
            told_apart, useful = discriminative_score(real, other), predictive_score(real, other)
            print(f"  {name}: discriminative {told_apart:.2f} (0 is best), predictive {useful:.2f} (1 is best)")


if __name__ == "__main__":
    main()
