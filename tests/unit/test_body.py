"""A frozen language model as the trunk."""

import numpy as np
import pytest
import torch

from pretrain.make_body import make_body
from tsar.decode import decode
from tsar.errors import ModelError, RecipeError
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder
from tsar.model.files import model_files, read_decoder
from tsar.training.config import make_recipe
from tsar.training.objectives import NextPatches

pytest.importorskip("transformers")

SIZES = {
    "d_model": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "head_dim": 8, "d_ff": 32, "patch_length": 8,
    "output_length": 16, "context_length": 64, "max_span": 2,
}  # fmt: skip
DESIGNS = {
    "autotimes": {},
    "llm4ts": {"body_trains": ("norm", "position")},
    "time-llm": {"body_input": "reprogram", "body_sentence": True},
    "tempo": {"prompt_pool": 6, "body_trains": ("norm",)},
}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return make_body(request.param, tmp_path_factory.mktemp("body") / request.param, width=32)


def windows(rows=6, length=64):
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * (np.arange(length) / 12 + rng.random((rows, 1))))
    return torch.tensor(5 + wave + 0.1 * rng.normal(size=(rows, length)))


def body_weights(decoder):
    return {name: value.clone() for name, value in decoder.body._known["model"].state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_training_lowers_the_loss_and_leaves_the_language_model(folder, design):
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig(**SIZES, body=str(folder), **DESIGNS[design]))
    before = body_weights(decoder)
    data, visible = windows(16, 80), torch.ones(16, 80, dtype=torch.bool)
    visible[:, 64:] = False
    objective = NextPatches(decoder)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = objective(data, visible).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    after = body_weights(decoder)
    assert all(torch.equal(after[name], before[name]) for name in before)
    trained = {name.replace("/", "."): value for name, value in decoder.body.tuned.items()}
    assert bool(trained) == ("body_trains" in DESIGNS[design])
    assert all(not torch.equal(value, before[name]) for name, value in trained.items())


@pytest.mark.parametrize("design", DESIGNS)
def test_a_release_holds_what_was_trained_and_forecasts_any_horizon(folder, design):
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig(**SIZES, body=str(folder), **DESIGNS[design])).eval().requires_grad_(False)
    torch.nn.init.normal_(decoder.body.leave.weight, std=0.1)
    files = model_files(decoder.config, decoder.state_dict())
    assert len(files["model.safetensors"]) < 6 * num_parameters(decoder.config) + 20_000, "without the language model"
    loaded = read_decoder(files, "here")
    context = windows(3).numpy()
    context[1, :30] = np.nan
    for horizon in (5, 32, 50):
        quantiles = decode(loaded, context, horizon)
        assert quantiles.shape == (3, horizon, 9)
        assert np.isfinite(quantiles).all()
        np.testing.assert_array_equal(quantiles, decode(decoder, context, horizon))
    alone = np.concatenate([decode(loaded, context[row : row + 1], 16) for row in range(3)])
    np.testing.assert_allclose(decode(loaded, context, 16), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("design", ["autotimes", "llm4ts"])
def test_a_patch_does_not_see_those_after_it(folder, design):
    torch.manual_seed(1)
    decoder = Decoder(ModelConfig(**SIZES, body=str(folder), **DESIGNS[design])).eval().requires_grad_(False)
    torch.nn.init.normal_(decoder.body.leave.weight, std=0.1)
    one, seen = windows(2), torch.ones(2, 64, dtype=torch.bool)
    other = one.clone()
    other[:, 40:] += 3
    a, b = (decoder(decoder.tokenizer.encode(values, seen)) for values in (one, other))
    torch.testing.assert_close(a[:, :5], b[:, :5], rtol=0, atol=1e-6)
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_another_language_model_is_noticed(folder, tmp_path):
    decoder = Decoder(ModelConfig(**SIZES, body=str(folder)))
    files = model_files(decoder.config, decoder.state_dict())
    kind = "gpt2" if "gpt2" in str(folder) else "llama"
    other = make_body(kind, tmp_path / "other", width=32, seed=1)
    files["config.json"] = files["config.json"].replace(str(folder).encode(), str(other).encode())
    with pytest.raises(ModelError) as caught:
        decode(read_decoder(files, "here"), windows(1).numpy(), 8)
    assert caught.value.code == "model.bad_body"
    with pytest.raises(ModelError, match="There is no language model") as caught:
        Decoder(ModelConfig(**SIZES, body=str(tmp_path / "none")))
    assert caught.value.code == "model.bad_body"


@pytest.mark.parametrize("option", [{"prompt_pool": 4}, {"body_sentence": True}])
def test_what_sees_the_whole_window_needs_the_direct_objective(folder, option):
    model = {**SIZES, "body": str(folder), **option}
    shapes = [{"context_length": 64, "rows": 4}]
    with pytest.raises(RecipeError, match="need objective direct"):
        make_recipe({"name": "a", "model": model, "shapes": shapes})
    assert make_recipe({"name": "a", "model": model, "shapes": shapes, "objective": "direct"}).objective == "direct"


def test_a_pool_without_a_body_is_refused():
    with pytest.raises(ModelError, match="need a body"):
        ModelConfig(**SIZES, prompt_pool=4)
