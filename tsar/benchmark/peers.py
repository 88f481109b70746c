"""Models to be timed beside ours: other packages' code and published sizes, with random weights, and ours as ONNX.

Time does not depend on what the weights are, so nothing needs to be downloaded.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsar.errors import MissingDependencyError, OptionError
from tsar.export import OnnxModel, export_onnx
from tsar.types import FloatArray

Forecast = Callable[[FloatArray, int], object]
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]

BOLT_SIZES = {
    "chronos-bolt-tiny": {"d_model": 256, "d_ff": 1024, "num_layers": 4, "num_decoder_layers": 4, "num_heads": 4},
    "chronos-bolt-mini": {"d_model": 384, "d_ff": 1536, "num_layers": 4, "num_decoder_layers": 4, "num_heads": 8},
    "chronos-bolt-small": {"d_model": 512, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8},
}
"""Of T5 (Ansari et al., 2024; the published configs of amazon/chronos-bolt-*)."""

ONNX = "tsar-onnx"
PEERS = (*BOLT_SIZES, ONNX)


def make_peer(name: str) -> Forecast:
    """Return a function of series (I, N) and a horizon that forecasts with a peer's own predict call.

    Raises
    ------
    OptionError
        ``option.invalid`` for an unknown name.
    MissingDependencyError
        ``dependency.missing`` if its package is not installed.
    """
    if name not in PEERS:
        raise OptionError(f"peers must be of {', '.join(PEERS)}, got {name!r}.", code="option.invalid")
    return _make_onnx() if name == ONNX else _make_bolt(BOLT_SIZES[name])


def _make_onnx() -> Forecast:
    """Run tsar-tiny itself by onnxruntime; the first call for a shape exports it."""
    models: dict[tuple[int, int], OnnxModel] = {}

    def forecast(series: FloatArray, prediction_length: int) -> object:
        rows, points = series.shape
        shape = (min(points, 1024), prediction_length)
        if shape not in models:
            with tempfile.TemporaryDirectory() as folder:
                path = export_onnx(
                    "tsar-tiny", Path(folder) / "m.onnx", context_length=shape[0], prediction_length=prediction_length
                )
                models[shape] = OnnxModel(path, threads=torch.get_num_threads())
        return models[shape].decode_panel(series.reshape(-1), np.arange(rows + 1) * points)

    return forecast


def _make_bolt(sizes: dict[str, int]) -> Forecast:
    try:
        from chronos.chronos_bolt import ChronosBoltModelForForecasting, ChronosBoltPipeline
        from transformers import T5Config
    except ImportError as error:
        raise MissingDependencyError(
            "Timing Chronos-Bolt needs chronos-forecasting.",
            code="dependency.missing",
            hint="pip install chronos-forecasting",
        ) from error
    make_config: Any = T5Config  # without exact types
    config = make_config(
        **sizes, vocab_size=2, d_kv=64, is_gated_act=False, feed_forward_proj="relu", dense_act_fn="relu",
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, reg_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    config.chronos_config = {
        "context_length": 2048, "input_patch_size": 16, "input_patch_stride": 16, "prediction_length": 64,
        "quantiles": LEVELS, "use_reg_token": True,
    }  # fmt: skip
    pipeline: Any = ChronosBoltPipeline(ChronosBoltModelForForecasting(config).eval())

    def forecast(series: FloatArray, prediction_length: int) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was made for 64 steps
            return pipeline.predict_quantiles(
                torch.from_numpy(series.astype(np.float32)), prediction_length=prediction_length, quantile_levels=LEVELS
            )

    return forecast
