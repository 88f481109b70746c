"""A partition: a fixed schema, failures that stay with their item, the same rows whenever it is tried."""

import pickle

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster, errors
from tsar.distributed import empty_forecast, forecast_partition
from tsar.distributed.partition import make_worker
from tsar.hub import _load_cached
from tsar.optional import require

EVENING = pd.Timestamp("2024-01-10 19:00")
LEVELS = [0.1, 0.5, 0.9]


@pytest.fixture
def options(tiny_release):
    return {"model": tiny_release, "prediction_length": 3, "freq": "D", "quantile_levels": LEVELS, "device": "cpu"}


def make_frame(num_items=6, length=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "item_id": np.repeat([f"s{item}" for item in range(num_items)], length),
            "timestamp": np.tile(pd.date_range("2024-01-01", periods=length, freq="D"), num_items),
            "target": 50 + rng.normal(size=num_items * length).cumsum(),
        }
    )


def test_a_clean_partition_is_what_the_forecaster_says(options):
    frame = make_frame()
    answer = forecast_partition(frame, options)
    expected = Forecaster(**options).predict(frame)
    assert answer["error"].isna().all()
    pd.testing.assert_frame_equal(answer.drop(columns="error"), expected, check_dtype=False)
    assert answer.dtypes.to_dict() == empty_forecast(frame, options).dtypes.to_dict()


def test_tried_again_the_rows_are_identical(options):
    frame = make_frame()
    pd.testing.assert_frame_equal(forecast_partition(frame, options), forecast_partition(frame, options), rtol=0)


@pytest.mark.parametrize(
    ("more", "is_pooled"),
    [({}, False), ({"channel_adapter": "group"}, True), ({"past_covariates": ["promo"]}, True)],
)
def test_only_options_that_pool_items_make_the_partitioning_count(more, is_pooled, options):
    """Item a comes eight days before item b, and promo eight days before each."""
    rng = np.random.default_rng(0)
    drive = rng.normal(size=216)
    frame = pd.DataFrame(
        {
            "item_id": np.repeat(["a", "b"], 200),
            "timestamp": np.tile(pd.date_range("2024-01-01", periods=200, freq="D"), 2),
            "target": np.concatenate([drive[8:208], 5 + 2 * drive[:200]]),
            "promo": np.concatenate([drive[16:], drive[8:208]]) + 0.3 * rng.normal(size=400),
        }
    )
    whole = forecast_partition(frame, {**options, **more})["predictions"].to_numpy()
    alone = [forecast_partition(frame[frame["item_id"] == name], {**options, **more}) for name in "ab"]
    apart = np.abs(whole - pd.concat(alone)["predictions"].to_numpy()).max()
    assert (apart > 1e-2) == is_pooled


POISONS = {
    "frame.infinite_target": lambda part: part.assign(target=np.inf),
    "frame.duplicate_timestamp": lambda part: pd.concat([part, part.tail(1)]),
    "frame.null_timestamp": lambda part: part.assign(timestamp=pd.NaT),
    "frame.null_id": lambda part: part.assign(item_id=None),
    "frequency.off_grid": lambda part: part.assign(
        timestamp=part["timestamp"].mask(np.arange(40) == 9, pd.Timestamp("2024-01-10 07:00"))
    ),
    "frame.non_numeric_target": lambda part: part.assign(target="broken"),
}


@pytest.mark.parametrize("code", POISONS)
@pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation:FutureWarning")
def test_a_poisoned_series_fails_alone(code, options):
    frame = make_frame()
    is_bad = frame["item_id"] == "s2"
    poisoned = pd.concat([frame[~is_bad][:80], POISONS[code](frame[is_bad]), frame[~is_bad][80:]])
    answer = forecast_partition(poisoned, options)
    failed = answer[answer["error"].notna()]
    assert len(failed) == 1
    assert failed["error"].iloc[0].startswith(f"{code}: ")
    assert failed["item_id"].isna().all() if code == "frame.null_id" else failed["item_id"].tolist() == ["s2"]
    assert failed[["timestamp", "predictions", "0.1"]].isna().all(axis=None)
    assert failed["target_name"].tolist() == ["target"]
    others = forecast_partition(frame[~is_bad], options)
    pd.testing.assert_frame_equal(answer[answer["error"].isna()], others, check_dtype=False, rtol=1e-9)
    assert answer.drop(columns="item_id").dtypes.equals(others.drop(columns="item_id").dtypes)


