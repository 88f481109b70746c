"""Every head: densities, quantiles and draws of its law agree, and a model trains and forecasts with it."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import distributions

from tsar import Forecaster
from tsar.errors import ModelError
from tsar.heads import HEADS
from tsar.heads.parametric import MixtureLaw, StudentTLaw
from tsar.heads.quantile import QuantileLaw
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder
from tsar.training.objectives import make_objective

LEVELS = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
MANY = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def normal_law():
    return QuantileLaw(2 + 3 * torch.special.ndtri(LEVELS).expand(1, -1), LEVELS), stats.norm(2, 3).ppf


def student_law():
    return StudentTLaw(numbers(2.0), numbers(0.5), numbers(3.7)), stats.t(3.7, 2, 0.5).ppf


def mixture_law():
    law = MixtureLaw(numbers([0.3, 0.7]).log(), numbers([-1.0, 2.0]), numbers([0.5, 1.5]))
    grid = np.linspace(-8, 12, 200_001)
    reached = 0.3 * stats.norm(-1, 0.5).cdf(grid) + 0.7 * stats.norm(2, 1.5).cdf(grid)
    return law, lambda levels: np.interp(levels, reached, grid)


LAWS = pytest.mark.parametrize("make", [normal_law, student_law, mixture_law])


@LAWS
def test_quantiles_are_those_of_the_law(make):
    law, ppf = make()
    np.testing.assert_allclose(law.quantile(MANY)[0].numpy(), ppf(MANY.numpy()), atol=2e-3)
    assert (law.quantile(MANY).diff() > 0).all()


@LAWS
def test_the_density_integrates_to_the_levels(make):
    law, _ = make()
    low, high = law.quantile(numbers(0.05, 0.95))[0]
    grid = torch.linspace(float(low), float(high), 20_001, dtype=torch.float64)
    density = torch.stack([law.log_prob(value.expand(1)) for value in grid[::20]]).exp()[:, 0]
    assert float(torch.trapezoid(density, grid[::20])) == pytest.approx(0.9, abs=2e-3)


@LAWS
def test_draws_follow_the_quantiles(make):
    law, _ = make()
    draws = law.sample(torch.Generator().manual_seed(0), 20_000)[:, 0]
    below = (draws[:, None] < law.quantile(MANY)[0]).double().mean(0)
    assert float((below - MANY).abs().max()) < 0.012
    assert torch.equal(draws, law.sample(torch.Generator().manual_seed(0), 20_000)[:, 0])


def test_densities_are_those_of_torch():
    x = torch.randn(50, dtype=torch.float64)
    student = StudentTLaw(*(torch.full_like(x, value) for value in (0.3, 1.2, 4.0)))
    torch.testing.assert_close(student.log_prob(x), distributions.StudentT(4.0, 0.3, 1.2).log_prob(x))
    weight, loc, scale = (torch.rand(50, 3, dtype=torch.float64) + 0.1 for _ in range(3))
    mixture = MixtureLaw(weight.log_softmax(-1), loc, scale)
    same = distributions.MixtureSameFamily(
        distributions.Categorical(logits=weight.log_softmax(-1)), distributions.Normal(loc, scale)
    )
    torch.testing.assert_close(mixture.log_prob(x), same.log_prob(x))


@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_the_loss(name):
    torch.manual_seed(0)
    head = HEADS[name](4, 2, 9, 2).double()
    head.initialize()
    target, anchor = torch.randn(1, 3, 2, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    hidden = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: head.law(head(h, anchor), LEVELS).loss(target), (hidden,))


@pytest.fixture(scope="module", params=[name for name in HEADS if name != "quantile"])
def model(request):
    torch.manual_seed(0)
    return Decoder(
        ModelConfig(
            d_model=16,
            num_layers=1,
            num_heads=2,
            num_kv_heads=1,
            head_dim=8,
            d_ff=16,
            patch_length=8,
            output_length=16,
            context_length=64,
            max_span=2,
            head=request.param,
        )
    ).eval()


def test_parameters_are_counted(model):
    assert num_parameters(model.config) == sum(weight.numel() for weight in model.parameters())
    assert ModelConfig.from_dict(model.config.to_dict()) == model.config


@pytest.mark.slow
def test_training_lowers_the_loss_and_a_forecaster_takes_the_model(model, tmp_path):
    torch.manual_seed(0)
    windows = torch.sin(torch.arange(80.0) / 3 + 6 * torch.rand(32, 1)) + 0.1 * torch.randn(32, 80)
    visible = torch.ones(32, 80, dtype=torch.bool)
    visible[:, -16:] = False
    objective, losses = make_objective(model.train()), []
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        loss = objective(windows, visible).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    forecaster = Forecaster(model.eval(), prediction_length=20)
    forecaster.save(tmp_path / "f")
    df = pd.DataFrame({"item_id": "a", "timestamp": range(64), "target": windows[0, :64].double().numpy()})
    quantiles = forecaster.predict_quantiles(df).quantiles
    assert np.isfinite(quantiles).all() and (np.diff(quantiles) >= 0).all()
    again = Forecaster.load(tmp_path / "f").predict_quantiles(df).quantiles
    np.testing.assert_allclose(again, quantiles, atol=1e-5)


@pytest.mark.parametrize("change", [{"head": "oracle"}, {"num_components": 0}])
def test_a_wrong_head_is_refused(change):
    with pytest.raises(ModelError, match=next(iter(change))):
        ModelConfig(**change)
