"""Fine-tuning through `Forecaster`: every mode learns, none can end worse than it began, the release stays as it is."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from tsar import FineTuneConfig, Forecaster, load_model
from tsar.errors import TsarError, TsarWarning
from tsar.frame import normalize_targets
from tsar.training.tune_config import MODES
from tsar.tuning import hold_back_frame

TUNED = MODES[1:]
QUICK = {
    "max_steps": 10, "batch_size": 8, "time_limit": None, "prompt_length": 4, "validation_windows": 2,
    "least_gain": 0.0,
}  # fmt: skip


def echoes(items=3, length=200, seed=0):
    """Shots at random times; each has an echo of opposite sign ten steps later and half of it at twenty."""
    rng = np.random.default_rng(seed)
    shots = (rng.random((items, length)) < 0.08) * rng.normal(3, 1, (items, length))
    series = 0.1 * rng.normal(size=(items, length)) + shots
    series[:, 10:] -= shots[:, :-10]
    series[:, 20:] += 0.5 * shots[:, :-20]
    return to_frame(series)


def to_frame(series):
    parts = [pd.DataFrame({"item_id": f"i{k}", "timestamp": range(len(y)), "target": y}) for k, y in enumerate(series)]
    return pd.concat(parts, ignore_index=True)


def fit(df, model, mode="full", **options):
    fine_tune = options.pop("fine_tune", QUICK)
    return Forecaster(model, prediction_length=8, mode=mode, fine_tune=fine_tune, **options).fit(df)


def numbers(forecast):
    return forecast.drop(columns=["item_id", "timestamp", "target_name"]).to_numpy()


def code_of(call, *args, **kwargs):
    with pytest.raises(TsarError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.fixture(scope="module")
def frame():
    return echoes()


@pytest.fixture(scope="module")
def tuned(frame, decoder):
    return fit(frame, decoder, "lora")


@pytest.mark.parametrize("mode", TUNED)
def test_a_mode_beats_the_model_it_starts_from_and_leaves_it_alone(frame, decoder, mode):
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    forecaster = fit(frame, decoder, mode)
    report = forecaster.fine_tune_report_
    assert not report.fell_back
    assert report.tuned_score < report.zero_shot_score
    assert report.steps[-1]["step"] == 10
    assert {"training_loss", "validation_score", "learning_rate", "seconds"} < report.steps[0].keys()
    assert (
        report.trained_share == 1 if mode in ("full", "probe_then_tune", "from_scratch") else report.trained_share < 0.6
    )
    weights = {name: value.clone() for name, value in forecaster.model_.state_dict().items()}
    forecast = forecaster.predict()
    assert np.isfinite(numbers(forecast)).all()
    assert not np.array_equal(numbers(forecast), numbers(Forecaster(decoder, prediction_length=8).fit(frame).predict()))
    assert all(torch.equal(weights[name], value) for name, value in forecaster.model_.state_dict().items())
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())


def test_weights_that_forecast_worse_are_not_kept():
    frame = to_frame([np.sin(np.arange(200) / 3)])
    with pytest.warns(TsarWarning, match="keeps the released weights: no weights were clearly better"):
        forecaster = fit(frame, "tsar-tiny", "from_scratch", fine_tune={**QUICK, "max_steps": 1})
    report = forecaster.fine_tune_report_
    assert report.fell_back
    assert report.alpha == 0
    assert report.tuned_score == report.zero_shot_score
    released = Forecaster("tsar-tiny", prediction_length=8).fit(frame).predict()
    np.testing.assert_array_equal(numbers(forecaster.predict()), numbers(released))


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ([np.arange(12.0)], "long enough"),
        ([np.ones(200), np.zeros(200)], "long enough"),
        ([np.r_[np.full(99, np.nan), 1.0, 2.0]], "long enough"),
    ],
    ids=["short", "constant", "missing"],
)
def test_nothing_to_learn_from_keeps_the_released_weights(decoder, series, reason):
    with pytest.warns(TsarWarning, match=reason):
        forecaster = fit(to_frame(series), decoder)
    assert forecaster.fine_tune_report_.fell_back
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        assert len(forecaster.predict()) == 8 * len(series)


def test_series_of_all_kinds_are_trained_on_together(decoder):
    wave = np.sin(np.arange(150) / 3)
    gappy = np.where(np.arange(150) % 7 == 0, np.nan, wave)
    series = [wave, gappy, 1e9 + 1e6 * wave, np.ones(60), wave[:9], np.r_[np.full(140, np.nan), wave[:10]]]
    report = fit(to_frame(series), decoder).fine_tune_report_
    assert not report.fell_back
    assert np.isfinite([step["training_loss"] for step in report.steps]).all()


def test_the_horizon_beyond_one_answer_is_trained_as_it_is_used(decoder):
    df = echoes(2, 600)
    forecaster = Forecaster(decoder, prediction_length=60, mode="full", fine_tune=QUICK).fit(df)
    assert not forecaster.fine_tune_report_.fell_back
    assert len(forecaster.predict()) == 120


def test_the_same_seed_gives_the_same_weights(frame, decoder, tuned):
    same, other = fit(frame, decoder, "lora", random_state=0), fit(frame, decoder, "lora", random_state=1)
    np.testing.assert_array_equal(
        numbers(same.predict()), numbers(fit(frame, decoder, "lora", random_state=0).predict())
    )
    assert not np.array_equal(numbers(same.predict()), numbers(other.predict()))


def test_a_saved_forecaster_keeps_its_weights_and_report(frame, tuned, tmp_path):
    tuned.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    np.testing.assert_array_equal(numbers(loaded.predict()), numbers(tuned.predict()))
    assert loaded.fine_tune_report_ == tuned.fine_tune_report_
    assert loaded.mode == "lora"


@pytest.mark.parametrize("mode", ["lora", "prompt", "head"])
def test_an_adapter_alone_is_saved_and_loaded(frame, decoder, tmp_path, mode):
    forecaster = fit(frame, decoder, mode)
    forecaster.save_adapter(tmp_path / "adapter")
    loaded = Forecaster(decoder, prediction_length=8, mode=mode).load_adapter(tmp_path / "adapter")
    np.testing.assert_array_equal(numbers(loaded.predict(frame)), numbers(forecaster.predict()))
    loaded.save(tmp_path / "whole")
    again = Forecaster.load(tmp_path / "whole")
    np.testing.assert_array_equal(numbers(again.predict(frame)), numbers(forecaster.predict()))
    assert not hasattr(again, "fine_tune_report_")


def test_saving_an_adapter_replaces_an_adapter_and_nothing_else(tuned, tmp_path):
    for _ in range(2):
        tuned.save_adapter(tmp_path / "adapter")
    tuned.save(tmp_path / "whole")
    for other, file in ((tmp_path / "whole", "options.json"), (tmp_path, "whole/options.json")):
        assert code_of(tuned.save_adapter, other) == "option.invalid"
        assert (other / file).is_file()


def test_an_adapter_of_another_model_is_refused(tuned, small_decoder, tmp_path):
    tuned.save_adapter(tmp_path / "adapter")
    other = small_decoder()
    with torch.no_grad():
        other.norm.weight.add_(0.01)
    assert code_of(Forecaster(other).load_adapter, tmp_path / "adapter") == "release.bad_manifest"


def test_a_damaged_adapter_is_refused(tuned, decoder, tmp_path):
    tuned.save_adapter(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter.safetensors").write_bytes(b"0")
    assert code_of(Forecaster(decoder).load_adapter, tmp_path / "adapter") == "release.bad_hash"


def test_without_tuning_there_is_no_adapter(frame, decoder, tmp_path):
    forecaster = Forecaster(decoder, prediction_length=8).fit(frame)
    assert code_of(forecaster.save_adapter, tmp_path / "adapter") == "forecaster.not_fitted"
    assert code_of(Forecaster(decoder, mode="lora").predict, frame) == "forecaster.not_fitted"


def test_a_zero_shot_fit_forgets_the_tuned_weights(frame, decoder):
    forecaster = fit(frame, decoder, "head")
    forecaster.set_params(mode="zero_shot", fine_tune=None).fit(frame)
    assert not hasattr(forecaster, "model_")
    released = Forecaster(decoder, prediction_length=8).fit(frame).predict()
    np.testing.assert_array_equal(numbers(forecaster.predict()), numbers(released))


def test_rows_given_for_validation_are_used_for_it(frame, decoder):
    is_new = frame["timestamp"] >= 190
    forecaster = fit(frame[~is_new], decoder)
    own_ends = forecaster.fine_tune_report_.num_windows
    given = forecaster.fit(frame[~is_new], validation=frame[is_new]).fine_tune_report_
    assert (own_ends, given.num_windows) == (6, 3)
    assert len(forecaster.panel_.values) == 3 * 190
    assert code_of(forecaster.fit, frame, validation=frame[~is_new]) == "frame.empty"


def test_validation_goes_target_by_target_on_the_grid_of_the_history():
    days = pd.bdate_range("2024-01-01", periods=40, name="timestamp").as_unit("ns")
    values = {"a": np.arange(40.0), "b": 1000.0 + np.arange(40)}
    frame = pd.concat([pd.DataFrame({"item_id": item, "timestamp": days, **values}) for item in ("x", "y")])
    is_new = frame["timestamp"] >= days[37]  # too few rows to infer a frequency from
    panel = normalize_targets(frame[~is_new], target=["a", "b"])
    rows = frame[is_new].assign(timestamp=lambda new: new["timestamp"].astype("datetime64[s]"))
    validation = normalize_targets(rows, target=["a", "b"], freq=panel.freq)
    held_back = hold_back_frame(panel, validation, 3, 5)
    histories = np.split(held_back.values, held_back.offsets[1:-1])
    assert [history[-1] for history in histories] == [36, 1036, 36, 1036]
    np.testing.assert_array_equal(held_back.actual[:2], [[37, 38, 39], [1037, 1038, 1039]])
    zoned = normalize_targets(rows.assign(timestamp=rows["timestamp"].dt.tz_localize("UTC")), target="a", freq="B")
    assert code_of(hold_back_frame, panel, zoned, 3, 5) == "frame.bad_timestamp"


def test_validation_takes_the_frequency_of_the_history(decoder):
    days = pd.bdate_range("2024-01-01", periods=120)
    frame = echoes(2, 120).assign(timestamp=[*days, *days])
    is_new = frame["timestamp"] >= days[117]
    forecaster = Forecaster(decoder, prediction_length=3, mode="full", fine_tune=QUICK)
    assert forecaster.fit(frame[~is_new], validation=frame[is_new]).fine_tune_report_.num_windows == 2


def test_each_target_is_held_against_its_own_future(frame, decoder):
    """Scores are in units of each series, so a target in other units beside itself changes none of them."""
    both = frame.assign(other=1024 * frame["target"])
    is_new = frame["timestamp"] >= 190

    def score(target):
        forecaster = Forecaster(decoder, prediction_length=8, mode="full", fine_tune=QUICK, target=target)
        report = forecaster.fit(both[~is_new], validation=both[is_new]).fine_tune_report_
        return report.num_windows, report.zero_shot_score

    (alone, expected), (together, found) = score("target"), score(["target", "other"])
    assert (alone, together) == (3, 6)
    assert found == pytest.approx(expected, rel=1e-5)


def test_fine_tuning_leaves_the_callers_random_numbers(frame, decoder, tmp_path):
    before = torch.get_rng_state()
    for mode in ("head", "prompt", "lora", "full", "from_scratch"):
        forecaster = fit(frame, decoder, mode)
        if forecaster.adapter_ is not None:
            forecaster.save_adapter(tmp_path / mode)
            Forecaster(decoder, mode=mode).load_adapter(tmp_path / mode)
    assert torch.equal(torch.get_rng_state(), before)


def test_options_reach_the_training(frame, decoder):
    few = {**QUICK, "fraction": 0.3, "self_pretrain": 5, "self_distill": 0.3, "validation_windows": 2, "patience": 1}
    report = fit(frame, decoder, "probe_then_tune", fine_tune=FineTuneConfig(**few)).fine_tune_report_
    assert report.num_windows == 6
    assert report.steps[-1]["step"] <= 15


def test_the_time_limit_ends_training(frame, decoder):
    fine_tune = {**QUICK, "max_steps": 1_000_000, "time_limit": 0.3, "patience": 100}
    assert fit(frame, decoder, "head", fine_tune=fine_tune).fine_tune_report_.seconds < 5


def test_a_loss_that_is_not_finite_is_an_error(frame, decoder):
    broken = load_copy(decoder)
    with torch.no_grad():
        broken.embedding.skip.weight.fill_(float("inf"))
    fine_tune = {**QUICK, "max_steps": 100, "patience": 100}
    assert code_of(fit, frame, broken, fine_tune=fine_tune) == "training.nan_loss"


def test_a_gradient_that_stays_nan_is_an_error(frame, decoder, monkeypatch):
    """The loss alone would not tell: such a gradient counts as zero, and nothing would be learned."""
    from tsar.training import finetune

    def trainee(*arguments):
        decoder = make(*arguments)
        decoder.embedding.skip.weight.register_hook(lambda gradient: gradient * torch.nan)
        return decoder

    make = finetune._trainee
    monkeypatch.setattr(finetune, "_trainee", trainee)
    fine_tune = {**QUICK, "max_steps": 100, "patience": 100}
    assert code_of(fit, frame, decoder, fine_tune=fine_tune) == "training.nan_loss"


@pytest.mark.slow
@pytest.mark.parametrize("lack", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_batch_that_does_not_fit_is_trained_in_parts(frame, decoder, monkeypatch, lack):
    from tsar.training.objectives import NextPatches

    forward, sizes = NextPatches.forward, []

    def narrow(self, windows, *others):
        sizes.append(len(windows))
        if len(windows) > limit:
            raise lack
        return forward(self, windows, *others)

    monkeypatch.setattr(NextPatches, "forward", narrow)
    limit = 8
    whole = fit(frame, decoder).predict(frame)
    limit, sizes = 3, []
    parts = fit(frame, decoder)
    assert sizes[:7] == [8, 4, 2, 2, 2, 2, 2], "halved twice, and not tried again"
    np.testing.assert_allclose(numbers(parts.predict(frame)), numbers(whole), rtol=1e-3, atol=1e-3)
    limit = 0
    assert code_of(fit, frame, decoder) == "resource.memory"


def load_copy(decoder):
    copy = type(decoder)(decoder.config)
    copy.load_state_dict(decoder.state_dict())
    return copy


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "lorra"},
        {"mode": "zero_shot", "fine_tune": {}},
        {"mode": "full", "fine_tune": {"epochs": 3}},
        {"mode": "full", "fine_tune": 3},
        {"mode": "full", "random_state": "seed"},
        {"mode": "full", "fine_tune": {"max_steps": 0}},
        {"mode": "full", "fine_tune": {"max_steps": True}},
        {"mode": "full", "fine_tune": {"learning_rate": 0}},
        {"mode": "full", "fine_tune": {"time_limit": float("nan")}},
        {"mode": "full", "fine_tune": {"fraction": 1.5}},
        {"mode": "full", "fine_tune": {"self_distill": 1.0}},
        {"mode": "full", "fine_tune": {"validation_windows": "all"}},
    ],
    ids=str,
)
def test_wrong_options_are_refused(frame, decoder, options):
    assert code_of(Forecaster(decoder, prediction_length=8, **options).fit, frame) == "option.invalid"


def test_parameters_survive_clone(decoder):
    config = FineTuneConfig(max_steps=3)
    assert clone(Forecaster(mode="lora", fine_tune=config)).get_params()["fine_tune"] == config


@pytest.mark.filterwarnings("ignore:.*keeps the released weights")  # one step may or may not be a gain
def test_lora_and_prompt_of_the_shipped_model_are_small(tmp_path):
    df = echoes(1, 200)
    options = {**QUICK, "max_steps": 1, "learning_rate": 1e-4, "prompt_length": 16}
    for mode, share, size in (("lora", 0.02, 400_000), ("prompt", 0.01, 150_000)):
        forecaster = fit(df, "tsar-tiny", mode, fine_tune=options, context_length=128)
        assert 0.005 < forecaster.fine_tune_report_.trained_share < share
        if forecaster.adapter_ is not None:
            forecaster.save_adapter(tmp_path / mode)
            assert (tmp_path / mode / "adapter.safetensors").stat().st_size < size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "max_steps", "least"),
    [
        ("head", 200, 0.99), ("prompt", 200, 0.99),  # few weights: they learn slowly, and less
        ("lora", 80, 0.98), ("probe_then_tune", 80, 0.98), ("full", 80, 0.98), ("from_scratch", 80, 0.98),
    ],
)  # fmt: skip
def test_on_a_shifted_domain_each_mode_beats_the_shipped_model(mode, max_steps, least):
    series = echoes(8, 1200, seed=5)
    is_test = series["timestamp"] >= 1184
    fine_tune = {"max_steps": max_steps, "batch_size": 16, "time_limit": None}
    released = load_model("tsar-tiny")
    actual = series.loc[is_test, "target"].to_numpy().reshape(8, 16)
    losses = []
    for options in ({}, {"mode": mode, "fine_tune": fine_tune}):
        forecaster = Forecaster(released, prediction_length=16, context_length=256, **options).fit(series[~is_test])
        forecast = forecaster.predict_quantiles()
        error = actual[..., None] - forecast.quantiles
        losses.append(np.maximum(forecast.levels * error, (forecast.levels - 1) * error).mean())
    assert losses[1] < least * losses[0]
