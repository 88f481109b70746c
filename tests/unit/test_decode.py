"""Decode: any horizon, alone as in a batch, cached as uncached, in any unit; and the spread keeps growing."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

import tsar.decode.panel
from tsar.decode.panel import _pooled_quantiles, decode, decode_panel, decode_within_memory
from tsar.model.decoder import Decoder

P, OUTPUT, ONE_PASS = 8, 32, 64  # of the small decoder
HORIZONS = (1, 7, 32, 33, 64, 65, 130, 720)
DECILES = np.arange(1, 10) / 10


def contexts(rows: int = 3, length: int = 96, seed: int = 0) -> np.ndarray:
    """Seasonal random walks; the second is short, the third has gaps."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, length)).cumsum(1) + 5 * np.sin(np.arange(length) / 4)
    values[1, :50] = np.nan
    values[2, [3, 40, 41, 42, length - 1]] = np.nan
    return values


@pytest.mark.parametrize("scaling", ["causal", "window"])
@pytest.mark.parametrize("horizon", HORIZONS)
def test_any_horizon_is_finite_and_ascending(small_decoder, horizon, scaling):
    quantiles = decode(small_decoder(scaling=scaling), contexts(), horizon)
    assert quantiles.shape == (3, horizon, 9)
    assert quantiles.dtype == np.float64
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize("horizon", [7, 64, 130])
def test_batch_is_one_by_one(decoder, horizon):
    context = contexts()
    together = decode(decoder, context, horizon)
    for row in range(len(context)):
        alone = decode(decoder, context[row : row + 1], horizon)[0]
        np.testing.assert_allclose(alone, together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("horizon", [7, 130])
def test_padding_is_inert(decoder, horizon):
    context = contexts()
    padded = np.concatenate([np.full((3, 6 * P), np.nan), context], 1)
    np.testing.assert_allclose(
        decode(decoder, padded, horizon), decode(decoder, context, horizon), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("horizon", [65, 130, 300])
def test_cached_is_uncached(decoder, horizon, monkeypatch):
    cached = decode(decoder, contexts(), horizon)
    one_pass, sizes = tsar.decode.panel.one_pass, []

    def read_all_again(model, values, observed, period, step, cache=None, group=None):
        sizes.append(values.shape[1])
        return one_pass(model, values, observed, period, step)

    monkeypatch.setattr(tsar.decode.panel, "one_pass", read_all_again)
    uncached = decode(decoder, contexts(), horizon)
    assert len(sizes) == -(-horizon // ONE_PASS)
    assert sizes[-1] > 96
    np.testing.assert_allclose(cached, uncached, rtol=1e-4, atol=1e-4)


def test_the_cache_saves_reading(decoder, monkeypatch):
    read = []
    trunk = Decoder.trunk
    monkeypatch.setattr(
        Decoder,
        "trunk",
        lambda self, tokens, **kw: (read.append(tokens.patches.shape[1]), trunk(self, tokens, **kw))[1],
    )
    decode(decoder, contexts(), 3 * ONE_PASS)
    span = ONE_PASS // P + 4  # new tokens and hidden ones
    assert read == [12 + 4, 12, span, span]


@pytest.mark.parametrize("horizon", [33, 40, 63, 64])
def test_a_longer_horizon_begins_with_the_shorter_one(decoder, horizon):
    long, short = decode(decoder, contexts(), horizon), decode(decoder, contexts(), OUTPUT)
    np.testing.assert_allclose(long[:, :OUTPUT], short, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(decode(decoder, contexts(), 5), short[:, :5])


def test_beyond_one_pass_the_first_pass_stays(decoder):
    np.testing.assert_array_equal(decode(decoder, contexts(), 200)[:, :ONE_PASS], decode(decoder, contexts(), ONE_PASS))


def test_deterministic_and_pure(decoder):
    context = contexts()
    before = context.copy()
    first, second = decode(decoder, context, 130), decode(decoder, context, 130)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(context, before)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e30, 1e-30])
@pytest.mark.parametrize("horizon", [7, 64, 130])
def test_a_constant_goes_on(decoder, value, horizon):
    context = np.full((2, 24), value)
    context[1, :10] = np.nan
    np.testing.assert_array_equal(decode(decoder, context, horizon), np.full((2, horizon, 9), value))


def test_one_observed_point_goes_on(decoder):
    context = np.full((1, 16), np.nan)
    context[0, 11] = 4.0
    np.testing.assert_array_equal(decode(decoder, context, 70), np.full((1, 70, 9), 4.0))


@pytest.mark.parametrize("horizon", [7, 130])
def test_a_series_without_an_observed_value_is_missing(decoder, horizon):
    context = contexts()
    context[0] = np.nan
    quantiles = decode(decoder, context, horizon)
    assert np.isnan(quantiles[0]).all()
    assert np.isfinite(quantiles[1:]).all()
    np.testing.assert_allclose(quantiles[1:], decode(decoder, contexts(), horizon)[1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", [2.0**60, 2.0**-60, 2.0**900, 2.0**-900])
@pytest.mark.parametrize("horizon", [7, 64, 130])
def test_another_unit_by_a_power_of_two_is_exact(decoder, factor, horizon):
    np.testing.assert_array_equal(
        decode(decoder, contexts() * factor, horizon), decode(decoder, contexts(), horizon) * factor
    )


@pytest.mark.parametrize(
    ("factor", "shift"), [(1e30, 0.0), (1e-30, 0.0), (1e300, 0.0), (1e-300, 0.0), (1.0, 1e4), (3.0, -77.0)]
)
def test_unit_and_origin_do_not_matter(decoder, factor, shift):
    moved = decode(decoder, contexts() * factor + shift, 130)
    expected = decode(decoder, contexts(), 130)
    np.testing.assert_allclose((moved - shift) / factor, expected, rtol=1e-4, atol=1e-4)


def test_odd_context_values_give_finite_forecasts(decoder):
    context = contexts()
    context[0, 50] = 1e30
    context[2, :] = np.where(np.arange(96) % 2, 1e-300, -1e-300)
    assert np.isfinite(decode(decoder, context, 130)).all()


def too_much_for_the_cpu():
    torch.empty(1 << 56)


def too_much_for_the_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("too_much", [too_much_for_the_cpu, too_much_for_the_gpu])
def test_a_batch_that_does_not_fit_is_halved(decoder, monkeypatch, too_much):
    context, sizes = np.concatenate([contexts(), contexts(seed=1)])[:5], []
    expected = decode(decoder, context, 7)

    def narrow(model, part, horizon, num_channels=1):
        sizes.append(len(part))
        if len(part) > 2:
            too_much()
        return decode(model, part, horizon)

    monkeypatch.setattr(tsar.decode.panel, "decode", narrow)
    np.testing.assert_allclose(decode_within_memory(decoder, context, 7), expected, rtol=1e-4, atol=1e-4)
    assert sizes[0] == 5
    assert max(sizes[1:]) < 5
    monkeypatch.setattr(tsar.decode.panel, "decode", lambda *_: narrow(decoder, contexts(), 7))
    with pytest.raises(RuntimeError):
        decode_within_memory(decoder, context[:1], 7)


def test_other_errors_are_not_taken_for_a_lack_of_memory(decoder):
    with pytest.raises(RuntimeError, match="shape"):
        decode_within_memory(decoder, contexts(length=97), 7)


def random_walk_decoder(small_decoder, unit: float) -> Decoder:
    """A decoder whose every answer is: the last value, and a normal law of a fixed width around it."""
    decoder = small_decoder()
    head = decoder.head
    gaps = np.diff(ndtri(DECILES))
    raw = np.log(np.expm1(gaps))
    head.quantiles.weight.zero_()
    bias = np.insert(raw, 4, 0.0)  # widths below the median, the median, widths above
    head.quantiles.bias.copy_(torch.from_numpy(np.tile(bias, OUTPUT)))
    head.gate_unit.weight.zero_()
    head.gate_unit.bias.copy_(torch.tensor([50.0, 6 * np.arctanh(np.log(unit) / 6)]))
    return decoder


def test_fed_back_spread_grows_as_a_random_walk(small_decoder):
    context = np.random.default_rng(0).normal(size=(1, 8000))  # long: its deviation is the unit, and should stay
    context[0, -1] = context.mean()
    quantiles = decode(random_walk_decoder(small_decoder, 0.05), context, 6 * ONE_PASS)[0]
    middle = quantiles[ONE_PASS // 2 :: ONE_PASS]  # one step of every pass
    spread = (middle[:, 8] - middle[:, 0]) / (middle[0, 8] - middle[0, 0])
    np.testing.assert_allclose(spread, np.sqrt(np.arange(1, 7)), rtol=0.05)
    assert (np.diff(spread) > 0).all()
    np.testing.assert_allclose(middle[:, 4], middle[0, 4], atol=0.02 * context.std())


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 3.0, 30.0])
def test_pooling_adds_the_variances_of_normal_paths(ratio):
    paths, ahead = ratio * ndtri(DECILES), ndtri(DECILES)
    pool = torch.from_numpy((paths[:, None] + ahead[None, :])[None, None])
    quantiles = _pooled_quantiles(pool, torch.from_numpy(DECILES))[0, 0].numpy()
    expected = np.sqrt(1 + ratio**2) * ndtri(DECILES)
    np.testing.assert_allclose(quantiles, expected, atol=0.05 * np.sqrt(1 + ratio**2))


def test_pooling_paths_that_agree_keeps_their_law():
    law = torch.tensor([-9.0, -3, -2, -1, 0, 4, 5, 6, 20], dtype=torch.float64)
    quantiles = _pooled_quantiles(law.expand(1, 1, 9, 9), torch.from_numpy(DECILES))[0, 0]
    torch.testing.assert_close(quantiles[::2], law[::2])
    assert ((law[:-2:2] < quantiles[1::2]) & (quantiles[1::2] < law[2::2])).all()


def test_pooling_does_not_ask_whose_value_it_is():
    levels = torch.from_numpy(DECILES)
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(2, 5, 9, 9, dtype=torch.float64, generator=generator).sort(-1).values.sort(-2).values
    pooled = _pooled_quantiles(pool, levels)
    torch.testing.assert_close(pooled, _pooled_quantiles(pool.mT, levels))
    assert (pooled.diff(dim=-1) > 0).all()
    assert ((pooled >= pool.amin((2, 3))[..., None]) & (pooled <= pool.amax((2, 3))[..., None])).all()


@pytest.mark.parametrize("order", [[16, 64, 128], [128, 16, 64], [64, 128, 16]])
def test_contexts_without_an_observed_value_do_not_count(decoder, order):
    values = contexts(rows=4, length=128)
    values[1, :100] = np.nan  # short
    values[0, -40:] = np.nan  # nothing in the last 16
    values[2, -70:] = np.nan  # nothing in the last 64
    values[3] = np.nan
    offsets = np.arange(5) * 128
    together = decode_panel(decoder, values.ravel(), offsets, 20, context_lengths=order)
    alone = [decode_panel(decoder, values.ravel(), offsets, 20, context_lengths=[length]) for length in order]
    seen = [~np.isnan(one[:, :1, :1]) for one in alone]
    assert np.sum(seen, axis=0).ravel().tolist() == [2, 3, 1, 0]
    assert np.isnan(together[3]).all()
    expected = sum(np.nan_to_num(one) for one in alone)[:3] / np.sum(seen, axis=0)[:3]
    np.testing.assert_allclose(together[:3], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("symmetrize", [False, True])
@pytest.mark.parametrize("horizon", [7, 130])
def test_the_largest_numbers_give_finite_ordered_quantiles(small_decoder, horizon, symmetrize):
    largest, steps = np.finfo(np.float64).max, np.arange(96)
    shapes = [np.where(steps % 2, largest, -largest), np.sin(steps / 3) * largest, np.where(steps == 95, largest, 0.0)]
    values, offsets = np.concatenate([*shapes, np.linspace(-1, 1, 96) * largest]), np.arange(0, 385, 96)
    with np.errstate(all="raise", under="ignore"):
        quantiles = decode_panel(
            random_walk_decoder(small_decoder, 2.0), values, offsets, horizon, context_lengths=[32, 96],
            symmetrize=symmetrize,
        )  # fmt: skip
    assert np.isfinite(quantiles).all()
    assert (quantiles[..., 1:] >= quantiles[..., :-1]).all()


def test_mirrored_forecasts_near_the_largest_number_are_averaged_without_a_sum(decoder, monkeypatch):
    """Their sum would be infinite: a model may answer both series alike."""
    largest = np.finfo(np.float64).max
    monkeypatch.setattr(
        tsar.decode.panel, "decode_within_memory", lambda _, context, *rest: np.full((2, 3, 9), largest)
    )
    with np.errstate(all="raise"):
        both = tsar.decode.panel._decode_twice(decoder, np.zeros((1, 8)), 3)
    assert (both == 0).all(), "f(x) and -f(-x) are opposite, their mean is zero"


def test_one_series_that_does_not_fit_is_a_coded_error(decoder, monkeypatch):
    from tsar.errors import ResourceError

    monkeypatch.setattr(tsar.decode.panel, "decode", lambda *_: too_much_for_the_cpu())
    with pytest.raises(ResourceError) as caught:
        decode_within_memory(decoder, contexts(), 7)
    assert caught.value.code == "resource.memory"
