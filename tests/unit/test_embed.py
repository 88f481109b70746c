"""Embeddings: one vector an item, whatever surrounds it."""

import numpy as np
import pandas as pd
import pytest

from tsar import embed
from tsar.errors import OptionError, TsarWarning

GENERATOR = np.random.default_rng(0)
SERIES = [GENERATOR.normal(size=n).cumsum() for n in (5, 40, 40, 700, 1)]
SERIES[2][10:20] = np.nan


@pytest.mark.parametrize("length", [64, None])
def test_batch_is_one_by_one_in_any_order(decoder, length):
    together = embed(SERIES, model=decoder, pooling="mean_std_last_segments", length=length)
    alone = np.concatenate(
        [embed([one], model=decoder, pooling="mean_std_last_segments", length=length) for one in SERIES]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    turned = embed(SERIES[::-1], model=decoder, pooling="mean_std_last_segments", length=length)[::-1]
    np.testing.assert_allclose(together, turned, rtol=1e-4, atol=1e-5)
    assert np.isfinite(together).all()


def test_level_and_scale_are_in_the_statistics_alone(decoder):
    X = np.stack([SERIES[1], 1e3 * SERIES[1] + 7e4])
    plain = embed(X, model=decoder, length=64, statistics=False)
    np.testing.assert_allclose(plain[0], plain[1], rtol=1e-3, atol=1e-4)
    full = embed(X, model=decoder, length=64)
    assert full.shape[1] > plain.shape[1]
    assert not np.allclose(full[0], full[1], rtol=0.1)


def test_the_first_patch_has_seen_the_last_point(decoder):
    X = np.stack([SERIES[1], SERIES[1]])
    X[1, -1] += 50
    states = embed(X, model=decoder, length=None, per_patch=True)
    assert states.shape == (2, 1, 5, 16)
    assert not np.allclose(states[0, 0, 0], states[1, 0, 0], rtol=1e-3)


def test_channels_stand_side_by_side(decoder):
    X = GENERATOR.normal(size=(3, 2, 30))
    whole = embed(X, model=decoder, length=32)
    parts = [embed(X[:, channel], model=decoder, length=32) for channel in range(2)]
    np.testing.assert_allclose(whole, np.concatenate(parts, axis=1), rtol=1e-4, atol=1e-5)


def test_a_frame_gives_a_row_an_item(decoder):
    names = ["b", "a"]
    df = pd.DataFrame({"item_id": np.repeat(names, 40), "timestamp": [*pd.date_range("2020", periods=40)] * 2})
    df["target"] = np.concatenate(SERIES[1:3])
    table = embed(df.sample(frac=1, random_state=0), model=decoder, length=64).set_index("item_id").loc[names]
    wanted = embed(SERIES[1:3], model=decoder, length=64)
    np.testing.assert_allclose(table.to_numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert table.columns[0] == "e0"
    with pytest.raises(OptionError, match="two columns named 'e0'"):
        embed(df.rename(columns={"item_id": "e0"}), model=decoder, length=64, id_column="e0")


def test_nothing_observed_gives_nothing_and_a_warning(decoder):
    with pytest.warns(TsarWarning, match="1 series have no observed value"):
        vectors = embed([SERIES[0], np.full(9, np.nan)], model=decoder, length=32)
    assert np.isnan(vectors[1]).all()
    assert np.isfinite(vectors[0]).all()


def test_huge_and_constant_series_are_finite(decoder):
    X = np.stack([1e300 * np.sign(SERIES[1]), np.full(40, 5.0), np.zeros(40), 1e-300 * SERIES[1]])
    assert np.isfinite(embed(X, model=decoder, length=32)).all()


@pytest.mark.parametrize(
    ("data", "options", "text"),
    [
        (SERIES, {"pooling": "median"}, "pooling joins"),
        (SERIES, {"layer": 9}, "layer must be from 0 to 2"),
        (SERIES, {"length": 65}, "length must be"),
        (SERIES, {"length": None, "per_patch": True}, "one length"),
        ([np.ones((2, 2, 2))], {}, "Item 0 must be a series"),
        ([np.ones((2, 9)), np.ones((1, 9))], {}, "Item 1 has 1 channels"),
        ([np.array([1.0, np.inf])], {}, "Item 0 must be"),
        ([], {}, "no series"),
    ],
)
def test_what_cannot_be_used_is_refused(decoder, data, options, text):
    with pytest.raises(OptionError, match=text):
        embed(data, model=decoder, **{"length": 64, **options})
