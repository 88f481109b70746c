"""The frequency token: the class of a frequency, who tells it to the model, and that training draws the right one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator

from tsar import Forecaster, impute
from tsar.channels.attention import learn_mixer
from tsar.channels.joint import fit_channels
from tsar.errors import ModelError
from tsar.frame import normalize_targets
from tsar.freq import RESOLUTIONS, hours_per_step, resolution
from tsar.hub import load_model
from tsar.inference import Inference
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.model.files import model_files
from tsar.storage import write_folder
from tsar.training.config import load_recipe
from tsar.training.corpus import Corpus
from tsar.training.loop import pretrain
from tsar.training.sampler import BlockSampler, DataConfig, Pool

HOURLY, DAILY = RESOLUTIONS.index("hourly"), RESOLUTIONS.index("daily")


@pytest.mark.parametrize(
    ("freq", "factor", "name"),
    [
        ("15min", 1, "sub-hourly"), ("15min", 4, "hourly"), ("s", 3600, "hourly"), ("h", 1, "hourly"),
        ("h", 24, "daily"), ("24h", 1, "daily"), ("4h", 6, "daily"), ("D", 7, "weekly"), ("B", 1, "daily"),
        ("B", 5, "weekly"),
        ("B", 21, "monthly"), ("W-SUN", 1, "weekly"), ("W", 4, "monthly"), ("W", 13, "quarterly"), ("MS", 1, "monthly"),
        ("BME", 1, "monthly"), ("SME", 1, "weekly"), ("ME", 3, "quarterly"), ("3MS", 1, "quarterly"),
        ("ME", 12, "yearly"), ("QS-OCT", 1, "quarterly"), ("QE", 4, "yearly"), ("YE-JUN", 1, "yearly"),
        ("BYS", 1, "yearly"), ("WOM-2TUE", 1, "monthly"), ("D", 91, "quarterly"), ("D", 30, "monthly"),
        (None, 1, "unknown"), (7, 1, "unknown"), ("", 1, "unknown"),
    ],
)  # fmt: skip
def test_a_step_is_of_the_class_of_its_length(freq, factor, name):
    assert RESOLUTIONS[resolution(freq, factor)] == name


@pytest.mark.parametrize("freq", ["7min", "h", "36h", "D", "W-WED", "MS", "QE", "2YS", "BQS", "SMS"])
def test_hours_are_those_of_the_calendar(freq):
    stamps = pd.date_range("1980-01-01", periods=101, freq=freq)
    mean = (stamps[-1] - stamps[0]) / pd.Timedelta("1h") / 100
    assert hours_per_step(freq) == pytest.approx(mean, rel=0.02)


def panel_frame(freq: str, points: int = 64) -> pd.DataFrame:
    stamps = pd.date_range("2020-01-01", periods=points, freq=freq)
    values = 10 + np.sin(np.arange(points)) + np.random.default_rng(0).normal(size=points)
    return pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": values})


@pytest.fixture(scope="module")
def release(small_decoder, tmp_path_factory) -> Path:
    decoder = small_decoder(freq_token=True)
    folder = tmp_path_factory.mktemp("told") / "release"
    write_folder(folder, model_files(decoder.config, decoder.state_dict()))
    return folder


@pytest.mark.slow
def test_channel_attention_is_learned_at_the_frequency_of_the_data(release):
    frame = panel_frame("h", 200).assign(other=lambda df: df["target"].shift(3).fillna(10.0))
    panel = normalize_targets(frame, target=["target", "other"])
    inference = Inference(model=load_model(release), context_lengths=(64,))
    fitted = fit_channels(lambda: inference, panel, 5, 2, "attention")
    assert np.isfinite(fitted.gain).all()
    told, untold = (learn_mixer(one, panel, 2, 5) for one in (inference.at("h"), inference))
    assert np.array_equal(fitted.gain, told.gain) and not np.array_equal(fitted.gain, untold.gain)


def test_the_forecast_of_the_same_numbers_depends_on_their_frequency(release):
    forecaster = Forecaster(model=str(release), prediction_length=5)
    by_freq = {freq: forecaster.predict(panel_frame(freq))["predictions"].to_numpy() for freq in ("h", "2h", "D", "MS")}
    assert np.array_equal(by_freq["h"], by_freq["2h"])  # both hourly
    assert not np.allclose(by_freq["h"], by_freq["D"], rtol=1e-3)
    assert not np.allclose(by_freq["D"], by_freq["MS"], rtol=1e-3)
    fitted = Forecaster(model=str(release), prediction_length=5).fit(panel_frame("D")).predict()
    assert np.array_equal(fitted["predictions"], by_freq["D"])


def test_a_gap_is_filled_by_frequency(release):
    filled = []
    for freq in ("h", "MS"):
        df = panel_frame(freq)
        df.loc[30:35, "target"] = np.nan
        filled.append(impute(df, model=str(release))["target"].to_numpy())
    assert not np.allclose(filled[0], filled[1], rtol=1e-3)


def test_a_model_for_a_frequency_shares_the_weights_and_leaves_the_first_as_it_is(small_decoder):
    decoder = small_decoder(freq_token=True)
    told = decoder.at_frequency("h")
    assert (decoder.frequency, told.frequency) == (0, HOURLY)
    assert all(a is b for a, b in zip(decoder.parameters(), told.parameters(), strict=True))
    plain = small_decoder()
    assert plain.at_frequency("h") is plain


def test_tokens_that_say_their_resolution_win(small_decoder):
    decoder = small_decoder(freq_token=True)
    values = torch.randn(2, 64, dtype=torch.float64, generator=Generator().manual_seed(0))
    tokens = decoder.tokenizer.encode(values, torch.ones_like(values, dtype=torch.bool))
    mixed = decoder(replace(tokens, frequency=torch.tensor([HOURLY, DAILY])))
    assert torch.allclose(mixed[0], decoder.at_frequency("h")(tokens)[0], atol=1e-5)
    assert torch.allclose(mixed[1], decoder.at_frequency("D")(tokens)[1], atol=1e-5)
    assert torch.equal(decoder(tokens), decoder.at_frequency(None)(tokens))


def test_vocabularies_are_not_told():
    with pytest.raises(ModelError, match="freq_token"):
        ModelConfig(tokenizer="quantize", head="categorical", patch_length=1, output_length=1, scaling="window",
                    freq_token=True)  # fmt: skip


def test_stages_hear_of_it_too(small_decoder):
    decoder = small_decoder(freq_token=True, stages=(2, 1))
    values = torch.randn(1, 64, dtype=torch.float64, generator=Generator().manual_seed(0))
    tokens = decoder.tokenizer.encode(values, torch.ones_like(values, dtype=torch.bool))
    assert not torch.allclose(decoder(tokens), decoder.at_frequency("h")(tokens), rtol=1e-3)


@pytest.mark.parametrize("freq", ["h", "D", "15min", "QE"])
def test_training_draws_the_resolution_of_each_window(freq):
    """A straight line rises by a unit times the factor of aggregation, so each window tells its factor."""
    corpus = Corpus.from_arrays([("line", freq, np.arange(4000.0))])
    windows = corpus.sample(300, 8, Generator().manual_seed(3))
    known = corpus.sample_resolutions(300, Generator().manual_seed(3))
    rises = (windows[:, -1] - windows[:, -3]) / 2
    factors = (rises / rises.min()).round().int()
    assert known.tolist() == [resolution(freq, factor) for factor in factors.tolist()]
    assert len(set(known.tolist())) >= 2


def test_a_pool_gives_the_resolutions_of_its_batches():
    """Series are levels: 1 for hours, 2 for days. What stands in a window tells its source."""
    corpus = Corpus.from_arrays([("hours", "h", np.full(500, 1.0)), ("days", "D", np.full(500, 2.0))], aggregation={})
    config = DataConfig(corpus_share=0.6, block_size=8, fresh=2, pool=6)
    sampler = BlockSampler(config, 5, corpus)
    for index in range(12):
        known = sampler.resolutions(index)
        if sampler.origin(index) != "corpus":
            assert not known.any()
            continue
        assert set(known.tolist()) <= {HOURLY, DAILY}
    pool = Pool(sampler, 40)
    for step in (0, 1, 7):
        numbers = pool.resolutions(step, 64)
        origins = pool.origins(step, 64)
        assert all(
            (number > 0) == (origin == "corpus") for number, origin in zip(numbers.tolist(), origins, strict=True)
        )
    assert torch.equal(pool.resolutions(7, 64), Pool(sampler, 40).resolutions(7, 64))
    assert len(set(pool.resolutions(7, 64).tolist())) == 3


def test_blocks_and_resolutions_come_from_the_same_draw():
    """The level of a window (before augmentation) says where it is from; so does its resolution."""
    corpus = Corpus.from_arrays([("up", "h", np.arange(600.0)), ("down", "D", -np.arange(600.0))], aggregation={})
    for seed in range(5):
        windows = corpus.sample(64, 32, Generator().manual_seed(seed))
        known = corpus.sample_resolutions(64, Generator().manual_seed(seed))
        rises = windows[:, -1] > windows[:, -2]
        assert torch.equal(rises, known == HOURLY)


@pytest.mark.slow
def test_training_learns_what_only_the_frequency_tells(tmp_path):
    """A release told hours or days separates series that look alike up to the end of the history."""
    recipe = load_recipe("pretrain/recipes/mini.yaml", [
        "corpus=null", "model.freq_token=true", "train.steps=20", "train.threads=1", "train.compile=false",
        "train.minutes=null", "shapes=[{context_length: 128, rows: 4}]",
    ])  # fmt: skip
    release = pretrain(recipe, tmp_path / "run")
    decoder = Forecaster(model=str(release)).released_decoder()
    assert isinstance(decoder, Decoder)
    assert decoder.frequencies is not None
    assert decoder.frequencies.vectors[0].abs().max() > 0  # synthetic windows: unknown
    assert decoder.frequencies.vectors[1:].abs().max() == 0
