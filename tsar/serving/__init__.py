"""Forecasts over HTTP: the same numbers as `tsar.Forecaster`, for programs in any language (extra ``serve``)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tsar.errors import MissingDependencyError
from tsar.serving.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Limits", "make_app", "serve"]


def make_app(model: Any = "tsar-tiny", *, device: str = "auto", limits: Limits | None = None) -> FastAPI:
    """Make the ASGI application, for any server of such.

    Parameters
    ----------
    model
        Name or folder of a release, or a loaded `Decoder`. It is loaded now, so that a mistake shows at once.
    device
        As in `tsar.Forecaster`.
    limits
        What the server takes; None: the defaults of `Limits`.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without FastAPI.
    ModelError, ReleaseError, OptionError
        As `tsar.load_model`; ``option.invalid`` for limits below one.
    """
    _need("fastapi")
    from tsar.serving.app import build_app
    from tsar.serving.work import Worker

    return build_app(Worker(model, device), limits or Limits())


def serve(
    model: Any = "tsar-tiny",
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    limits: Limits | None = None,
    log_level: str = "info",
) -> None:
    """Answer requests until SIGTERM or SIGINT; those that were accepted before are still answered.

    Parameters
    ----------
    model, device, limits
        As in `make_app`.
    host, port
        Where to listen. The default can only be reached from this machine; there is no password.
    log_level
        Of uvicorn.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without FastAPI or uvicorn.
    ServeError
        ``serve.failed`` if nothing can listen there.
    """
    _need("fastapi")
    _need("uvicorn")
    from tsar.serving.listen import bind, listen, until_signal

    wanted = limits or Limits()
    with until_signal(), bind(host, port) as bound:
        app = make_app(model, device=device, limits=wanted)
        listen(app, bound, drain_seconds=wanted.drain_seconds, log_level=log_level)


def _need(package: str) -> None:
    if find_spec(package) is None:
        text = f"tsar serve needs {package}."
        raise MissingDependencyError(text, code="dependency.missing", hint="pip install 'tsar-forecast[serve]'")
