"""Every release in the zoo: whole, of the size it says, and no worse than repeating the last season."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.datasets import elec_equip, elnino, nile

from tsar.baselines import seasonal_naive
from tsar.decode import decode
from tsar.errors import ModelError
from tsar.forecaster import Forecaster
from tsar.hub import load_release
from tsar.metrics import mean_absolute_scaled_error, seasonal_error
from tsar.model.config import ModelConfig, num_parameters
from tsar.registry import list_models
from tsar.tasks.impute import fill_quantiles
from tsar.training.config import load_recipe

ZOO = Path(__file__).parent.parent.parent / "zoo"
RELEASES = sorted(path.parent for path in ZOO.glob("*/manifest.json"))
SEASON, HORIZON, CUTOFFS = 12, 24, 8
MEGABYTE = 1 << 20

FORECASTERS = [release for release in RELEASES if '"full"' not in (release / "config.json").read_text()]

every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
every_forecaster = pytest.mark.parametrize("release", FORECASTERS, ids=lambda path: path.name)
every_infiller = pytest.mark.parametrize(
    "release", [release for release in RELEASES if release not in FORECASTERS], ids=lambda path: path.name
)


def facts(release, name):
    return json.loads((release / name).read_text())


def test_the_zoo_is_what_the_registry_lists():
    assert [info.path for info in list_models()] == RELEASES
    assert {"tsar-small", "tsar-tiny"} <= {path.name for path in RELEASES}
    assert sorted(path.name for path in ZOO.iterdir()) == [path.name for path in RELEASES], "nothing else lies there"


def test_the_zoo_is_small_enough_for_a_wheel():
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) < 40 * MEGABYTE


@every_release
def test_files_are_those_of_the_manifest(release):
    manifest = facts(release, "manifest.json")
    assert manifest["name"] == release.name
    assert {path.name for path in release.iterdir()} == manifest["sha256"].keys() | {"manifest.json"}
    for name, expected in manifest["sha256"].items():
        assert hashlib.sha256((release / name).read_bytes()).hexdigest() == expected, name


@every_release
def test_documents(release):
    card = (release / "card.md").read_text()
    assert release.name in card
    assert len(card) > 500
    scores = facts(release, "eval.json")["total"]
    for name in ("rel_MASE", "rel_WQL") if release in FORECASTERS else ("rel_MAE", "rel_MSE"):
        assert 0 < scores[name] < 1
    assert scores["not_finite"] == 0
    assert facts(release, "corpus.json")


@every_release
def test_size_is_what_is_said(release):
    config = ModelConfig.from_dict(facts(release, "config.json"))
    parameters = sum(parameter.numel() for parameter in load_release(release).parameters())
    assert parameters == facts(release, "train.json")["parameters"] == num_parameters(config)
    if release.name == "tsar-tiny":
        assert parameters <= 4_000_000


@every_release
def test_recipe_of_the_release_makes_this_model(release):
    recipe = load_recipe(release / "train.yaml")
    assert recipe.name == release.name
    assert recipe.model == ModelConfig.from_dict(facts(release, "config.json"))


@every_forecaster
def test_forecast_of_a_sine_follows_it(release):
    wave = 5 + np.sin(2 * np.pi * np.arange(512 + 96) / 24)
    quantiles = decode(load_release(release), wave[None, :512], 96)[0]
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(quantiles[:, 4], wave[512:], atol=0.25)


def compare(release, series):
    """Mean MASE of a release and of seasonal naive: two years ahead from each of eight cutoffs a year apart."""
    decoder, scores = load_release(release), []
    for cutoff in len(series) - HORIZON - SEASON * np.arange(CUTOFFS):
        past, actual = series[:cutoff], series[None, cutoff : cutoff + HORIZON]
        scale = np.array([seasonal_error(past, SEASON)])
        padding = np.full(-len(past) % decoder.config.patch_length, np.nan)
        median = decode(decoder, np.concatenate([padding, past])[None], HORIZON)[..., 4]
        naive = seasonal_naive(past, HORIZON, SEASON)[None]
        scores.append([mean_absolute_scaled_error(actual, guess, scale) for guess in (median, naive)])
    model, naive = np.mean(scores, axis=0)
    print(f"{release.name}: MASE {model:.3f}, seasonal naive {naive:.3f}")
    return model, naive


@every_forecaster
@pytest.mark.parametrize("seed", range(3))
def test_seasons_with_noise_are_forecast_better_than_by_the_last_year(release, seed):
    rng, month = np.random.default_rng(seed), np.arange(240)
    season = rng.normal(size=SEASON)[month % SEASON]
    model, naive = compare(release, 100 + 0.02 * month + 3 * season + rng.normal(size=len(month)))
    assert model < 0.9 * naive


def monthly_series():
    """Sea temperature and the turnover of electrical manufacturing; neither is in the training corpus."""
    temperature = elnino.load_pandas().data.set_index("YEAR").to_numpy(dtype=float).ravel()
    return {"elnino": temperature, "elec_equip": elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)}


@every_forecaster
@pytest.mark.parametrize("name", ["elnino", "elec_equip"])
def test_real_months_are_forecast_about_as_well_as_by_the_last_year_or_better(release, name):
    """tsar-small is better on both, tsar-tiny on the first; one series is too little for more than a bound."""
    model, naive = compare(release, monthly_series()[name])
    assert model < 1.1 * naive


@every_forecaster
def test_yearly_flow_is_forecast_in_range(release):
    flow = nile.load_pandas().data["volume"].to_numpy(dtype=float)[-96:]
    quantiles = decode(load_release(release), flow[None], 10)[0]
    assert (quantiles[:, 0] > 0.5 * flow.min()).all()
    assert (quantiles[:, -1] < 1.5 * flow.max()).all()


@every_infiller
def test_a_release_that_fills_gaps_fills_a_season_and_does_not_forecast(release):
    wave = 5 + np.sin(2 * np.pi * np.arange(512) / 24)
    hidden = np.zeros(512, dtype=bool)
    hidden[100:148] = hidden[300:305] = True
    model = load_release(release)
    filled = fill_quantiles(model, np.where(hidden, np.nan, wave), np.array([0, 512]))[:, 4]
    np.testing.assert_allclose(filled[hidden], wave[hidden], atol=0.35)
    with pytest.raises(ModelError) as caught:
        Forecaster(model=release.name, id_column=None).predict(
            pd.DataFrame({"timestamp": range(99), "target": wave[:99]})
        )
    assert caught.value.code == "model.wrong_task"
    assert {info.name: info.task for info in list_models()}[release.name] == "infill"
