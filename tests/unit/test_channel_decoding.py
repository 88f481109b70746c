"""A model with channel blocks forecasts the channels of an item together, through decoding and through Forecaster."""

import numpy as np
import pandas as pd
import pytest
import torch

from tsar import Forecaster
from tsar.decode import decode, decode_panel
from tsar.errors import OptionError
from tsar.model.files import model_files
from tsar.storage import write_folder
from tsar.windows import make_batches

ITEMS, CHANNELS, LENGTH = 5, 3, 64


@pytest.fixture(scope="module")
def decoder(small_decoder):
    return small_decoder(blocks=("attention", "channel"))


@pytest.fixture(scope="module")
def panel() -> tuple[np.ndarray, np.ndarray]:
    lengths = np.repeat([LENGTH, 40, LENGTH, 24, LENGTH], CHANNELS)
    values = np.random.default_rng(0).normal(size=lengths.sum()).cumsum()
    return values, np.concatenate([[0], lengths.cumsum()])


def test_windows_that_belong_together_come_in_one_batch(panel):
    for rows_per_batch in (1, 4, 7, None):
        batches = list(
            make_batches(*panel, context_length=64, patch_length=8, points_per_batch=300,
                         rows_per_batch=rows_per_batch, rows_together=CHANNELS)
        )  # fmt: skip
        items = [tuple(row // CHANNELS for row in batch.rows) for batch in batches]
        assert all(len(item) % CHANNELS == 0 for item in items)
        assert sorted(one for item in items for one in set(item)) == list(range(ITEMS))


@pytest.mark.parametrize("horizon", [20, 90])  # the second feeds quantile paths back
@pytest.mark.parametrize("symmetrize", [False, True])
def test_an_item_is_forecast_alike_in_any_batch(decoder, panel, horizon, symmetrize):
    values, offsets = panel
    how = {"context_lengths": [64], "symmetrize": symmetrize}
    together = decode_panel(decoder, values, offsets, horizon, num_channels=CHANNELS, rows_per_batch=6, **how)
    for item in range(ITEMS):
        first, last = offsets[item * CHANNELS], offsets[(item + 1) * CHANNELS]
        own = offsets[item * CHANNELS : (item + 1) * CHANNELS + 1] - first
        alone = decode_panel(decoder, values[first:last], own, horizon, num_channels=CHANNELS, **how)
        np.testing.assert_allclose(
            together[item * CHANNELS : (item + 1) * CHANNELS], alone, rtol=1e-3, atol=1e-3 * np.abs(alone).max()
        )
    assert not np.allclose(together, decode_panel(decoder, values, offsets, horizon, **how), rtol=1e-2)


def test_paths_see_those_of_their_level(decoder, monkeypatch):
    """With the cache and without, the paths of the channels of an item are fed back together."""
    context = np.random.default_rng(1).normal(size=(4, 64)).cumsum(1)
    cached = decode(decoder, context, 90, 2)
    monkeypatch.setattr(type(decoder), "can_cache", False)
    np.testing.assert_allclose(decode(decoder, context, 90, 2), cached, rtol=1e-3, atol=1e-2)
    other = context.copy()
    other[0] += np.random.default_rng(2).normal(size=64)
    moved = decode(decoder, other, 90, 2)
    np.testing.assert_array_equal(moved[2:], decode(decoder, context, 90, 2)[2:])
    assert (np.abs(moved[1] - cached[1]) > 1e-3).any(), "the other channel of its item"


def test_memory_that_runs_out_does_not_part_channels(decoder, monkeypatch):
    import tsar.decode.panel as decoding

    context = np.random.default_rng(1).normal(size=(10, 64)).cumsum(1)
    whole, sizes, plain = decode(decoder, context, 20, 2), [], decoding.decode

    def small(model, part, horizon, num_channels):
        sizes.append(len(part))
        if len(part) > 4:
            raise torch.OutOfMemoryError("no memory")
        return plain(model, part, horizon, num_channels)

    monkeypatch.setattr(decoding, "decode", small)
    np.testing.assert_allclose(decoding.decode_within_memory(decoder, context, 20, 2), whole, rtol=1e-3, atol=1e-3)
    assert set(sizes) == {10, 6, 4, 2}


def frame() -> pd.DataFrame:
    values = np.random.default_rng(3).normal(size=(2, 2, 80)).cumsum(-1)
    times = pd.date_range("2024-01-01", periods=80, freq="D")
    parts = [pd.DataFrame({"item_id": f"i{i}", "timestamp": times, "a": a, "b": b}) for i, (a, b) in enumerate(values)]
    return pd.concat(parts)


def test_forecaster_asks_the_model_for_its_channels(decoder, tmp_path):
    release = tmp_path / "channels"
    write_folder(release, dict(model_files(decoder.config, decoder.state_dict())), name="channels")
    options = {"model": str(release), "target": ["a", "b"], "prediction_length": 12}
    df = frame()
    alone = Forecaster(**options).fit(df).predict_quantiles()
    together = Forecaster(**options, channel_adapter="model").fit(df).predict_quantiles()
    assert together.quantiles.shape == alone.quantiles.shape == (4, 12, 9)
    assert not np.allclose(alone.quantiles, together.quantiles, rtol=1e-2)
    one = Forecaster(**options, channel_adapter="model").fit(df[df.item_id == "i1"]).predict_quantiles()
    np.testing.assert_allclose(one.quantiles, together.quantiles[2:], rtol=1e-3, atol=1e-2)


def test_a_model_without_channel_blocks_is_refused(tiny_release):
    forecaster = Forecaster(model=str(tiny_release), target=["a", "b"], prediction_length=4, channel_adapter="model")
    with pytest.raises(OptionError, match="channel blocks") as caught:
        forecaster.fit(frame()).predict()
    assert caught.value.code == "option.invalid"
