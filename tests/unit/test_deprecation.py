"""What goes still works, and says what to write instead, where it was written."""

import pytest

from tsar.deprecation import TsarDeprecationWarning, moved, renamed_arguments


@renamed_arguments({"horizon": "prediction_length"}, removed_in="0.3")
def forecast(values, *, prediction_length=1):
    """Repeat the last value."""
    return [values[-1]] * prediction_length


def test_an_old_argument_is_the_new_one_and_the_warning_points_here():
    with pytest.warns(TsarDeprecationWarning) as caught:
        assert forecast([1, 2], horizon=3) == [2, 2, 2]
    text = "forecast(horizon=…) is deprecated and goes in tsar 0.3: use prediction_length="
    assert [(str(one.message), one.filename) for one in caught] == [(text, __file__)]


def test_the_new_argument_is_silent():
    assert forecast([1, 2], prediction_length=2) == [2, 2]
    assert forecast.__doc__ == "Repeat the last value."


def test_both_names_are_a_mistake():
    with pytest.raises(TypeError, match="'prediction_length' and its old name 'horizon'"):
        forecast([1], horizon=1, prediction_length=1)


def test_a_moved_function_does_the_same():
    old = moved("tsar.predict", "tsar.forecast", forecast, removed_in="0.3")
    with pytest.warns(TsarDeprecationWarning, match=r"tsar.predict is deprecated .* use tsar.forecast") as caught:
        assert old([1, 2], prediction_length=2) == [2, 2]
    assert caught[0].filename == __file__
