"""Tell real series apart by what they are: embeddings of the forecasting model, and a linear head.

Windows of four series that ship with statsmodels: sea-surface temperature off Peru, sunspots, atmospheric carbon
dioxide and the turnover of electrical manufacturing. Each window is brought to mean 0 and deviation 1 and cut at a
random place, so that neither level nor phase gives the class away; the last part of each series is held back.
"""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from statsmodels.datasets import co2, elec_equip, elnino, sunspots

from tsar import TimeSeriesClassifier, embed

WINDOW, TRAIN, TEST, SHOWN = 48, 10, 15, 0.6


def load_series() -> dict[str, np.ndarray]:
    """Return the four series; carbon dioxide in months, to resemble the temperature."""
    return {
        "sea temperature": elnino.load_pandas().data.to_numpy()[:, 1:].ravel(),
        "sunspots": sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(),
        "carbon dioxide": co2.load_pandas().data["co2"].resample("MS").mean().interpolate().to_numpy(),
        "electrical turnover": elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float),
    }


def draw(values: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` windows, each standardised, with a little noise and a few values missing."""
    starts = generator.integers(0, len(values) - WINDOW + 1, count)
    windows = np.stack([values[start : start + WINDOW] for start in starts])
    windows = (windows - windows.mean(1, keepdims=True)) / windows.std(1, keepdims=True)
    windows += generator.normal(scale=0.5, size=windows.shape)
    windows[generator.random(windows.shape) < 0.03] = np.nan
    return windows


def main() -> None:
    """Run the demonstration."""
    generator = np.random.default_rng(0)
    train, test, classes = [], [], []
    for name, values in load_series().items():
        cut = int(len(values) * SHOWN)
        train.append(draw(values[:cut], TRAIN, generator))
        test.append(draw(values[cut:], TEST, generator))
        classes.append(name)
    X, y = np.concatenate(train), np.repeat(classes, TRAIN)
    X_test, y_test = np.concatenate(test), np.repeat(classes, TEST)

    classifier = TimeSeriesClassifier(length=192).fit(X, y)
    neighbour = KNeighborsClassifier(1).fit(np.nan_to_num(X), y)
    print(f"embeddings: {embed(X, length=192).shape}")
    print(f"accuracy, tsar: {classifier.score(X_test, y_test):.2f}")
    print(f"accuracy, nearest neighbour: {neighbour.score(np.nan_to_num(X_test), y_test):.2f}")
    for name in classes:
        hits = np.mean(classifier.predict(X_test[y_test == name]) == name)
        print(f"  {name}: {hits:.2f}")


if __name__ == "__main__":
    main()
