"""The period computed from a window, and a decoder whose tokens carry it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tsar.decode.panel import decode, one_pass
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder
from tsar.tokenizers.period import NUM_FEATURES, find_period, period_features


def wave(period: float, size: int = 400, noise: float = 0.2, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    step = np.arange(size)
    profile = np.sin(2 * np.pi * step / period) + 0.4 * np.sin(4 * np.pi * step / period + 1)
    return torch.from_numpy(profile + noise * rng.normal(size=size))


def found(values: torch.Tensor, observed: torch.Tensor | None = None) -> float:
    observed = torch.ones_like(values, dtype=torch.bool) if observed is None else observed
    return float(find_period(values[None], observed[None]).length[0])


@pytest.mark.parametrize("period", [3, 4, 7, 12, 24, 37, 52, 96, 144])
def test_periods_are_found(period):
    assert found(wave(period)) == pytest.approx(period, abs=0.02 * period)


def test_every_period_from_4_to_400_is_found_in_noise():
    wrong = []
    for period in range(4, 401):
        error = abs(found(wave(period, size=1200, noise=0.5, seed=period)) - period)
        if error > max(0.03 * period, 0.1):
            wrong.append((period, error))
    assert len(wrong) <= 8, wrong


def test_a_period_need_not_be_whole():
    assert found(wave(29.53, size=1000)) == pytest.approx(29.53, abs=0.1)


def test_neither_unit_nor_trend_nor_sign_nor_padding_matters():
    values = wave(24)
    trend = torch.arange(400.0, dtype=torch.float64) * 0.5
    for other in (values * -1e9 + 3e12, values + trend, values * 1e-9):
        assert found(other) == pytest.approx(24, abs=0.05)
    padded = torch.cat([torch.full((113,), torch.nan, dtype=torch.float64), values])
    period = find_period(torch.nan_to_num(padded)[None], torch.isfinite(padded)[None])
    plain = find_period(values[None], torch.ones(1, 400, dtype=torch.bool))
    assert float(period.length[0]) == pytest.approx(24, abs=0.05)
    assert int(period.origin[0]) == 113
    torch.testing.assert_close(period.strength, plain.strength, rtol=1e-4, atol=1e-4)


def test_gaps_do_not_hide_it():
    observed = torch.from_numpy(np.random.default_rng(0).random(400) > 0.4)
    assert found(wave(24), observed) == pytest.approx(24, abs=0.2)


@pytest.mark.parametrize("scale", [1e20, 1e-25, 1e-37])
def test_amplitudes_near_the_ends_of_single_precision(scale):
    assert found((wave(24) * scale).float()) == pytest.approx(24, abs=0.05)
    assert found(wave(24) * scale**8) == pytest.approx(24, abs=0.05)


@pytest.mark.parametrize("values", [torch.zeros(64), torch.arange(64.0), torch.ones(3)], ids=str)
def test_no_period(values):
    assert found(values.double()) == 0
    assert found(values) == 0


def test_nothing_observed_has_no_period():
    period = find_period(torch.randn(2, 64), torch.zeros(2, 64, dtype=torch.bool))
    assert period.length.tolist() == [0, 0]
    assert period.strength.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_errors_of_straight_lines_are_no_period(dtype):
    step = torch.arange(1024.0, dtype=torch.float64)
    lines = [level + slope * step for level in (0.0, 0.1, 1e3, -1e6) for slope in (0.1, 1 / 3, -7.7, 1e-3, 123.456)]
    values = torch.stack(lines).to(dtype)
    for observed in (torch.ones(values.shape, dtype=torch.bool), (step > 300).expand(values.shape)):
        assert find_period(values, observed).length.max() == 0


def test_a_small_wave_on_a_steep_line_is_one():
    line = 1000 * torch.arange(400.0, dtype=torch.float64)
    assert found(line + wave(24, noise=0.1)) == pytest.approx(24, abs=0.05)


def test_noise_has_a_weak_one_at_most():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 300)))
    period = find_period(noise, torch.ones_like(noise, dtype=torch.bool))
    assert period.strength.max() < 0.5


def test_phases_repeat_with_the_period():
    values = wave(32, noise=0.0)[None]
    features = period_features(find_period(values, torch.ones_like(values, dtype=torch.bool)), 25, 16)
    assert features.shape == (1, 25, NUM_FEATURES)
    torch.testing.assert_close(features[:, 2:], features[:, :-2], rtol=0, atol=1e-4)
    assert (features[:, 1:, :2] - features[:, :-1, :2]).abs().amax() > 0.5


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    config = ModelConfig(
        d_model=16, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8, d_ff=16, patch_length=8, output_length=16,
        context_length=64, max_span=2, period=True,
    )  # fmt: skip
    model = Decoder(config).eval().requires_grad_(False)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    assert sum(weight.numel() for weight in model.parameters()) == num_parameters(config)
    return model


def test_the_forecast_uses_the_period(decoder):
    values = wave(10, size=96)[None]
    observed = torch.ones_like(values, dtype=torch.bool)
    found_one = find_period(values, observed)
    with torch.no_grad():
        own, other = (
            one_pass(decoder, values, observed, replace(found_one, length=found_one.length * factor), 8)
            for factor in (1.0, 1.4)
        )
    np.testing.assert_array_equal(own.numpy(), decode(decoder, values.numpy(), 8))
    assert (other - own).abs().max() > 1e-3


def test_batch_and_one_by_one_and_padding_agree_beyond_one_pass(decoder):
    rows = [wave(6 + 3 * row, size=96, seed=row).numpy() for row in range(4)]
    together = decode(decoder, np.stack(rows), 70)
    for row, values in enumerate(rows):
        np.testing.assert_allclose(decode(decoder, values[None], 70)[0], together[row], rtol=1e-3, atol=1e-3)
    padded = np.concatenate([np.full((4, 16), np.nan), np.stack(rows)], 1)
    np.testing.assert_allclose(decode(decoder, padded, 70), together, rtol=1e-3, atol=1e-3)
