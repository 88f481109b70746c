"""The objectives: clean targets under noise, gaps asked from both sides, own words read, views compared, sums."""

import shutil

import numpy as np
import pytest
import torch

from tsar.decode import decode
from tsar.errors import ModelError, RecipeError, TrainingError
from tsar.model.config import ModelConfig, num_parameters
from tsar.model.decoder import Decoder
from tsar.model.modes import MODES
from tsar.training.config import make_recipe
from tsar.training.corrupt import CorruptConfig
from tsar.training.objectives import Contrastive, HiddenPoints, Mixture, NextPatches, make_objective
from tsar.training.views import Extra, make_view

L, F, P = 64, 32, 8  # F and P as in the small decoder
FULL = {"attention": "full", "scaling": "window", "output_length": P, "max_span": 4}
NOTHING = {"span": 0.0, "points": 0.0, "run": 0.0, "cut": 0.0}


def batch(rows: int = 6, length: int = L + F) -> tuple[torch.Tensor, torch.Tensor]:
    windows = torch.randn(rows, length, generator=torch.Generator().manual_seed(0)).cumsum(1)
    visible = torch.isfinite(windows)
    visible[:, L:] = False
    return windows, visible


def answers(objective, *arguments, **named) -> torch.Tensor:
    """Raw outputs of the head on the way to a loss: those of the last pass."""
    seen = []
    with objective.decoder.head.register_forward_hook(lambda module, inputs, output: seen.append(output)):
        objective(*arguments, **named)
    return seen[-1]


def test_an_empty_extra_changes_nothing(small_decoder):
    for objective, data in (
        (NextPatches(small_decoder()), batch()),
        (HiddenPoints(small_decoder(**FULL)), batch(length=L + P)),
    ):
        windows, visible = data
        visible[:, 16:24] = False
        plain = objective(windows, visible)
        assert torch.equal(plain, objective(windows, visible, extra=Extra(inputs=windows)))


def test_noise_changes_what_is_read_and_not_what_is_asked(small_decoder):
    windows, visible = batch()
    noisy = windows + torch.randn(windows.shape, generator=torch.Generator().manual_seed(1))
    objective = NextPatches(small_decoder())
    assert torch.equal(
        answers(objective, windows, visible, extra=Extra(inputs=noisy)), answers(objective, noisy, visible)
    )
    read, asked = objective(windows, visible, extra=Extra(inputs=noisy)), objective(noisy, visible)
    assert not torch.isclose(read, asked).any()


def test_a_gap_is_asked_for_with_both_sides_in_view(small_decoder):
    objective = NextPatches(small_decoder(modes=True).requires_grad_(True))
    settings = CorruptConfig(**NOTHING, middle=1.0)
    view = make_view(batch()[0], L, P, settings, torch.Generator().manual_seed(3), modes=True)
    gradient = []

    def keep(module, inputs, output):
        output.register_hook(gradient.append)

    with objective.decoder.head.register_forward_hook(keep):
        loss = objective(view.windows, view.visible, extra=view.extra)
    loss.sum().backward()
    touched = (gradient[0] != 0).any(-1)  # (rows, tokens, points)
    roles = view.extra.roles
    names = {name: place for place, name in enumerate(MODES)}
    for row in range(len(roles)):
        parts = roles[row].view(-1, P)[:, 0]
        prefix, suffix = (int((parts == names[name]).sum()) for name in ("prefix", "suffix"))
        assert not touched[row, prefix - 1].any(), "the end of the prefix cannot know how long the gap is"
        assert touched[row, prefix + suffix - 1].all(), "the end of the suffix is asked for the gap"
        if suffix > 1:
            before = touched[row, prefix + suffix - 2]
            assert before[:P].all()
            assert not before[P:].any(), "a suffix goes on to its own end only"
    assert objective.decoder.modes.vectors.grad[1:].abs().sum(1)[[1, 2, 3]].min() > 0


