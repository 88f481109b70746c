"""Adapters of channels: what comes back, how sure of it, and what is saved."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import FastICA

from tsar import Forecaster
from tsar.channels.adapters import LinearAdapter, PcaAdapter, VaeAdapter, make_adapter
from tsar.channels.joint import fill_missing
from tsar.errors import OptionError, TsarWarning

TARGETS = ["north", "south", "west"]


def make_rows(size: int = 400, noise: float = 0.05) -> np.ndarray:
    """Three channels of two causes, of which one is a curve, standardised."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, size))
    rows = np.stack([first, 0.5 * first**2 + second, first - second], 1) + noise * rng.normal(size=(size, 3))
    return np.asarray((rows - rows.mean(0)) / rows.std(0))


def make_frame(size: int = 200, scale: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * np.arange(size) / 12)
    values = np.outer(wave, [3.0, -2.0, 1.0]) + rng.normal(size=(size, 3)) * 0.3 + [50, 10, -5]
    return pd.DataFrame(values * scale, columns=TARGETS).assign(timestamp=range(size), item_id="a")


def make_forecaster(**options: Any) -> Forecaster:
    return Forecaster(target=TARGETS, prediction_length=6, context_length=96, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pca", "linear", "vae"])
def test_fewer_latents_keep_what_two_causes_make(kind: str) -> None:
    rows = make_rows()
    adapter: Any = make_adapter({"kind": kind, "num_latents": 2}).fit(rows)
    latent = adapter.transform(rows)
    assert latent.shape == (400, 2)
    lost = ((adapter.inverse(latent) - rows) ** 2).mean()
    assert lost < (0.2 if kind == "vae" else 0.4)


def test_few_linear_latents_come_back_as_the_regression_on_them() -> None:
    rows = make_rows()
    adapter = LinearAdapter(num_latents=1).fit(rows)
    latent = adapter.transform(rows)
    expected = latent @ np.linalg.lstsq(latent, rows, rcond=None)[0]
    np.testing.assert_allclose(adapter.inverse(latent), expected, atol=1e-4)


@pytest.mark.slow
def test_autoencoder_is_sure_within_the_training_range_and_less_so_beyond() -> None:
    rows = make_rows()
    adapter = VaeAdapter(num_latents=2).fit(rows)
    rng = np.random.default_rng(0)

    def spread(stretch: float) -> float:
        latent = adapter.transform(stretch * rows[:50]).repeat(64, axis=0)
        return float(adapter.sample(latent, rng).reshape(50, 64, 3).std(1).mean())

    widths = [spread(stretch) for stretch in (1.0, 8.0, 32.0)]
    assert widths[1] > 1.8 * widths[0]
    assert widths[2] > 2.5 * widths[1]


@pytest.mark.slow
def test_autoencoder_bends_where_lines_cannot() -> None:
    rows = make_rows()
    lost = {}
    for kind in (PcaAdapter, VaeAdapter):
        adapter: Any = kind(num_latents=2).fit(rows[:300])
        lost[kind] = ((adapter.inverse(adapter.transform(rows[300:])) - rows[300:]) ** 2).mean()
    assert lost[VaeAdapter] < 0.7 * lost[PcaAdapter]


def test_same_seed_same_autoencoder() -> None:
    rows = make_rows(100)
    one, same, other = (VaeAdapter(steps=20, random_state=seed).fit(rows).transform(rows) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_autoencoder_leaves_the_callers_random_numbers() -> None:
    rows, before = make_rows(100), torch.get_rng_state()
    adapter = VaeAdapter(steps=2).fit(rows)
    adapter.inverse(adapter.transform(rows))
    assert torch.equal(torch.get_rng_state(), before)


def test_missing_channels_are_filled_from_the_others() -> None:
    rows = make_rows(noise=0.01)
    broken = rows.copy()
    broken[10:40, 2] = np.nan
    broken[50] = np.nan
    complete = broken[np.isfinite(broken).all(1)]
    filled = fill_missing(broken, complete)
    assert np.abs(filled[10:40, 2] - rows[10:40, 2]).mean() < 0.6 * np.abs(rows[10:40, 2]).mean()
    assert np.isnan(filled[50]).all()
    np.testing.assert_array_equal(filled[:10], rows[:10])
    np.testing.assert_array_equal(fill_missing(broken, complete[:8]), broken)  # too little to learn from


@pytest.mark.parametrize("kind", ["pca", "linear", {"kind": "vae", "steps": 60}])
def test_a_channel_that_misses_at_the_end_or_always(kind: Any) -> None:
    frame = make_frame()
    full = make_forecaster(channel_adapter=kind).predict(frame)
    frame.loc[180:, "west"] = np.nan
    late = make_forecaster(channel_adapter=kind).predict(frame)
    assert np.abs(late["predictions"] - full["predictions"]).max() < 1.5
    without = pd.concat([frame.assign(west=np.nan), make_frame().assign(item_id="b")])
    with pytest.warns(TsarWarning, match="no observed value"):
        answer = make_forecaster(channel_adapter=kind).predict(without).set_index(["item_id", "target_name"])
    assert answer.loc[("a", "west"), "predictions"].isna().all()
    assert answer.drop(index=("a", "west"))["predictions"].notna().all()


def test_items_of_any_size_are_mapped_alike() -> None:
    small, large = make_frame(), make_frame(scale=1000.0).assign(item_id="b")
    answer = make_forecaster(channel_adapter="linear").predict(pd.concat([small, large]))
    parts = [answer.loc[answer["item_id"] == item, "predictions"].to_numpy() for item in ("a", "b")]
    np.testing.assert_allclose(parts[1], 1000 * parts[0], rtol=1e-4)


@pytest.mark.parametrize(
    "wanted", ["linear", {"kind": "vae", "num_latents": 2, "steps": 30}, PcaAdapter(num_latents=2)]
)
@pytest.mark.slow
def test_what_fit_learned_is_used_on_other_frames_and_saved(wanted: Any, tmp_path: Any) -> None:
    other = make_frame(150).assign(south=lambda frame: frame["south"][::-1].to_numpy())
    fitted = make_forecaster(channel_adapter=wanted, random_state=5).fit(make_frame())
    answer = fitted.predict(other)
    assert not np.allclose(answer["predictions"], make_forecaster(channel_adapter=wanted).predict(other)["predictions"])
    pd.testing.assert_frame_equal(fitted.predict(other), answer)
    if isinstance(wanted, PcaAdapter):
        assert not hasattr(wanted, "forward_")  # the user's object stays as it is
    fitted.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(other), answer)
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict())


