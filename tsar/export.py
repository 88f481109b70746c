"""A model as one ONNX file: windows in, quantiles out, tokenizer and scaling included, for runtimes without torch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tsar.decode.panel import one_pass
from tsar.errors import ModelError, OptionError
from tsar.hub import load_model
from tsar.model.decoder import Decoder
from tsar.optional import require
from tsar.storage import write_atomically
from tsar.types import FloatArray
from tsar.windows import make_batches

PRECISIONS = ("float32", "int8")
FACTS = "tsar"
EXTRA = "export"


def export_onnx(
    model: str | Path | Decoder,
    path: str | Path,
    *,
    prediction_length: int,
    context_length: int | None = None,
    precision: str = "float32",
) -> Path:
    """Write a model as an ONNX file.

    Parameters
    ----------
    model
        Name or folder of a release, or a decoder.
    path
        The file to write, as one atomic step.
    prediction_length
        Points forecast by one run, at most what one pass of the model gives (576 for the releases).
    context_length
        Points read, a multiple of the model's patch length; None: the model's own. Shorter series are filled up with
        NaN at the left.
    precision
        ``"float32"``; ``"int8"`` keeps the matrices in eight bits, one scale for 64 weights, which makes the file
        smaller by more than half. Such a file needs onnxruntime; docs/export.md has what it costs.

    Returns
    -------
    Path
        The file. Its input ``context`` is (B, context_length) float64, right-aligned, NaN where missing; its output
        ``quantiles`` is (B, prediction_length, Q) float64 in data units, NaN for windows without an observed value. B
        is free.

    Raises
    ------
    OptionError
        ``option.invalid``, ``option.prediction_length``.
    ModelError
        ``model.wrong_task`` for a model that does not forecast; ``model.no_export`` for a design that ONNX cannot hold.
    MissingDependencyError
        ``dependency.missing`` without onnx, onnxscript and, for ``"int8"``, onnxruntime (extra ``export``).
    """
    decoder = load_model(model, "cpu")
    context_length = decoder.config.context_length if context_length is None else context_length
    _validate(decoder, prediction_length, context_length, precision)
    prediction_length, context_length = int(prediction_length), int(context_length)  # of numpy's, too
    for library in ("onnx", "onnxscript"):
        require(library, EXTRA)
    content = _convert(decoder, context_length, prediction_length)
    if precision == "int8":
        content = _quantize(content)
    facts = {
        "prediction_length": prediction_length,
        "context_length": context_length,
        "patch_length": decoder.config.patch_length,
        "quantile_levels": list(decoder.config.quantile_levels),
        "precision": precision,
    }
    write_atomically(Path(path), _with_facts(content, facts))
    return Path(path)


class OnnxModel:
    """An exported model, run by onnxruntime.

    Parameters
    ----------
    path
        A file of `export_onnx`.
    threads
        CPU threads of a run; None: onnxruntime's choice.

    Attributes
    ----------
    prediction_length, context_length, quantile_levels
        As exported.

    Raises
    ------
    ModelError
        ``model.no_export`` for a file that is not one of `export_onnx`.
    MissingDependencyError
        ``dependency.missing`` without onnxruntime.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        runtime = require("onnxruntime", EXTRA)
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            facts = json.loads(self._session.get_modelmeta().custom_metadata_map[FACTS])
        except Exception as error:  # the runtime has an exception of its own for every way in which a file can be bad
            raise ModelError(f"{path} is not a model exported by tsar: {error}.", code="model.no_export") from error
        self.prediction_length: int = facts["prediction_length"]
        self.context_length: int = facts["context_length"]
        self.patch_length: int = facts["patch_length"]
        self.quantile_levels: tuple[float, ...] = tuple(facts["quantile_levels"])

    def decode(self, context: FloatArray) -> FloatArray:
        """Quantiles (B, F, Q) of what follows windows (B, context_length), right-aligned, NaN where missing."""
        quantiles: FloatArray = self._session.run(None, {"context": np.ascontiguousarray(context, np.float64)})[0]
        return quantiles

    def decode_panel(
        self, values: FloatArray, offsets: npt.NDArray[np.int64], *, rows_per_batch: int = 64
    ) -> FloatArray:
        """Quantiles (I, F, Q) of what follows series end to end, as `tsar.decode.decode_panel`."""
        quantiles = np.full((len(offsets) - 1, self.prediction_length, len(self.quantile_levels)), np.nan)
        batches = make_batches(
            values, offsets, context_length=self.context_length, patch_length=self.patch_length,
            points_per_batch=rows_per_batch * self.context_length, rows_per_batch=rows_per_batch,
        )  # fmt: skip
        for batch in batches:
            padding = self.context_length - batch.context.shape[1]
            context = np.pad(batch.context, ((0, 0), (padding, 0)), constant_values=np.nan)
            quantiles[batch.rows] = self.decode(context)
        return quantiles


