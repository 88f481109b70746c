"""The application: forecasts, health, metrics, its own description, and a page to try it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tsar import __version__
from tsar.errors import ServeError, TsarError
from tsar.logging import get_logger
from tsar.serving.batching import RETRY_SECONDS, Batcher
from tsar.serving.body import BodyLimit
from tsar.serving.limits import Limits
from tsar.serving.metrics import Metrics
from tsar.serving.schemas import ErrorAnswer, ErrorDetail, ForecastAnswer, ForecastRequest, Health
from tsar.serving.work import Worker, count_points

STATUS = {
    "serve.too_slow": 408,
    "serve.too_large": 413,
    "frame.too_many_gaps": 413,
    "serve.busy": 429,
    "serve.closing": 503,
    "resource.memory": 503,
    "serve.failed": 500,
}
"""HTTP status of a code; all others are 422."""

PAGE = Path(__file__).with_name("page.html")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The body is no JSON that can be read"},
    408: {"model": ErrorAnswer, "description": "The body came too slowly"},
    413: {"model": ErrorAnswer, "description": "More than the server takes"},
    422: {"model": ErrorAnswer, "description": "The request or its data cannot be used"},
    429: {"model": ErrorAnswer, "description": "Too many requests are waiting"},
    500: {"model": ErrorAnswer, "description": "A mistake of the server"},
    503: {"model": ErrorAnswer, "description": "The server is shutting down, or has too little memory"},
}
FIRST_MISTAKES = 3
LONGEST_PLACE = 200  # letters: a place has keys of the body in it
_LOG = get_logger("serving")


def build_app(worker: Worker, limits: Limits) -> FastAPI:
    """Make the application around a worker."""
    metrics, started = Metrics(), time.monotonic()

    def answer(requests: list[ForecastRequest]) -> list[ForecastAnswer | Exception]:
        begin = time.monotonic()
        answers = worker.answer(requests, limits.validate())
        metrics.observe("tsar_batch_requests", len(requests))
        metrics.observe("tsar_batch_seconds", time.monotonic() - begin)
        return answers

    limits.validate()
    batcher = Batcher(
        answer, max_waiting=limits.max_waiting, max_size=limits.max_batch_points, linger_seconds=limits.linger_seconds
    )
    metrics.watch("tsar_waiting", "Requests in the queue.", lambda: batcher.num_waiting)
    metrics.watch("tsar_uptime_seconds", "Since the start.", lambda: time.monotonic() - started)

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.close()

    app = FastAPI(
        title="tsar", version=__version__, summary="Zero-shot time-series forecasts.", lifespan=live,
        docs_url=None, redoc_url=None,  # these pages load scripts from the network
    )  # fmt: skip
    app.state.batcher, app.state.metrics = batcher, metrics
    _add_forecast(app, batcher, metrics)
    _add_state(app, batcher, metrics, worker.name, started)
    _add_errors(app)
    app.middleware("http")(_measure(metrics))
    app.add_middleware(BodyLimit, limits=limits, refuse=_refusal(metrics))
    return app


def _add_forecast(app: FastAPI, batcher: Batcher, metrics: Metrics) -> None:
    @app.post("/forecast", response_model=ForecastAnswer, responses=ERRORS, summary="Forecast every series of a panel")
    async def forecast(request: ForecastRequest) -> Response:
        points = count_points(request)
        answer = await batcher.submit(request, key=_key(request), size=points)
        metrics.count("tsar_series_total", len(answer.items))
        metrics.count("tsar_points_total", points)
        return Response(answer.model_dump_json(warnings=False), media_type="application/json")


def _key(request: ForecastRequest) -> tuple[int | None, str | None, str]:
    """Requests of one key can share a forecast: levels are read off afterwards, panels are put end to end."""
    bounds = "" if request.constraints is None else request.constraints.model_dump_json()
    return request.prediction_length, request.freq, bounds


def _add_state(app: FastAPI, batcher: Batcher, metrics: Metrics, name: str, started: float) -> None:
    def state() -> Health:
        return Health(
            status="closing" if batcher.closing else "ok", ready=batcher.is_working, model=name, version=__version__,
            waiting=batcher.num_waiting, uptime_seconds=time.monotonic() - started,
        )  # fmt: skip

    @app.head("/health", include_in_schema=False)
    @app.get("/health", summary="Whether the process lives")
    async def health() -> Health:
        return state()

    @app.head("/health/ready", include_in_schema=False)
    @app.get("/health/ready", responses={503: {"model": Health}}, summary="Whether it takes requests")
    async def ready(response: Response) -> Health:
        now = state()
        response.status_code = 200 if now.ready else 503
        return now

    @app.get("/metrics", response_class=PlainTextResponse, summary="For Prometheus")
    async def read_metrics() -> PlainTextResponse:
        return PlainTextResponse(metrics.to_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.head("/", include_in_schema=False)
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=headers)


def _measure(metrics: Metrics) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def measure(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path != "/forecast":
            return await go_on(request)
        begin = time.monotonic()
        response = await go_on(request)
        metrics.observe("tsar_request_seconds", time.monotonic() - begin)
        metrics.count("tsar_requests_total", status=response.status_code)
        return response

    return measure


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(TsarError)
    async def refuse(request: Request, error: TsarError) -> JSONResponse:
        return _error_response(request.app.state.metrics, error)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> JSONResponse:
        return _error_response(request.app.state.metrics, _what_is_wrong(error, request.headers.get("content-type")))

    @app.exception_handler(HTTPException)
    async def misplaced(request: Request, error: HTTPException) -> JSONResponse:
        refused = ServeError(str(error.detail), code="serve.bad_request", hint="See /openapi.json.")
        response = _error_response(request.app.state.metrics, refused, status=error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("a request failed", exc_info=error)
        failed = ServeError(f"The server could not answer: {type(error).__name__}.", code="serve.failed")
        return _error_response(request.app.state.metrics, failed)


def _what_is_wrong(error: RequestValidationError, content_type: str | None) -> ServeError:
    """The first mistakes in one line, without the values, which may be anything."""
    mistakes = error.errors()
    if [one["loc"] for one in mistakes] == [("body",)] and not (content_type or "").startswith("application/json"):
        text = "The body was not read as JSON, since its content type does not say so."
        return ServeError(text, code="serve.bad_request", hint="Send the header Content-Type: application/json.")
    told = [f"{'.'.join(map(str, one['loc']))[:LONGEST_PLACE]}: {one['msg']}" for one in mistakes[:FIRST_MISTAKES]]
    more = f" and {len(mistakes) - len(told)} more" if len(mistakes) > len(told) else ""
    return ServeError(f"{'; '.join(told)}{more}.", code="serve.bad_request", hint="See /openapi.json.")


def _error_response(metrics: Metrics, error: TsarError, status: int | None = None) -> JSONResponse:
    metrics.count("tsar_errors_total", code=error.code)
    ids = [one if isinstance(one, int | str) else str(one) for one in error.item_ids]
    text = error.message.encode(errors="replace").decode()  # a key of the body may be half a surrogate pair
    detail = ErrorDetail.model_construct(code=error.code, message=text, item_ids=ids, hint=error.hint)
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.code in ("serve.busy", "serve.closing") else None
    return JSONResponse({"error": detail.model_dump()}, status or STATUS.get(error.code, 422), headers)


def _refusal(metrics: Metrics) -> Callable[[ServeError], ASGIApp]:
    """What answers where the body is not even read to its end: the connection cannot go on."""

    def refuse(error: ServeError) -> ASGIApp:
        response = _error_response(metrics, error)
        response.headers["Connection"] = "close"
        metrics.count("tsar_requests_total", status=response.status_code)
        return response

    return refuse
