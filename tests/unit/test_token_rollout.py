"""Sampled decoding: the same paths with and without a cache, alone and in company; quantiles for any horizon."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.unit.vocabulary_models import NAMES, L, contexts, decoder
from tsar import Forecaster
from tsar.decode.panel import decode, one_pass
from tsar.decode.token_rollout import inverse, sample_paths, uniforms
from tsar.errors import ModelError
from tsar.heads.empirical import empirical_quantiles
from tsar.model.decoder import Decoder
from tsar.training.objectives import NextPatches, NextToken, make_objective
from tsar.training.objectives.next_token import first_half, lifted


def paths(model: Decoder, context: np.ndarray, horizon: int, **options) -> torch.Tensor:
    values = torch.from_numpy(context)
    with torch.inference_mode():
        return sample_paths(model, values, torch.isfinite(values), horizon, **options)


@pytest.mark.parametrize("horizon", [3, 30])
@pytest.mark.parametrize("name", NAMES)
def test_cached_is_uncached_and_batch_is_one_by_one(name, horizon):
    model = decoder(name, token_lags=1 + (horizon > 10))
    drawn = paths(model, contexts(), horizon, num_samples=4)
    assert drawn.shape == (3, 4, horizon)
    assert torch.isfinite(drawn).all()
    assert torch.equal(drawn, paths(model, contexts(), horizon, num_samples=4, use_cache=False))
    for row in range(3):
        assert torch.equal(drawn[row], paths(model, contexts()[row : row + 1], horizon, num_samples=4)[0])
    assert len(drawn.unique()) > 5


def test_padding_is_inert():
    padded = np.concatenate([np.full((3, 12), np.nan), contexts()[:, 12:]], 1)
    with_less = contexts()[:, 12:]
    assert torch.equal(paths(decoder(), padded[:, 8:], 4), paths(decoder(), with_less, 4))


def test_another_seed_draws_other_paths():
    model = decoder()
    assert torch.equal(paths(model, contexts(), 5, seed=1), paths(model, contexts(), 5, seed=1))
    assert not torch.equal(paths(model, contexts(), 5, seed=1), paths(model, contexts(), 5, seed=2))


def test_the_first_step_follows_the_law():
    model = decoder(num_bins=8)
    values = torch.from_numpy(contexts()[2:])
    drawn = paths(model, contexts()[2:], 1, num_samples=4000)[0, :, 0]
    with torch.inference_mode():
        keep = values[:, -(L - 1) :]
        law = model.law(model.tokenizer.encode(keep, torch.isfinite(keep)), last=1)
        wanted = law.logits[0, 0, 0, 2:].softmax(-1)
        scale = model.vocabulary.find_scale(keep, torch.isfinite(keep))
        said = model.vocabulary.decode(torch.arange(2, 10)[:, None], scale)[:, 0]
    share = (drawn[:, None] == said).double().mean(0)
    torch.testing.assert_close(share, wanted.double(), atol=1e-3, rtol=0)


def test_top_k_one_and_a_cold_law_are_greedy():
    greedy = paths(decoder(), contexts(), 6, top_k=1)
    assert (greedy == greedy[:, :1]).all()
    torch.testing.assert_close(paths(decoder(), contexts(), 6, temperature=1e-6), greedy)


def test_numbers_are_even_at_each_step_and_begin_alike():
    numbers = uniforms(0, 50, 20)
    assert (np.sort((numbers * 20).astype(int), axis=1) == np.arange(20)).all()
    np.testing.assert_array_equal(uniforms(0, 10, 20), numbers[:10])
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.1


def test_inverse_never_gives_what_has_no_weight():
    weights = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0], dtype=torch.float64)
    numbers = torch.tensor([1e-12, 0.4999, 0.5, 1 - 1e-12], dtype=torch.float64)
    assert inverse(weights.expand(4, -1), numbers).tolist() == [1, 1, 3, 3]


def test_quantiles_of_paths_are_those_of_numpy():
    drawn = torch.randn(2, 20, 3, dtype=torch.float64)
    levels = torch.tensor([0.01, 0.1, 0.5, 0.9], dtype=torch.float64)
    wanted = np.quantile(drawn.numpy(), levels.numpy(), axis=1, method="hazen").transpose(1, 2, 0)
    np.testing.assert_allclose(empirical_quantiles(drawn.transpose(1, 2), levels).numpy(), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_horizon_in_any_unit(name):
    model, context = decoder(name), np.concatenate([contexts(), np.full((1, L), np.nan), np.full((1, L), 3.3)])
    for horizon in (1, 12, 50):
        quantiles = decode(model, context, horizon)
        assert quantiles.shape == (5, horizon, 9)
        assert np.isfinite(quantiles[[0, 1, 2]]).all()
        assert (np.diff(quantiles[:3]) >= 0).all()
        assert np.isnan(quantiles[3]).all()
        assert (quantiles[4] == 3.3).all(), "what never varies stays"
    np.testing.assert_allclose(decode(model, 1000 * context[:3], 12), 1000 * decode(model, context[:3], 12), atol=1e-8)


def test_a_forecaster_takes_the_model(tmp_path):
    df = pd.DataFrame({"item_id": "a", "timestamp": range(60), "target": np.sin(np.arange(60.0) / 3)})
    forecaster = Forecaster(decoder(), prediction_length=5).fit(df)
    first = forecaster.predict()
    assert np.isfinite(first["predictions"]).all()
    pd.testing.assert_frame_equal(first, forecaster.predict())
    forecaster.save(tmp_path / "f")
    pd.testing.assert_frame_equal(first, Forecaster.load(tmp_path / "f").predict(), rtol=1e-5)


def test_there_is_no_answer_in_one_pass():
    with pytest.raises(ModelError) as caught:
        one_pass(decoder(), torch.zeros(1, L), torch.ones(1, L, dtype=torch.bool), None, 1)
    assert caught.value.code == "model.wrong_task"


def test_auto_is_next_token_for_a_vocabulary(small_decoder):
    assert isinstance(make_objective(decoder()), NextToken)
    assert isinstance(make_objective(small_decoder()), NextPatches)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss(name):
    model = Decoder(decoder(name).config)
    windows = torch.sin(torch.arange(L + 1.0) / 2 + 6 * torch.rand(16, 1))
    visible = torch.ones_like(windows, dtype=torch.bool)
    visible[:, -1] = False
    visible[3, :10] = False
    objective, losses = make_objective(model), []
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(25):
        loss = objective(windows, visible)
        assert loss.shape == (16,)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        losses.append(float(loss.mean().detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["quantize", "digits"])
def test_the_loss_is_the_cross_entropy_of_what_may_be_asked(name):
    model = decoder(name)
    per_point = model.vocabulary.tokens_per_point
    windows = torch.randn(1, L + 1, generator=torch.Generator().manual_seed(0))
    visible = torch.ones(1, L + 1, dtype=torch.bool)
    visible[0, [12, L]] = False  # known and hidden: its first token is asked for, the others cannot be said
    windows[0, 20], visible[0, 20] = torch.nan, False
    scale = model.vocabulary.find_scale(lifted(windows), first_half(visible))
    ids = model.vocabulary.ids(lifted(windows), torch.isfinite(windows), scale)[0]
    read = model.vocabulary.encode(lifted(windows)[:, :L], visible[:, :L], scale=scale)
    log_probs = model.law(read).logits[0, :, 0].log_softmax(-1)
    asked = [
        -log_probs[place - 1, ids[place]]
        for place in range(1, len(ids) - per_point + 1)
        if place // per_point >= 4
        and torch.isfinite(windows[0, place // per_point])
        and (visible[0, place // per_point] or place % per_point == 0)
    ]
    wanted = torch.stack(asked).sum() / (len(asked) * L * per_point) ** 0.5
    torch.testing.assert_close(NextToken(model)(windows, visible)[0], wanted)


@pytest.mark.slow
def test_fine_tuning_learns_the_next_token_and_leaves_the_base_alone():
    t = np.arange(120.0)
    df = pd.DataFrame({"item_id": "a", "timestamp": t.astype(int), "target": np.sin(t / 2) + 2})
    base = decoder()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    options = {"max_steps": 40, "batch_size": 8}
    forecaster = Forecaster(base, prediction_length=3, mode="full", fine_tune=options).fit(df)
    report = forecaster.fine_tune_report_
    assert not report.fell_back
    assert report.tuned_score < report.zero_shot_score
    assert all(torch.equal(value, base.state_dict()[name]) for name, value in before.items())
    with pytest.raises(ModelError) as caught:
        Forecaster(base, prediction_length=3, mode="full", fine_tune={**options, "self_distill": 0.5}).fit(df)
    assert caught.value.code == "model.wrong_task"
