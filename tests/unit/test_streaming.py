"""StreamingForecaster: the batch answer after every value, at a cost that does not grow, and back from disk."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from statsmodels.datasets import elnino

from tsar import Forecaster, StreamingForecaster
from tsar.decode import decode_panel
from tsar.decode.stream import SeriesStream
from tsar.errors import FrameError, ModelError, NotFittedError, OptionError

HOURS = pd.date_range("2024-01-01", periods=2000, freq="h")


def frame_of(values, item_id="a", first: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"item_id": item_id, "timestamp": HOURS[first : first + len(values)], "target": values})


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length) + np.sin(np.arange(length) / 4)


@pytest.mark.parametrize("begin", [1, 30, 126])
@pytest.mark.parametrize("horizon", [5, 50, 200])
def test_every_value_gives_the_answer_of_a_batch(decoder, begin, horizon):
    values = noise(180)
    values[[3, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 133]] = np.nan  # a whole patch, too
    stream = SeriesStream(decoder, values[:begin])
    for stop in range(begin + 1, begin + 40):
        stream.push(values[stop - 1])
        held = np.array(stream.held)
        np.testing.assert_array_equal(held, values[stop - len(held) : stop])
        if stop % 7 == 0 or stop > begin + 36:
            bounds = np.array([0, len(held)])
            batch = decode_panel(decoder, held, bounds, horizon, context_lengths=[128], symmetrize=True)[0]
            np.testing.assert_allclose(stream.quantiles(horizon), batch, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_cost_of_a_value_is_one_token_and_does_not_grow_with_the_history(decoder):
    context, patch = decoder.config.context_length, decoder.config.patch_length
    stream = SeriesStream(decoder, noise(50))
    began = stream.tokens_read
    for value in noise(30):
        stream.push(value)
    assert stream.tokens_read - began == 30
    costs = []
    for _ in range(4):
        began = stream.tokens_read
        for value in noise(context):
            stream.push(value)
        costs.append((stream.tokens_read - began) / context)
        assert 0.75 * context <= len(stream.held) <= context
    assert max(costs) <= 1 + 0.75 * context / (0.25 * context) + patch / context
    assert costs[-1] == pytest.approx(costs[-2], rel=0.3)


def test_large_numbers_and_no_numbers(decoder):
    stream = SeriesStream(decoder, np.full(20, np.nan))
    assert np.isnan(stream.quantiles(3)).all()
    for value in (1.0, 2.0, 1.0, 2.0, 1e250, -1e250):
        stream.push(value)
    held = np.array(stream.held)
    batch = decode_panel(decoder, held, np.array([0, len(held)]), 3, context_lengths=[128], symmetrize=True)[0]
    np.testing.assert_allclose(stream.quantiles(3), batch, rtol=1e-3, atol=1e245)


def test_frames_numbers_and_mappings_arrive_as_a_fitted_forecaster_sees_them():
    heat = elnino.load_pandas().data.set_index("YEAR").to_numpy(dtype=float).ravel()
    whole = pd.concat([frame_of(heat[:400], "a"), frame_of(-heat[100:350], "b")], ignore_index=True)
    start = pd.concat([frame_of(heat[:380], "a"), frame_of(-heat[100:340], "b")], ignore_index=True)
    stream = StreamingForecaster(prediction_length=12, quantile_levels=[0.05, 0.5]).start(start)
    stream.update(pd.concat([frame_of(heat[380:390], "a", 380), frame_of(-heat[340:345], "b", 240)]))
    for step in range(5):
        stream.update({"b": -heat[345 + step], "a": heat[390 + step]})
    stream.update(frame_of(heat[395:400], "a", 395))
    expected = Forecaster(prediction_length=12, quantile_levels=[0.05, 0.5]).fit(whole).predict()
    pd.testing.assert_frame_equal(stream.predict(), expected, rtol=1e-4)
    pd.testing.assert_frame_equal(stream.predict(), stream.predict())


def test_updates_in_many_threads_leave_warnings_as_they_are(decoder):
    before = list(warnings.filters)

    def follow(seed):
        stream = StreamingForecaster(decoder).start(frame_of(noise(40)))
        for place in range(40, 80):
            stream.update(frame_of([float(seed)], "a", place))
        return len(stream.streams_[0].held)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(follow, range(8))) == [80] * 8
    assert warnings.filters == before


def test_skipped_periods_are_missing_values(decoder):
    values = noise(60)
    values[50:53] = np.nan
    stream = StreamingForecaster(decoder, prediction_length=4).start(frame_of(values[:50]))
    stream.update(frame_of(values[53:], "a", 53))
    np.testing.assert_array_equal(stream.streams_[0].held, values)
    assert stream.predict()["timestamp"].iloc[0] == HOURS[60]


def test_save_and_load_go_on_with_the_same_forecast(decoder, tmp_path):
    values = np.abs(noise(200))
    stream = StreamingForecaster(decoder, prediction_length=6, quantile_levels=(0.1, 0.9)).start(frame_of(values[:140]))
    stream.update(frame_of(values[140:160], "a", 140)).save(tmp_path / "stream")
    again = StreamingForecaster.load(tmp_path / "stream")
    for number in (None, *values[160:170]):
        if number is not None:
            stream.update(number)
            again.update(number)
        pd.testing.assert_frame_equal(again.predict(), stream.predict(), rtol=1e-4, atol=1e-4)
    assert again.predict()["0.1"].min() >= 0


def test_saving_replaces_a_stream_and_nothing_else(decoder, tmp_path):
    stream = StreamingForecaster(decoder).start(frame_of(noise(40)))
    for _ in range(2):
        stream.save(tmp_path / "stream")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match="no saved stream"):
        stream.save(tmp_path / "full")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"


def test_errors_have_their_codes_and_read_nothing(small_decoder, decoder):
    stream = StreamingForecaster(decoder)
    with pytest.raises(NotFittedError):
        stream.predict()
    stream.start(pd.concat([frame_of(noise(40), "a"), frame_of(noise(40), "b")]))
    for new, kind, code in (
        (1.0, OptionError, "option.invalid"),
        ({"c": 1.0}, FrameError, "stream.unknown_item"),
        ({"a": np.inf}, FrameError, "frame.infinite_target"),
        ({"b": 1.0, "a": "seven"}, FrameError, "frame.non_numeric_target"),
        (frame_of([1.0], "c", 40), FrameError, "stream.unknown_item"),
        (pd.concat([frame_of([1.0], "a", 40), frame_of([1.0], "b", 39)]), FrameError, "stream.not_new"),
    ):
        with pytest.raises(kind) as caught:
            stream.update(new)
        assert caught.value.code == code
        assert [len(one.held) for one in stream.streams_] == [40, 40]
    with pytest.raises(OptionError):
        stream.predict(prediction_length=0)
    full = {"attention": "full", "scaling": "window", "output_length": 8, "max_span": 0}
    for sizes in (full, {"period": True}, {"scaling": "window"}):
        with pytest.raises(ModelError) as caught:
            StreamingForecaster(small_decoder(**sizes)).start(frame_of(noise(40)))
        assert caught.value.code == "model.wrong_task"
