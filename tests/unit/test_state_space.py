"""State-space layers: the convolution is the recurrence, an autoregressive process is learned, nothing explodes."""

import numpy as np
import torch

from tsar.model.blocks.state_space import StateSpace
from tsar.model.config import ModelConfig


def make_layer(width: int = 4, order: int = 6) -> StateSpace:
    torch.manual_seed(0)
    layer = StateSpace(ModelConfig(d_model=width, blocks=("state_space",), state_size=order))
    layer.initialize()
    torch.nn.init.normal_(layer.output.weight, std=0.5)
    return layer


def test_the_matrix_is_a_companion_of_its_feedback():
    layer = make_layer(width=1, order=3)
    layer.feedback.data = torch.tensor([[0.1, 0.2, 0.3]])
    assert torch.equal(layer.matrix()[0], torch.tensor([[0.0, 0.0, 0.1], [1.0, 0.0, 0.2], [0.0, 1.0, 0.3]]))
    assert make_layer(width=2, order=1).matrix().shape == (2, 1, 1)


def test_the_convolution_is_the_recurrence():
    layer = make_layer()
    for weight in (layer.feedback, layer.write, layer.read, layer.skip):
        torch.nn.init.normal_(weight)
    x = torch.randn(3, 21, 4)
    state, said = torch.zeros(3, 4, 6), []
    for token in layer.input(x).unbind(1):
        state, answer = layer.step(state, token)
        said.append(answer)
    wanted = layer.output(torch.stack(said, 1))
    torch.testing.assert_close(layer(x, None, None), wanted, rtol=1e-4, atol=1e-4)


def test_no_system_explodes():
    layer = make_layer()
    for weight in (layer.feedback, layer.write, layer.read, layer.skip):
        torch.nn.init.normal_(weight, std=10.0)
    kernel = layer.kernel(2000)
    bound = layer.write.abs().sum(-1) * layer.read.abs().amax(-1) + layer.skip.abs()
    assert (kernel.abs() <= 1.001 * bound[:, None]).all()


def ar_series(num_points: int, coefficients: list[float], seed: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=num_points + 200)
    values = np.zeros_like(noise)
    for t in range(len(coefficients), len(noise)):
        values[t] = noise[t] + sum(c * values[t - 1 - lag] for lag, c in enumerate(coefficients))
    return torch.tensor(values[200:], dtype=torch.float32)


def test_an_autoregressive_process_is_fitted_to_its_noise():
    layer = make_layer()
    coefficients = [0.6, -0.5, 0.0, 0.35]
    series, new = (ar_series(64 * 65, coefficients, seed).view(64, 65, 1) for seed in (1, 2))

    def errors(values: torch.Tensor) -> torch.Tensor:
        guess = layer(values[:, :-1].expand(-1, -1, 4), None, None).mean(-1, keepdim=True)
        return (guess - values[:, 1:])[:, 8:].square().mean()

    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    before = float(errors(new).detach())
    for _ in range(150):
        optimizer.zero_grad()
        errors(series).backward()
        optimizer.step()
    assert before > 1.5, "of a variance of the noise of 1"
    assert float(errors(new).detach()) < 1.06
