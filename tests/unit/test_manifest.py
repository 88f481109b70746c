"""The committed manifest, the list of forbidden data sets, the overlap report and the script around them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.unit.corpus_files import write_corpus, write_shard
from tsar.errors import CorpusError
from tsar.training.corpus import Corpus, load_corpus
from tsar.training.forbidden import forbidden_reason
from tsar.training.manifest import (
    FREQUENCY_SHARES,
    MAX_SOURCE_SHARE,
    Manifest,
    frequency_class,
    load_manifest,
    verify_files,
)
from tsar.training.overlap import WINDOW, HeldOutWindows, make_overlap_report
from tsar.training.shards import Shard, make_shard, read_shard
from tsar.training.survey import survey_manifest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "pretrain" / "corpus" / "manifest.json"

FORBIDDEN = [
    *("m1_monthly", "monash_m1_yearly", "M3_other", "nn3", "nn5_daily_without_missing", "monash_nn5_weekly"),
    *("m4_quarterly", "m4-yearly", "M4 Quarterly", "m4_hourly", "m4_weekly", "m4comp_quarterly", "m5", "M5_daily"),
    *("tourism_monthly", "monash_tourism_quarterly", "australian_tourism", "cif_2016", "CIF2016", "monash_cif_2016"),
    *("hospital", "monash_hospital", "car_parts_without_missing", "carparts", "covid_deaths", "monash_covid_deaths"),
    *("fred_md", "FRED-MD", "fredmd", "exchange_rate", "exchange-rates", "ETTh1", "ettm2", "ett_small", "dominick"),
    *("dominicks_sales", "ercot", "ercot_load", "australian_electricity_demand", "aus_electricity", "elecdemand"),
    *(
        "vic_elec",
        "traffic",
        "monash_traffic_hourly",
        "pems_sf",
        "weather",
        "monash_weather",
        "australian_weather_daily",
    ),
    *("bike_sharing_hourly", "air_quality_valencia_hourly", "aus_retail_monthly", "solar_eu_hourly"),
    *("river_flow_daily", "wiki_pageviews_daily", "owid_yearly_sample"),
]
LEGITIMATE = [
    *("jena_weather", "caravan_weather", "epw_weather", "oikolab_weather", "us_health_mixed", "covid_italy"),
    *("wiki_pageviews", "owid_yearly", "m4_monthly_daily_sample", "m4comp_other_10k", "los_loop_speed", "energy_small"),
    *("citylearn_buildings", "rts_gmlc", "beijing_multisite_air", "fx_metals_h1", "weekly_trends_disease"),
]


def script() -> ModuleType:
    """Import pretrain/prepare_corpus.py."""
    spec = importlib.util.spec_from_file_location("prepare_corpus", ROOT / "pretrain" / "prepare_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FORBIDDEN)
def test_evaluation_sets_are_recognised(name: str) -> None:
    assert forbidden_reason(name) is not None


@pytest.mark.parametrize("name", LEGITIMATE)
def test_other_sets_are_not(name: str) -> None:
    assert forbidden_reason(name) is None


def test_committed_manifest_is_complete_and_free_of_evaluation_sets() -> None:
    manifest = load_manifest(MANIFEST)  # raises on a forbidden name
    assert len(manifest.sources) >= 40
    for source in manifest.sources:
        assert source.licence and source.origin and source.domain and source.filters, source.name
        assert "unknown" not in (source.origin, source.domain), source.name
        assert len(source.sha256) == 64
        assert sum(source.frequencies.values()) == source.series
        assert {frequency_class(freq) for freq in source.frequencies} == set(source.weights)
        assert source.weight < 1.05 * MAX_SOURCE_SHARE
    assert sum(source.weight for source in manifest.sources) == pytest.approx(1, abs=1e-4)


def test_committed_weights_follow_the_shares() -> None:
    sources = load_manifest(MANIFEST).sources
    for kind, share in FREQUENCY_SHARES.items():
        actual = sum(source.weights.get(kind, 0.0) for source in sources)
        assert actual == pytest.approx(share, abs=0.025), kind  # few quarterly series: their cap binds


def test_a_forbidden_source_in_a_manifest_is_refused(tmp_path: Path) -> None:
    content = json.loads(MANIFEST.read_text(encoding="utf-8"))
    content["sources"][3]["name"] = "m4_yearly"
    changed = tmp_path / "manifest.json"
    changed.write_text(json.dumps(content))
    with pytest.raises(CorpusError) as error:
        load_manifest(changed)
    assert error.value.code == "corpus.forbidden"
    assert "M4 yearly" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", "{}", '{"format_version": 2, "sources": []}', '{"format_version": 1, "sources": [{"name": "a"}]}'],
)
def test_bad_manifests_are_coded_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(CorpusError) as error:
        load_manifest(path)
    assert error.value.code == "corpus.bad_manifest"
    with pytest.raises(CorpusError) as error:
        load_manifest(tmp_path / "none.json")
    assert error.value.code == "corpus.missing"


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "1"])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, weight: object) -> None:
    content = json.loads(MANIFEST.read_text(encoding="utf-8"))
    source = content["sources"][3]
    source["weights"] = dict.fromkeys(source["weights"], weight)
    changed = tmp_path / "manifest.json"
    changed.write_text(json.dumps(content))
    with pytest.raises(CorpusError) as error:
        load_manifest(changed)
    assert error.value.code == "corpus.bad_manifest"


def test_survey_load_and_verify(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, {"alpha": ("h", 20, 200), "beta": ("YE", 10, 40)})
    manifest = survey_manifest(folder, Manifest(sources=()))
    (folder / "manifest.json").write_text(manifest.to_json())
    assert load_manifest(folder / "manifest.json") == manifest
    assert manifest.sources[1].frequencies == {"YE": 10}
    corpus = load_corpus(folder)
    assert corpus.source_weights.tolist() == pytest.approx([source.weight for source in manifest.sources], abs=1e-5)
    verify_files(manifest, folder)
    write_shard(folder, "beta", [("other", "YE", np.arange(20.0))])
    with pytest.raises(CorpusError) as error:
        verify_files(manifest, folder)
    assert error.value.code == "corpus.bad_shard"


def test_survey_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, {"asd_application_server": ("5min", 9, 100)})
    source = survey_manifest(folder, load_manifest(MANIFEST)).sources[0]
    assert source.licence == "MIT (repository)"
    assert source.series == 9


def shard(name: str, series: Sequence[np.ndarray]) -> Shard:
    """Return a shard of hourly series."""
    return make_shard(name, [f"{name}{i}" for i in range(len(series))], ["h"] * len(series), list(series))


def test_a_planted_copy_is_found() -> None:
    dice = np.random.default_rng(0)
    held_out = shard("held_out", [dice.normal(size=300) for _ in range(5)])
    source = [dice.normal(size=300) for _ in range(5)]
    source[3][100:140] = 250.0 - 2.0 + 17.5 * held_out.series()[2][50:90]
    found = HeldOutWindows([held_out]).overlaps(shard("source", source))
    assert found["held_out"].windows == 40 - WINDOW + 1
    assert found["held_out"].series == 1
    assert found["held_out"].suspects == ("source3",)


def test_random_constant_linear_and_sparse_series_do_not_match() -> None:
    dice = np.random.default_rng(1)

    def dull(seed: int) -> list[np.ndarray]:
        return [
            np.full(200, 4.0 + seed),
            np.arange(200.0) * (1 + seed),
            np.where(np.arange(200) == 90 + seed, 7.0, 0.0),
            np.where(np.arange(200) % 2 == 0, np.nan, dice.normal(size=200)),
            dice.normal(size=200),
            dice.normal(size=5),
        ]

    report = make_overlap_report([shard("a", dull(0))], [shard("b", dull(1))])
    assert report["matches"] == {}
    assert report["sources"] == ["a"]
    assert report["held_out"] == ["b"]
    assert int(str(report["held_out_windows"])) > 100


def test_windows_do_not_reach_from_one_series_into_the_next() -> None:
    values = np.random.default_rng(2).normal(size=20)
    joined, split = shard("joined", [values]), shard("split", [values[:10], values[10:]])
    assert HeldOutWindows([joined]).overlaps(split) == {}
    assert HeldOutWindows([joined]).overlaps(joined)["joined"].windows == 9


def test_script_updates_reports_and_packs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_corpus(tmp_path / "corpus", {"alpha": ("h", 20, 500), "beta": ("D", 9, 100)})
    held_out = write_corpus(tmp_path / "dev_eval", {"gamma": ("D", 3, 100)}, seed=9)
    copy = read_shard(data / "beta.parquet").series()[0]
    write_shard(held_out, "delta", [("copy", "D", 5 + 2 * copy)])
    manifest, report, pack = tmp_path / "manifest.json", tmp_path / "report.json", tmp_path / "corpus.pack"
    common = ["--data", str(data), "--manifest", str(manifest)]
    main = script().main
    assert main([*common, "--update-manifest", "--overlap", str(report), "--pack", str(pack), "--max-mb", "1"]) == 0
    found = json.loads(report.read_text())
    assert list(found["matches"]) == ["beta"]
    assert found["matches"]["beta"]["delta"]["suspects"] == ["s0"]
    assert 70 < found["matches"]["beta"]["delta"]["windows"] <= 89  # the copy went through float32
    assert found["held_out"] == ["delta", "gamma"]
    assert Corpus.from_pack(pack, split="all").num_points == 20 * 500 + 9 * 100
    assert main(common) == 0
    assert "alpha" in capsys.readouterr().out
    (data / "beta.parquet").unlink()
    assert main(common) == 1
    assert "beta" in capsys.readouterr().err
