"""Attention across channels: within a group only, blind to the future, and learned from coupled windows."""

import pytest
import torch

from tsar.errors import RecipeError
from tsar.model.blocks.channel import tabulate
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens
from tsar.training.config import make_recipe
from tsar.training.couple import LONGEST_LAG, couple, group_rows
from tsar.training.objectives import NextPatches

P, TOKENS = 8, 12


def test_rows_are_tabulated_by_group():
    table, place = tabulate(torch.tensor([7, 3, 7, 9, 7]))
    assert table.tolist() == [[1, -1, -1], [0, 2, 4], [3, -1, -1]]
    assert table.flatten()[place].tolist() == [0, 1, 2, 3, 4]


def test_channels_see_each_other_only_within_their_group(small_decoder):
    decoder = small_decoder(blocks=("attention", "channel"))
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, TOKENS * P, generator=generator).cumsum(1)
    seen = torch.ones_like(values, dtype=torch.bool)

    def answer(values: torch.Tensor, group: list[int] | None, seen: torch.Tensor = seen) -> torch.Tensor:
        tokens = decoder.tokenizer.encode(values, seen)
        number = None if group is None else torch.tensor(group)
        return decoder(Tokens(tokens.patches, tokens.mask, tokens.state, group=number))

    alone, pairs = answer(values, None), answer(values, [0, 0, 1, 1])
    torch.testing.assert_close(answer(values, [0, 1, 2, 3]), alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(alone, pairs, atol=1e-2)
    other = values.clone()
    other[1, 5 * P :] += torch.randn(7 * P, generator=generator)
    moved = answer(other, [0, 0, 1, 1])
    assert torch.equal(moved[2:], pairs[2:]), "another group"
    assert torch.equal(moved[0, :5], pairs[0, :5]), "the past of its own"
    assert not torch.allclose(moved[0, 5:], pairs[0, 5:], atol=1e-3)
    swapped = answer(values[[1, 3, 2, 0]], [0, 1, 1, 0])
    torch.testing.assert_close(swapped[[3, 0, 2, 1]], pairs, rtol=1e-3, atol=1e-4)
    short = seen.clone()
    short[1, : 4 * P] = False
    late = answer(values, [0, 0, 1, 1], short)
    torch.testing.assert_close(late[0, :4], alone[0, :4], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(late[0, 4:], alone[0, 4:], atol=1e-3)


def test_one_channel_changes_and_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    windows = torch.randn(4, 50)
    assert couple(windows, 1, generator) is windows
    assert torch.equal(generator.get_state(), before)
    assert group_rows(4, 1, windows.device) is None


def test_followers_follow_their_leader():
    windows = torch.randn(400, 600, generator=torch.Generator().manual_seed(1))
    coupled = couple(windows, 4, torch.Generator().manual_seed(2)).view(100, 4, 600)
    assert torch.equal(coupled[:, 0], windows.view(100, 4, 600)[:, 0])
    leader, follower = coupled[:, 0], coupled[:, 1]
    lags = torch.stack([(leader[:, : 600 - lag] * follower[:, lag:]).mean(1) for lag in range(LONGEST_LAG + 1)], 1)
    assert lags.amax(1).mean() > 0.4
    assert lags[:, 0].abs().mean() < 0.1
    assert float(coupled.std()) == pytest.approx(1.0, abs=0.02)


def test_what_is_unknown_of_the_leader_couples_nothing():
    windows = torch.randn(4, 100)
    windows[0, :60] = torch.nan
    coupled = couple(windows, 4, torch.Generator().manual_seed(0))
    assert torch.isfinite(coupled[1:]).all()
    assert torch.equal(coupled[1:, :60], windows[1:, :60])


def test_every_other_item_stands_alone():
    assert group_rows(8, 2, torch.device("cpu")).tolist() == [0, 0, 10, 11, 2, 2, 14, 15]


@pytest.mark.slow
def test_a_decoder_learns_from_the_leader():
    torch.manual_seed(0)
    config = ModelConfig(
        d_model=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16, d_ff=32, patch_length=4, output_length=4,
        blocks=("attention", "channel"),
    )  # fmt: skip
    objective = NextPatches(Decoder(config))
    optimizer = torch.optim.Adam(objective.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)

    def batch() -> torch.Tensor:
        """White noise, and the same one patch later: the leader knows all of the follower's next patch."""
        noise = torch.randn(16, 1, 40, generator=generator)
        return torch.cat([noise[..., 4:], noise[..., :-4]], 1).view(32, 36)

    def loss(windows: torch.Tensor, channels: int) -> torch.Tensor:
        objective.channels = channels
        visible = torch.ones_like(windows, dtype=torch.bool)
        visible[:, -4:] = False
        return objective(windows, visible)

    for _ in range(70):
        optimizer.zero_grad()
        loss(batch(), 2).mean().backward()
        optimizer.step()
    with torch.no_grad():
        new = batch()
        together, alone = loss(new, 2).view(16, 2)[::2, 1], loss(new, 1).view(16, 2)[::2, 1]
    assert together.mean() < 0.75 * alone.mean()


def test_rows_that_make_no_whole_items_are_refused():
    with pytest.raises(RecipeError, match="channels"):
        make_recipe({"name": "demo", "data": {"channels": 3}})
