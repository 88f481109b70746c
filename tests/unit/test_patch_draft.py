"""A small model drafts patches for a large one: paths keep the law of the large one, in fewer of its passes."""

import numpy as np
import pytest
import torch
from scipy import stats

from tsar.decode.patch_draft import _Patches, sample_patches
from tsar.errors import ModelError, OptionError
from tsar.heads.parametric import StudentTLaw
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder

P, L, DRAWS = 2, 12, 2500


def student(seed: int, **changes) -> Decoder:
    torch.manual_seed(seed)
    sizes = {"d_model": 8, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 4, "d_ff": 8}
    config = {"patch_length": P, "output_length": 2 * P, "context_length": 64, "head": "student_t", **changes}
    return Decoder(ModelConfig(**sizes, **config)).eval().requires_grad_(False)


def disturbed(model: Decoder, size: float) -> Decoder:
    """Near the given model: a draft that is often right, and not always."""
    other = student(0)
    other.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    for weight in other.head.parameters():
        weight.add_(size * torch.randn_like(weight))
    return other


@pytest.fixture(scope="module")
def large():
    return disturbed(student(0), 0.3)


@pytest.fixture(scope="module")
def small(large):
    return disturbed(large, 0.25)


@pytest.fixture(scope="module")
def window() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, L)).cumsum(1))


def paths(large, small, window, seed: int, horizon: int = 3 * P, **options):
    generator = torch.Generator().manual_seed(seed)
    return sample_patches(large, window.expand(DRAWS, -1), horizon, generator=generator, draft=small, **options)


def first_point(large, window) -> np.ndarray:
    """Probability integral transform of the first point under the large model's own law is uniform."""
    tokens = large.tokenizer.encode(window, torch.isfinite(window))
    law = large.law(tokens, last=1)
    assert isinstance(law, StudentTLaw)
    return np.array([float(part[0, 0, 0]) for part in (law.freedom, law.loc, law.scale)]), tokens.state


def worst_p(one: torch.Tensor, other: torch.Tensor) -> float:
    """Least p-value of two-sample tests on points, and on sums and differences that join patches."""
    views = [lambda x, point=point: x[:, point] for point in range(one.shape[1])]
    views += [lambda x: x.sum(1), lambda x: x[:, 2] - x[:, 1], lambda x: x[:, 4] - x[:, 3], lambda x: x.std(1)]
    return min(stats.ks_2samp(view(one).numpy(), view(other).numpy()).pvalue for view in views)


def test_the_law_is_unchanged(large, small, window):
    plain = paths(large, None, window, 1)
    drafted = paths(large, small, window, 2, draft_patches=2)
    assert 0.1 < drafted.accepted < 0.9, "some patches are kept, some are not"
    assert (plain.passes, plain.draft_passes) == (3, 0)
    assert worst_p(plain.values, drafted.values) > 0.001
    (freedom, loc, scale), state = first_point(large, window)
    z = state.at(slice(-1, None)).normalize(drafted.values[:, None, :1])[:, 0, 0]
    assert stats.kstest(z.numpy(), stats.t(freedom, loc, scale).cdf).pvalue > 0.001


def test_the_test_would_notice(large, small, window, monkeypatch):
    def careless(self, p, q, said, keep, is_draft):
        return torch.where(keep, said, self._draw(self.model, p))  # drawn anew from p, not from what p has beyond q

    monkeypatch.setattr(_Patches, "_anew", careless)
    assert worst_p(paths(large, None, window, 1).values, paths(large, small, window, 2).values) < 1e-4


def test_a_draft_that_is_the_model_is_always_kept(large, window):
    drafted = paths(large, large, window, 3, horizon=8 * P, draft_patches=3)
    assert drafted.accepted > 0.99
    assert drafted.passes <= 4  # eight patches, four a pass, for the slowest of many paths


def test_paths_begin_at_their_own_windows(large, small):
    windows = torch.randn(5, L, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).cumsum(1)
    windows[1, :4], windows[2, 6] = torch.nan, torch.nan
    windows[4] *= 1e4
    drafted = sample_patches(large, windows, 7, generator=torch.Generator().manual_seed(0), draft=small)
    assert drafted.values.shape == (5, 7)
    assert torch.isfinite(drafted.values).all()


def test_what_cannot_be_is_refused(large, window):
    generator = torch.Generator()
    for other in (student(0, patch_length=4, output_length=4), student(0, scaling="window")):
        with pytest.raises(ModelError):
            sample_patches(large, window, 4, generator=generator, draft=other)
    for wrong in ({"horizon": 0}, {"horizon": 60}, {"draft_patches": 0}):
        with pytest.raises(OptionError):
            sample_patches(large, window, wrong.pop("horizon", 4), generator=generator, draft=large, **wrong)
