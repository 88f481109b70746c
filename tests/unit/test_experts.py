"""Experts: one is the dense layer, several are their weighted sum, their load is spread, known and logged."""

import copy
import json
import math
import time

import pytest
import torch
import torch.nn.functional as F

from tsar.hub import load_release
from tsar.model.blocks.experts import LOSS_WEIGHT, Experts, load_entropy
from tsar.model.config import ModelConfig, flops_per_token, num_active_parameters, num_parameters
from tsar.model.layers import SwiGLU
from tsar.training.auxiliary import after_step, auxiliary_loss
from tsar.training.config import Recipe, make_recipe
from tsar.training.loop import pretrain


def make_experts(width: int = 16, d_ff: int = 24, **choices) -> Experts:
    torch.manual_seed(0)
    layer = Experts(ModelConfig(d_model=width, d_ff=d_ff, feed_forward="experts", **choices))
    layer.initialize()
    torch.nn.init.normal_(layer.down, std=d_ff**-0.5)
    torch.nn.init.normal_(layer.router.weight, std=width**-0.5)
    return layer


def dense_of(layer: Experts, expert: int) -> SwiGLU:
    _, width, hidden = layer.down.shape
    dense = SwiGLU(ModelConfig(d_model=width, d_ff=hidden))
    with torch.no_grad():
        dense.gate_up.weight.copy_(layer.gate_up[expert])
        dense.down.weight.copy_(layer.down[expert])
    return dense


def weighted_sum(layer: Experts, x: torch.Tensor) -> torch.Tensor:
    said = torch.stack([dense_of(layer, expert).to(x.dtype)(x) for expert in range(len(layer.down))], -1)
    scores = F.softmax(layer.router(x), -1)
    chosen = (scores + layer.bias).topk(layer.chosen_per_token, -1).indices
    kept = torch.zeros_like(scores).scatter(-1, chosen, 1.0) * scores
    return (said * (kept / kept.sum(-1, keepdim=True)).unsqueeze(-2)).sum(-1)


def test_one_expert_is_the_dense_layer():
    layer = make_experts(num_experts=1, experts_per_token=1)
    x = torch.randn(5, 13, 16)
    assert torch.equal(layer(x), dense_of(layer, 0)(x))


@pytest.mark.parametrize("chosen", [1, 2, 4])
def test_every_token_is_the_weighted_sum_of_its_experts(chosen):
    layer = make_experts(num_experts=4, experts_per_token=chosen).eval()
    x = torch.randn(5, 13, 16)
    torch.testing.assert_close(layer(x), weighted_sum(layer, x))
    layer.bias += torch.tensor([0.3, 0.0, -0.3, 0.1])
    torch.testing.assert_close(layer(x), weighted_sum(layer, x), msg="the bias counts in the choice only")


def test_a_graph_of_all_experts_says_the_same():
    layer = make_experts(num_experts=4).eval()
    x = torch.randn(29, 16)
    torch.testing.assert_close(layer._all(x, *layer.route(x)), layer(x[None])[0])


def test_the_shared_expert_works_on_every_token_behind_its_gate():
    layer = make_experts(num_experts=3, experts_per_token=1, shared_expert=40).eval()
    torch.nn.init.normal_(layer.shared.down.weight)
    x = torch.randn(2, 7, 16)
    with torch.no_grad():
        both = layer(x)
        layer.down.zero_()
        torch.testing.assert_close(layer(x), torch.sigmoid(layer.shared_gate(x)) * layer.shared(x))
    assert layer.shared.down.weight.shape == (16, 40)
    assert not torch.allclose(both, layer(x))


def test_gradients_are_those_of_the_weighted_sum():
    layer = make_experts(num_experts=3).double().eval()
    x = torch.randn(1, 6, 16, dtype=torch.float64, requires_grad=True)
    assert len(set(map(tuple, layer.route(x[0])[0].tolist()))) > 1
    assert torch.autograd.gradcheck(layer, x, atol=1e-4)
    gradients = torch.autograd.grad(layer(x).square().sum(), [layer.router.weight, x])
    wanted = torch.autograd.grad(weighted_sum(layer, x).square().sum(), [layer.router.weight, x])
    torch.testing.assert_close(gradients, wanted)


