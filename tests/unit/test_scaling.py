"""Scalers: the state of a token is the plain statistics of the points up to it, and nothing later moves it."""

import numpy as np
import pytest
import torch

from tsar.scaling import ScaleState, causal_state, window_state

FIELDS = ("loc", "scale", "step", "last", "count")
TOKENS, WIDTH = 9, 4


def random_patches(seed: int = 0, gaps: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random walks (3, 9, 4) float64 with points missing; the second begins late, the third is whole."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, TOKENS * WIDTH, generator=generator, dtype=torch.float64).cumsum(1)
    seen = torch.rand(3, TOKENS * WIDTH, generator=generator) > gaps
    seen[1, : 2 * WIDTH + 1] = False
    seen[2] = True
    shape = (3, TOKENS, WIDTH)
    return values.reshape(shape), seen.reshape(shape)


def plain_state(patches: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the same statistics token by token from the definition."""
    state = {name: np.zeros(patches.shape[:2]) for name in FIELDS}
    for row, token in np.ndindex(patches.shape[:2]):
        known = patches[row, : token + 1][seen[row, : token + 1]]
        if len(known):
            state["loc"][row, token] = known.mean()
            state["scale"][row, token] = known.std()
            state["step"][row, token] = np.abs(np.diff(known)).mean() if len(known) > 1 else 0
            state["last"][row, token] = known[-1]
            state["count"][row, token] = len(known)
    return state


def assert_same(left: ScaleState, right: ScaleState) -> None:
    """All five statistics are bit-identical."""
    for name in FIELDS:
        assert torch.equal(getattr(left, name), getattr(right, name)), name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_is_the_running_statistics(seed):
    patches, seen = random_patches(seed)
    state, expected = causal_state(patches, seen), plain_state(patches.numpy(), seen.numpy())
    for name in FIELDS:
        np.testing.assert_allclose(getattr(state, name).numpy(), expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("token", range(TOKENS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_later_tokens_leave_the_state_bit_identical(token, dtype):
    patches, seen = random_patches()
    patches = patches.to(dtype)
    other, other_seen = patches.clone(), seen.clone()
    other[:, token:] = 1e6 * torch.rand(other[:, token:].shape, dtype=dtype)
    other_seen[:, token:] = ~other_seen[:, token:]
    before, after = causal_state(patches, seen), causal_state(other, other_seen)
    assert_same(before.at(slice(0, token)), after.at(slice(0, token)))
    if token > 3:  # all rows have begun: what changed must show from here on
        assert not torch.equal(before.loc[:, token:], after.loc[:, token:])


def test_what_is_not_observed_does_not_matter():
    patches, seen = random_patches()
    for poison in (torch.nan, torch.inf, 1e300):
        assert_same(causal_state(patches, seen), causal_state(torch.where(seen, patches, poison), seen))


def test_before_the_first_observed_point_all_is_zero():
    patches, seen = random_patches()
    state = causal_state(patches, seen)
    for name in FIELDS:
        assert (getattr(state, name)[1, :2] == 0).all(), name


@pytest.mark.parametrize("level", [0.0, 3.3, 1e30, -1e-30, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_has_scale_zero_and_its_own_value_as_loc(level, dtype):
    patches = torch.full((1, 50, 7), level, dtype=dtype)
    state = causal_state(patches, torch.ones_like(patches, dtype=torch.bool))
    assert (state.scale == 0).all()
    assert (state.step == 0).all()
    assert torch.equal(state.loc, patches[..., 0])
    assert (state.normalize(patches) == 0).all()
    assert torch.equal(state.denormalize(torch.randn_like(patches)), patches)


def test_denormalize_inverts_normalize():
    patches, seen = random_patches()
    state = causal_state(patches, seen)
    values = 50 * torch.randn(3, TOKENS, 6, dtype=torch.float64)
    values[1, :4] = 0  # the state is zero at its first tokens: nothing to invert there
    varies = (state.scale > 0).unsqueeze(-1)
    assert varies.sum() > 20
    back = torch.where(varies, state.denormalize(state.normalize(values)), values)
    torch.testing.assert_close(back, values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [2.0**40, 2.0**-40, -1.0])
def test_z_is_exactly_invariant_to_powers_of_two(factor):
    patches, seen = random_patches()
    state, scaled = causal_state(patches, seen), causal_state(patches * factor, seen)
    for name in ("loc", "last"):
        assert torch.equal(getattr(state, name) * factor, getattr(scaled, name))
    for name in ("scale", "step"):
        assert torch.equal(getattr(state, name) * abs(factor), getattr(scaled, name))
    assert torch.equal(state.normalize(patches) * np.sign(factor), scaled.normalize(patches * factor))


@pytest.mark.parametrize(("factor", "shift"), [(1e30, 0.0), (1e-30, 0.0), (3.7, 1e5), (1.0, -1e7)])
def test_z_does_not_depend_on_unit_and_origin(factor, shift):
    patches, seen = random_patches()
    moved = patches * factor + shift
    state, other = causal_state(patches, seen), causal_state(moved, seen)
    assert all(torch.isfinite(getattr(other, name)).all() for name in FIELDS)
    torch.testing.assert_close(other.scale, state.scale * factor, rtol=1e-6, atol=0)
    torch.testing.assert_close(other.normalize(moved), state.normalize(patches), rtol=1e-6, atol=1e-6)


def test_a_large_level_does_not_eat_the_digits():
    wave = torch.sin(torch.arange(64, dtype=torch.float64)).reshape(1, 8, 8)
    seen = torch.ones_like(wave, dtype=torch.bool)
    torch.testing.assert_close(causal_state(wave + 1e9, seen).scale, causal_state(wave, seen).scale, rtol=1e-5, atol=0)


def test_window_state_is_the_last_causal_state_for_every_token():
    patches, seen = random_patches()
    whole, causal = window_state(patches, seen), causal_state(patches, seen)
    for name in FIELDS:
        assert torch.equal(getattr(whole, name), getattr(causal, name)[:, -1:].expand(-1, TOKENS))


def test_at_takes_the_tokens_that_were_asked_for():
    state = causal_state(*random_patches())
    part = state.at(slice(2, 5))
    for name in FIELDS:
        assert torch.equal(getattr(part, name), getattr(state, name)[:, 2:5])
