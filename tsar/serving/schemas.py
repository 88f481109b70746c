"""What goes in and out, as ``/openapi.json`` describes it. Nothing is converted: text is no number, 1.5 no count."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

INT64 = 2**63
MAX_FIELDS = 32  # of one object


def _readable(text: str) -> str:
    """Refuse halves of surrogate pairs, which JSON can hold and nothing else."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("text should be valid Unicode") from error
    return text


Text = Annotated[str, AfterValidator(_readable)]
Whole = Annotated[int, Field(ge=-INT64, le=INT64 - 1)]
ItemId = Text | Whole
Stamp = Text | Whole
Number = Annotated[float, Field(allow_inf_nan=False)]
Level = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    """Lists stop at the first mistake and objects at too many fields: naming a million mistakes takes minutes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_many_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > MAX_FIELDS:
            raise ValueError(f"{len(given):,} fields, of which at most {len(cls.model_fields)} are known")
        return given


class Record(_Strict):
    """One row of a panel."""

    item_id: ItemId | None = Field(None, description="names the series; leave out of all rows if there is one")
    timestamp: Stamp = Field(description="start of the period: ISO 8601 text, or a whole number on a regular step")
    target: Number | None = Field(description="the value; null where missing")


class Columns(_Strict):
    """A panel, column by column; all of one length."""

    item_id: Annotated[list[ItemId], Field(fail_fast=True)] | None = Field(
        None, description="leave out if there is one series"
    )
    timestamp: list[Stamp] = Field(min_length=1, fail_fast=True)
    target: list[Number | None] = Field(min_length=1, fail_fast=True)


class Bounds(_Strict):
    """What no quantile may break, as `tsar.Constraints`."""

    lower: Number | None = None
    upper: Number | None = None
    integer: bool | Literal["auto"] = False
    closed_hours: list[Annotated[int, Field(ge=0, le=23)]] = Field(default_factory=list, max_length=24, fail_fast=True)
    closed_weekdays: list[Annotated[int, Field(ge=0, le=6)]] = Field(default_factory=list, max_length=7, fail_fast=True)
    closed: Literal["auto"] | None = None


EXAMPLE: dict[str, Any] = {
    "data": {
        "item_id": ["a"] * 8 + ["b"] * 4,
        "timestamp": [f"2024-01-{day:02}" for day in (*range(1, 9), *range(5, 9))],
        "target": [3.0, 4.5, 6.0, None, 3.0, 4.5, 6.0, 8.0, 20.0, 21.0, 23.0, 22.0],
    },
    "prediction_length": 3,
    "quantile_levels": [0.1, 0.5, 0.9],
}


class ForecastRequest(_Strict):
    """A panel, and what to say about its future."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    data: Annotated[list[Record], Field(min_length=1, fail_fast=True)] | Columns = Field(description="rows, or columns")
    prediction_length: int | None = Field(None, ge=1, description="steps ahead; null: one season of the frequency")
    quantile_levels: list[Level] = Field(
        fail_fast=True, default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], min_length=1, description="distinct"
    )
    freq: Text | None = Field(None, description="pandas alias such as h, D, W-SUN, MS; null: inferred from the stamps")
    constraints: Bounds | None = None


class ItemForecast(_Strict):
    """The forecast of one series; null where nothing can be said."""

    item_id: ItemId
    timestamp: list[Stamp] = Field(description="ISO 8601 text, or whole numbers if those came in")
    predictions: list[float | None] = Field(description="the median")
    quantiles: dict[str, list[float | None]] = Field(description="by level, for example 0.1")
    diagnosis: str = Field(description="what is unusual about the series; empty for nothing")


class ForecastAnswer(_Strict):
    """Forecasts, items in the order of their first row."""

    items: list[ItemForecast]
    freq: str | None = Field(description="canonical alias; null for integer stamps")
    prediction_length: int
    model: str
    warnings: list[str] = Field(description="what was repaired")


class ErrorDetail(_Strict):
    """What is wrong; docs/errors.md has a paragraph for each code."""

    code: str
    message: str
    item_ids: list[ItemId]
    hint: str | None


class ErrorAnswer(_Strict):
    """The body of every answer but 200."""

    error: ErrorDetail


class Health(_Strict):
    """State of the server."""

    status: Literal["ok", "closing"]
    ready: bool
    model: str
    version: str
    waiting: int
    uptime_seconds: float