def test_mode_vectors_move_the_answer_and_a_forecast_is_the_mode_unasked(small_decoder):
    decoder = small_decoder(modes=True)
    windows, visible = batch()
    objective = NextPatches(decoder)
    forecast, masked = (torch.full(windows.shape, mode) for mode in (0, 1))
    plain = answers(objective, windows, visible)
    assert torch.equal(answers(objective, windows, visible, extra=Extra(roles=forecast)), plain)
    assert not torch.equal(answers(objective, windows, visible, extra=Extra(roles=masked)), plain)
    assert num_parameters(decoder.config) == sum(weight.numel() for weight in decoder.parameters())
    assert num_parameters(decoder.config) == num_parameters(small_decoder().config) + len(MODES) * 16
    context = windows[:, :L].double().numpy()
    assert np.isfinite(decode(decoder, context, 100)).all()


def test_own_medians_are_read_where_the_dice_say_so(small_decoder):
    objective = NextPatches(small_decoder())
    windows, visible = batch()
    fed = torch.zeros(6, L // P, dtype=torch.bool)
    plain = answers(objective, windows, visible)
    assert torch.equal(answers(objective, windows, visible, extra=Extra(fed=fed)), plain)
    fed[:, 5] = True
    with_own = answers(objective, windows, visible, extra=Extra(fed=fed))
    assert torch.equal(with_own[:, :5], plain[:, :5])
    assert not torch.isclose(with_own[:, 5:], plain[:, 5:]).all(-1).any()
    tokens = objective.decoder.tokenizer.encode(windows[:, :L], visible[:, :L])
    middle = objective.decoder(tokens)[..., 4]
    said = windows.clone()
    said[:, 5 * P : 6 * P] = tokens.state.denormalize(middle)[:, 4, :P]
    torch.testing.assert_close(with_own, answers(objective, said, visible))
    fed[:] = True
    objective(windows, visible, extra=Extra(fed=fed)).sum()
    assert torch.equal(answers(objective, windows, visible, extra=Extra(fed=fed))[:, 0], plain[:, 0])


def test_contrast_prefers_views_of_one_window(small_decoder):
    objective = Contrastive(small_decoder())
    windows, visible = batch(8)
    same = objective(windows, visible, extra=Extra(other_visible=visible))
    assert same.shape == (8,)
    shuffled = Extra(other_visible=visible, other_inputs=windows.roll(1, 0))
    assert (same < objective(windows, visible, extra=shuffled)).all()
    alone = objective(windows[:1], visible[:1], extra=Extra(other_visible=visible[:1]))
    torch.testing.assert_close(alone, torch.zeros(1))
    with pytest.raises(TrainingError) as caught:
        objective(windows, visible)
    assert caught.value.code == "training.no_second_view"


def test_pooling_leaves_padding_out(small_decoder):
    objective = Contrastive(small_decoder())
    windows, visible = batch(4)
    pad = torch.full((4, 3 * P), torch.nan)
    longer = torch.cat([pad, windows], 1), torch.cat([pad.isfinite(), visible], 1)
    one = objective._pooled(windows, visible, Extra())
    torch.testing.assert_close(objective._pooled(*longer, Extra()), one, rtol=1e-4, atol=1e-5)


def test_a_mixture_is_the_weighted_sum_and_stores_its_decoder_once(small_decoder):
    decoder = small_decoder()
    windows, visible = batch()
    extra = Extra(other_visible=visible & (torch.arange(L + F) > 8))
    mixed = make_objective(decoder, name={"next_patches": 1.0, "contrastive": 0.25})
    assert isinstance(mixed, Mixture)
    assert mixed.needs_two_views
    parts = NextPatches(decoder)(windows, visible), Contrastive(decoder)(windows, visible, extra=extra)
    torch.testing.assert_close(mixed(windows, visible, extra=extra), parts[0] + 0.25 * parts[1])
    assert mixed.state_dict().keys() == NextPatches(decoder).state_dict().keys()
    assert isinstance(make_objective(decoder), NextPatches)
    assert isinstance(make_objective(small_decoder(**FULL)), HiddenPoints)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"objective": "next_word"}, "next_word"),
        ({"objective": {"next_patches": 1.0, "clever": 1.0}}, "clever"),
        ({"objective": {"next_patches": -1.0}}, "weight"),
        ({"objective": {}}, "names nothing"),
        ({"objective": "hidden_points"}, "full"),
        ({"corrupt": {"middle": 0.5}}, "model.modes"),
        ({"corrupt": {"noise": 1.5}}, "corrupt.noise"),
        ({"optim": {"schedule": "cosine"}}, "cosine"),
        ({"train": {"average_last": 3, "keep": 2}}, "average_last"),
        ({"train": {"accumulate": 0}}, "accumulate"),
        ({"data": {"replay_share": 0.5}}, "replay"),
    ],
)
def test_settings_that_make_no_sense_are_recipe_errors(wrong, text):
    with pytest.raises(RecipeError, match=text) as caught:
        make_recipe({"name": "x", **wrong})
    assert caught.value.code == "recipe.bad_value"


