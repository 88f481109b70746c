"""Ray, Spark and Dask in local mode give the rows of the single process, and poison stays with its item."""

import sys

import numpy as np
import pandas as pd
import pytest

from tsar.distributed import empty_forecast, forecast_dask, forecast_partition, forecast_ray, forecast_spark

pytestmark = pytest.mark.slow


@pytest.fixture
def options(tiny_release):
    return {"model": tiny_release, "prediction_length": 3, "freq": "D", "device": "cpu"}


@pytest.fixture(scope="module")
def frame():
    """Twenty series in rows of any order, so that every item is cut by every partition; one is poisoned."""
    rng = np.random.default_rng(0)
    stamps = np.tile(pd.date_range("2024-01-01", periods=40, freq="D"), 20)
    ids = np.repeat([f"s{item:02}" for item in range(20)], 40)
    frame = pd.DataFrame({"item_id": ids, "timestamp": stamps, "target": 50 + rng.normal(size=800).cumsum()})
    frame.loc[frame["item_id"] == "s07", "target"] = np.inf
    return frame.sample(frac=1, random_state=0, ignore_index=True)


def assert_same(answer, frame, options):
    expected = forecast_partition(frame, options)
    assert list(answer.columns) == list(expected.columns)
    for table in (answer, expected):
        table["timestamp"] = table["timestamp"].astype("datetime64[us]")
        table["error"] = table["error"].astype(object).where(table["error"].notna(), None)
    by = ["item_id", "timestamp"]
    answer, expected = (table.sort_values(by, ignore_index=True) for table in (answer, expected))
    pd.testing.assert_frame_equal(answer, expected, check_dtype=False, rtol=1e-6)
    failed = answer[answer["error"].notna()]
    assert failed["item_id"].tolist() == ["s07"]
    assert failed["error"].iloc[0].startswith("frame.infinite_target: ")


@pytest.mark.filterwarnings("ignore")  # the engine's own
def test_dask(frame, options):
    dask = pytest.importorskip("dask.dataframe")
    lazy = forecast_dask(dask.from_pandas(frame, npartitions=4), options)
    assert list(lazy.columns) == list(empty_forecast(frame, options).columns)
    answer = lazy.compute(scheduler="synchronous")
    assert answer["error"].dtype == lazy.dtypes["error"]
    assert_same(answer, frame, options)
    assert lazy.npartitions == 4
    whole = dask.from_pandas(frame.sort_values("item_id", ignore_index=True), npartitions=1)
    assert_same(forecast_dask(whole, options, items_are_whole=True).compute(scheduler="synchronous"), frame, options)


@pytest.mark.filterwarnings("ignore")
def test_spark(frame, options, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # else the workers are the python3 of the PATH
    sql = pytest.importorskip("pyspark.sql")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", False)
    spark = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 30).getOrCreate()  # cuts every item
    try:
        lazy = forecast_spark(spark.createDataFrame(frame), options, num_partitions=3)
        answer = lazy.toPandas()
    finally:
        spark.stop()
    assert_same(answer, frame, options)


@pytest.mark.filterwarnings("ignore")
def test_ray(frame, options, tmp_path):
    ray = pytest.importorskip("ray")
    ray_data = pytest.importorskip("ray.data")
    for number, part in enumerate(np.array_split(np.arange(20), 3)):
        ids = [f"s{item:02}" for item in part]
        frame[frame["item_id"].isin(ids)].to_parquet(tmp_path / f"{number}.parquet", index=False)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        whole = forecast_ray(ray_data.read_parquet(str(tmp_path)), options, num_workers=1, items_are_whole=True)
        assert_same(whole.to_pandas(), frame, options)
        scattered = ray_data.from_pandas([frame[:300], frame[300:]])
        assert_same(forecast_ray(scattered, options, num_workers=1).to_pandas(), frame, options)
    finally:
        ray.shutdown()
