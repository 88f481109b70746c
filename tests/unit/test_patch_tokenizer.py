"""Patch tokenizer: what a token says about its points, and what it does not depend on."""

import pytest
import torch

from tsar.tokenizers.patch import NUM_STATISTICS, PatchTokenizer

P = 4
TOKENIZER = PatchTokenizer(patch_length=P)


def windows(rows: int = 3, length: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks with a gap in the first row and padding at the left of the second."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(rows, length, generator=generator, dtype=torch.float64).cumsum(1)
    seen = torch.ones(rows, length, dtype=torch.bool)
    seen[0, 9:14] = False
    seen[1, : 2 * P + 2] = False
    return values, seen


def parts(patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split the features into coarse values, fine values, observed mask and statistics."""
    return patches.split([P, P, P, NUM_STATISTICS], dim=-1)


def test_shapes_and_mask():
    tokens = TOKENIZER.encode(*windows())
    assert tokens.patches.shape == (3, 8, TOKENIZER.num_features)
    assert tokens.mask.tolist() == [[True] * 8, [False, False] + [True] * 6, [True] * 8]
    assert tokens.state.loc.shape == (3, 8)


def test_features_are_values_in_z_steps_from_the_last_value_and_the_observed_mask():
    values, seen = windows()
    tokens = TOKENIZER.encode(values, seen)
    coarse, fine, known, _ = parts(tokens.patches)
    grid, grid_seen = values.reshape(3, -1, P), seen.reshape(3, -1, P)
    assert torch.equal(known, grid_seen.to(known.dtype))
    state = tokens.state
    back = state.denormalize(coarse)
    usable = grid_seen & (state.scale > 0).unsqueeze(-1)
    torch.testing.assert_close(back[usable], grid[usable], rtol=1e-10, atol=1e-10)
    from_last = state.last.unsqueeze(-1) + state.step.unsqueeze(-1) * torch.sinh(fine)
    torch.testing.assert_close(from_last[usable], grid[usable], rtol=1e-10, atol=1e-10)
    assert (fine[2, :, -1] == 0).all(), "the last point of a whole patch is the origin of its fine view"
    assert (coarse[~grid_seen] == 0).all()
    assert (fine[~grid_seen] == 0).all()


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -1e300])
@pytest.mark.parametrize("scaling", ["causal", "window"])
def test_what_is_not_observed_does_not_matter(poison, scaling):
    values, seen = windows()
    tokenizer = PatchTokenizer(patch_length=P, scaling=scaling)
    clean, poisoned = tokenizer.encode(values, seen), tokenizer.encode(torch.where(seen, values, poison), seen)
    assert torch.equal(clean.patches, poisoned.patches)
    assert torch.equal(clean.mask, poisoned.mask)


def test_tokens_are_causal_bit_for_bit():
    values, seen = windows()
    tokens = TOKENIZER.encode(values, seen)
    for token in range(1, 8):
        other = values.clone()
        other[:, token * P :] = -7 * other[:, token * P :].flip(1) + 100
        changed = TOKENIZER.encode(other, seen)
        assert torch.equal(tokens.patches[:, :token], changed.patches[:, :token])
        assert not torch.equal(tokens.patches[:, token:], changed.patches[:, token:])


def test_padding_at_the_left_changes_no_later_token():
    values, seen = windows()
    pad = torch.zeros(3, 3 * P)
    padded = TOKENIZER.encode(torch.cat([pad, values], 1), torch.cat([pad.bool(), seen], 1))
    plain = TOKENIZER.encode(values, seen)
    assert not padded.mask[:, :3].any()
    assert torch.equal(padded.after(3).mask, plain.mask)
    torch.testing.assert_close(padded.after(3).patches, plain.patches, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [2.0**30, 2.0**-30])
def test_features_are_exactly_the_same_in_another_unit(factor):
    values, seen = windows()
    assert torch.equal(TOKENIZER.encode(values, seen).patches, TOKENIZER.encode(values * factor, seen).patches)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["constant", "one point", "nothing", "smooth trend", "spike"])
def test_features_of_odd_series_are_finite_and_bounded(kind, dtype):
    values = torch.full((1, 64), 5.0, dtype=dtype)
    seen = torch.ones(1, 64, dtype=torch.bool)
    if kind == "one point":
        seen[:, :-1] = False
    elif kind == "nothing":
        seen[:] = False
    elif kind == "smooth trend":
        values = torch.linspace(0, 1e4, 64, dtype=dtype)[None]
    elif kind == "spike":
        values[0, 40] = 1e12
    tokens = TOKENIZER.encode(values, seen)
    assert torch.isfinite(tokens.patches).all()
    assert tokens.patches.abs().max() < 50
    assert bool(tokens.mask.any()) == bool(seen.any())


def test_huge_and_tiny_series_have_finite_features():
    values, seen = windows()
    for factor in (1e30, 1e-30):
        tokens = TOKENIZER.encode(values * factor, seen)
        torch.testing.assert_close(tokens.patches, TOKENIZER.encode(values, seen).patches, rtol=1e-6, atol=1e-9)


def test_after_drops_tokens_everywhere():
    tokens = TOKENIZER.encode(*windows())
    rest = tokens.after(5)
    assert torch.equal(rest.patches, tokens.patches[:, 5:])
    assert torch.equal(rest.mask, tokens.mask[:, 5:])
    assert torch.equal(rest.state.last, tokens.state.last[:, 5:])
