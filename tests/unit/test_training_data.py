"""Training data: transforms keep windows standardised, corruption only hides, samples depend on seed and index."""

import itertools

import numpy as np
import pytest
import torch

from tsar.errors import CorpusError
from tsar.training.augment import AugmentConfig, augment, standardize
from tsar.training.corrupt import CorruptConfig, corrupt
from tsar.training.objectives import move_padding_right
from tsar.training.sampler import BlockSampler, DataConfig, Pool, _cut
from tsar.training.synth import FAMILIES

NAN = float("nan")
TRANSFORMS = ("mixup", "sign_flip", "time_flip", "modulate", "censor", "spikes", "quantize")
NONE = dict.fromkeys(TRANSFORMS, 0.0)
QUIET = {"span": 0.0, "points": 0.0, "run": 0.0, "cut": 0.0}
L, F, P = 64, 16, 8


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(rows: int = 32, length: int = L + F) -> torch.Tensor:
    """Random walks; some begin late, some have gaps, one is constant, one is unknown."""
    values = 100 + 9 * torch.randn(rows, length, generator=dice(1)).cumsum(1)
    values[3:6, :25] = NAN
    values[6:9, 40:47] = NAN
    values[9] = 5.0
    values[10] = NAN
    return values


def test_standardize():
    out = standardize(windows())
    assert torch.equal(torch.isnan(out), torch.isnan(windows()))
    known = out.nan_to_num()
    count = torch.isfinite(out).sum(1).clamp_min(1)
    torch.testing.assert_close(known.sum(1) / count, torch.zeros(32), atol=1e-4, rtol=0)
    deviation = (known.square().sum(1) / count).sqrt()
    expected = torch.ones(32)
    expected[[9, 10]] = 0.0
    torch.testing.assert_close(deviation, expected, atol=1e-3, rtol=0)


def test_standardize_clips_far_outliers():
    spike = torch.zeros(1, 100_000)
    spike[0, 7] = 1.0
    assert standardize(spike).max() == 100