def test_if_all_are_poisoned_each_has_its_error(options):
    frame = make_frame(3).assign(target=np.inf)
    answer = forecast_partition(frame, options)
    assert answer["item_id"].tolist() == ["s0", "s1", "s2"]
    assert answer["error"].str.startswith("frame.infinite_target").all()


def test_several_targets_have_an_error_each(options):
    frame = make_frame(3).assign(other=1.0)
    frame.loc[frame["item_id"] == "s1", "other"] = np.inf
    answer = forecast_partition(frame, options | {"target": ["target", "other"]})
    failed = answer[answer["error"].notna()]
    assert failed[["item_id", "target_name"]].to_numpy().tolist() == [["s1", "target"], ["s1", "other"]]
    assert len(answer) == 2 * 2 * 3 + 2


@pytest.mark.parametrize(
    "stamps",
    [
        pd.date_range("2024-01-01", periods=40, freq="D", tz="Europe/Paris"),
        pd.date_range("2024-01-01", periods=40, freq="D").strftime("%Y-%m-%d"),
        np.arange(40),
    ],
    ids=["zoned", "text", "integers"],
)
def test_the_schema_holds_for_no_rows_good_rows_and_bad_rows(stamps, options):
    good = pd.DataFrame({"item_id": 7, "timestamp": stamps, "target": np.arange(40.0)})
    wanted = options | {"freq": 1 if isinstance(stamps, np.ndarray) else "D"}
    bad = good.assign(target=np.inf)
    types = [forecast_partition(frame, wanted).dtypes for frame in (good[:0], good, bad, pd.concat([good, bad]))]
    assert all(kinds.equals(types[0]) for kinds in types)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"freq": None}, "option.invalid"),
        ({"id_column": None}, "option.invalid"),
        ({"id_column": "error"}, "option.invalid"),
        ({"timestamp_column": "predictions"}, "option.invalid"),
        ({"future_covariates": ["price"]}, "option.invalid"),
        ({"prediction_length": None}, "option.prediction_length"),
        ({"quantile_levels": ["a tenth"]}, "option.quantile_level"),
        ({"quantile_levels": 0.5}, "option.quantile_level"),
        ({"model": "nobody"}, "model.unknown_name"),
        ({"target": "sales"}, "frame.missing_column"),
        ({"timestamp_column": "day"}, "frame.missing_column"),
    ],
)
def test_what_is_wrong_with_all_items_is_raised(change, code, options):
    with pytest.raises(errors.TsarError) as caught:
        forecast_partition(make_frame(), options | change)
    assert caught.value.code == code


def test_a_column_of_a_wrong_type_is_no_fault_of_an_item(options):
    with pytest.raises(errors.FrameError) as caught:
        forecast_partition(make_frame().assign(timestamp=0.5), options)
    assert caught.value.code == "frame.bad_timestamp"
    with pytest.raises(errors.FrameError, match=r"frame\.not_a_frame"):
        forecast_partition([1, 2], options)


def test_a_forecaster_by_name_is_small_to_send(options):
    assert len(pickle.dumps(Forecaster("tsar-tiny", prediction_length=3, freq="D"))) < 50_000
    frame = make_frame(100, 200)
    fitted = Forecaster(**options).fit(frame)
    sent = pickle.dumps(make_worker(fitted))
    assert len(sent) < 50_000
    assert len(pickle.dumps(fitted)) > len(frame) * 8
    assert hasattr(fitted, "panel_")
    pd.testing.assert_frame_equal(forecast_partition(frame, pickle.loads(sent)), forecast_partition(frame, options))


def test_what_was_learned_is_sent_along(options):
    fitted = Forecaster(**options, calibrate=True).fit(make_frame(10, 100))
    frame = make_frame(2)
    answer = forecast_partition(frame, pickle.loads(pickle.dumps(make_worker(fitted))))
    pd.testing.assert_frame_equal(answer.drop(columns="error"), fitted.predict(frame), check_dtype=False)
    assert not np.allclose(answer["0.1"], forecast_partition(frame, options)["0.1"])


def test_a_process_reads_the_weights_once(options):
    _load_cached.cache_clear()
    for _ in range(3):
        forecast_partition(make_frame(1), options)
    assert _load_cached.cache_info().misses == 1


def test_a_missing_engine_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dask", None)
    with pytest.raises(errors.MissingDependencyError, match=r"pip install 'tsar-forecast\[dask\]'"):
        require("dask", "dask")
