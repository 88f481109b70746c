"""``tsar serve``: forecasts over HTTP."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from tsar.cli.options import DEFAULT_MODEL, WITH_OPTIONS
from tsar.serving.limits import Limits


def add_serve(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``tsar serve``."""
    limits = Limits()
    parser = commands.add_parser(
        "serve",
        parents=[common],
        **WITH_OPTIONS,
        help="answer forecast requests over HTTP, with a page to try it",
        description="Answer POST /forecast with quantiles, and show a page at / that forecasts a CSV. Requests that\n"
        "come at the same time are forecast together. There is no password: the default address can be reached\n"
        "from this machine only. SIGTERM ends it after what was accepted. docs/serving.md explains it.",
        epilog="example:\n  tsar serve --port 8000",
    )
    parser.set_defaults(run=serve)
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="release (default: %(default)s)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--host", default="127.0.0.1", metavar="NAME", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="port (default: %(default)s)")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    group = parser.add_argument_group("limits")
    for field in dataclasses.fields(Limits):
        value = getattr(limits, field.name)
        option, kind = f"--{field.name.replace('_', '-')}", type(value)
        group.add_argument(option, type=kind, default=value, metavar="N", help="default: %(default)s")


def serve(options: argparse.Namespace) -> int:
    """Carry out ``tsar serve``."""
    limits = Limits(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Limits)})
    from tsar.serving import serve as serve_forever

    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    serve_forever(
        options.model, host=options.host, port=options.port, device=options.device, limits=limits,
        log_level=options.log_level,
    )  # fmt: skip
    return 0
