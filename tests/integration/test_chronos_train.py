"""A model of words that has learned from series with a season beats seasonal naive on others."""

import numpy as np
import pytest
import torch

from tsar.baselines import seasonal_naive
from tsar.decode import decode
from tsar.decode.token_draft import sample_drafted_paths
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.training.objectives import make_objective

CONFIG = ModelConfig(
    tokenizer="quantize", head="categorical", num_bins=254, scaling="window", token_lags=4, patch_length=1,
    output_length=1, context_length=96, d_model=48, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=12, d_ff=96,
)  # fmt: skip


def seasonal_series(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Waves (rows, 96) of period 12 and 6 with noise, of any phase and size."""
    angle = 2 * np.pi * (np.arange(96) / 12 + rng.random((rows, 1)))
    size = rng.uniform(1, 5, (rows, 1))
    return size * (
        np.sin(angle) + 0.5 * np.sin(2 * angle + 6 * rng.random((rows, 1))) + 0.4 * rng.normal(size=(rows, 96))
    )


@pytest.mark.slow
def test_words_beat_seasonal_naive_and_drafts_save_passes():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    decoder = Decoder(CONFIG)
    objective = make_objective(decoder)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=250)
    visible = torch.ones(48, 96, dtype=torch.bool)
    visible[:, -1] = False
    losses = []
    for _ in range(250):
        loss = objective(torch.tensor(seasonal_series(48, rng)), visible).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])
    series = seasonal_series(60, np.random.default_rng(9))
    past, future = series[:, :84], series[:, 84:]
    quantiles = decode(decoder.eval().requires_grad_(False), past, 12)
    naive = np.stack([seasonal_naive(row, 12, 12) for row in past])
    ratio = np.abs(quantiles[..., 4] - future).mean() / np.abs(naive - future).mean()
    print("error over seasonal naive", ratio, "loss", losses[0], losses[-1])
    assert ratio < 0.95
    inside = ((future >= quantiles[..., 0]) & (future <= quantiles[..., 8])).mean()
    assert 0.65 < inside < 0.95, "a band of 80 %"
    values = torch.from_numpy(past[:3])
    drafted = sample_drafted_paths(
        decoder, values, torch.isfinite(values), 12, season_length=12, draft_length=6, num_samples=8
    )
    print("drafts kept", drafted.accepted, "passes", drafted.passes)
    assert drafted.accepted > 0.25
    assert drafted.passes < 11, "of eleven without drafts"
