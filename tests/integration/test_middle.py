"""Fill in the middle: a causal decoder uses both sides of a gap, and still forecasts with the same weights."""

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.decode.middle import fill_middle
from tsar.errors import ModelError, OptionError
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.training.corrupt import CorruptConfig
from tsar.training.objectives import NextPatches
from tsar.training.optim import OptimConfig, make_optimizer
from tsar.training.views import make_view

CONFIG = ModelConfig(
    d_model=32, num_layers=2, num_heads=4, num_kv_heads=4, head_dim=8, d_ff=64, patch_length=4, output_length=8,
    context_length=64, max_span=4, modes=True,
)  # fmt: skip


def steps(rows: int, dice: torch.Generator) -> torch.Tensor:
    """A level that changes once, anywhere: inside of a gap, what follows tells more than what came before."""
    place = (72 * torch.rand(rows, 1, generator=dice)).long()
    level = 2 * torch.randn(rows, 2, 1, generator=dice)
    noise = 0.3 * torch.randn(rows, 72, generator=dice)
    return torch.where(torch.arange(72) < place, level[:, 0], level[:, 1]) + noise


@pytest.fixture(scope="module")
def trained() -> Decoder:
    torch.manual_seed(0)
    objective = NextPatches(Decoder(CONFIG))
    optimizer = make_optimizer(objective, OptimConfig(kind="muon", lr=1e-2, weight_decay=0.0))
    settings = CorruptConfig(span=0.2, max_span=4, points=0, run=0, cut=0, middle=0.7)
    for step in range(400):
        dice = torch.Generator().manual_seed(step)
        view = make_view(steps(64, dice), 64, 4, settings, dice, modes=True)
        optimizer.zero_grad()
        objective(view.windows, view.visible, extra=view.extra).mean().backward()
        optimizer.step()
    return objective.decoder.eval().requires_grad_(False)


@pytest.mark.slow
def test_what_follows_the_gap_makes_the_answer_better(trained):
    series = steps(200, torch.Generator().manual_seed(10**6)).double().numpy()
    start, stop = 28, 44
    filled = fill_middle(trained, series, start, stop)[..., 4]
    ahead = decode(trained, series[:, :start], stop - start)[..., 4]
    truth = series[:, start:stop]
    errors = [float(np.abs(answer - truth).mean()) for answer in (filled, ahead)]
    assert errors[0] < 0.92 * errors[1]
    assert errors[1] < np.abs(truth - series[:, :start].mean(1, keepdims=True)).mean(), "it forecasts, too"


def test_what_stands_in_the_gap_does_not_matter_and_any_gap_on_the_grid_is_filled():
    decoder = Decoder(CONFIG).eval()
    series = steps(3, torch.Generator().manual_seed(1)).double().numpy()
    poisoned = series.copy()
    poisoned[:, 20:36] = 1e9
    assert np.array_equal(fill_middle(decoder, series, 20, 36), fill_middle(decoder, poisoned, 20, 36))
    for start, stop in ((4, 8), (4, 12), (40, 64), (20, 44)):
        assert fill_middle(decoder, series, start, stop).shape == (3, stop - start, 9)
    series[1] = np.nan
    assert np.isnan(fill_middle(decoder, series, 20, 36)[1]).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (20, 72), (21, 29), (20, 20), (20, 60)])
def test_other_gaps_are_refused(start, stop):
    with pytest.raises(OptionError):
        fill_middle(Decoder(CONFIG), np.zeros((1, 72)), start, stop)


def test_a_model_without_modes_is_refused(tmp_path):
    with pytest.raises(ModelError) as caught:
        fill_middle(Decoder(ModelConfig(num_layers=1)), np.zeros((1, 160)), 32, 96)
    assert caught.value.code == "model.wrong_task"
