"""Series of a group: one that runs ahead helps the others, and those that have nothing to do with it are left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.channels.related import MAX_GROUP, align_series, find_leaders
from tsar.errors import OptionError, TsarWarning

LAG, HORIZON = 4, 4


def make_frame(
    size: int = 400, *, coupled: bool = True, ids: tuple[str, ...] = ("lead", "follow", "apart")
) -> pd.DataFrame:
    """Random walks; the second one does what the first did four steps before, and starts later, if coupled."""
    rng = np.random.default_rng(2)
    changes = rng.normal(size=(len(ids), size))
    if coupled:
        changes[1, LAG:] = changes[0, :-LAG] + 0.1 * rng.normal(size=size - LAG)
    stamps = pd.date_range("2023-01-01", periods=size)
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": stamps, "target": 100 + change.cumsum()})
        for name, change in zip(ids, changes, strict=True)
    ]
    parts[1] = parts[1].iloc[50:]
    return pd.concat(parts, ignore_index=True)


def forecast(frame: pd.DataFrame, **options: object) -> pd.DataFrame:
    return Forecaster(prediction_length=HORIZON, context_length=128, **options).predict(frame).set_index("item_id")


def test_a_follower_gains_and_the_others_stay() -> None:
    frame = make_frame()
    late = frame["timestamp"] > frame["timestamp"].max() - pd.Timedelta(days=HORIZON)
    past, future = frame[~late], frame[late].set_index("item_id")
    plain, grouped = (forecast(past, channel_adapter=kind) for kind in (None, "group"))
    actual = future.loc["follow", "target"].to_numpy()
    errors = [np.abs(answer.loc["follow", "predictions"].to_numpy() - actual).mean() for answer in (plain, grouped)]
    assert errors[1] < 0.5 * errors[0]
    pd.testing.assert_frame_equal(grouped.loc[["lead", "apart"]], plain.loc[["lead", "apart"]])


def test_series_without_leaders_are_left_alone() -> None:
    frame = make_frame(coupled=False)
    pd.testing.assert_frame_equal(forecast(frame, channel_adapter="group"), forecast(frame))


@pytest.mark.slow
def test_what_a_leader_does_after_the_end_of_a_series_is_not_used() -> None:
    frame = make_frame()
    short = frame[(frame["item_id"] != "follow") | (frame["timestamp"] < "2023-12-20")]
    cut = short[short["timestamp"] < "2023-12-20"]
    longer, equal = (forecast(part, channel_adapter="group") for part in (short, cut))
    np.testing.assert_allclose(longer.loc["follow", "predictions"], equal.loc["follow", "predictions"], atol=0.05)
    poisoned = short.copy()
    poisoned.loc[(poisoned["item_id"] == "lead") & (poisoned["timestamp"] >= "2023-12-24"), "target"] += 50
    moved = forecast(poisoned, channel_adapter="group")
    assert np.abs(moved.loc["follow", "predictions"] - equal.loc["follow", "predictions"]).max() < 1


def test_leaders_are_found_on_the_common_grid() -> None:
    panel = Forecaster().fit(make_frame()).panel_
    aligned, first = align_series(panel)
    assert aligned.shape == (3, 400)
    assert first.tolist() == [0, 50, 0]
    assert [leader.tolist() for leader in find_leaders(aligned, 1)] == [[], [0], []]


def test_noise_has_no_leaders() -> None:
    walks = np.random.default_rng(0).normal(size=(64, 300)).cumsum(1)
    assert sum(map(len, find_leaders(walks, 7))) <= 1


def test_large_groups_are_refused() -> None:
    frame = pd.DataFrame({"item_id": np.arange(MAX_GROUP + 1).repeat(3), "timestamp": list(range(3)) * (MAX_GROUP + 1)})
    with pytest.raises(OptionError, match="257"):
        Forecaster(prediction_length=1, channel_adapter="group").predict(frame.assign(target=1.0 + frame["timestamp"]))


def test_series_of_one_row_have_no_leaders() -> None:
    frame = make_frame(size=60)
    first = frame[frame["timestamp"] == frame["timestamp"].max()]
    with pytest.warns(TsarWarning, match="only one observed value"):
        grouped = forecast(first, channel_adapter="group", freq="D")
    assert np.isfinite(grouped["predictions"]).all()
