"""A model as an ONNX file gives the forecasts of the model."""

import numpy as np
import pytest

from tsar.decode import decode, decode_panel
from tsar.errors import ModelError, OptionError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from tsar.export import OnnxModel, export_onnx  # noqa: E402


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"prediction_length": 0}, "prediction_length"),
        ({"prediction_length": True}, "prediction_length"),
        ({"prediction_length": 10_000}, "prediction_length"),
        ({"prediction_length": 8, "context_length": 13}, "multiple"),
        ({"prediction_length": 8, "precision": "int4"}, "precision"),
    ],
)
def test_wrong_options_are_refused_before_the_work(decoder, tmp_path, options, word):
    with pytest.raises(OptionError, match=word):
        export_onnx(decoder, tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_other_models_and_files_are_refused(small_decoder, tmp_path):
    filling = small_decoder(attention="full", scaling="window", output_length=8, patch_length=8)
    with pytest.raises(ModelError) as caught:
        export_onnx(filling, tmp_path / "m.onnx", prediction_length=8)
    assert caught.value.code == "model.wrong_task"
    with pytest.raises(ModelError) as caught:
        export_onnx(small_decoder(period=True), tmp_path / "m.onnx", prediction_length=8)
    assert caught.value.code == "model.no_export"
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError) as caught:
        OnnxModel(tmp_path / "other.onnx")
    assert caught.value.code == "model.no_export"


@pytest.fixture(scope="module")
def exported(decoder, tmp_path_factory):
    """The small decoder for windows of 64 points and a horizon beyond what the last token answers."""
    folder = tmp_path_factory.mktemp("onnx")
    horizon = decoder.config.output_length + 5
    return OnnxModel(export_onnx(decoder, folder / "m.onnx", prediction_length=np.int64(horizon), context_length=64))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_file_forecasts_as_the_model(exported, decoder, rows):
    rng = np.random.default_rng(rows)
    context = 1e5 + 300 * rng.normal(size=(rows, 64)).cumsum(1)
    context[0, :20] = np.nan  # a short series
    context[-1, 40:44] = np.nan  # a gap
    ours = decode(decoder, context, exported.prediction_length)
    theirs = exported.decode(context)
    assert theirs.shape == ours.shape
    spread = (ours[..., -1] - ours[..., 0]).mean()
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * spread)


@pytest.mark.slow
def test_series_of_any_length_and_without_a_value(exported, decoder):
    rng = np.random.default_rng(3)
    parts = [rng.normal(size=200).cumsum(), np.full(9, np.nan), rng.normal(size=7), np.full(30, 4.0)]
    values, offsets = np.concatenate(parts), np.cumsum([0, *map(len, parts)])
    ours = decode_panel(decoder, values, offsets, exported.prediction_length, context_lengths=[64])
    theirs = exported.decode_panel(values, offsets)
    assert np.isnan(theirs[1]).all()
    np.testing.assert_allclose(theirs[3], 4.0)
    np.testing.assert_allclose(theirs, ours, atol=1e-3 * np.nanmax(np.abs(ours)))


@pytest.mark.slow
def test_eight_bits_are_smaller_and_near(decoder, exported, tmp_path):
    horizon = exported.prediction_length
    small = export_onnx(decoder, tmp_path / "m.onnx", prediction_length=horizon, context_length=64, precision="int8")
    context = np.random.default_rng(0).normal(size=(4, 64)).cumsum(1)
    a, b = exported.decode(context), OnnxModel(small, threads=1).decode(context)
    weights = onnx.load(small).graph.initializer
    assert sum(weight.data_type == onnx.TensorProto.UINT8 for weight in weights) >= 4 * decoder.config.num_layers
    assert 0 < np.abs(a - b).mean() < 0.1 * (a[..., -1] - a[..., 0]).mean()
