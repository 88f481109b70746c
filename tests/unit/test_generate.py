"""Generation: series like those given, hard to tell from them, and the same for a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import generate
from tsar.errors import FrameError, OptionError
from tsar.tasks.generate import discriminative_score, predictive_score

LENGTH = 96


def make_members(n: int, seed: int, length: int = LENGTH, phi: float = 0.8) -> np.ndarray:
    """Autoregressive series."""
    rng = np.random.default_rng(seed)
    series = np.zeros((n, length + 50))
    for step in range(1, length + 50):
        series[:, step] = phi * series[:, step - 1] + rng.normal(size=n)
    return series[:, 50:]


def make_frame(series: np.ndarray, **columns: Any) -> pd.DataFrame:
    n, length = series.shape
    index = {"item_id": np.repeat(np.arange(n), length), "timestamp": np.tile(np.arange(length), n)}
    return pd.DataFrame(index | {"target": series.ravel()} | columns)


def to_array(frame: pd.DataFrame, n: int) -> np.ndarray:
    return frame["target"].to_numpy().reshape(n, -1)


@pytest.mark.slow
def test_a_classifier_hardly_tells_them_from_real_ones() -> None:
    real = make_members(120, seed=1)
    made = to_array(generate(120, LENGTH, like=make_frame(make_members(60, seed=2, length=256))), 120)
    rng = np.random.default_rng(0)
    noise = real.mean() + real.std() * rng.normal(size=real.shape)
    assert discriminative_score(real, noise) > 0.4
    assert discriminative_score(real, make_members(120, seed=3)) < 0.08
    assert discriminative_score(real, made) < 0.15
    assert predictive_score(real, made) < 1.05 < predictive_score(real, noise)


def test_the_seed_decides() -> None:
    frame = make_frame(make_members(5, seed=0))
    first, again = generate(3, 40, like=frame, random_state=3), generate(3, 40, like=frame, random_state=3)
    pd.testing.assert_frame_equal(first, again)
    assert list(first.columns) == ["item_id", "timestamp", "target"] and len(first) == 120
    other = generate(3, 40, like=frame, random_state=4)
    assert np.abs(other["target"] - first["target"]).max() > 0.1


def test_nothing_of_the_members_is_handed_out_again() -> None:
    members = make_members(3, seed=0)
    made = generate(6, 50, like=make_frame(members))["target"].to_numpy()
    assert not np.isin(np.round(made, 9), np.round(members, 9)).any()


def test_a_label_chooses_the_members() -> None:
    rng = np.random.default_rng(0)
    low, high = 5 + rng.random((4, 200)), 500 + 50 * rng.random((4, 200))
    label = np.repeat(["low", "high"], 800)
    frame = make_frame(np.concatenate([low, high]), kind=label)
    made = {kind: generate(4, 60, like=frame, label=kind, label_column="kind")["target"] for kind in ("low", "high")}
    assert made["low"].between(3, 8).all()
    assert made["high"].between(400, 700).all()


def test_from_nothing_and_never_negative() -> None:
    made = to_array(generate(8, 70), 8)
    assert np.isfinite(made).all() and (made.std(1) > 0).sum() >= 6
    counts = make_frame(np.random.default_rng(0).poisson(0.7, size=(3, 120)).astype(float))
    assert (generate(5, 60, like=counts)["target"] >= 0).all()


@pytest.mark.parametrize(
    ("options", "error", "code"),
    [
        ({"n": 0}, OptionError, "option.invalid"),
        ({"length": 1.5}, OptionError, "option.invalid"),
        ({"label": "a"}, OptionError, "option.invalid"),
        ({"label": "absent", "label_column": "item_id"}, FrameError, "frame.empty"),
        ({"label": 0, "label_column": "absent"}, FrameError, "frame.missing_column"),
        ({"like": make_frame(np.ones((2, 30)))}, FrameError, "frame.empty"),
        ({"like": make_frame(np.ones((1, 4)))}, FrameError, "frame.empty"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], error: type[Exception], code: str) -> None:
    given: dict[str, Any] = {"n": 2, "length": 20} | options
    if options.keys() & {"label_column"}:
        given["like"] = make_frame(make_members(2, seed=0))
    with pytest.raises(error) as caught:
        generate(given.pop("n"), given.pop("length"), **given)
    assert caught.value.code == code  # type: ignore[attr-defined]