def test_the_balance_loss_grows_with_an_uneven_load():
    layer = make_experts(num_experts=4, experts_per_token=1, expert_balance="loss")
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[torch.arange(4), torch.arange(4)] = 8.0
    x = torch.cat([torch.eye(4).repeat(8, 1), torch.zeros(32, 12)], 1)
    layer(x[None])
    assert float(auxiliary_loss(layer).detach()) == pytest.approx(LOSS_WEIGHT, rel=1e-4)
    layer(x[None, :1].expand(1, 32, 16))
    loss = auxiliary_loss(layer)
    assert float(loss.detach()) > 3.9 * LOSS_WEIGHT
    loss.backward()
    assert layer.router.weight.grad.any()
    assert auxiliary_loss(layer) == 0.0, "taken once"


def test_nothing_is_noted_outside_of_training():
    layer = make_experts(expert_balance="loss").eval()
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(1, 5, 16))
    after_step(layer)
    assert auxiliary_loss(layer) == 0.0
    assert layer.statistics() == {}
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.train()(torch.randn(1, 5, 16))
    copy.deepcopy(layer.eval())


def test_a_bias_that_moves_against_the_load_evens_it():
    layer = make_experts(num_experts=4)
    x = torch.randn(1, 512, 16) + 2.0
    entropies = []
    for _ in range(400):
        layer(x)
        entropies.append(layer.statistics()["load_entropy"])
        after_step(layer)
    assert entropies[0] < 0.95
    assert entropies[-1] > 0.99
    assert sum(layer.statistics()["expert_load"]) == pytest.approx(1.0, abs=1e-3)
    unmoved = make_experts(num_experts=4, expert_balance="none")
    unmoved(x)
    after_step(unmoved)
    assert not unmoved.bias.any()


def test_entropy_is_its_definition():
    wanted = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert load_entropy(torch.tensor([0.75, 0.25])) == pytest.approx(wanted)
    assert load_entropy(torch.tensor([1.0])) == 1.0
    assert load_entropy(torch.full((8,), 0.125)) == pytest.approx(1.0)


def test_active_parameters_are_those_of_the_chosen():
    few = ModelConfig(d_model=64, d_ff=32, feed_forward="experts", num_experts=8, experts_per_token=2)
    dense = ModelConfig(d_model=64, d_ff=64)
    assert num_active_parameters(few) == num_parameters(dense) + few.num_layers * 8 * 64
    assert num_parameters(few) == num_active_parameters(few) + few.num_layers * 6 * 3 * 64 * 32
    assert num_active_parameters(dense) == num_parameters(dense)
    assert flops_per_token(few, 8) < 1.1 * flops_per_token(dense, 8)


def small_recipe(steps: int, balance: str) -> Recipe:
    return make_recipe({
        "name": "demo", "model": {"d_model": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16,
        "d_ff": 24, "patch_length": 8, "output_length": 16, "context_length": 128, "max_span": 4,
        "feed_forward": "experts", "num_experts": 6, "shared_expert": 24, "expert_balance": balance},
        "corrupt": {"max_span": 4}, "data": {"block_size": 16, "fresh": 1, "pool": 16},
        "shapes": [{"context_length": 128, "rows": 32}], "optim": {"lr": 5e-3},
        "train": {"steps": steps, "log_every": 100, "validation_windows": 2, "threads": 1},
    })  # fmt: skip


@pytest.mark.slow
def test_an_interrupted_run_has_the_same_biases_and_weights(tmp_path):
    recipe = small_recipe(12, "bias")
    pretrain(recipe, tmp_path / "parts", until=5)
    parts, whole = (load_release(pretrain(recipe, tmp_path / name)).state_dict() for name in ("parts", "whole"))
    assert all(torch.equal(value, whole[name]) for name, value in parts.items())
    assert parts["blocks.1.feed_forward.bias"].any()


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["bias", "loss"])
def test_a_short_training_keeps_the_load_even_and_logs_it(tmp_path, balance):
    recipe = small_recipe(200, balance)
    release = pretrain(recipe, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    last = [record for record in records if record["kind"] == "train"][-1]
    assert last["load_entropy"] > 0.9
    assert [len(layer) for layer in last["expert_load"]] == [6, 6]
    facts = json.loads((release / "train.json").read_text())
    assert facts["active_parameters"] == num_active_parameters(recipe.model) < facts["parameters"]


@pytest.mark.slow
def test_experts_are_not_slower_than_dense_at_equal_active_parameters():
    dense, layer = SwiGLU(ModelConfig(d_model=256, d_ff=512)), make_experts(256, 256)
    x = torch.randn(32, 32, 256)

    def seconds(module) -> float:
        best = math.inf
        for _ in range(12):
            began = time.perf_counter()
            module(x).sum().backward()
            best = min(best, time.perf_counter() - began)
        return best

    assert seconds(layer) < 1.5 * seconds(dense)
