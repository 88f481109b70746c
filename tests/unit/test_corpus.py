"""The corpus: what a window holds, how often each source comes, who is held back; and the pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.corpus_files import write_corpus, write_shard
from tsar.errors import CorpusError, OptionError
from tsar.freq import RESOLUTIONS
from tsar.training.coding import choose_grid, code_series, decode
from tsar.training.config import make_recipe
from tsar.training.corpus import AGGREGATION, Corpus, load_corpus
from tsar.training.forbidden import FORBIDDEN_SERIES
from tsar.training.manifest import FREQUENCY_SHARES, balanced_weights, frequency_class
from tsar.training.mapped import write_mapped
from tsar.training.pack import Part, read_pack, write_pack
from tsar.training.packaged import load_packaged_corpus
from tsar.training.shards import (
    HELD_BACK_MIN_SERIES,
    cut_shard,
    held_back_series,
    make_shard,
    read_shard,
    standardization,
    standardize_series,
)
from tsar.training.synth import DEFAULT_WEIGHTS
from tsar.training.validation import Validation


def generator(seed: int = 0) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def counting(length: int, freq: str = "h", factor: int = 1) -> Corpus:
    """Return a corpus of the one series 0, 1, 2 … (standardised), always aggregated by `factor`."""
    menu = {freq: {factor: 1.0}} if factor > 1 else {}
    return Corpus.from_arrays([("count", freq, np.arange(float(length)))], aggregation=menu)


def raw(windows: torch.Tensor, length: int) -> np.ndarray:
    """Undo the standardisation of `counting`."""
    loc, scale = standardization(np.arange(float(length)))
    return windows.double().numpy() * scale + loc


def test_plain_windows_are_consecutive_values_padded_left() -> None:
    windows = raw(counting(50).sample(200, 64, generator()), 50)
    for row in windows:
        known = row[np.isfinite(row)]
        assert np.isnan(row[: 64 - len(known)]).all()
        assert 32 <= len(known) <= 50
        np.testing.assert_allclose(known, np.arange(len(known)), atol=1e-3)  # it is padded, so it begins at the start


def test_a_window_may_end_anywhere() -> None:
    ends = raw(counting(1000).sample(2000, 16, generator())[:, -1:], 1000).round()
    assert ends.min() < 60
    assert ends.max() == 999
    assert abs(ends.mean() - 515) < 30


@pytest.mark.parametrize("factor", [2, 7, 24])
def test_aggregation_takes_means_of_runs_at_any_phase(factor: int) -> None:
    windows = raw(counting(2000, "D", factor).sample(300, 20, generator()), 2000)
    np.testing.assert_allclose(np.diff(windows), factor, atol=1e-2)
    phases = (windows[:, 0] - (factor - 1) / 2) % factor
    assert len(np.unique(phases.round() % factor)) == factor


def test_short_series_are_not_aggregated() -> None:
    windows = raw(counting(47, "D", 2).sample(20, 64, generator()), 47)
    np.testing.assert_allclose(np.nanmin(np.diff(windows), 1), 1, atol=1e-3)
    longer = raw(counting(48, "D", 2).sample(20, 64, generator()), 48)
    np.testing.assert_allclose(np.nanmin(np.diff(longer), 1), 2, atol=1e-3)


def test_missing_values_stay_missing_and_means_ignore_them() -> None:
    series = np.tile([1.0, np.nan, 3.0, 3.0], 50)
    corpus = Corpus.from_arrays([("gaps", "h", series)], aggregation={"h": {2: 1.0}})
    scaled = standardize_series(series, np.array([len(series)]))
    one, three = float(scaled[0]), float(scaled[2])
    values = corpus.sample(50, 8, generator()).unique().numpy()
    np.testing.assert_allclose(values, [one, (one + three) / 2, three], atol=1e-6)
    sparse = np.full(400, np.nan)
    sparse[::4] = np.arange(100.0)
    kept = Corpus.from_arrays([("sparse", "h", sparse)], aggregation={"h": {4: 1.0}}).sample(20, 16, generator())
    assert torch.isnan(kept).all()  # one value of four is less than half


def test_values_survive_the_prefix_sums_exactly() -> None:
    dice = np.random.default_rng(3)
    series = [("a", "h", dice.integers(0, 3, 5000) * 1.0) for _ in range(20)]
    corpus = Corpus.from_arrays(series, aggregation={})
    values = corpus.sample(64, 512, generator()).numpy()
    assert all(len(np.unique(row[np.isfinite(row)])) == 3 for row in values)


def test_same_generator_same_windows() -> None:
    corpus = load_packaged_corpus()
    first, second = (corpus.sample(32, 100, generator(5)) for _ in range(2))
    assert torch.equal(first.isnan(), second.isnan())
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    assert not torch.equal(first.nan_to_num(), corpus.sample(32, 100, generator(6)).nan_to_num())
    assert first.dtype == torch.float32


def test_sources_come_by_weight_and_series_by_root_of_length() -> None:
    flat = [("a", "h", 100), ("a", "h", 10_000), ("b", "YE", 100)]
    series = [(name, freq, np.arange(float(length)) % 7) for name, freq, length in flat]
    corpus = Corpus.from_arrays(series, {("a", "hourly"): 3.0, ("b", "yearly"): 1.0})
    assert corpus.source_weights.tolist() == pytest.approx([0.75, 0.25])
    assert corpus.draws.tolist() == pytest.approx([0.75 / 11, 0.75, 1.0])


def test_a_series_without_a_weight_is_an_error() -> None:
    with pytest.raises(CorpusError) as error:
        Corpus.from_arrays([("a", "h", np.arange(50.0))], {("a", "daily"): 1.0})
    assert error.value.code == "corpus.bad_manifest"
    assert error.value.item_ids == ("a/hourly",)


def test_series_without_a_point_are_left_out(tmp_path: Path) -> None:
    """In a source of nothing else they would otherwise take the chances of all others with them."""
    nothing, walk = np.empty(0), np.arange(50.0)
    write_shard(tmp_path / "corpus", "a", [("none", "D", nothing), ("some", "D", walk)])
    write_shard(tmp_path / "corpus", "b", [("none", "YE", nothing)])
    corpus = load_corpus(tmp_path / "corpus")
    assert (corpus.num_series, corpus.num_points) == (1, 50)
    assert corpus.draws.tolist() == [1.0]


def test_weights_of_zero_alone_are_an_error() -> None:
    with pytest.raises(CorpusError) as error:
        Corpus.from_arrays([("a", "h", np.arange(50.0))], {("a", "hourly"): 0.0})
    assert error.value.code == "corpus.bad_manifest"


def test_menu_chances_leave_room_for_no_aggregation() -> None:
    for freq, menu in AGGREGATION.items():
        assert 0 < sum(menu.values()) <= 0.36, freq
        assert all(factor > 1 for factor in menu)
    assert "YE" not in AGGREGATION


def test_anchored_and_start_frequencies_use_the_same_menu() -> None:
    series = [("a", freq, np.arange(40.0)) for freq in ("QE", "QS-OCT", "QE-DEC", "W-SUN", "YE", None)]
    menu = Corpus.from_arrays(series).menu.tolist()
    assert menu[0] == menu[1] == menu[2]
    assert menu[4] == menu[5] == len(AGGREGATION)


def test_constant_and_empty_looking_series_give_finite_or_missing_values() -> None:
    flat, nothing = np.full(100, 1e30), np.full(100, np.nan)
    spike = np.where(np.arange(100) == 50, 1e30, np.arange(100.0))
    windows = Corpus.from_arrays([("a", "h", flat), ("a", "h", nothing), ("a", "h", spike)]).sample(
        100, 64, generator()
    )
    assert not torch.isinf(windows).any()
    assert windows.nan_to_num().abs().max() <= 1e4


def test_validation_windows_come_equally_from_every_source() -> None:
    corpus = Corpus.from_arrays(
        [("a", "h", np.arange(100.0)), ("b", "D", np.arange(5000.0)), ("c", "YE", np.arange(40.0))]
    )
    windows, source, known = corpus.validation_windows(7, 48, seed=1)
    assert windows.shape == (21, 48)
    assert set(known[source == 2].tolist()) == {RESOLUTIONS.index("yearly")}
    assert torch.bincount(source).tolist() == [7, 7, 7]


def test_split_is_stable_and_complete(tmp_path: Path) -> None:
    path = write_shard(tmp_path, "many", [(f"s{i}", "h", np.arange(20.0) + i) for i in range(500)])
    train, validation = read_shard(path, "train"), read_shard(path, "validation")
    assert set(train.item_ids) | set(validation.item_ids) == set(read_shard(path).item_ids)
    assert not set(train.item_ids) & set(validation.item_ids)
    assert 2 <= len(validation.item_ids) <= 25
    fewer = held_back_series("many", train.item_ids[:100] + validation.item_ids)
    assert fewer.tolist() == [False] * 100 + [True] * len(validation.item_ids)  # the others do not matter
    assert held_back_series("few", [f"s{i}" for i in range(8)]).sum() == 1
    assert held_back_series("few", [f"s{i}" for i in range(7)]).sum() == 0


def test_load_corpus_reads_folders_and_packs_alike(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus", {"alpha": ("h", 30, 300), "beta": ("YE", 9, 40)})
    from_folder = load_corpus(folder)
    parts = [
        Part(read_shard(path, side), side == "validation")
        for path in folder.iterdir()
        for side in ("train", "validation")
    ]
    weights = {("alpha", "hourly"): 0.5, ("beta", "yearly"): 0.5}
    write_pack(tmp_path / "small.pack", parts, weights, 10**6)
    packed = load_corpus(tmp_path / "small.pack")
    assert packed.source_names == from_folder.source_names == ("alpha", "beta")
    assert packed.num_points == from_folder.num_points
    assert packed.source_weights.tolist() == pytest.approx([0.5, 0.5])
    held_back = load_corpus(tmp_path / "small.pack", split="validation")
    assert held_back.num_series == load_corpus(folder, split="validation").num_series
    assert (
        held_back.num_series + packed.num_series == load_corpus(tmp_path / "small.pack", split="train").num_series + 2
    )


def test_missing_and_damaged_corpora_are_coded_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(CorpusError) as error:
            load_corpus(path)
        assert error.value.code == "corpus.missing"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "noise.parquet").write_bytes(b"noise")
    for path in (tmp_path / "bad", tmp_path / "bad" / "noise.parquet"):
        with pytest.raises(CorpusError) as error:
            load_corpus(path)
        assert error.value.code == "corpus.bad_shard"
    shard = write_shard(tmp_path / "twice", "twice", [("s", "h", np.arange(20.0)), ("s", "h", np.arange(20.0))])
    with pytest.raises(CorpusError, match="repeats"):
        read_shard(shard)
    with pytest.raises(CorpusError, match="not a packed corpus"):
        read_pack(shard)


def test_a_forbidden_file_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path, {"fine": ("h", 2, 50), "m4_quarterly": ("QE", 2, 50)})
    with pytest.raises(CorpusError) as error:
        load_corpus(tmp_path)
    assert error.value.code == "corpus.forbidden"
    assert error.value.item_ids == ("m4_quarterly",)


def test_known_copies_of_evaluation_series_are_left_out(tmp_path: Path) -> None:
    copies = sorted(FORBIDDEN_SERIES["m4comp_other_10k"])
    path = write_shard(tmp_path, "m4comp_other_10k", [(one, "QE", np.arange(30.0)) for one in ("fine", *copies)])
    assert read_shard(path).item_ids == ("fine",)
    assert read_shard(path, "train").item_ids + read_shard(path, "validation").item_ids == ("fine",)


def decoded(series: np.ndarray) -> np.ndarray:
    """Return a series coded and decoded, standardised."""
    coded = code_series(series)
    one = [np.array([value]) for value in (len(series), coded.order, coded.slope, coded.intercept)]
    return decode(coded.codes, *one, coded.missing)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e9]), st.sampled_from(["noise", "walk", "smooth", "counts"])
)
def test_coding_is_close_and_keeps_equal_values_equal(seed: int, size: float, kind: str) -> None:
    dice = np.random.default_rng(seed)
    noise = dice.normal(size=400)
    series = {
        "noise": noise,
        "walk": noise.cumsum(),
        "smooth": noise.cumsum().cumsum(),
        "counts": dice.poisson(0.7, 400) * 1.0,
    }[kind]
    series = np.where(dice.random(400) < 0.2, 0.0, series * size)
    series[dice.random(400) < 0.1] = np.nan
    exact, back = standardize_series(series, np.array([400])), decoded(series)
    assert np.array_equal(np.isnan(series), np.isnan(back))
    known = np.isfinite(series)
    assert np.abs(exact - back)[known].max() <= 4.2e-3 * exact[known].std()
    if kind == "counts":
        np.testing.assert_allclose(back[known], exact[known], atol=2e-6)
    assert len(np.unique(back[series == 0])) <= 1
    assert np.all(np.sign(np.diff(back[known])) * np.sign(np.diff(series[known])) >= 0)  # order is kept


def test_grids_are_found() -> None:
    dice = np.random.default_rng(0)
    assert choose_grid(dice.integers(0, 50, 300) * 0.25 + 3)[1] == pytest.approx(0.25)
    prices = np.float32(dice.integers(900, 1100, 3000) / 100).astype(float)
    assert choose_grid(prices)[1] == pytest.approx(0.01)
    assert choose_grid(np.full(10, 4.0)) == (4.0, 1.0)


@pytest.mark.slow
def test_pack_respects_its_limit_and_cuts_the_largest_first(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    large = make_shard("large", [f"s{i}" for i in range(40)], ["h"] * 40, [dice.normal(size=9000) for _ in range(40)])
    small = make_shard("small", ["s"], ["D"], [np.arange(300.0)])
    weights = {("large", "hourly"): 0.9, ("small", "daily"): 0.1}
    kept = write_pack(tmp_path / "cut.pack", [Part(large, False), Part(small, False)], weights, 200_000)
    assert 150_000 < (tmp_path / "cut.pack").stat().st_size <= 200_000
    assert [len(part.shard.values) for part in kept if part.shard.source == "small"] == [300]
    assert len(next(part for part in kept if part.shard.source == "large").shard.values) < 0.8 * 360_000


def test_a_pack_of_nearly_nothing_is_refused_at_once(tmp_path: Path) -> None:
    shard = make_shard("walk", ["s"], ["D"], [np.random.default_rng(0).normal(size=9000).cumsum()])
    with pytest.raises(OptionError, match="max_bytes is 500") as error:
        write_pack(tmp_path / "corpus.pack", [Part(shard, False)], {("walk", "daily"): 1.0}, 500)
    assert error.value.code == "option.invalid"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["folder", "pack", "mapped"])
def test_a_corpus_that_holds_nothing_back_is_validated_on_synthetic_series(tmp_path: Path, kind: str) -> None:
    folder = write_corpus(tmp_path / "few", {"few": ("D", HELD_BACK_MIN_SERIES - 1, 200)})
    path = {"folder": folder, "pack": tmp_path / "few.pack", "mapped": tmp_path / "mapped"}[kind]
    if kind == "pack":
        write_pack(path, [Part(read_shard(folder / "few.parquet"), False)], {("few", "daily"): 1.0}, 10**6)
    elif kind == "mapped":
        write_mapped(folder, path)
    recipe = make_recipe({"name": "x", "corpus": str(path), "train": {"steps": 1, "validation_windows": 1}})
    validation = Validation.make(recipe, torch.device("cpu"))
    assert validation.names == [f"synth:{family}" for family in DEFAULT_WEIGHTS]
    assert load_corpus(path).num_series == HELD_BACK_MIN_SERIES - 1


def test_cutting_keeps_as_many_series_as_it_can() -> None:
    shard = make_shard("a", ["s0", "s1", "s2", "s3"], ["h"] * 4, [np.arange(10_000.0) + 1e5 * i for i in range(4)])
    half = cut_shard(shard, 0.5)
    assert half.lengths.tolist() == [5000] * 4
    assert all(np.all(np.diff(one) == 1) for one in half.series())
    tenth = cut_shard(shard, 0.1)
    assert set(tenth.lengths.tolist()) == {4096}
    assert len(tenth.lengths) <= 2


def test_weights_follow_the_shares_of_frequencies() -> None:
    freqs = ["h", "D", "YE", "W-SUN", "ME", "QE", "15min", None]
    sources, flat, lengths = [], [], []
    for copy in range(20):
        for freq in freqs:
            sources += [f"{freq}-{copy}"] * 100
            flat += [freq or ""] * 100
            lengths += [500] * 100
    weights = balanced_weights(sources, flat, np.array(lengths))
    total = sum(FREQUENCY_SHARES.values())
    for kind, share in FREQUENCY_SHARES.items():
        assert sum(weight for (_, own), weight in weights.items() if own == kind) == pytest.approx(
            share / total, rel=1e-6
        )
    assert frequency_class("8ms") == frequency_class("min") == "sub-hourly"
    assert frequency_class("MS") == "monthly"
    assert frequency_class(None) == frequency_class("odd") == "unknown"


def test_a_few_series_do_not_fill_the_batch() -> None:
    sources = ["rich"] * 5000 + ["poor"] * 2
    weights = balanced_weights(sources, ["h"] * 5000 + ["QE"] * 2, np.array([300] * 5000 + [100] * 2))
    assert weights["poor", "quarterly"] < 0.001


@pytest.mark.slow
@pytest.mark.needs_corpus
def test_real_validation_series_give_windows_of_every_large_source(corpus_folder: Path) -> None:
    corpus = load_corpus(corpus_folder, split="validation")
    windows, source, _ = corpus.validation_windows(4, 256, seed=0)
    assert len(source.unique()) >= 40
    assert (torch.isfinite(windows).sum(1) > 0).float().mean() > 0.97


@pytest.mark.parametrize("damaged", ["item_id", "freq"])
def test_text_that_is_none_is_a_bad_shard(tmp_path: Path, damaged: str) -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], dtype=np.int32)), pa.py_buffer(b"\x80"))
    columns = {"item_id": ["a"], "freq": ["D"], "target": [[1.0, 2.0]]} | {damaged: text}
    pq.write_table(pa.table(columns), tmp_path / "some.parquet")
    with pytest.raises(CorpusError) as error:
        read_shard(tmp_path / "some.parquet")
    assert error.value.code == "corpus.bad_shard"
