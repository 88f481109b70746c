"""Several targets: each as by itself, in frames of every kind, and by way of each other where that helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster, backtest
from tsar.channels.adapters import make_adapter
from tsar.errors import FrameError, OptionError

HORIZON = 8


def make_frame(size: int = 160) -> pd.DataFrame:
    """Two items of different lengths, with two targets."""
    rng = np.random.default_rng(0)
    parts = []
    for item, length in (("x", size), ("y", size - 30)):
        stamps = pd.date_range("2024-01-01", periods=length, freq="D")
        wave = np.sin(2 * np.pi * np.arange(length) / 7)
        columns = {"sold": 50 + 5 * wave + rng.normal(size=length), "lost": -3 * wave + rng.normal(size=length)}
        parts.append(pd.DataFrame({"item_id": item, "timestamp": stamps, "price": 1.0 + (stamps.day > 20)} | columns))
    return pd.concat(parts, ignore_index=True)


def make_forecaster(**options: Any) -> Forecaster:
    return Forecaster(**{"target": ["sold", "lost"], "prediction_length": HORIZON, "context_length": 128} | options)


def test_each_target_is_forecast_as_by_itself() -> None:
    frame = make_frame()
    both = make_forecaster().fit(frame).predict()
    assert both[["item_id", "target_name"]].drop_duplicates().to_numpy().tolist() == [
        ["x", "sold"], ["x", "lost"], ["y", "sold"], ["y", "lost"],
    ]  # fmt: skip
    for target in ("sold", "lost"):
        alone = make_forecaster(target=target).fit(frame).predict()
        part = both[both["target_name"] == target].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone, rtol=1e-5)
    assert (both.loc[both["target_name"] == "sold", "0.1"] >= 0).all()
    assert (both.loc[both["target_name"] == "lost", "0.1"] < 0).any()
    one = make_forecaster(target=["sold"]).fit(frame).predict()
    pd.testing.assert_frame_equal(one, make_forecaster(target="sold").fit(frame).predict())


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_frames_of_other_libraries(kind: str) -> None:
    library = pytest.importorskip(kind)
    frame = make_frame()
    native = library.from_pandas(frame) if kind == "polars" else library.Table.from_pandas(frame)
    answer = make_forecaster().predict(native)
    assert type(answer) is type(native)
    expected = make_forecaster().predict(frame)
    np.testing.assert_allclose(answer["predictions"].to_numpy(), expected["predictions"].to_numpy())
    names = answer["target_name"].to_pylist() if kind == "pyarrow" else answer["target_name"].to_list()
    assert names == expected["target_name"].tolist()


@pytest.mark.slow
def test_saved_calibrated_constrained_sampled_and_backtested(tmp_path: Any) -> None:
    frame = make_frame()
    fitted = make_forecaster(calibrate=True, constraints={"upper": 53.0}).fit(frame)
    answer = fitted.predict()
    assert answer["0.9"].max() <= 53
    fitted.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "saved").predict(), answer)
    paths = fitted.sample(num_samples=3)
    assert (
        paths.groupby(["item_id", "target_name", "sample"]).size().eq(HORIZON).all() and len(paths) == 4 * 3 * HORIZON
    )
    result = backtest(make_forecaster(), frame, windows=2)
    assert set(result.forecasts["target_name"]) == {"sold", "lost"}
    joined = result.forecasts.merge(frame, on=["item_id", "timestamp"])
    seen = np.where(joined["target_name"] == "sold", joined["sold"], joined["lost"])
    np.testing.assert_array_equal(joined["actual"], seen)


def test_covariates_go_along_with_every_target() -> None:
    frame = make_frame(400)
    driver = np.random.default_rng(1).normal(size=len(frame))
    frame = frame.assign(driver=driver, sold=frame["sold"] + 9 * driver, lost=frame["lost"] - 9 * driver)
    late = frame.groupby("item_id").cumcount(ascending=False) < HORIZON
    past, future = frame[~late], frame[late].reset_index(drop=True)
    fitted = make_forecaster(future_covariates=["driver"], covariate_method="ridge").fit(past)
    answer = fitted.predict(future_df=future[["item_id", "timestamp", "driver"]])
    for target in ("sold", "lost"):
        part = answer[answer["target_name"] == target]["predictions"].to_numpy()
        assert np.abs(part - future[target].to_numpy()).mean() < 3


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_fine_tuning_takes_all_targets() -> None:
    few = {"max_steps": 2, "batch_size": 4, "validation_windows": 1}
    tuned = make_forecaster(mode="head", fine_tune=few, channel_adapter="linear").fit(make_frame())
    assert tuned.fine_tune_report_.num_windows == 4
    assert tuned.predict()["predictions"].notna().all()


@pytest.mark.parametrize("kind", ["identity", "pca", "linear"])
def test_maps_of_channels_reconstruct(kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)).cumsum(0) @ rng.normal(size=(3, 3))
    mapping = make_adapter(kind).fit(rows)
    latent = mapping.transform(rows)
    np.testing.assert_allclose(mapping.inverse(latent), rows, rtol=1e-9, atol=1e-9)
    if kind != "identity":
        parts = latent.T if kind == "pca" else np.diff(latent, axis=0).T
        assert np.abs(np.corrcoef(parts) - np.eye(3)).max() < 1e-6


@pytest.mark.parametrize("kind", ["identity", "pca", "linear"])
def test_forecasts_by_way_of_latent_channels(kind: str) -> None:
    frame = make_frame()
    frame.loc[5:9, "lost"] = np.nan
    plain = make_forecaster().fit(frame).predict()
    mapped = make_forecaster(channel_adapter=kind).fit(frame).predict()
    levels = [str(level) for level in np.arange(1, 10) / 10]
    assert (np.diff(mapped[levels].to_numpy(), axis=1) >= -1e-9).all()
    assert np.abs(mapped["predictions"] - plain["predictions"]).mean() < 2
    if kind == "identity":
        np.testing.assert_allclose(mapped["predictions"], plain["predictions"], rtol=1e-3, atol=1e-3)


def test_mixed_channels_are_forecast_better_unmixed() -> None:
    """Two sums of a clean wave and of noise: the wave comes out of a map, and both are better for it."""
    rng = np.random.default_rng(0)
    size = 500
    wave, noise = 3 * np.sin(2 * np.pi * np.arange(size) / 13), 6 * rng.normal(size=size)
    frame = pd.DataFrame({
        "item_id": "a", "timestamp": pd.date_range("2020-01-01", periods=size), "sold": wave + noise,
        "lost": wave - noise,
    })  # fmt: skip
    past = frame[:-HORIZON]
    errors = {}
    for kind in (None, "linear"):
        answer = make_forecaster(channel_adapter=kind, non_negative=False).fit(past).predict()
        target = np.tile(wave[-HORIZON:], 2)
        errors[kind] = np.abs(answer["predictions"].to_numpy() - target).mean()
    assert errors["linear"] < 0.8 * errors[None]


def test_a_channel_that_runs_ahead_helps_and_others_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    size = 500
    leader = rng.normal(size=size)
    follower = np.concatenate([np.zeros(4), leader[:-4]]) + 0.1 * rng.normal(size=size)
    frame = pd.DataFrame({"timestamp": range(size), "leader": leader, "follower": follower})
    past, future = frame[:-4], frame[-4:]
    options = {"target": ["leader", "follower"], "id_column": None, "prediction_length": 4, "context_length": 128}
    plain, related = (Forecaster(**options, channel_adapter=kind).fit(past).predict() for kind in (None, "related"))
    followed = related[related["target_name"] == "follower"]["predictions"].to_numpy()
    alone = plain[plain["target_name"] == "follower"]["predictions"].to_numpy()
    actual = future["follower"].to_numpy()
    assert np.abs(followed - actual).mean() < 0.4 * np.abs(alone - actual).mean()
    is_leader = plain["target_name"] == "leader"
    pd.testing.assert_frame_equal(related[is_leader], plain[is_leader])


def test_series_too_short_to_learn_from_are_left_alone() -> None:
    frame = make_frame().groupby("item_id").head(6)
    for kind in ("related", "group"):
        plain, kept = (make_forecaster(channel_adapter=wanted).predict(frame) for wanted in (None, kind))
        pd.testing.assert_frame_equal(kept, plain)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"target": ["sold", "sold"]}, "option.invalid"),
        ({"target": []}, "option.invalid"),
        ({"target": ["sold", "absent"]}, "frame.missing_column"),
        ({"target": ["sold", "label"]}, "frame.non_numeric_target"),
        ({"channel_adapter": "magic"}, "option.invalid"),
        ({"channel_adapter": "pca", "target": "sold"}, "option.invalid"),
    ],
)
def test_targets_that_do_not_fit_are_refused(options: dict[str, Any], code: str) -> None:
    frame = make_frame().assign(label="text")
    with pytest.raises((OptionError, FrameError)) as caught:
        make_forecaster(**options).fit(frame)
    assert caught.value.code == code
