"""`tsar forecast` of large files and of many files: part by part, shard by shard, and on after a kill."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.cli import main
from tsar.distributed import forecast_partition, parts, shards

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def common(tiny_release):
    return ["--model", str(tiny_release), "--prediction-length", "3", "--device", "cpu"]


def make_frame(first=0, num_items=10, length=40):
    rng = np.random.default_rng(first)
    return pd.DataFrame(
        {
            "item_id": np.repeat([f"s{item:03}" for item in range(first, first + num_items)], length),
            "timestamp": np.tile(pd.date_range("2024-01-01", periods=length, freq="D"), num_items),
            "target": 50 + rng.normal(size=num_items * length).cumsum(),
        }
    )


def write_shards(count=3):
    Path("in").mkdir()
    frames = [make_frame(10 * shard) for shard in range(count)]
    for shard, frame in enumerate(frames):
        frame.to_parquet(f"in/{shard}.parquet", index=False, row_group_size=33)
    return frames


def error_of(arguments, capsys):
    assert main(["forecast", *arguments]) == 2
    return capsys.readouterr().err


def test_parts_of_a_file_give_what_the_whole_gives(common, tiny_release):
    frame = make_frame()
    frame.to_parquet("in.parquet", row_group_size=70)  # items span row groups
    forecaster = Forecaster(tiny_release, prediction_length=3, device="cpu", freq="D")
    shard = shards.Shard(source=Path("in.parquet"), output=Path("parts.parquet"), fingerprint="")
    sizes = []
    assert shards.forecast_shard(shard, forecaster, rows_per_part=100, advance=sizes.append) == 0
    assert len(sizes) > 3
    assert all(size % 40 == 0 for size in sizes), "no item is in two parts"
    expected = Forecaster(tiny_release, prediction_length=3, device="cpu").fit(frame).predict()
    answer = pd.read_parquet("parts.parquet").drop(columns="error")
    pd.testing.assert_frame_equal(answer, expected, check_dtype=False, rtol=1e-6)
    assert main(["forecast", "in.parquet", *common, "--output", "out.parquet"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet("out.parquet"), expected, check_dtype=False, rtol=1e-6)


def test_no_rows_are_lost_wherever_batches_cut():
    frame = make_frame(num_items=7, length=5)
    for size in (1, 2, 3, 5, 7, 34, 35, 100):
        cut = (frame[start : start + size] for start in range(0, len(frame), size))
        joined = list(parts.join_items(cut, "item_id", 12))
        pd.testing.assert_frame_equal(pd.concat(joined, ignore_index=True), frame)
        assert all((part.groupby("item_id").size() == 5).all() for part in joined)
        assert max(map(len, joined)) <= 12 + size


def test_rows_in_any_order_if_they_fit_into_memory(common, monkeypatch, capsys):
    frame = make_frame()
    frame.sort_values(["timestamp", "item_id"]).to_parquet("in.parquet", index=False)
    assert main(["forecast", "in.parquet", *common, "--output", "out.parquet"]) == 0
    frame.to_parquet("in.parquet", index=False)
    assert main(["forecast", "in.parquet", *common, "--output", "sorted.parquet"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet("out.parquet"), pd.read_parquet("sorted.parquet"), rtol=1e-6)
    monkeypatch.setattr(shards, "ROWS_SORTED_IN_MEMORY", 100)
    assert main(["forecast", "in.parquet", *common, "--output", "out.parquet"]) == 0
    frame.sort_values(["timestamp", "item_id"]).to_parquet("in.parquet", index=False)
    monkeypatch.setattr(parts, "ROWS_PER_PART", 25)  # ids that come back are found across batches, too
    capsys.readouterr()
    error = error_of(["in.parquet", *common, "--output", "out.parquet"], capsys)
    assert "frame.scattered_rows" in error
    assert "'s000'" in error


def test_a_poisoned_series_stops_the_run_or_has_its_error(common, capsys):
    frame = make_frame()
    frame.loc[frame["item_id"] == "s004", "target"] = np.inf
    frame.to_parquet("in.parquet", index=False)
    assert "frame.infinite_target" in error_of(["in.parquet", *common, "--output", "out.parquet"], capsys)
    assert not list(Path().glob("*out.parquet*")), "no file is left half-written"
    more = ["--on-error", "column", "--output", "out.parquet"]
    assert main(["forecast", "in.parquet", *common, *more]) == 0
    answer = pd.read_parquet("out.parquet")
    assert answer.loc[answer["error"].notna(), "item_id"].tolist() == ["s004"]
    assert len(answer) == 9 * 3 + 1


def test_a_folder_of_shards(common, tiny_release, capsys):
    frames = write_shards()
    frames[1].loc[frames[1]["item_id"] == "s012", "target"] = np.inf
    frames[1].to_parquet("in/1.parquet", index=False)
    assert main(["forecast", "in", *common, "--output", "out"]) == 0
    assert capsys.readouterr().out == "3 files forecast, 0 were there, 1 series failed: out\n"
    assert main(["forecast", "in", *common, "--output", "out.v2"]) == 0
    assert sorted(path.name for path in Path("out.v2").glob("*.parquet")) == ["0.parquet", "1.parquet", "2.parquet"]
    options = {"model": tiny_release, "prediction_length": 3, "freq": "D", "device": "cpu"}
    for shard, frame in enumerate(frames):
        expected = forecast_partition(frame, options).astype({"error": object})
        expected["error"] = expected["error"].where(expected["error"].notna(), None)
        pd.testing.assert_frame_equal(pd.read_parquet(f"out/{shard}.parquet"), expected, check_dtype=False, rtol=1e-6)
    assert len({tuple(pd.read_parquet(path).dtypes) for path in Path("out").iterdir()}) == 1


def test_what_is_there_is_left_alone_and_never_mixed_with_other_options(common, capsys):
    write_shards()
    assert main(["forecast", "in/0.parquet", "in/1.parquet", *common, "--output", "out"]) == 0
    written = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert main(["forecast", "in", *common, "--output", "out"]) == 0
    assert capsys.readouterr().out.endswith("1 files forecast, 2 were there, 0 series failed: out\n")
    assert {path: path.stat().st_mtime_ns for path in written} == written
    error = error_of(["in", *common[:2], "--prediction-length", "4", "--output", "out"], capsys)
    assert "was made from another file, or with other options" in error


def test_a_forecaster_that_was_saved_anew_is_another(tiny_release, capsys):
    frames = write_shards(1)
    for level, folder in ((0.3, "first"), (0.7, "second")):
        Forecaster(tiny_release, prediction_length=3, freq="D", quantile_levels=[level], device="cpu").save("saved")
        arguments = ["in", "--forecaster", "saved", "--quantile-levels", "0.5", "--output"]
        assert main(["forecast", *arguments, folder]) == 0
    assert "was made from another file, or with other options" in error_of([*arguments, "first"], capsys)
    assert len(pd.read_parquet("second/0.parquet")) == 3 * frames[0]["item_id"].nunique()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "--output", "out.parquet"], "need --output FOLDER"),
        (["in"], "need --output FOLDER"),
        (["in", "in/0.parquet", "--output", "out"], "would have one output"),
        (["in", "--output", "in"], "is an input"),
        (["in", "--output", "out.parquet"], "need --output FOLDER"),
        (["empty", "--output", "out"], "has no parquet files"),
        (["in", "x.csv", "--output", "out"], "There is no file x.csv"),
        (["in", "--output", "out", "--calibrate"], "--calibrate needs the whole table"),
        (["in", "--output", "out", "--upper", "cap"], "--upper needs the whole table"),
        (["in", "--output", "out", "--lower", "floor"], "--lower needs the whole table"),
        (["in", "--output", "out", "--mode", "head"], "--mode needs the whole table"),
        (["in", "--output", "out", "--workers", "2"], "--workers N is for --engine ray"),
        (["in", "--output", "out", "--target", "sales"], "frame.missing_column"),
        (["in/0.parquet", "--on-error", "column"], "--on-error is for parquet to parquet"),
    ],
)
def test_what_cannot_be_done_is_said_first(arguments, words, common, capsys):
    write_shards()
    Path("empty").mkdir()
    assert words in error_of([*arguments, *common], capsys)
    assert not Path("out").exists()


def start(arguments):
    command = [sys.executable, "-m", "tsar.cli", "forecast", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(common):
    frames = write_shards(40)
    arguments = ["in", *common, "--freq", "D", "--output", "out"]
    process = start(arguments)
    patience = time.monotonic() + 60
    while len(list(Path().glob("out/[0-9]*.parquet"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.002)
    process.kill()
    process.communicate()
    done = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path("out").glob("[0-9]*.parquet")}
    assert 3 <= len(done) < 40
    Path("out/.part-39.parquet-0badc0de").write_bytes(b"half")  # as a kill within a file leaves it
    again = start(arguments)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert out == f"{40 - len(done)} files forecast, {len(done)} were there, 0 series failed: out\n"
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in done} == done
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(f"{shard}.parquet" for shard in range(40))
    for shard, frame in enumerate(frames):
        assert pd.read_parquet(f"out/{shard}.parquet")["item_id"].unique().tolist() == list(frame["item_id"].unique())


@pytest.mark.slow
def test_ray_writes_the_same_files_and_goes_on(common):
    pytest.importorskip("ray")
    write_shards(4)
    assert main(["forecast", "in", *common, "--output", "here"]) == 0
    assert main(["forecast", "in/2.parquet", "in/0.parquet", *common, "--output", "out"]) == 0
    first = Path("out/0.parquet").stat().st_mtime_ns
    process = start(["in", *common, "--engine", "ray", "--workers", "1", "--output", "out"])
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out == "2 files forecast, 2 were there, 0 series failed: out\n"
    assert Path("out/0.parquet").stat().st_mtime_ns == first
    for shard in range(4):
        tables = [pd.read_parquet(f"{folder}/{shard}.parquet") for folder in ("here", "out")]
        pd.testing.assert_frame_equal(*tables, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"), [(["--on-error", "raise"], "frame.infinite_target"), (["--workers", "999"], "Ray has")]
)
def test_errors_on_ray_are_one_line(more, words, common):
    pytest.importorskip("ray")
    make_frame().assign(target=np.inf).to_parquet("in.parquet", index=False)
    process = start(["in.parquet", *common, "--engine", "ray", "--workers", "1", "--output", "out", *more])
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("tsar: error: ")
    assert not list(Path("out").iterdir())