class Unmix:
    """An adapter of somebody else: independent components."""

    def fit(self, rows: Any) -> None:
        self.ica = FastICA(whiten="unit-variance", random_state=0, tol=0.1).fit(rows)

    def transform(self, rows: Any) -> Any:
        return self.ica.transform(rows)

    def inverse(self, latent: Any) -> Any:
        return self.ica.inverse_transform(latent)


def test_own_adapter(tmp_path: Any) -> None:
    own = Unmix()
    fitted = clone(make_forecaster(channel_adapter=own)).fit(make_frame())
    plain = make_forecaster().fit(make_frame()).predict()
    answer = fitted.predict()
    assert not hasattr(own, "ica")
    assert 1e-4 < np.abs(answer["predictions"] - plain["predictions"]).max() < 1.5
    with pytest.raises(OptionError) as caught:
        fitted.save(tmp_path / "saved")
    assert caught.value.code == "option.invalid"


def test_forecast_names_the_target_of_each_series() -> None:
    frame = pd.concat([make_frame(), make_frame().assign(item_id="b")])
    forecast = make_forecaster().predict_quantiles(frame)
    assert forecast.quantiles.shape[:2] == (6, 6)
    assert forecast.target_names == (*TARGETS, *TARGETS)
    assert Forecaster(target="west").predict_quantiles(make_frame()).target_names == ("west",)


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "pca", "num_latents": 4},
        {"kind": "pca", "num_latents": 0},
        {"kind": "pca", "size": 2},
        {"num_latents": 2},
        ["pca"],
        object(),
        PcaAdapter(num_latents=1.5),  # type: ignore[arg-type]
    ],
)
def test_adapters_that_cannot_be_are_refused(wanted: Any) -> None:
    with pytest.raises(OptionError) as caught:
        make_forecaster(channel_adapter=wanted).fit(make_frame())
    assert caught.value.code == "option.invalid"


def test_identity_leaves_every_channel_to_itself_whatever_others_miss() -> None:
    frame = pd.concat([make_frame(), make_frame().assign(item_id="b", west=np.nan)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        alone, mapped = (make_forecaster(channel_adapter=kind).predict(frame) for kind in (None, "identity"))
    np.testing.assert_allclose(mapped["predictions"], alone["predictions"], rtol=1e-6)
    with pytest.raises(OptionError, match="num_latents"):
        make_forecaster(channel_adapter={"kind": "identity", "num_latents": 2}).fit(make_frame())


@pytest.mark.parametrize("kind", ["pca", "linear", {"kind": "vae", "steps": 10}])
def test_channels_that_are_never_seen_together_are_forecast_by_themselves(kind: Any) -> None:
    turns = make_frame()
    turns.loc[turns.index % 2 == 0, "north"] = np.nan
    turns.loc[turns.index % 2 == 1, ["south", "west"]] = np.nan
    without = make_frame().assign(west=np.nan)
    for frame, num_missing in ((turns, 0), (without, 6)):
        with warnings.catch_warnings():
            if num_missing:
                warnings.simplefilter("ignore", TsarWarning)
            answer, alone = (make_forecaster(channel_adapter=one).predict(frame) for one in (kind, None))
        pd.testing.assert_frame_equal(answer, alone)
        assert answer["predictions"].isna().sum() == num_missing


@pytest.mark.parametrize("kind", [{"kind": "pca", "num_latents": 1}, {"kind": "vae", "steps": 10}])
def test_a_constant_channel_stays_what_it_is(kind: Any) -> None:
    frame = make_frame().assign(west=1e-30)
    answer = make_forecaster(channel_adapter=kind).predict(frame).query("target_name == 'west'")
    assert (answer.drop(columns=["item_id", "timestamp", "target_name"]) == 1e-30).all(axis=None)
