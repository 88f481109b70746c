"""``tsar bench``: how fast forecasts are on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tsar.cli.files import PLOT_SUFFIXES, validate_output
from tsar.cli.options import DEFAULT_MODEL, WITH_OPTIONS


def add_bench(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar bench``."""
    parser = commands.add_parser(
        "bench",
        parents=[common],
        **WITH_OPTIONS,
        help="time forecasts on this machine, side by side with other packages",
        description="Time forecasts of simulated series by the model and through Forecaster, in turns with other\n"
        "packages' models (random weights, nothing is downloaded). The table is Markdown; docs/speed.md explains it.",
        epilog="example:\n  tsar bench --peers chronos-bolt-tiny --threads 2",
    )
    parser.set_defaults(run=bench)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help="release or folder (default: %(default)s)"
    )
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="NAME", help="chronos-bolt-tiny, -mini, -small, tsar-onnx"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed runs of each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the two smallest works only")
    parser.add_argument("--growth", type=Path, metavar="FILE", help="picture of how time grows: .png, .pdf or .svg")


def bench(options: argparse.Namespace) -> int:
    """Carry out ``tsar bench``."""
    validate_output(options.growth, PLOT_SUFFIXES)
    import torch

    from tsar.benchmark.growth import draw_growth, measure_growth
    from tsar.benchmark.speed import WORKS, measure_speed

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    works = WORKS[:2] if options.quick else WORKS
    print(measure_speed(options.model, works=works, peers=options.peers, repeats=options.repeats).to_markdown())
    if options.growth:
        draw_growth(measure_growth(options.model), options.growth)
    return 0
