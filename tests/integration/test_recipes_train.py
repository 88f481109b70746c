"""Every recipe of the repository trains, shrunk to seconds, and its release loads and forecasts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load

from pretrain.make_body import make_body
from tsar.cli import main
from tsar.decode import decode
from tsar.errors import FrameError, TsarError
from tsar.events.forecaster import EventForecaster
from tsar.forecaster import Forecaster
from tsar.hub import load_release
from tsar.model.config import num_parameters
from tsar.storage import read_folder
from tsar.tasks.impute import fill_quantiles
from tsar.training.checkpoint import find_checkpoint
from tsar.training.config import load_recipe, read_recipe
from tsar.training.loop import pretrain
from tsar.training.optim import make_optimizer

ALL = sorted((Path(__file__).parents[2] / "pretrain" / "recipes").glob("*.yaml"))
RECIPES = [path for path in ALL if read_recipe(path).get("task", "series") == "series"]
EVENTS = [path for path in ALL if read_recipe(path).get("task") == "events"]
QUICK = {"mini", "tsar-tiny", "timer", "chronos"}
"""One of patches, the largest released, one that hides nothing, one with a vocabulary; the others are slow together."""
FILL_ONLY = {"tsar-infill"}
"""Trained on nothing but holes."""
SHRUNK = [
    "corpus=null", "init_from=null", "teacher=null", "teacher_share=null",
    "model.d_model=16", "model.num_layers=2", "model.head_dim=8", "model.d_ff=16",
    "model.context_length=64", "model.max_span=4", "corrupt.max_span=4", "data.block_size=4", "data.fresh=1",
    "data.pool=3",
    "shapes=[{context_length: 64, rows: 4}, {context_length: 32, rows: 8, cut: 0.4}]", "train.steps=20",
    "train.precision=fp32", "train.compile=false", "train.log_every=5", "train.validation_windows=1", "train.threads=1",
]  # fmt: skip


def needs_body(path: Path) -> bool:
    return "\n  body: " in path.read_text()


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow) for path in RECIPES],
    ids=lambda path: path.stem,
)
def test_recipe_trains_and_its_release_forecasts(path, tmp_path):
    body = [f"model.body={make_body('gpt2', tmp_path / 'language-model', width=16)}"] if needs_body(path) else []
    recipe = load_recipe(path, SHRUNK + body)
    release = pretrain(recipe, tmp_path / "run")
    decoder = load_release(release)
    assert decoder.config == recipe.model
    facts = json.loads((release / "train.json").read_text())
    assert (facts["step"], facts["parameters"]) == (20, num_parameters(recipe.model))
    assert np.isfinite(facts["validation"]["mean"])
    assert len(facts["validation"]) > 10, "a loss for every synthetic family"
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 5
    assert np.isfinite(losses).all()
    wave = np.sin(np.arange(64.0) / 3)
    if recipe.model.task == "infill":
        holed = np.where(np.arange(64) % 5 == 0, np.nan, wave)
        quantiles = fill_quantiles(decoder, holed, np.array([0, 64]))[np.isnan(holed)]
        assert np.isfinite(quantiles).all()
    if path.stem not in FILL_ONLY:
        quantiles = decode(decoder, wave[None], recipe.model.one_pass_length + 10)
        assert np.isfinite(quantiles).all()
        frame = pd.DataFrame({"timestamp": pd.date_range("2024", periods=64, freq="h"), "target": wave})
        forecast = Forecaster(model=release, id_column=None).fit(frame).predict(prediction_length=20)
        assert len(forecast) == 20
        assert np.isfinite(forecast["predictions"]).all()
    assert load_recipe(release / "train.yaml") == recipe


@pytest.mark.slow
@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_recipe_of_events_trains_and_forecasts_sequences_that_it_has_not_seen(path, tmp_path):
    release = tmp_path / "run" / "release"
    small = [
        "model.d_model=16", "model.num_layers=1", "model.context_length=16", "model.rerank_events=5",
        "data.num_processes=12", "data.sequences=2", "data.events=40", "train.steps=20", "train.threads=1",
        "train.energy_windows=40",
    ]  # fmt: skip
    assert main(["pretrain", str(path), "--run-dir", str(tmp_path / "run"), "--set", *small]) == 0
    facts = json.loads((release / "train.json").read_text())
    assert np.isfinite(facts["log_likelihood"])
    stages = [json.loads(line)["stage"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert set(stages) == {"proposer", "energy"}
    random = np.random.default_rng(0)
    stamps = pd.Timestamp("2026-03-01") + pd.to_timedelta(random.exponential(3.0, 60).cumsum(), unit="h")
    events = pd.DataFrame({"item_id": "shop", "timestamp": stamps, "event_type": random.choice(["visit", "order"], 60)})
    before = (release / "model.safetensors").read_bytes()
    forecaster = EventForecaster(model=release, rerank="energy", num_samples=20).fit(events)
    counts = forecaster.predict(horizon="2D")
    assert set(counts["event_type"]) == {"order", "visit"}
    assert 2 < counts["predictions"].sum() < 100, "16 events in two days"
    assert (release / "model.safetensors").read_bytes() == before
    forecaster.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(EventForecaster.load(tmp_path / "saved").predict(horizon="2D"), counts)
    many = events.assign(event_type=[f"type {number % 5}" for number in range(60)])
    with pytest.raises(FrameError, match=r"event\.too_many_types"):
        EventForecaster(model=release).fit(many)
    assert main(["pretrain", str(path), "--run-dir", str(tmp_path / "run"), "--set", *small]) != 0, "no resuming"


@pytest.mark.slow
def test_training_learns(tmp_path, tiny_recipe):
    recipe = load_recipe(
        tiny_recipe, ["train.steps=150", "train.validation_windows=8", "train.validate_every=50", "optim.lr=1e-2"]
    )
    pretrain(recipe, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    validation = [record["loss"] for record in records if record["kind"] == "validation"]
    assert len(validation) == 3
    assert validation[-1] < validation[0]


def test_bf16_and_fp32_runs_in_one_process(tmp_path, tiny_recipe):
    for precision in ("fp32", "bf16"):
        recipe = load_recipe(tiny_recipe, ["train.steps=5", f"train.precision={precision}"])
        weights = load_release(pretrain(recipe, tmp_path / precision)).state_dict()
        assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in weights.values())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, tiny_recipe, monkeypatch):
    from tsar.errors import TrainingError
    from tsar.training.objectives import NextPatches

    forward = NextPatches.forward
    monkeypatch.setattr(NextPatches, "forward", lambda self, *batch: forward(self, *batch) * torch.nan)
    with pytest.raises(TrainingError) as caught:
        pretrain(load_recipe(tiny_recipe, ["train.save_every=1000"]), tmp_path)
    assert caught.value.code == "training.nan_loss"
    assert not (tmp_path / "release").exists()


def spoil_gradients(monkeypatch, is_spoilt):
    """Make one element of one gradient NaN in the steps (from 0) of a real run that `is_spoilt` tells."""
    steps = iter(range(10**6))

    def spoil(gradient):
        if is_spoilt(next(steps)):
            gradient = gradient.clone()
            gradient.view(-1)[0] = torch.nan
        return gradient

    def make(objective, config):
        next(param for param in objective.parameters() if param.ndim == 2).register_hook(spoil)
        return make_optimizer(objective, config)

    monkeypatch.setattr("tsar.training.loop.make_optimizer", make)


def test_a_few_gradients_that_are_nan_are_left_out(tmp_path, tiny_recipe, monkeypatch):
    spoil_gradients(monkeypatch, lambda step: step % 10 < 9)  # never ten in a row
    release = pretrain(load_recipe(tiny_recipe, ["train.steps=30"]), tmp_path)
    assert all(torch.isfinite(value).all() for value in load_release(release).state_dict().values())


def test_gradients_that_stay_nan_end_the_run_before_the_weights_are_spoilt(tmp_path, tiny_recipe, monkeypatch):
    from tsar.errors import TrainingError

    spoil_gradients(monkeypatch, lambda step: step >= 8)
    with pytest.raises(TrainingError, match="gradient is not finite") as caught:
        pretrain(load_recipe(tiny_recipe), tmp_path)
    assert caught.value.code == "training.nan_loss"
    assert not (tmp_path / "release").exists()
    weights = load(read_folder(find_checkpoint(tmp_path))["weights.safetensors"])
    assert all(torch.isfinite(value).all() for value in weights.values())
    monkeypatch.undo()
    assert pretrain(load_recipe(tiny_recipe), tmp_path).name == "release", "the run goes on from what was saved"


@pytest.mark.slow
def test_a_run_starts_from_a_release_and_stays_near_its_teacher(tmp_path, tiny_recipe):
    first = pretrain(load_recipe(tiny_recipe, ["train.steps=30"]), tmp_path / "first")
    goes_on = [f"init_from={first}", "train.steps=3", "optim.lr=1e-9"]
    copy = load_release(pretrain(load_recipe(tiny_recipe, goes_on), tmp_path / "copy"))
    for name, value in load_release(first).state_dict().items():
        torch.testing.assert_close(copy.state_dict()[name], value, rtol=2e-3, atol=1e-4)
    context = np.random.default_rng(0).normal(size=(6, 64)).cumsum(1)
    wanted = decode(load_release(first), context, 8)

    def distance(name, *overrides):
        release = pretrain(load_recipe(tiny_recipe, ["train.steps=120", "optim.lr=1e-2", *overrides]), tmp_path / name)
        return np.abs(decode(load_release(release), context, 8) - wanted).mean()

    taught = distance("taught", f"teacher={first}", "teacher_share=1.0", "seed=5")
    assert taught < 0.7 * distance("untaught", "seed=5")


@pytest.mark.parametrize("key", ["init_from", "teacher"])
def test_a_release_that_does_not_fit_is_refused(tmp_path, tiny_recipe, key):
    release = pretrain(load_recipe(tiny_recipe, ["train.steps=2"]), tmp_path / "first")
    other = load_recipe(tiny_recipe, ["train.steps=2", f"{key}={release}", "model.patch_length=4"])
    with pytest.raises(TsarError) as caught:
        pretrain(other, tmp_path / "second")
    assert caught.value.code == "recipe.bad_value"
    assert not (tmp_path / "second" / "recipe.yaml").exists(), "refused before anything is written"


def test_a_teacher_that_is_not_there_is_missed_at_once(tmp_path, tiny_recipe):
    with pytest.raises(TsarError) as caught:
        pretrain(load_recipe(tiny_recipe, ["train.steps=2", "teacher=nowhere"]), tmp_path / "run")
    assert caught.value.code == "release.missing_file"
    assert not list((tmp_path / "run").iterdir())
