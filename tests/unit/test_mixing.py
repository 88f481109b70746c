"""Attention across channels: it starts as nothing, helps those that follow, and leaves alone those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tsar import Forecaster, load_model
from tsar.channels.attention import LOOK, ChannelMixer, MixedChannels
from tsar.errors import NotFittedError, ReleaseError

HORIZON = 4


def make_frame(size: int = 420, *, coupled: bool = True, seed: int = 0) -> pd.DataFrame:
    """A leader of noise and a follower that copies it six steps later, or noise of its own."""
    rng = np.random.default_rng(seed)
    leader, own = rng.normal(size=(2, size + 6))
    follower = leader[:size] + 0.1 * own[:size] if coupled else own[:size]
    return pd.DataFrame({"timestamp": range(size), "leader": leader[6:], "follower": 100 + 20 * follower})


def make_forecaster(**options: Any) -> Forecaster:
    return Forecaster(
        **{"target": ["leader", "follower"], "id_column": None, "prediction_length": HORIZON, "context_length": 64,
           "channel_adapter": "attention"} | options
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return make_forecaster().fit(make_frame()[:400])


def test_the_layer_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    mixer = ChannelMixer(3, 32, 5)
    shift, log_width = mixer(torch.randn(7, 3, 32), torch.randn(7, 3, LOOK))
    assert shift.shape == (7, 3, 5)
    assert not shift.any()
    assert not log_width.any()


@pytest.mark.slow
def test_the_follower_gains_on_points_that_nothing_was_learned_from(fitted: Forecaster) -> None:
    frame = make_frame()
    assert fitted.channel_adapter_.kept[1]
    assert fitted.channel_adapter_.gain[1] > 0.1
    errors = {"attention": [], None: []}
    for end in range(400, 416):
        past, actual = frame[:end], frame["follower"].to_numpy()[end : end + HORIZON]
        for adapter, forecaster in (("attention", fitted), (None, make_forecaster(channel_adapter=None))):
            answer = forecaster.predict(past)
            part = answer[answer["target_name"] == "follower"]
            errors[adapter].append(np.abs(part["predictions"].to_numpy() - actual).mean())
            levels = part[[str(level / 10) for level in range(1, 10)]].to_numpy()
            assert (np.diff(levels, axis=1) >= 0).all()
    assert np.mean(errors["attention"]) < 0.8 * np.mean(errors[None])


@pytest.mark.slow
def test_channels_with_nothing_in_common_are_left_alone_to_the_bit() -> None:
    frame = make_frame(coupled=False, seed=1)
    mixed = make_forecaster().fit(frame)
    assert not mixed.channel_adapter_.kept.any()
    pd.testing.assert_frame_equal(mixed.predict(), make_forecaster(channel_adapter=None).fit(frame).predict())


def test_further_steps_stay_and_no_weight_of_the_model_moves(fitted: Forecaster) -> None:
    before = load_model("tsar-tiny").state_dict()
    far = fitted.predict_quantiles(prediction_length=2 * HORIZON).quantiles
    plain = make_forecaster(channel_adapter=None).fit(make_frame()[:400])
    expected = plain.predict_quantiles(prediction_length=2 * HORIZON).quantiles
    np.testing.assert_array_equal(far[:, HORIZON:], expected[:, HORIZON:])
    assert (far[1, :HORIZON] != expected[1, :HORIZON]).any()
    released = fitted.released_decoder().state_dict()
    assert all(torch.equal(value, released[name]) for name, value in before.items())


def test_it_does_not_depend_on_level_and_scale(fitted: Forecaster) -> None:
    frame = make_frame()[:400]
    moved = frame.assign(follower=1000 + 8 * frame["follower"])
    one, other = (fitted.predict_quantiles(part).quantiles[1] for part in (frame, moved))
    np.testing.assert_allclose(other, 1000 + 8 * one, rtol=1e-3)


@pytest.mark.slow
def test_same_seed_same_layer_and_saved(fitted: Forecaster, tmp_path: Any) -> None:
    state = torch.random.get_rng_state()
    again = make_forecaster().fit(make_frame()[:400])
    assert torch.equal(torch.random.get_rng_state(), state)
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())
    fitted.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict())
    with pytest.raises(ReleaseError) as caught:
        MixedChannels.from_bytes(b"nothing")
    assert caught.value.code == "release.bad_manifest"


def test_missing_values_short_histories_and_no_fit() -> None:
    frame = make_frame()
    with pytest.raises(NotFittedError) as caught:
        make_forecaster().predict(frame)
    assert caught.value.code == "forecaster.not_fitted"
    short = make_forecaster().fit(frame[:40])
    assert not short.channel_adapter_.kept.any()
    assert short.predict()["predictions"].notna().all()


def test_gaps_in_one_channel_reach_no_other(fitted: Forecaster) -> None:
    frame = make_frame()[:400]
    frame.loc[390:, "leader"] = np.nan
    answer = fitted.predict(frame)
    assert answer["predictions"].notna().all()
    plain = make_forecaster(channel_adapter=None).predict(frame)
    assert np.abs(answer["predictions"] - plain["predictions"]).max() < 60  # three deviations of the follower
