"""``tsar export``: a model as one ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tsar.cli.files import validate_output
from tsar.cli.options import DEFAULT_MODEL, WITH_OPTIONS

PRECISIONS = ("float32", "int8")


def add_export(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar export``."""
    parser = commands.add_parser(
        "export",
        parents=[common],
        **WITH_OPTIONS,
        help="write a model as an ONNX file",
        description="Write a model, tokenizer and scaling included, as an ONNX file: windows in, quantiles out.",
        epilog="example:\n  tsar export --output tsar-tiny.onnx --prediction-length 64 --context-length 512",
    )
    parser.set_defaults(run=export)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help="release or folder (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write: .onnx")
    parser.add_argument("--prediction-length", type=int, required=True, metavar="F", help="points forecast by one run")
    parser.add_argument("--context-length", type=int, metavar="L", help="points read (default: the model's)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the weights")


def export(options: argparse.Namespace) -> int:
    """Carry out ``tsar export``."""
    validate_output(options.output, (".onnx",))
    from tsar.export import export_onnx

    export_onnx(
        options.model,
        options.output,
        prediction_length=options.prediction_length,
        context_length=options.context_length,
        precision=options.precision,
    )
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")
    return 0