class _Windows(nn.Module):
    """Windows with missing values -> quantiles, in operations that ONNX has."""

    def __init__(self, decoder: Decoder, prediction_length: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.prediction_length = prediction_length

    def forward(self, context: Tensor) -> Tensor:
        observed = ~torch.isnan(context)
        values = torch.where(observed, context, 0.0)
        largest = values.abs().amax(1, keepdim=True)
        unit = torch.where(largest > 0, largest, 1.0)
        quantiles = one_pass(self.decoder, values / unit, observed, None, self.prediction_length) * unit[..., None]
        return torch.where(observed.any(1)[:, None, None], quantiles, torch.nan)


def _validate(decoder: Decoder, prediction_length: int, context_length: int, precision: str) -> None:
    config = decoder.config
    if config.task != "forecast":
        raise ModelError("This model fills gaps and does not forecast.", code="model.wrong_task")
    is_drawn = config.head == "diffusion" or bool(config.horizons)
    if config.period or config.body or is_drawn or config.tokenizer == "decompose":
        part = (
            "whose head answers in several passes" if is_drawn
            else "around a language model" if config.body
            else "that looks for the period of a window"
        )  # fmt: skip
        raise ModelError(
            f"A model {part} cannot be exported.",
            code="model.no_export",
            hint="Take a model of the usual parts, such as tsar-tiny.",
        )
    if precision not in PRECISIONS:
        raise OptionError(f"precision must be one of {PRECISIONS}, got {precision!r}.", code="option.invalid")
    if not _is_whole(prediction_length) or not 1 <= prediction_length <= config.one_pass_length:
        raise OptionError(
            f"prediction_length must be from 1 to {config.one_pass_length} in an export, got {prediction_length!r}.",
            code="option.prediction_length",
            hint="Longer horizons take a rollout, which Forecaster has.",
        )
    if not _is_whole(context_length) or context_length < 1 or context_length % config.patch_length:
        raise OptionError(
            f"context_length must be a multiple of {config.patch_length}, got {context_length!r}.",
            code="option.invalid",
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _convert(decoder: Decoder, context_length: int, prediction_length: int) -> bytes:
    """Trace the model, write what ONNX lacks as what it has, and translate."""
    example = torch.zeros(2, context_length, dtype=torch.float64).cumsum(1)
    batch = torch.export.Dim("batch", min=1)
    windows = _Windows(decoder, prediction_length).eval()
    with _quiet():
        try:
            traced = torch.export.export(windows, (example,), dynamic_shapes=({0: batch},), strict=False)
            table: Any = {
                torch.ops.aten.cummax.default: _running_maximum,
                torch.ops.aten.asinh.default: _asinh,
                torch.ops.aten.sinh.default: _sinh,
            }
            program: Any = torch.onnx.export(
                traced.run_decompositions(table),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["context"],
                output_names=["quantiles"],
            )
        except Exception as error:  # of whatever the exporter meets first
            raise ModelError(
                f"This model cannot be written as ONNX: {str(error).splitlines()[0]}", code="model.no_export"
            ) from error
    content: bytes = program.model_proto.SerializeToString()
    return content


def _running_maximum(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """`torch.cummax` by doubling; where each maximum stands is not given, and nothing in the model asks for it."""
    length, reach = values.shape[dim], 1
    while reach < length:
        longer = torch.maximum(values.narrow(dim, reach, length - reach), values.narrow(dim, 0, length - reach))
        values = torch.cat([values.narrow(dim, 0, reach), longer], dim)
        reach *= 2
    return values, torch.zeros_like(values)


def _asinh(x: Tensor) -> Tensor:
    """Runtimes have it in single precision only."""
    return torch.sign(x) * torch.log(x.abs() + torch.sqrt(x * x + 1))


def _sinh(x: Tensor) -> Tensor:
    return (torch.exp(x) - torch.exp(-x)) / 2


def _quantize(content: bytes) -> bytes:
    """Keep matrices in eight bits; what is multiplied with them is rounded row by row, so a row forgets its company."""
    onnx = require("onnx", EXTRA)
    quantizers = require("onnxruntime.quantization.matmul_nbits_quantizer", EXTRA)
    with _quiet():
        quantizer = quantizers.MatMulNBitsQuantizer(
            onnx.load_model(io.BytesIO(content)), bits=8, block_size=64, is_symmetric=True, accuracy_level=4
        )
        quantizer.process()
    small: bytes = quantizer.model.model.SerializeToString()
    return small


def _with_facts(content: bytes, facts: dict[str, Any]) -> bytes:
    onnx = require("onnx", EXTRA)
    proto = onnx.load_model(io.BytesIO(content))
    entry = proto.metadata_props.add()
    entry.key, entry.value = FACTS, json.dumps(facts)
    whole: bytes = proto.SerializeToString()
    return whole


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's talk; what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
