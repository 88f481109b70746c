"""Benchmarks: sets in, scores out, and every refusal with its code."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.benchmark import BenchmarkResult, EvaluationSet, from_gluonts, read_sets, run_benchmark
from tsar.benchmark.models import Contestant, timed_forecast
from tsar.benchmark.scores import bootstrap_interval, score_forecast, skill_score, win_rate
from tsar.errors import BenchmarkError, ModelError, OptionError, TsarWarning
from tsar.metrics import symmetric_mape
from tsar.refining.classical import forecast_ets, forecast_theta

AHEAD, SEASON = 4, 7
LEVELS = [0.1, 0.5, 0.9]
NAN = np.nan


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def make_set(name="waves", num_items=5, length=60, freq="D", seed=0, **changes) -> EvaluationSet:
    rng = np.random.default_rng(seed)
    values = 10 + np.sin(2 * np.pi * np.arange(length) / SEASON) + 0.3 * rng.normal(size=(num_items, length))
    parts = {
        "name": name,
        "item_ids": np.array([f"s{row}" for row in range(num_items)], object),
        "starts": np.array(["2024-01-01"] * num_items, "datetime64[ms]"),
        "freqs": (freq,) * num_items,
        "pasts": tuple(values[:, :-AHEAD]),
        "actual": values[:, -AHEAD:],
        "seasonality": SEASON,
    }
    return EvaluationSet(**(parts | changes))


def file_frame(num_items=3, length=20, **changes) -> pd.DataFrame:
    columns = {
        "item_id": [f"s{row}" for row in range(num_items)],
        "start": pd.Timestamp("2024-01-01"),
        "freq": "D",
        "target": [np.arange(length, dtype=float) + row for row in range(num_items)],
        "prediction_length": AHEAD,
        "seasonality": SEASON,
    }
    return pd.DataFrame(columns | changes)


@pytest.fixture
def classical(monkeypatch):
    """The classical methods, counted; Theta for both, since it is the quicker one."""
    calls = []

    def forecast(past, prediction_length, season_length, levels):
        calls.append(len(past))
        return forecast_theta(past, prediction_length, season_length, levels)

    monkeypatch.setattr("tsar.benchmark.models.CLASSICAL", {"theta": forecast, "ets": forecast})
    return calls


# ---------------------------------------------------------------------------------------------------- sets and files


def test_reads_a_file(tmp_path):
    file_frame().to_parquet(tmp_path / "days.parquet")
    (data,) = read_sets(tmp_path / "days.parquet")
    assert (data.name, data.num_items, data.prediction_length, data.seasonality) == ("days", 3, AHEAD, SEASON)
    np.testing.assert_array_equal(data.pasts[1], np.arange(16) + 1.0)
    np.testing.assert_array_equal(data.actual[2], [18, 19, 20, 21])
    assert data.freqs == ("D",) * 3
    assert data.item_ids.tolist() == ["s0", "s1", "s2"]


def test_offset_drops_what_follows_the_window(tmp_path):
    file_frame(offset=[6.0, 6.0, None]).to_parquet(tmp_path / "days.parquet")
    (data,) = read_sets(tmp_path)
    np.testing.assert_array_equal(data.actual[0], [14, 15, 16, 17])
    np.testing.assert_array_equal(data.actual[2], [18, 19, 20, 21])
    assert [len(past) for past in data.pasts] == [14, 14, 16]


def test_a_folder_is_read_by_name_and_only_what_is_asked(tmp_path):
    for name in ("b", "a", "c"):
        file_frame().to_parquet(tmp_path / f"{name}.parquet")
    assert [one.name for one in read_sets(tmp_path)] == ["a", "b", "c"]
    assert [one.name for one in read_sets(tmp_path, only=["c", "a"])] == ["a", "c"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (file_frame().drop(columns="seasonality"), "benchmark.missing_column"),
        (file_frame().iloc[:0], "benchmark.bad_set"),
        (file_frame(prediction_length=[4, 4, 5]), "benchmark.bad_set"),
        (file_frame(prediction_length=0), "benchmark.bad_set"),
        (file_frame(seasonality=None), "benchmark.bad_set"),
        (file_frame(target="abc"), "benchmark.bad_set"),
        (file_frame(start="yesterday"), "benchmark.bad_set"),
        (file_frame(offset="late"), "benchmark.bad_set"),
        (file_frame(target=[np.full(20, NAN)] * 3), "benchmark.bad_set"),
        (file_frame(target=[np.r_[np.arange(19.0), np.inf]] * 3), "benchmark.bad_set"),
        (file_frame(prediction_length=20), "benchmark.short_series"),
        (file_frame(offset=25), "benchmark.short_series"),
    ],
)
def test_unusable_file_is_refused_with_a_code(frame, code, tmp_path):
    frame.to_parquet(tmp_path / "days.parquet")
    with pytest.raises(BenchmarkError) as caught:
        read_sets(tmp_path)
    assert caught.value.code == code


def test_a_short_series_is_named(tmp_path):
    file_frame(target=[np.arange(20.0), np.arange(4.0), np.arange(20.0)]).to_parquet(tmp_path / "days.parquet")
    with pytest.raises(BenchmarkError) as caught:
        read_sets(tmp_path)
    assert caught.value.item_ids == ("s1",)


def test_missing_files_and_sets_are_refused(tmp_path):
    file_frame().to_parquet(tmp_path / "days.parquet")
    for arguments in ((tmp_path / "nowhere",), (tmp_path / "x.parquet",), (tmp_path, ["weeks"])):
        with pytest.raises(BenchmarkError) as caught:
            read_sets(*arguments)
        assert caught.value.code == "benchmark.missing_set"
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_sets(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"pasts": ()},
        {"freqs": ("D",)},
        {"seasonality": 0},
        {"actual": np.empty((5, 0))},
        {"groups": np.zeros(3, np.int64)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(BenchmarkError) as caught:
        make_set(**changes)
    assert caught.value.code == "benchmark.bad_set"


def test_sample_is_that_of_pandas_and_keeps_the_order():
    data = make_set(num_items=30)
    expected = pd.DataFrame({"id": data.item_ids}).sample(8, random_state=0).sort_index()["id"].tolist()
    small = data.sample(8)
    assert small.item_ids.tolist() == expected
    rows = [data.item_ids.tolist().index(item_id) for item_id in expected]
    np.testing.assert_array_equal(small.actual, data.actual[rows])
    assert data.sample(30) is data
    assert data.sample(8, seed=1).item_ids.tolist() != expected


# ------------------------------------------------------------------------------------------------------ long frames


@pytest.mark.parametrize(
    ("freq", "start"),
    [("D", "2024-01-01"), ("h", "2024-02-28T13:00"), ("W-SUN", "2024-01-02"), ("ME", "2024-01-10"),
     ("QE", "1999-11-01"), ("B", "2024-01-06"), ("YE", "1950-01-01"), ("15min", "2024-01-01"), ("8ms", "2024-01-01"),
     ("100us", "2024-01-01")],
)  # fmt: skip
def test_stamps_are_those_of_date_range(freq, start):
    starts = np.array([start, "2020-03-05"], "datetime64[ms]")
    data = make_set(num_items=2, freqs=(freq,) * 2, starts=starts)
    ((rows, found, frame),) = data.history_frames()
    assert (rows.tolist(), found) == ([0, 1], freq)
    for row, begin in enumerate(starts):
        expected = pd.date_range(pd.Timestamp(begin), periods=56, freq=freq)
        part = frame[frame["item_id"] == row]
        np.testing.assert_array_equal(part["timestamp"].to_numpy("datetime64[ns]"), expected.to_numpy("datetime64[ns]"))
        np.testing.assert_array_equal(part["target"], data.pasts[row])


def test_frequencies_come_in_frames_of_their_own():
    data = make_set(num_items=3, freqs=("D", None, "D"), starts=np.array(["NaT"] * 3, "datetime64[ms]"))
    frames = {freq: (rows.tolist(), frame) for rows, freq, frame in data.history_frames()}
    assert [rows for rows, _ in frames.values()] == [[0, 2], [1]]
    assert frames["D"][1]["timestamp"].iloc[0] == pd.Timestamp("1900-01-01")
    assert frames[None][1]["timestamp"].tolist() == list(range(56))


def test_series_beyond_the_calendar_keep_their_end():
    values = np.arange(404.0)
    data = make_set(
        num_items=3,
        freqs=("YE",) * 3,
        starts=np.array(["NaT", "1500-01-01", "1800-01-01"], "datetime64[ms]"),
        pasts=(values, values, values),
        actual=np.ones((3, AHEAD)),
    )
    ((_, _, frame),) = data.history_frames()
    assert frame["item_id"].value_counts().sort_index().tolist() == [300, 300, 404]
    assert frame.groupby("item_id")["target"].last().tolist() == [403.0] * 3
    first = frame[frame["item_id"] == 1].iloc[0]
    assert (first["timestamp"], first["target"]) == (pd.Timestamp("1900-12-31"), 104.0)


# ------------------------------------------------------------------------------------------------------------ scores


def test_symmetric_mape():
    actual, median = np.array([[1.0, 0.0, NAN, 0.0]]), np.array([[3.0, 0.0, 5.0, 2.0]])
    assert symmetric_mape(actual, median) == pytest.approx((2 * 2 / 4 + 0 + 2) / 3)
    assert symmetric_mape(-actual, -median) == symmetric_mape(actual, median)


def test_a_score_is_the_mean_over_groups():
    data = make_set(num_items=4, groups=np.array([0, 1, 1, 1]))
    median = data.actual + np.arange(1.0, 5)[:, None]
    quantiles = np.repeat(median[..., None], 3, -1)
    whole = score_forecast(data, median, quantiles, LEVELS)
    parts = []
    for rows in ([0], [1, 2, 3]):
        pasts = tuple(data.pasts[row] for row in rows)
        part = make_set(num_items=len(rows), pasts=pasts, actual=data.actual[rows])
        parts.append(score_forecast(part, median[rows], quantiles[rows], LEVELS))
    for metric in ("MASE", "WQL", "sMAPE", "coverage_0.1"):
        assert whole[metric] == pytest.approx(np.mean([part[metric] for part in parts]))
    pooled = score_forecast(make_set(num_items=4), median, quantiles, LEVELS)
    assert pooled["MASE"] != pytest.approx(whole["MASE"])


def test_coverage_error():
    data = make_set()
    above = np.repeat(data.actual[..., None] + 1, 3, -1)
    scores = score_forecast(data, data.actual, above, LEVELS)
    assert [scores[f"coverage_{level}"] for level in LEVELS] == [1, 1, 1]
    assert scores["coverage_error"] == pytest.approx(np.mean([0.9, 0.5, 0.1]))
    assert (scores["MASE"], scores["sMAPE"], scores["not_finite"]) == (0, 0, 0)


def test_a_missing_forecast_is_scored_as_zero_and_counted():
    data = make_set()
    median = data.actual.copy()
    median[2, 1] = NAN
    quantiles = np.repeat(median[..., None], 3, -1)
    zero = np.nan_to_num(median)
    expected = score_forecast(data, zero, np.repeat(zero[..., None], 3, -1), LEVELS)
    scores = score_forecast(data, median, quantiles, LEVELS)
    assert scores == expected | {"not_finite": 1}
    assert scores["MASE"] > 0


def test_sets_without_scale_have_no_score():
    flat = make_set(num_items=2, pasts=(np.ones(20),) * 2, actual=np.zeros((2, AHEAD)))
    scores = score_forecast(flat, flat.actual, np.zeros((2, AHEAD, 3)), LEVELS)
    assert np.isnan([scores["MASE"], scores["WQL"]]).all()
    assert scores["sMAPE"] == 0


def test_skill_and_win_rate_by_hand():
    relative = np.array([[1.0, 0.5, 1.0], [1.0, 2.0, 0.25]])
    np.testing.assert_allclose(skill_score(relative), [0, 0, 0.5])
    np.testing.assert_allclose(win_rate(relative), [(0.25 + 0.5) / 2, (0.5 + 0.5) / 2, (0.75 + 0.5) / 2])
    np.testing.assert_allclose(skill_score(np.array([[0.0], [1e9]])), [0.0], atol=1e-12)  # clipped to 0.01 and 100
    assert np.isnan(win_rate(np.ones((3, 1)))).all()


def test_intervals_come_from_the_seed_and_shrink_with_sets():
    relative = np.c_[np.ones(8), np.exp(np.random.default_rng(0).normal(size=8))]
    first, again, other = (bootstrap_interval(skill_score, relative, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    lower, upper = first
    assert lower[0] == upper[0] == 0
    assert lower[1] < skill_score(relative)[1] < upper[1]
    many_lower, many_upper = bootstrap_interval(skill_score, np.tile(relative, (20, 1)), 0)
    assert many_upper[1] - many_lower[1] < 0.5 * (upper[1] - lower[1])


# ----------------------------------------------------------------------------------------------------- the benchmark


@pytest.mark.slow
def test_result_of_two_sets(tiny_release, classical):
    sets = [make_set(), make_set("other", num_items=3, seed=1)]
    result = run_benchmark(sets, [str(tiny_release), "theta"], levels=LEVELS)
    assert result.models == ["seasonal-naive", str(tiny_release), "theta"]
    assert len(result.scores) == 6
    base = result.scores[result.scores["model"] == "seasonal-naive"]
    assert (base[["rel_MASE", "rel_WQL"]] == 1).all(axis=None)
    summary = result.summary()
    expected = result.relative("MASE").map(np.log).mean().map(np.exp)
    pd.testing.assert_series_equal(summary["rel_MASE"].sort_index(), expected.sort_index(), check_names=False)
    assert summary["skill"].is_monotonic_decreasing
    assert (summary["sets"] == 2).all()
    assert summary["win_rate"].sum() == pytest.approx(1.5)
    assert (summary["skill_lower"] <= summary["skill"]).all()


@pytest.mark.parametrize(("name", "function"), [("theta", forecast_theta), ("ets", forecast_ets)])
def test_forecasts_are_those_of_the_classical_methods(name, function):
    data = make_set(num_items=2)
    quantiles = np.stack([function(past, AHEAD, SEASON, LEVELS) for past in data.pasts])
    expected = score_forecast(data, quantiles[..., 1], quantiles, LEVELS)
    row = run_benchmark([data], [name], levels=LEVELS).scores.iloc[1]
    assert {metric: row[metric] for metric in expected} == pytest.approx(expected)


def test_forecasts_are_those_of_the_forecaster(tiny_release):
    data = make_set(num_items=4, freqs=("D", "h", "D", None))
    result = run_benchmark([data], [Forecaster(tiny_release, context_length=32)], levels=LEVELS)
    frames = [
        pd.DataFrame({"item_id": row, "timestamp": np.arange(len(past)), "target": past})
        for row, past in enumerate(data.pasts)
    ]
    forecaster = Forecaster(tiny_release, context_length=32, prediction_length=AHEAD, quantile_levels=LEVELS)
    quantiles = forecaster.predict_quantiles(pd.concat(frames)).quantiles
    expected = score_forecast(data, quantiles[..., 1], quantiles, LEVELS)
    row = result.scores.iloc[1]
    assert [row["MASE"], row["WQL"]] == pytest.approx([expected["MASE"], expected["WQL"]], rel=1e-6)
    full = run_benchmark([data], [tiny_release], levels=LEVELS).scores.iloc[1]
    assert full["MASE"] != pytest.approx(expected["MASE"], rel=1e-9), "the context length counts"


def test_forecasts_do_not_see_what_came(tiny_release, monkeypatch, classical):
    seen = []
    monkeypatch.setattr(
        "tsar.benchmark.run.score_forecast",
        lambda data, median, quantiles, levels: seen.append(quantiles) or {"MASE": 1.0, "WQL": 1.0, "sMAPE": 1.0},
    )
    data = make_set()
    for actual in (data.actual, np.full_like(data.actual, 1e9)):
        run_benchmark([make_set(actual=actual)], [tiny_release, "ets"], levels=LEVELS)
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:], strict=True):
        np.testing.assert_array_equal(first, second)


def test_median_counts_even_if_it_is_no_level(tiny_release):
    data = make_set()
    with_median = run_benchmark([data], [tiny_release], levels=LEVELS).scores
    without = run_benchmark([data], [tiny_release], levels=[0.9, 0.1]).scores
    assert without["MASE"].tolist() == with_median["MASE"].tolist()
    assert [name for name in without if name.startswith("coverage_0")] == ["coverage_0.1", "coverage_0.9"]


def test_slow_forecasts_are_stored(classical, tmp_path):
    data = make_set()
    results = [run_benchmark([data], ["theta"], levels=LEVELS, cache=tmp_path).scores for _ in range(2)]
    assert len(classical) == data.num_items
    pd.testing.assert_frame_equal(
        *(scores.drop(columns="seconds").query("model == 'theta'") for scores in results), check_exact=True
    )
    assert results[0]["seconds"][1] == results[1]["seconds"][1]
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(b"damaged")
    run_benchmark([data], ["theta"], levels=LEVELS, cache=tmp_path)
    assert len(classical) == 2 * data.num_items, "a damaged file is made again"
    run_benchmark([make_set(seed=1)], ["theta"], levels=LEVELS, cache=tmp_path)
    run_benchmark([data], ["theta"], levels=[0.5], cache=tmp_path)
    run_benchmark([data], {"theta": "ets"}, levels=LEVELS, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4, "other data, levels and methods are other files"


def test_a_stored_forecast_that_is_damaged_anywhere_is_made_again(tmp_path):
    data = make_set()
    quantiles = np.random.default_rng(0).normal(size=(*data.actual.shape, 1))
    contestant = Contestant("one", lambda data, levels: quantiles, stored_as="one")
    timed_forecast(contestant, data, [0.5], tmp_path)
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    damages = [whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :] for place in range(0, len(whole), 3)]
    for damaged in (*damages, b"", whole[:100]):
        stored.write_bytes(damaged)
        np.testing.assert_array_equal(timed_forecast(contestant, data, [0.5], tmp_path)[0], quantiles)


def test_processes_give_the_forecasts_of_one(monkeypatch):
    calls = []

    def last_value(past, prediction_length, season_length, levels):  # nothing that a process must import first
        calls.append(len(past))
        return past[-1] + np.zeros((prediction_length, len(levels)))

    monkeypatch.setattr("tsar.benchmark.models.CLASSICAL", {"ets": last_value})
    one, two = (run_benchmark([make_set()], ["ets"], levels=LEVELS, jobs=jobs).scores for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), two.drop(columns="seconds"), check_exact=True)
    assert len(calls) == 5, "the others were asked in processes of their own"


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"sets": []}, BenchmarkError, "benchmark.missing_set"),
        ({"sets": [make_set(), make_set()]}, BenchmarkError, "benchmark.bad_set"),
        ({"models": []}, OptionError, "option.invalid"),
        ({"models": "tsar-tiny"}, OptionError, "option.invalid"),
        ({"models": ["seasonal-naive", "seasonal-naive"]}, OptionError, "option.invalid"),
        ({"models": ["tsar-giant"]}, ModelError, "model.unknown_name"),
        ({"baseline": "naive"}, ModelError, "model.unknown_name"),
        ({"limit": 0}, OptionError, "option.invalid"),
        ({"jobs": 0}, OptionError, "option.invalid"),
        ({"levels": [0.1, 10]}, OptionError, "option.quantile_level"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, code):
    with pytest.raises(error) as caught:
        run_benchmark(**{"sets": [make_set()], "models": ["seasonal-naive"], **arguments})
    assert caught.value.code == code


def test_other_baseline_and_names(classical):
    models = {"mine": "theta", "naive": "seasonal-naive"}
    result = run_benchmark([make_set()], models, baseline="mine", levels=LEVELS)
    assert result.models == ["mine", "naive"]
    assert result.relative("WQL")["mine"].tolist() == [1.0]


def make_result(**scores) -> BenchmarkResult:
    rows = [
        {"set": name, "model": model, "series": 3, "MASE": 1.0, "WQL": 1.0, "sMAPE": 1.0, "coverage_error": 0.1,
         "not_finite": 0, "seconds": 1.0, "rel_MASE": ratio, "rel_WQL": ratio, "rel_sMAPE": ratio}
        for name, ratios in scores.items()
        for model, ratio in zip(("seasonal-naive", "a|b", "c"), ratios, strict=True)
    ]  # fmt: skip
    return BenchmarkResult(scores=pd.DataFrame(rows), baseline="seasonal-naive")


def test_a_set_without_scores_counts_for_no_model():
    result = make_result(x=(1, 0.5, 0.9), y=(1, NAN, 0.1))
    assert result.uncounted_sets == ["y"]
    summary = result.summary()
    assert summary.loc[["a|b", "c"], "rel_MASE"].tolist() == pytest.approx([0.5, 0.9])
    assert summary["sets"].tolist() == [1, 1, 1]


@pytest.mark.slow
def test_a_set_without_scores_is_named_once(classical):
    flat = make_set("flat", num_items=2, pasts=(np.ones(20),) * 2, actual=np.ones((2, AHEAD)))
    with pytest.warns(TsarWarning, match="1 of 2 sets do not count, first 'flat'") as caught:
        result = run_benchmark([make_set(), flat], ["theta"], levels=LEVELS)
        result.to_markdown()
    assert len(caught) == 1
    assert result.summary()["sets"].tolist() == [1, 1]


def test_no_usable_set_gives_no_summary_but_no_crash():
    summary = make_result(y=(NAN, NAN, NAN)).summary()
    assert summary[["rel_MASE", "skill", "win_rate_upper"]].isna().all(axis=None)


def test_metric_of_the_summary():
    result = make_result(x=(1, 0.5, 0.9))
    assert result.summary("WQL").loc["c", "skill"] == pytest.approx(0.1)
    with pytest.raises(OptionError) as caught:
        result.summary("RMSE")
    assert caught.value.code == "option.invalid"


def test_markdown_is_a_table():
    first, by_set = make_result(x=(1, 0.5, 0.9), y=(1, 0.5, 0.9)).to_markdown().split("\n\nRelative MASE by set:\n\n")
    lines = first.splitlines()
    assert lines[0].startswith("| model | relative MASE | relative WQL | skill (MASE) |")
    assert lines[2].startswith("| a\\|b | 0.500 | 0.500 | 0.500 (0.500, 0.500) | 1.000 ")
    assert by_set.splitlines()[2] == "| x | 1.000 | 0.500 | 0.900 |"
    assert "| a\\|b | 0.500 | 0.500 | 0.500 | 1.000 |" in make_result(x=(1, 0.5, 0.9)).to_markdown(), "no intervals"


def test_picture_has_a_dot_per_set_and_model():
    ax = make_result(x=(1, 0.5, 0.9), y=(1, 2.0, 1e9)).plot()
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["seasonal-naive"].get_xdata() == [1.0, 1.0]
    assert drawn["a|b"].get_xdata().tolist() == [2.0, 0.5]
    assert drawn["c"].get_xdata().tolist() == [100.0, 0.9]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["y", "x"]
    assert drawn["a|b"].get_marker() != drawn["c"].get_marker()
    ax.figure.draw_without_rendering()


def test_save_writes_all_and_replaces_only_results(tmp_path):
    result = make_result(x=(1, 0.5, 0.9), y=(1, 2.0, 0.8))
    folder = tmp_path / "out"
    result.save(folder)
    result.save(folder)
    names = {"scores.csv", "summary.csv", "result.json", "summary.md", "relative_mase.png", "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    pd.testing.assert_frame_equal(pd.read_csv(folder / "scores.csv"), result.scores, check_dtype=False)
    assert json.loads((folder / "result.json").read_text())["summary"][0]["model"] == "c"
    assert (folder / "relative_mase.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError) as caught:
        result.save(tmp_path / "mine")
    assert caught.value.code == "option.invalid"
    assert (tmp_path / "mine" / "thesis.txt").is_file()


# ----------------------------------------------------------------------------------------------------------- GluonTS


def entries(num_items=2, length=20):
    start = pd.Period("2024-01", freq="M")
    return [
        {"item_id": f"m{row}", "start": start, "target": np.arange(length, dtype=float) + row}
        for row in range(num_items)
    ]


@pytest.mark.filterwarnings("ignore:Using `json`-module")
def test_windows_of_gluonts_entries():
    data = from_gluonts(entries(), 3, name="months", num_windows=2)
    assert data.item_ids.tolist() == ["m0", "m0", "m1", "m1"]
    np.testing.assert_array_equal(data.actual[:2], [[14, 15, 16], [17, 18, 19]])
    assert [len(past) for past in data.pasts] == [14, 17, 14, 17]
    assert (data.freqs[0], data.seasonality, data.name) == ("ME", 12, "months")
    assert data.groups.tolist() == [0] * 4
    (_, _, frame) = next(data.history_frames())
    assert frame["timestamp"].iloc[0] == pd.Timestamp("2024-01-31")


@pytest.mark.parametrize(
    ("dataset", "arguments", "code"),
    [
        (entries(), {}, "benchmark.bad_set"),
        ([], {"prediction_length": 3}, "benchmark.bad_set"),
        (entries(), {"prediction_length": 10, "num_windows": 2}, "benchmark.short_series"),
        ([{"start": "2024-01-01"}], {"prediction_length": 3}, "benchmark.bad_set"),
        ([{"start": "soon", "target": np.ones(9)}], {"prediction_length": 3}, "benchmark.bad_set"),
        ([{"start": "2024-01-01", "target": np.ones((2, 9))}], {"prediction_length": 3}, "benchmark.bad_set"),
        ("nowhere", {}, "benchmark.missing_set"),
    ],
)
def test_unusable_gluonts_data_is_refused(dataset, arguments, code):
    with pytest.raises(BenchmarkError) as caught:
        from_gluonts(dataset, **arguments)
    assert caught.value.code == code


def test_a_release_with_its_classical_partners_is_a_row_of_its_own(tiny_release):
    sets = [make_set("a")]
    result = run_benchmark(sets, [str(tiny_release), f"{tiny_release}+classical"])
    assert set(result.summary().index) == {"seasonal-naive", str(tiny_release), f"{tiny_release}+classical"}
    alone, both = (
        result.scores.query("model == @name")["MASE"].item() for name in result.summary().index if "/" in name
    )
    assert alone != both
