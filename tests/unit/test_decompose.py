"""The decomposing tokenizer: parts add up, know nothing of the future, and are what they are called."""

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.tokenizers.decompose import DecomposeTokenizer, decompose
from tsar.tokenizers.period import Period, find_period


def windows(length=240, period=12.0):
    time = torch.arange(length, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * time / period) + 0.5 * torch.cos(4 * torch.pi * time / period)
    noise = 0.05 * torch.randn(3, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return 1000 + 0.02 * time + wave + noise


def holed(values):
    observed = torch.ones_like(values, dtype=torch.bool)
    observed[0, :37] = False
    observed[1, 50:64] = observed[2, 200:] = False
    return observed


@pytest.mark.parametrize("period", [12.0, 11.4, 300.0])
def test_parts_add_up_to_the_series(period):
    values = windows(period=period)
    observed = holed(values)
    parts = decompose(torch.where(observed, values, torch.nan), observed, find_period(values, observed))
    assert all(torch.isfinite(part).all() for part in parts)
    torch.testing.assert_close(sum(parts)[observed], values[observed], rtol=0, atol=1e-9)
    assert (parts[2][~observed] == 0).all()


def test_without_a_period_there_is_no_season():
    values = torch.randn(2, 100, dtype=torch.float64).cumsum(1)
    none = Period(*(torch.zeros(2) for _ in range(2)), torch.zeros(2, dtype=torch.long))
    trend, season, _ = decompose(values, torch.ones_like(values, dtype=torch.bool), none)
    assert (season == 0).all()
    torch.testing.assert_close(trend[:, 60], values[:, 36:61].mean(1))


@pytest.mark.parametrize("period", [12.0, 11.4])
def test_trend_and_season_are_found_and_the_rest_is_small(period):
    values = windows(period=period)
    observed = torch.ones_like(values, dtype=torch.bool)
    trend, season, rest = decompose(values, observed, find_period(values, observed))
    line = 1000 + 0.02 * (torch.arange(240) - (period - 1) / 2)
    assert float((trend - line)[:, 24:].abs().max()) < 0.15
    assert float(rest[:, 120:].std()) < 0.35 * float(season[:, 120:].std())
    if period == 12.0:
        assert float(rest[:, 120:].std()) < 0.1


def test_the_season_goes_on_where_nothing_is_observed():
    values = windows()
    observed = holed(values)
    _, season, _ = decompose(values, observed, find_period(values, observed))
    torch.testing.assert_close(season[2, 212:224], season[2, 200:212])
    assert float(season[2, 200:].std()) > 0.5


def test_later_points_change_nothing():
    values = windows()
    observed = holed(values)
    period = find_period(values, observed)
    changed = values.clone()
    changed[:, 150:] += 100
    before, after = (decompose(x, observed, period) for x in (values, changed))
    assert all(torch.equal(a[:, :150], b[:, :150]) for a, b in zip(before, after, strict=True))
    tokenizer = DecomposeTokenizer(8)
    before, after = (tokenizer.encode(x, observed, period).patches for x in (values, changed))
    assert before.shape == (3, 30, tokenizer.num_features)
    assert torch.equal(before[:, :18], after[:, :18])
    assert not torch.equal(before[:, 19:], after[:, 19:])


def test_a_decoder_takes_it_and_padding_changes_nothing(small_decoder):
    decoder = small_decoder(tokenizer="decompose")
    values = windows(96).numpy()
    padded = np.concatenate([np.full((3, 24), np.nan), values], 1)
    np.testing.assert_allclose(decode(decoder, padded, 90), decode(decoder, values, 90), rtol=1e-6)
