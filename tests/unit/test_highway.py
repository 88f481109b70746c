"""The autoregression beside the network."""

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.errors import ModelError
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder

SIZES = {
    "d_model": 8, "num_layers": 1, "num_heads": 1, "num_kv_heads": 1, "head_dim": 8, "d_ff": 8, "patch_length": 8,
    "output_length": 8, "max_span": 2, "highway": 4,
}  # fmt: skip
COEFFICIENTS = np.array([0.0, 0.0, -0.5, 1.2])  # of the last point 1.2, of the one before -0.5


def autoregression(length=40_000):
    noise = np.random.default_rng(0).normal(size=length)
    series = np.zeros(length)
    for now in range(2, length):
        series[now] = 1.2 * series[now - 1] - 0.5 * series[now - 2] + 0.1 * noise[now]
    return torch.from_numpy(series / series.std())


def test_it_recovers_a_known_autoregression_where_the_rest_is_silent():
    decoder = Decoder(ModelConfig(**SIZES))
    highway, series = decoder.highway, autoregression()
    assert (highway(torch.ones(1, 1, 28)) == 0).all(), "nothing to begin with"
    patches = series.view(1, -1, 8)[:, :-1].float()
    target = series.view(1, -1, 8)[:, 1:].float()
    optimizer = torch.optim.LBFGS(highway.parameters(), max_iter=50)

    def error():
        optimizer.zero_grad()
        loss = ((highway(patches)[..., 0] - target) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(error)
    np.testing.assert_allclose(highway.weights.weight[0].detach(), COEFFICIENTS, atol=0.04)
    second = np.array([0.0, 0.0, -0.6, 0.94])  # two steps ahead: 1.2 * (1.2 x - 0.5 x') - 0.5 x
    np.testing.assert_allclose(highway.weights.weight[1].detach(), second, atol=0.06)


def test_a_decoder_adds_it_to_every_quantile():
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig(**SIZES)).eval()
    values = torch.randn(2, 32, dtype=torch.float64)
    tokens = decoder.tokenizer.encode(values, torch.ones_like(values, dtype=torch.bool))
    silent = decoder(tokens)
    torch.nn.init.normal_(decoder.highway.weights.weight)
    added = decoder(tokens) - silent
    wanted = tokens.patches[..., 4:8].float() @ decoder.highway.weights.weight.T
    torch.testing.assert_close(added, wanted.unsqueeze(-1).expand_as(added), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(decoder(tokens, last=2, at=[1]), decoder(tokens)[:, -1:], atol=1e-5, rtol=1e-4)
    assert np.isfinite(decode(decoder, values.numpy(), 50)).all()
    assert num_parameters(decoder.config) == sum(weight.numel() for weight in decoder.parameters())


@pytest.mark.parametrize("change", [{"highway": 9}, {"highway": -1}, {"head": "student_t"}])
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(ModelError, match="highway"):
        ModelConfig(**{**SIZES, **change})