@pytest.mark.parametrize("transform", [*TRANSFORMS, "all"])
def test_transforms_keep_windows_finite_standardised_and_gaps_unknown(transform):
    config = AugmentConfig(**(NONE | ({transform: 1.0} if transform != "all" else dict.fromkeys(TRANSFORMS, 0.7))))
    before = windows()
    out = augment(before, config, dice())
    known = torch.isfinite(out)
    assert out.shape == before.shape
    assert not torch.isinf(out).any()
    torch.testing.assert_close(standardize(out), out, equal_nan=True, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(out.nan_to_num(), standardize(before).nan_to_num()), "something was changed"
    if transform not in ("mixup", "time_flip", "all"):  # these two may move the gaps
        assert torch.equal(known, torch.isfinite(before))
    assert (known.sum(1) >= 0.5 * torch.isfinite(before).sum(1)).all()


def test_no_transform_only_standardises():
    torch.testing.assert_close(
        augment(windows(), AugmentConfig(**NONE), dice()), standardize(windows()), equal_nan=True, atol=1e-4, rtol=1e-4
    )


def test_probability_is_the_share_of_windows():
    config = AugmentConfig(**(NONE | {"sign_flip": 0.25}))
    before = standardize(torch.randn(4000, 20, generator=dice(1)))
    flipped = (augment(before, config, dice()) * before).sum(1) < 0
    assert 0.21 < flipped.float().mean() < 0.29


def test_time_flip_leaves_padding_at_the_left():
    out = augment(windows(), AugmentConfig(**(NONE | {"time_flip": 1.0})), dice())
    assert torch.isnan(out[3:6, :25]).all()
    torch.testing.assert_close(out[0], standardize(windows())[0].flip(0), atol=1e-4, rtol=1e-4)


def visible(rows: int = 400, seed: int = 0, cut: float | None = None, **config: float) -> torch.Tensor:
    observed = torch.ones(rows, L + F, dtype=torch.bool)
    return corrupt(observed, L, P, CorruptConfig(**(QUIET | config)), dice(seed), cut=cut)


def test_without_corruption_all_but_the_future_is_visible():
    shown = visible()
    assert shown[:, :L].all()
    assert not shown[:, L:].any()


@pytest.mark.parametrize("seed", range(5))
def test_corruption_never_shows_the_future_or_the_unknown(seed):
    observed = torch.isfinite(windows())
    kept = observed.clone()
    config = CorruptConfig(span=0.9, points=0.9, run=0.9, cut=0.9)
    shown = corrupt(observed, L, P, config, dice(seed))
    assert not shown[:, L:].any()
    assert not (shown & ~observed).any()
    assert torch.equal(observed, kept), "the input is left alone"


@pytest.mark.parametrize("kind", ["span", "points", "run", "cut"])
def test_probabilities(kind):
    def share(probability: float) -> float:
        return float((~visible(**{kind: probability})[:, :L]).any(1).float().mean())

    assert share(0.0) == 0.0
    # a rate, a run's start or a cut may come out so that nothing is hidden, in few windows
    assert share(1.0) == 1.0 if kind == "span" else share(1.0) > 0.9
    assert 0.2 < share(0.3) < 0.4


def hidden_runs(row: torch.Tensor) -> list[int]:
    return [len(list(run)) for shown, run in itertools.groupby(row.tolist()) if not shown]


@pytest.mark.parametrize("max_span", [1, 3, 100])
def test_spans_hide_one_run_of_whole_patches_after_the_first(max_span):
    shown = visible(span=1.0, max_span=max_span)[:, :L].reshape(400, -1, P)
    assert torch.equal(shown.any(-1), shown.all(-1)), "patches are hidden whole"
    tokens = shown.all(-1)
    assert tokens[:, 0].all()
    lengths = set()
    for row in tokens:
        (length,) = hidden_runs(row)
        lengths.add(length)
    assert lengths == set(range(1, min(max_span, L // P - 1) + 1))


def test_a_cut_leaves_the_end_of_the_history():
    shown = visible(cut=1.0, min_history=5)[:, :L]
    assert (shown.int().diff(dim=1) >= 0).all(), "hidden, then visible"
    history = shown.sum(1)
    assert history.min() >= 5
    assert history.max() <= L
    assert len(history.unique()) > 20
    assert torch.equal(visible(cut=0.0, seed=3), visible(seed=3))


@pytest.mark.parametrize("lead", [0, 5, 8, 20, 31, 79])
def test_padding_moves_right_by_whole_patches(lead):
    values = torch.arange(L + F).float().expand(2, -1).clone()
    shown = torch.ones(2, L + F, dtype=torch.bool)
    shown[0, :lead] = False
    moved, moved_shown = move_padding_right(values, shown, P)
    shift = lead // P * P
    assert moved[0, : L + F - shift].tolist() == list(range(shift, L + F))
    assert torch.isnan(moved[0, L + F - shift :]).all()
    assert torch.equal(moved_shown[0, : L + F - shift], shown[0, shift:])
    assert not moved_shown[0, L + F - shift :].any()
    assert torch.equal(moved[1], values[1])
    assert torch.equal(moved_shown[1], shown[1])


def test_windows_without_a_visible_point_do_not_move():
    values = torch.randn(1, L + F)
    moved, shown = move_padding_right(values, torch.zeros(1, L + F, dtype=torch.bool), P)
    assert torch.equal(moved, values)
    assert not shown.any()


SAMPLER = BlockSampler(DataConfig(block_size=4), seed=3)


def test_a_block_depends_on_seed_and_index_only():
    first = [SAMPLER.block(k, 48) for k in range(12)]
    again = BlockSampler(DataConfig(block_size=4), seed=3)
    for k in reversed(range(12)):
        assert torch.equal(again.block(k, 48), first[k])
    torch.manual_seed(99)
    torch.rand(5)
    assert torch.equal(SAMPLER.block(7, 48), first[7]), "global random state has no part in it"
    assert not torch.equal(BlockSampler(DataConfig(block_size=4), seed=4).block(7, 48), first[7])
    assert len({tuple(block.flatten().tolist()) for block in first}) == 12


def test_blocks_are_standardised_windows():
    block = torch.cat([SAMPLER.block(k, 96) for k in range(20)])
    assert block.shape == (80, 96)
    assert block.dtype == torch.float32
    assert not torch.isinf(block).any()
    torch.testing.assert_close(standardize(block), block, equal_nan=True, atol=2e-3, rtol=2e-3)


POOLED = BlockSampler(DataConfig(block_size=4, fresh=2, pool=6), seed=3)


@pytest.mark.parametrize("length", [96, 40])
def test_a_batch_depends_on_the_step_only(length):
    walked = Pool(POOLED, 96)
    batches = [walked.batch(step, 16, length) for step in range(9)]
    for step in (8, 0, 5):  # a resumed run begins anywhere
        assert torch.equal(Pool(POOLED, 96).batch(step, 16, length), batches[step])
        assert torch.equal(walked.batch(step, 16, length), batches[step])
    assert not torch.equal(batches[0], batches[1])


def test_a_batch_holds_windows_of_its_blocks():
    step = 5
    blocks = torch.cat([POOLED.block(k, 96) for k in range(2 * step, 2 * step + 6)]).nan_to_num()
    batch = Pool(POOLED, 96).batch(step, 200, 96).nan_to_num()
    origin = (batch[:, None] == blocks[None]).all(-1)
    assert origin.any(1).all()
    assert (origin.sum(0) > 0).all(), "every window of the pool may come"


def test_shorter_windows_are_cut_anywhere_but_keep_what_is_known():
    whole = torch.arange(96.0).repeat(300, 1)
    whole[100:200, :80] = NAN  # fewer points than the cut
    whole[200:, :40] = NAN
    cut = _cut(whole, 32, dice())
    first = cut[:, -1] - 31
    assert torch.equal(cut[:100], first[:100, None] + torch.arange(32))
    assert first[:100].min() < 8
    assert first[:100].max() > 56
    assert torch.isfinite(cut[100:200]).sum(1).eq(16).all()
    assert torch.isfinite(cut[200:]).all()


def test_families_can_be_chosen():
    sampler = BlockSampler(DataConfig(block_size=2, families={"counts": 1.0, "arima": 3.0}), seed=0)
    drawn = [sampler._origin(np.random.default_rng([0, k])) for k in range(200)]
    assert set(drawn) == {"counts", "arima"} <= set(FAMILIES)
    assert 0.15 < drawn.count("counts") / 200 < 0.35


def test_generators_differ_by_block_and_purpose():
    draws = {float(torch.rand(1, generator=SAMPLER.generator(k, purpose))) for k in range(5) for purpose in (1, 2)}
    assert len(draws) == 10
    assert torch.equal(*(torch.rand(3, generator=SAMPLER.generator(2, 1)) for _ in range(2)))


def test_only_corpus_without_a_corpus_is_refused():
    with pytest.raises(CorpusError) as caught:
        BlockSampler(DataConfig(corpus_share=1.0), seed=0)
    assert caught.value.code == "corpus.missing"
