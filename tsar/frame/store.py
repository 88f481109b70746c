"""Panels as bytes: an Arrow stream with one row per item, so that a saved forecaster needs no pickle."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from tsar.errors import FrameError, ReleaseError
from tsar.frame.assemble import to_kind
from tsar.frame.columns import Source, item_ids_of, make_source
from tsar.frame.covariates import Covariates
from tsar.frame.panel import FrameReport, Panel
from tsar.freq import make_grid
from tsar.freq.grid import StampDtype
from tsar.types import FloatArray

FORMAT_VERSION = 1
_FACTS = b"tsar"


def panel_to_bytes(panel: Panel) -> bytes:
    """Write a panel with all it takes to forecast it again and to answer in kind.

    Raises
    ------
    FrameError
        ``frame.bad_id`` if Arrow has no type for the ids (tuples, or a mixture of types).
    """
    starts = panel.grid.stamps(panel.starts)
    facts = {
        "format_version": FORMAT_VERSION,
        "kind": panel.source.kind,
        "has_ids": panel.source.ids is not None,
        "id_strings": _strings_of(panel.source),
        "freq": panel.grid.freq or panel.grid.step,
        "stamps": str(starts.dtype),
        "report": dataclasses.asdict(panel.report),
    }
    frame = pd.DataFrame({"timestamp": starts, "start": panel.starts})
    table = _to_arrow(to_kind(frame, "item_id", panel.source, np.arange(panel.num_items)))
    for name, values in _columns_of(panel).items():
        table = table.append_column(name, pa.LargeListArray.from_arrays(panel.offsets, pa.array(values)))
    if panel.covariates is not None:
        facts["covariates"] = {
            "names": panel.covariates.names, "num_past": panel.covariates.num_past,
            "static_names": panel.covariates.static_names, "categories": dict(panel.covariates.categories),
            "static": panel.covariates.static.tolist(),
        }  # fmt: skip
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FACTS: json.dumps(facts)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _columns_of(panel: Panel) -> dict[str, FloatArray]:
    """Target and covariates, each (N,)."""
    covariates = () if panel.covariates is None else panel.covariates.values
    return {"target": panel.values} | {f"covariate {number}": values for number, values in enumerate(covariates)}


def _to_arrow(frame: Any) -> pa.Table:
    """Arrow with the metadata by which the library knows its own types again."""
    try:
        table = pa.Table.from_pandas(frame) if isinstance(frame, pd.DataFrame) else nw.from_native(frame).to_arrow()
    except pa.ArrowException as error:
        raise _unsaveable(error) from error
    if pa.types.is_nested(table.schema.field("item_id").type):
        raise _unsaveable(table.schema.field("item_id").type)
    return table


def _unsaveable(reason: object) -> FrameError:
    return FrameError(f"the ids cannot be saved: {reason}", code="frame.bad_id", hint="use text or integer ids")


def panel_from_bytes(content: bytes) -> Panel:
    """Read what `panel_to_bytes` wrote: the same panel, bit for bit.

    Raises
    ------
    ReleaseError
        ``release.bad_manifest`` if the bytes are not a panel of this version.
    """
    try:
        table = pa.ipc.open_stream(content).read_all()
        table.validate(full=True)  # offsets and text that point outside would be read as they are
        facts = json.loads(table.schema.metadata[_FACTS])
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {facts['format_version']}, expected {FORMAT_VERSION}")
        return _read_panel(table, facts)
    except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OSError, RecursionError) as error:
        raise ReleaseError(f"these bytes are not a panel: {error}", code="release.bad_manifest") from error


def _read_panel(table: pa.Table, facts: dict[str, Any]) -> Panel:
    target = table["target"].combine_chunks()
    values = target.values.to_numpy(zero_copy_only=False)
    values.flags.writeable = False
    frame = _from_arrow(table.select(["item_id", "timestamp"]), facts["kind"], facts.get("id_strings"))
    source = make_source(frame, "item_id" if facts["has_ids"] else None, "timestamp", np.arange(len(frame)))
    stamp_dtype = cast(StampDtype, pd.api.types.pandas_dtype(facts["stamps"]))
    if isinstance(source.stamp_dtype, pd.DatetimeTZDtype):  # Arrow has another object for zones like UTC+01:00
        source = dataclasses.replace(source, stamp_dtype=stamp_dtype)
    return Panel(
        item_ids=item_ids_of(frame["item_id"]),
        values=values,
        offsets=target.offsets.to_numpy(),
        starts=table["start"].to_numpy(),
        grid=make_grid(facts["freq"], stamp_dtype),
        report=FrameReport(**facts["report"]),
        source=source,
        covariates=_read_covariates(table, facts["covariates"]) if "covariates" in facts else None,
    )


def _read_covariates(table: pa.Table, facts: dict[str, Any]) -> Covariates:
    columns = [table[f"covariate {number}"].combine_chunks() for number in range(len(facts["names"]))]
    size = len(table["target"].combine_chunks().values)
    values = [column.values.to_numpy(zero_copy_only=False) for column in columns]
    static = np.array(facts["static"], dtype=np.float64).reshape(len(facts["static_names"]), len(table))
    return Covariates(
        names=tuple(facts["names"]),
        num_past=facts["num_past"],
        values=np.stack(values) if values else np.empty((0, size)),
        static_names=tuple(facts["static_names"]),
        static=static,
        categories={name: tuple(known) for name, known in facts["categories"].items()},
    )


def _strings_of(source: Source) -> str | None:
    """How pandas holds ids that are text, which Arrow does not tell: ``"python"``, ``"pyarrow"``, ``"ArrowDtype"``."""
    dtype = getattr(source.ids, "dtype", None)
    if isinstance(dtype, pd.ArrowDtype) and pa.types.is_string(dtype.pyarrow_dtype):
        return "ArrowDtype"
    return dtype.storage if isinstance(dtype, pd.StringDtype) and dtype.na_value is pd.NA else None


def _from_arrow(table: pa.Table, kind: str, strings: str | None) -> nw.DataFrame[Any]:
    if kind == "pandas":
        frame = table.to_pandas()
        if strings is not None:
            is_arrow = strings == "ArrowDtype"
            dtype = pd.ArrowDtype(pa.string()) if is_arrow else pd.api.types.pandas_dtype(f"string[{strings}]")
            frame["item_id"] = frame["item_id"].astype(dtype)
        return nw.from_native(frame, eager_only=True)
    if kind == "polars":
        import polars as pl

        return nw.from_native(pl.DataFrame(table), eager_only=True)
    return nw.from_native(table.replace_schema_metadata(None), eager_only=True)
