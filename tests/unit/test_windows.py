"""Windows: every series once, its end at the right, nothing but its own points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsar.windows import make_batches


def panel(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Series end to end whose values tell series and place: 1000 * series + place, from 1."""
    parts = [1000.0 * row + 1 + np.arange(length) for row, length in enumerate(lengths)]
    return np.concatenate([*parts, []]), np.cumsum([0, *lengths])


def batches_of(lengths, *, context_length=64, patch_length=8, points_per_batch=256, rows_per_batch=None):
    values, offsets = panel(lengths)
    return list(
        make_batches(
            values,
            offsets,
            context_length=context_length,
            patch_length=patch_length,
            points_per_batch=points_per_batch,
            rows_per_batch=rows_per_batch,
        )
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 150), max_size=30),
    st.integers(1, 10).map(lambda n: 8 * n),
    st.integers(1, 600),
    st.none() | st.integers(1, 5),
)
def test_each_series_once_right_aligned_with_its_own_end(lengths, context_length, points, rows):
    batches = batches_of(lengths, context_length=context_length, points_per_batch=points, rows_per_batch=rows)
    taken = [int(row) for batch in batches for row in batch.rows]
    assert sorted(taken) == [row for row, length in enumerate(lengths) if length]
    for batch in batches:
        for row, window in zip(batch.rows, batch.context, strict=True):
            kept = min(lengths[row], context_length)
            np.testing.assert_array_equal(
                window[len(window) - kept :], 1000.0 * row + 1 + np.arange(lengths[row])[-kept:]
            )
            assert np.isnan(window[: len(window) - kept]).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 150), max_size=30), st.integers(1, 600), st.none() | st.integers(1, 5))
def test_limits_of_a_batch(lengths, points, rows):
    for batch in batches_of(lengths, points_per_batch=points, rows_per_batch=rows):
        count, width = batch.context.shape
        assert width % 8 == 0
        assert 0 < width <= 64
        assert count == 1 or count * width <= points
        assert rows is None or count <= rows


def test_similar_lengths_go_together_longest_first():
    batches = batches_of([5, 60, 8, 57, 9], points_per_batch=128)
    assert [batch.rows.tolist() for batch in batches] == [[1, 3], [4, 0, 2]]
    assert [batch.context.shape for batch in batches] == [(2, 64), (3, 16)]


def test_a_context_that_is_no_multiple_of_the_patch_is_padded():
    (batch,) = batches_of([50], context_length=20)
    assert batch.context.shape == (1, 24)
    assert np.isnan(batch.context[0, :4]).all()
    np.testing.assert_array_equal(batch.context[0, 4:], 31 + np.arange(20))


def test_missing_values_stay_missing():
    values = np.array([1.0, np.nan, 3.0])
    (batch,) = make_batches(values, np.array([0, 3]), context_length=8, patch_length=4, points_per_batch=99)
    np.testing.assert_array_equal(batch.context, [[np.nan, 1.0, np.nan, 3.0]])


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_nothing_to_forecast_gives_no_batch(lengths):
    assert batches_of(lengths) == []


def test_windows_are_copies():
    values, offsets = panel([16])
    (batch,) = make_batches(values, offsets, context_length=16, patch_length=8, points_per_batch=99)
    batch.context[:] = -1
    assert values[0] == 1