def test_z_loss_pulls_the_normaliser_to_zero(small_decoder):
    class Law:
        def __init__(self, logits):
            self.logits = logits

    from tsar.training.objectives.next_patches import log_normalizer

    logits = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    torch.testing.assert_close(log_normalizer(Law(logits)), logits.exp().sum(-1).log())


@pytest.mark.parametrize("period", [False, True])
def test_full_attention_forecasts_by_masking_the_future(small_decoder, period):
    decoder = small_decoder(**FULL, period=period)
    assert decoder.config.can_forecast
    context = batch()[0][:, :L].double().numpy()
    context[2, :30] = np.nan
    context[3, 20:25] = np.nan
    for horizon in (1, P, 30, 4 * P, 70):
        quantiles = decode(decoder, context, horizon)
        assert quantiles.shape == (6, horizon, 9)
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles) >= 0).all()
    whole = decode(decoder, context, 20)
    np.testing.assert_allclose(decode(decoder, context[2:3, 24:], 20), whole[2:3], rtol=1e-5)
    np.testing.assert_allclose(decode(decoder, 8 * context, 20), 8 * whole, rtol=1e-5)
    long = np.tile(context, (1, 4))
    trained = decode(decoder, long[:, -128 + 16 :], 16)
    np.testing.assert_allclose(decode(decoder, long, 16), trained, rtol=1e-5, err_msg="of the trained length")
    long[:, 128:] = np.nan
    assert (np.abs(decode(decoder, long, 16)).max((1, 2)) > 0).all(), (
        "what is old is not left out if it is all there is"
    )
    with pytest.raises(ModelError):
        decode(small_decoder(**{**FULL, "max_span": 0}), context, 8)


def test_modes_must_be_true_or_false():
    with pytest.raises(ModelError, match="modes"):
        ModelConfig(modes="yes")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for a CPU with g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:Torchinductor does not support:UserWarning")
def test_compiled_is_uncompiled_where_nothing_of_a_window_is_seen(small_decoder):
    sizes = {"d_model": 32, "num_layers": 1, "num_heads": 1, "num_kv_heads": 1, "head_dim": 32, "d_ff": 32}
    config = ModelConfig(**sizes, context_length=512, patch_length=16, output_length=64, max_span=0, period=True)
    objective = NextPatches(Decoder(config))
    compiled = torch.compile(objective, dynamic=False)
    windows, visible = batch(rows=64, length=512 + 64)
    visible[:, 512:] = False
    for unseen in ([], list(range(0, 64, 3))):
        visible[unseen] = False
        torch.testing.assert_close(
            compiled(windows, visible, None, 0.0), objective(windows, visible, None, 0.0), atol=1e-5, rtol=1e-4
        )
