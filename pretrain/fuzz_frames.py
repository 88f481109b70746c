"""Throw generated frames at a forecaster: each must end in a coded error or a right answer.

    python pretrain/fuzz_frames.py --frames 20000 --sample 60 --table frames.md

Frame k of a seed is always the same: `--only k` runs one again and shows the traceback. Most go through a tiny decoder
of random weights; one in `--sample` goes through tsar-tiny. The exit code is 1 if any crashed or was answered wrongly.
"""

import argparse
import collections
import datetime
import json
import multiprocessing
import time
import warnings
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch

from tsar import Forecaster
from tsar.errors import CODES, TsarError, TsarWarning
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.storage import write_atomically

BY_UTC = ["ns", "us", "ms", "s", "10s", "min", "5min", "15min", "30min", "h", "2h", "6h", "24h", "36h"]
BY_CALENDAR = [
    *("D", "2D", "7D", "B", "W", "W-WED", "2W-FRI", "MS", "ME", "3MS", "BMS", "BME", "SMS", "SME", "SMS-10"),
    *("QS", "QE", "QS-OCT", "QE-NOV", "BQS", "BQE", "YS", "YE", "YS-APR", "YE-JUN", "BYS", "BYE", "WOM-2TUE"),
]  # fmt: skip
OLD_NAMES = {
    "h": "H", "min": "T", "s": "S", "ms": "L", "ME": "M", "QE": "Q", "YE": "A", "YS": "AS", "BME": "BM", "SME": "SM",
    "5min": "5T", "QE-NOV": "Q-NOV", "YE-JUN": "A-JUN", "D": "1D", "2h": "120min", "15min": "0.25h",
}  # fmt: skip
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe",
    "Asia/Beirut", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Auckland", "+05:30", "pytz", "dateutil",
]  # fmt: skip
STARTS = ["1999-12-25", "2024-02-27", "2024-03-29 20:00", "2024-10-25 21:00", "2018-11-02 22:00", "2011-12-28"]
STAMPS = ["ns", "ns", "ns", "ns", "us", "ms", "s", "object", "text", "datetime", "arrow", "arrow text", "category"]
WHOLE_STAMPS = ["int64", "int32", "uint64", "wide", "Int64", "object", "int64[pyarrow]"]
IDS = [
    "text", "unicode", "evil", "string", "arrow", "category", "int64", "wide", "uint64", "Int64", "bool", "mixed",
    "tuple", "float", "none", "date", "bytes",
]  # fmt: skip
TARGETS = [
    "float64", "float64", "float64", "float32", "float16", "int8", "int64", "wide", "uint64", "Int64", "Float32",
    "boolean", "bool", "double[pyarrow]", "int64[pyarrow]", "decimal[pyarrow]", "objects", "Decimal", "mixed", "text",
    "complex", "category", "longdouble", "sparse",
]  # fmt: skip
SHAPES = ["noise", "noise", "walk", "season", "constant", "counts", "spike", "alternating", "missing", "half missing"]
SIZES = [1.0, 1.0, 1.0, 1e-30, 1e30, 1e-300, 1e300, 5e-324, 1e307]
DAMAGES = {
    "none": 50, "gaps": 14, "many gaps": 4, "duplicate": 5, "same row twice": 2, "off grid": 4, "null stamp": 3,
    "null id": 3, "infinite": 3, "word": 2, "mixed zones": 2, "far stamp": 2, "other start": 4, "no rows": 1,
    "two frequencies": 2, "no column": 1,
}  # fmt: skip
CONTAINERS = ["pandas", "pandas", "pandas", "polars", "pyarrow", "odd index", "more columns", "all arrow", "lazy"]
EVIL = [
    "../../x",
    "/etc/passwd",
    "a\x00b",
    "",
    " ",
    "$x_1$",
    "<b>",
    "NaN",
    "x" * 3000,
    "\u202eabc",
    "é",
    "e\u0301",
    "None",
]
LEVELS = [0.05, 0.5, 0.9]
AHEAD = 70


@dataclass
class Case:
    """One frame with what is known about it.

    `kinds` are its labels, `grid` the regular stamps of all items and what follows (or None), `is_clean` whether it
    must be answered, `last` the place in `grid` of each item's last row.
    """

    number: int
    frame: object = None
    table: pd.DataFrame = None
    kinds: dict = field(default_factory=dict)
    freq: object = None
    horizon: int = 1
    grid: object = None
    last: dict = field(default_factory=dict)
    is_clean: bool = True


# -------------------------------------------------------------------------------------------------------- generating


def make_case(seed, number):
    """Return case `number` of a seed."""
    dice = np.random.default_rng([seed, number])
    case = Case(number)

    def pick(name, choices, chances=None):
        place = dice.choice(len(choices), p=None if chances is None else np.array(chances) / sum(chances))
        return case.kinds.setdefault(name, choices[place])

    pick("damage", list(DAMAGES), list(DAMAGES.values()))
    rows = int(10 ** dice.uniform(0, 4 if dice.random() < 0.02 else 1.6))
    items = min(int(dice.choice([1, 1, 1, 2, 3, 9])), max(1, 10_000 // rows))
    case.horizon = int(dice.choice([1, 2, 17, 64, AHEAD]))
    case.kinds["rows"] = "1-2" if rows < 3 else "3-9" if rows < 10 else "10-99" if rows < 100 else "100-10,000"
    case.grid = make_grid(case, pick, rows + AHEAD, dice)
    ids = make_ids(pick("ids", IDS), items, dice)
    parts = []
    for item_id in ids:
        length = rows if len(ids) == 1 or dice.random() < 0.7 else int(dice.integers(1, rows + 1))
        values = make_values(pick("target", TARGETS), pick("values", SHAPES), pick("size", SIZES), length, dice)
        first = int(dice.integers(rows - length + 1))
        case.last[item_id] = first + length - 1
        part = pd.DataFrame({"timestamp": case.grid[first : first + length], "target": values})
        part.insert(0, "item_id", pd.Series([item_id] * length, dtype=object))
        parts.append(part)
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    table = damage(case, table, dice)
    if dice.random() < 0.4:
        table = table.iloc[dice.permutation(len(table))].reset_index(drop=True)
    table = cast(case, table, pick("stamps", STAMPS), dice)
    if case.kinds["ids"] == "none":
        table = table.drop(columns="item_id")
    case.table = table
    case.frame = contain(case, table, pick("container", CONTAINERS))
    return case


def make_grid(case, pick, length, dice):
    """Regular stamps: whole numbers, or dates of some frequency, zone and start."""
    freq = pick("freq", [*BY_UTC, *BY_CALENDAR, "whole numbers"])
    gives = pick("given as", ["alias", "alias", "inferred", "old alias", "offset"])
    if freq == "whole numbers":
        step = int(dice.choice([1, 1, 2, 7, 10**9]))
        case.freq = None if gives == "inferred" else step
        start = 2**53 + 1 if pick("whole", WHOLE_STAMPS) == "wide" else int(dice.integers(0, 50))
        return start + step * np.arange(length)
    aliases = {"inferred": None, "old alias": OLD_NAMES.get(freq, freq)}
    case.freq = pd.tseries.frequencies.to_offset(freq) if gives == "offset" else aliases.get(gives, freq)
    start = pd.Timestamp(STARTS[dice.integers(len(STARTS))]) if dice.random() < 0.7 else pd.Timestamp("1950-06-30") + pd.Timedelta(  # noqa: E501
        days=int(dice.integers(0, 25_000))
    )  # fmt: skip
    unit = "s" if freq.startswith(("Y", "BY")) or (length > 5000 and freq in BY_CALENDAR) else "ns"
    start = start.as_unit(unit)
    try:
        grid = pd.date_range(start, periods=length, freq=freq, unit=unit)
    except (OverflowError, ValueError):  # past the year 2262
        grid = pd.date_range(pd.Timestamp("1700-01-01"), periods=length, freq="D")
        case.kinds["freq"], case.freq = "D", None if gives == "inferred" else "D"
    zone = pick("zone", [None, None, None, *ZONES])
    if zone is None:
        return grid
    zone = {"pytz": "pytz/Europe/Paris", "dateutil": "dateutil/Europe/Paris"}.get(zone, zone)
    if zone.startswith("pytz/"):
        import pytz

        zone = pytz.timezone("Europe/Paris")
    if case.kinds["freq"] in BY_UTC:
        return grid.tz_localize("UTC").tz_convert(zone)
    moved = grid.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(len(grid), dtype=bool))
    if moved.has_duplicates:
        return grid
    return moved


def make_ids(kind, count, dice):
    """Return different ids of one kind."""
    numbers = [int(one) for one in dice.permutation(count)]
    makers = {
        "unicode": lambda n: "日本語ÄßЖ🎈\u0000"[n % 8] + str(n), "evil": lambda n: EVIL[n % len(EVIL)] + "!" * (n // len(EVIL)),  # noqa: E501
        "int64": lambda n: n - 2, "wide": lambda n: 2**62 + n, "uint64": lambda n: 2**63 + n, "Int64": lambda n: n,
        "tuple": lambda n: ("a", n), "float": lambda n: n + 0.5, "mixed": lambda n: n if n % 2 else f"a{n}",
        "date": lambda n: pd.Timestamp("2020-01-01") + pd.Timedelta(days=n), "bytes": lambda n: b"id%d" % n,
        "bool": bool, "none": lambda n: 0,
    }  # fmt: skip
    made = [makers.get(kind, lambda n: f"item {n}")(n) for n in numbers]
    return list(dict.fromkeys(made))


def make_values(kind, shape, size, length, dice):
    """Return (length,) numbers of some shape and size that suit the kind of the target."""
    steps = np.arange(length)
    values = {
        "noise": lambda: dice.normal(size=length), "walk": lambda: dice.normal(size=length).cumsum() + 50,
        "season": lambda: np.sin(steps / 2) + 3, "constant": lambda: np.full(length, dice.normal()),
        "counts": lambda: dice.poisson(0.7, length).astype(float), "spike": lambda: np.where(steps == length // 2, 1e6, 0.0),  # noqa: E501
        "alternating": lambda: np.where(steps % 2, 1.0, -1.0), "missing": lambda: np.full(length, np.nan),
        "half missing": lambda: np.where(dice.random(length) < 0.5, np.nan, dice.normal(size=length)),
    }[shape]()  # fmt: skip
    if kind in ("float64", "objects", "double[pyarrow]", "longdouble"):
        with np.errstate(over="ignore"):  # beyond 1e307 sums overflow in the decoder
            return np.clip(values * size, -1e307, 1e307)
    if kind in (
        "float32",
        "Float32",
        "float16",
        "category",
        "sparse",
        "complex",
        "text",
        "Decimal",
        "decimal[pyarrow]",
    ):
        return np.round(values * 100) / 100
    whole = np.nan_to_num(np.abs(np.rint(values)))
    return whole % 100 if kind == "int8" else whole % 2 if kind in ("bool", "boolean") else whole


def damage(case, table, dice):
    """Spoil a table as its label says; what may then be refused is not clean any more."""
    kind, length = case.kinds["damage"], len(table)
    if kind == "none":
        return table
    case.is_clean = False
    row = int(dice.integers(length))
    if kind in ("gaps", "many gaps"):
        kept = dice.random(length) < (0.85 if kind == "gaps" else 0.2)
        kept |= ~table["item_id"].duplicated(keep="last").to_numpy() | ~table["item_id"].duplicated().to_numpy()
        return table[kept].reset_index(drop=True)
    if kind in ("duplicate", "same row twice"):
        extra = table.iloc[[row]].copy()
        if kind == "duplicate" and pd.notna(extra["target"].iloc[0]):
            extra["target"] += 1
        return pd.concat([table, extra], ignore_index=True)
    case.grid = None
    if kind in ("no rows", "no column"):
        return table.iloc[:0] if kind == "no rows" else table.rename(columns={"target": "y"})
    if kind == "infinite":
        table["target"] = table["target"].astype(float)
        table.loc[row, "target"] = dice.choice([np.inf, -np.inf])
        return table
    column = {"word": "target", "null id": "item_id"}.get(kind, "timestamp")
    table[column] = table[column].astype(object)
    stamp = table["timestamp"].iloc[row]
    spoilt = {
        "word": "seven", "null id": None, "null stamp": None, "mixed zones": pd.Timestamp("2024-01-01", tz="Asia/Tokyo"),  # noqa: E501
    }  # fmt: skip
    if kind in spoilt:
        table.at[row, column] = spoilt[kind]
    elif isinstance(stamp, pd.Timestamp):
        moves = {"off grid": pd.Timedelta("37s"), "far stamp": pd.Timedelta(days=36_500)}
        move = moves.get(kind, pd.Timedelta(days=1))
        times = np.arange(length) if kind == "two frequencies" else np.arange(length) == row
        try:
            table["timestamp"] = [one + move * int(n) for one, n in zip(table["timestamp"], times, strict=True)]
        except (OverflowError, ValueError):  # past the year 2262
            table = table.iloc[:0]
    else:
        table.at[row, "timestamp"] = stamp + (10**12 if kind == "far stamp" else 1)
    return table


def cast(case, table, stamps, dice):
    """Give the columns their types; a type that cannot hold the values leaves them as they are."""
    kinds = case.kinds
    if kinds["freq"] == "whole numbers":
        stamps = kinds["whole"] if kinds["whole"] != "wide" else "int64"
    makers = {
        "timestamp": {
            "text": lambda c: c.astype(str).where(c.notna(), None), "object": lambda c: c.astype(object),
            "datetime": lambda c: pd.Series([one.to_pydatetime(warn=False) for one in c], dtype=object),
            "arrow": lambda c: c.astype(pd.ArrowDtype(pa.timestamp("us", tz=arrow_zone(c.dt.tz)))),
            "arrow text": lambda c: c.astype(str).astype("string[pyarrow]"), "category": lambda c: c.astype("category"),
            **{unit: (lambda c, unit=unit: c.dt.as_unit(unit)) for unit in ("ns", "us", "ms", "s")},
        },
        "item_id": {
            "string": lambda c: c.astype("string"), "arrow": lambda c: c.astype("string[pyarrow]"),
            "category": lambda c: pd.Series(pd.Categorical(c, ["unused", *dict.fromkeys(c.dropna())])),
            "wide": lambda c: c.astype("int64"), "bytes": lambda c: c, "date": lambda c: pd.to_datetime(c),
        },
        "target": {
            "objects": lambda c: c.astype(object).where(c.notna(), None), "text": lambda c: c.astype(str),
            "mixed": lambda c: pd.Series([one if place % 2 else int(one) for place, one in enumerate(c)], dtype=object),
            "Decimal": lambda c: pd.Series([None if pd.isna(one) else Decimal(str(one)) for one in c], dtype=object),
            "decimal[pyarrow]": lambda c: pd.Series([None if pd.isna(one) else Decimal(str(one)) for one in c], dtype=pd.ArrowDtype(pa.decimal128(20, 4))),  # noqa: E501
            "wide": lambda c: (c.astype("int64") + 2**60), "sparse": lambda c: c.astype(pd.SparseDtype(float)),
            "Int64": lambda c: c.mask(dice.random(len(c)) < 0.1).astype("Int64"),
        },
    }  # fmt: skip
    for column, kind in (("timestamp", stamps), ("item_id", kinds["ids"]), ("target", kinds["target"])):
        if column not in table:
            continue
        try:
            before = table[column]
            after = makers[column].get(kind, lambda c, kind=kind: c.astype(kind))(before)
            if (
                column == "timestamp"
                and kind in ("us", "ms", "s", "arrow", "datetime", "int32")
                and (pd.Series(after).astype(before.dtype) != before).any()
            ):
                continue  # that type cannot hold these stamps
            table[column] = after
        except Exception:  # noqa: BLE001 whatever pandas raises for a type that cannot hold the values: it is not under test  # noqa: E501
            continue
    return table


def arrow_zone(zone):
    """Spell a zone as arrow does."""
    name = str(zone)
    return None if zone is None else "+05:30" if "05:30" in name else "Europe/Paris" if "tzfile" in name else name


def contain(case, table, kind):
    """Put the table into a container; one whose library cannot hold it stays a pandas frame."""
    try:
        if kind in ("polars", "lazy") and case.kinds.get("zone") == "+05:30" and "text" not in case.kinds["stamps"]:
            raise TypeError("polars knows named zones only, and panics at others")
        if case.kinds["freq"] == "ns" and table["timestamp"].dtype == object and kind not in ("pandas", "odd index"):
            raise TypeError("arrow and polars take such objects for microseconds")
        if kind in ("polars", "lazy"):
            frame = pl.from_pandas(table)
            return frame.lazy() if kind == "lazy" else frame
        if kind == "pyarrow":
            return pa.Table.from_pandas(table, preserve_index=False)
        if kind == "all arrow":
            keeps = isinstance(table["timestamp"].dtype, pd.ArrowDtype)  # its zone would be lost
            frame = table.convert_dtypes(dtype_backend="pyarrow")
            return frame.assign(timestamp=table["timestamp"]) if keeps else frame
    except Exception:  # noqa: BLE001 whatever that library raises: it is not under test
        case.kinds["container"] = "pandas"
        return table
    if kind == "odd index":
        return table.set_index(pd.Index(["same"] * len(table)))
    return table.assign(other=1, **{"0.9": "text"}) if kind == "more columns" else table


# ---------------------------------------------------------------------------------------------------------- checking


def run(case, model, *, is_sample=False):
    """Return ``answer`` or the error's code; raise AssertionError for a wrong answer."""
    id_column = "item_id" if "item_id" in case.table else None
    forecaster = Forecaster(
        model, prediction_length=case.horizon, quantile_levels=LEVELS, freq=case.freq, id_column=id_column
    )
    before = case.table.copy(deep=True) if is_sample or case.number % 10 == 0 else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TsarWarning)
        try:
            result = forecaster.fit(case.frame).predict() if case.number % 2 else forecaster.predict(case.frame)
        except TsarError as error:
            assert error.code in CODES and str(error), "an unknown code"
            check_refusal(case, error)
            return error.code
    answer = result if isinstance(result, pd.DataFrame) else result.to_pandas()
    check_answer(case, answer, result, id_column)
    if before is not None:
        pd.testing.assert_frame_equal(case.table, before)
    if case.number % 20 == 0 and id_column and isinstance(case.frame, pd.DataFrame):
        check_shuffled(case, forecaster, answer)
    return "answer"


def check_refusal(case, error):
    """A regular frame of numbers is answered, unless its types cannot be used or nothing tells the frequency."""
    is_told = case.freq is not None or (case.kinds["rows"] in ("10-99", "100-10,000") and min(case.last.values()) > 9)
    is_text = "text" in case.kinds["stamps"]
    moves = case.kinds.get("zone") not in (None, "UTC", "+05:30") and is_text  # of more offsets
    usable = (
        not moves
        and case.kinds["target"] not in ("text", "complex", "category", "longdouble", "float16")
        and case.kinds["ids"] not in ("mixed", "float", "tuple", "bytes")
    )
    allowed = error.code in (
        "frequency.irregular",
        "frequency.mixed",
        "frequency.cannot_infer",
        "frequency.out_of_range",
    )
    too_coarse = error.code == "frequency.unsupported" and "cannot hold" in str(
        error
    )  # milliseconds, say, no microseconds
    too_far = error.code == "frame.bad_timestamp" and "ends in 2262" in str(error)  # objects and text
    fine = (case.freq is None and allowed) or error.code == "frequency.out_of_range" or too_coarse or too_far
    assert fine or not (case.is_clean and is_told and usable), f"refused a regular frame: {error}"


def check_answer(case, answer, result, id_column):
    """Schema, order of items, types, finite ordered quantiles, and stamps that go on with the grid."""
    names = [str(level) for level in LEVELS]
    expected = ["item_id", "timestamp", "target_name", "predictions", *names]
    assert answer.columns.tolist() == expected, answer.columns.tolist()
    kind = {"polars": pl.DataFrame, "lazy": pl.DataFrame, "pyarrow": pa.Table}.get(
        case.kinds["container"], pd.DataFrame
    )
    assert type(result) is kind, type(result)
    given = case.table["item_id"] if id_column else pd.Series(["series_0"] * len(case.table))
    items = list(dict.fromkeys(given))  # pandas takes "a\0b" for "a"
    assert len(answer) == len(items) * case.horizon, "wrong number of rows"
    if kind is pd.DataFrame:
        if id_column:
            assert answer["item_id"].tolist() == [one for one in items for _ in range(case.horizon)], "ids"
            assert answer["item_id"].dtype == case.frame["item_id"].dtype, "type of ids"
        stamps = case.frame["timestamp"]
        if stamps.dtype.kind in "Mi" and str(stamps.dtype) not in ("category", "object"):
            assert answer["timestamp"].dtype == stamps.dtype, f"{answer['timestamp'].dtype} for {stamps.dtype}"
    numbers = answer[["predictions", *names]].to_numpy(dtype=float).reshape(len(items), case.horizon, -1)
    assert not np.isinf(numbers).any(), "infinite"
    targets = case.table["target"]
    for place, item_id in enumerate(items):
        mask = (given == item_id).to_numpy(dtype=bool) if id_column else np.ones(len(given), dtype=bool)
        known = targets[mask].dropna().astype(float)
        if known.empty or (case.grid is None and np.isnan(numbers[place]).all()):  # nothing in sight of the decoder
            assert np.isnan(numbers[place]).all(), "numbers from nothing"
            continue
        assert np.isfinite(numbers[place]).all(), "not finite"
        assert (numbers[place][:, 2:] >= numbers[place][:, 1:-1]).all(), "crossing quantiles"
        if known.nunique() == 1 and case.kinds["target"] not in ("float16", "decimal[pyarrow]", "Decimal"):
            assert (numbers[place] == known.iloc[0]).all(), (
                f"a constant {known.iloc[0]!r} became {numbers[place].ravel()[:3]}"
            )
        check_stamps(case, answer["timestamp"].iloc[place * case.horizon : (place + 1) * case.horizon], item_id)


def check_stamps(case, future, item_id):
    """The stamps go on with the grid of the item, where it is known."""
    assert future.notna().all() and future.is_monotonic_increasing and future.is_unique, "stamps"
    is_sure = case.freq is not None or (
        case.kinds["freq"] in ("h", "15min", "s", "ms", "whole numbers") and len(case.table) > 20
    )
    if case.kinds.get("zone") and "text" in case.kinds["stamps"]:  # an offset is no zone
        return
    if case.grid is None or not is_sure or case.kinds["damage"] not in ("none", "gaps", "many gaps"):
        return
    place = case.last[item_id] if item_id in case.last else next(iter(case.last.values()))
    expected = case.grid[place + 1 : place + 1 + case.horizon]
    if not isinstance(expected, np.ndarray):
        if any(one.year > 2261 for one in future):  # which pandas does not read from objects
            future = pd.Series(np.array([pd.Timestamp(one).timestamp() for one in future]).astype("datetime64[s]"))
            future = future.dt.tz_localize("UTC") if expected.tz else future
        found = pd.DatetimeIndex(pd.to_datetime(future, utc=expected.tz is not None))
        found, expected = (one.tz_convert("UTC") if one.tz else one for one in (found, expected))
        assert (found == expected).all(), f"{list(found[:3])} instead of {list(expected[:3])}"
    else:
        assert future.astype("int64").tolist() == expected.tolist(), f"{future.tolist()[:3]} for {expected[:3]}"


def check_shuffled(case, forecaster, answer):
    """Rows in another order give the same numbers."""
    order = np.random.default_rng(case.number).permutation(len(case.table))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        other = forecaster.predict(case.table.iloc[order])
    names = ["predictions", *(str(level) for level in LEVELS)]
    numbers = {}
    for name, table in (("one", answer), ("two", other)):
        keys = table["item_id"].astype(str) if case.kinds["ids"] != "evil" else table["item_id"].map(repr)
        numbers[name] = (
            table.assign(key=keys.to_numpy(), step=np.tile(np.arange(case.horizon), len(table) // case.horizon))
            .sort_values(["key", "step"])[names]
            .to_numpy(float)
        )
    scale = np.nanmax(np.abs(numbers["one"]), initial=0)
    with np.errstate(over="ignore"):
        difference = np.abs(numbers["one"] / 2 - numbers["two"] / 2) * 2
    assert not (difference > 1e-4 * scale).any(), f"shuffled rows differ by {np.nanmax(difference)} of {scale}"


# ------------------------------------------------------------------------------------------------------------ running


def random_decoder():
    """Return a decoder small enough for thousands of frames, none of whose weights is zero."""
    config = ModelConfig(
        d_model=16, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8, d_ff=16, patch_length=8, output_length=16,
        context_length=128, max_span=6,
    )  # fmt: skip
    decoder = Decoder(config)
    dice = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            noise = torch.randn(weight.shape, generator=dice)
            weight.copy_(
                0.2 * noise * (weight.shape[-1] ** -0.5 if weight.ndim > 1 else 1) + (1.0 if "norm" in name else 0)
            )
    return decoder.eval().requires_grad_(False)


def fuzz(seed, numbers, sample=0):
    """Run cases, one in `sample` through tsar-tiny; return (kind, label, outcome) counts and the failures' texts."""
    models = {False: random_decoder(), True: "tsar-tiny"}
    counts, failures = collections.Counter(), []
    for number in numbers:
        is_sample = sample > 0 and number % sample == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = make_case(seed, number)
        try:
            outcome = run(case, models[is_sample], is_sample=is_sample)
        except Exception as error:  # noqa: BLE001 anything but a coded error is what we look for
            outcome = "WRONG" if isinstance(error, AssertionError) else "CRASH"
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:300]} {case.kinds}")
        for kind, label in [("all", "all"), ("model", "tsar-tiny" if is_sample else "random"), *case.kinds.items()]:
            counts[kind, str(label), outcome] += 1
    return counts, failures


def fuzz_in_parts(seed, frames, sample, jobs, table, keep=None):
    """As `fuzz`, in parts of 500; the table is written after each. Parts in the folder `keep` are not run again."""
    parts = [(seed, range(first, min(first + 500, frames)), sample, keep) for first in range(0, frames, 500)]
    counts, failures = collections.Counter(), []
    with multiprocessing.get_context("spawn").Pool(jobs, torch.set_num_threads, (1,)) as pool:
        for done, (found, failed) in enumerate(pool.imap(_fuzz_part, parts), 1):
            counts += found
            failures += failed
            if table:
                Path(table).write_text(make_summary(counts) + "\n\n" + make_table(counts) + "\n")
            print(f"{done} of {len(parts)} parts", *failed, sep="\n", flush=True)
    return counts, failures


def _fuzz_part(part):
    seed, numbers, sample, keep = part
    path = Path(keep) / f"{seed}-{sample}-{numbers.start}-{numbers.stop}.json" if keep else None
    if path is not None and path.is_file():
        counts, failures = json.loads(path.read_text())
        return collections.Counter({tuple(key): count for key, count in counts}), failures
    counts, failures = fuzz(seed, numbers, sample)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([list(counts.items()), failures]).encode())
    return counts, failures


def make_table(counts):
    """Return Markdown: a row for every label, with the shares of answers and what the others were refused with."""
    lines = ["| kind | label | frames | answers | refused with | crashed or wrong |", "|---|---|---:|---:|---|---:|"]
    for kind, label in dict.fromkeys((kind, label) for kind, label, _ in sorted(counts, key=str)):
        found = {outcome: count for (k, name, outcome), count in counts.items() if (k, name) == (kind, label)}
        bad = found.get("WRONG", 0) + found.get("CRASH", 0)
        codes = sorted(((n, code) for code, n in found.items() if "." in code), reverse=True)
        shown = ", ".join(f"`{code}` {n}" for n, code in codes[:3]) + (" …" if len(codes) > 3 and kind != "all" else "")
        if kind == "all":
            shown = ", ".join(f"`{code}` {n}" for n, code in codes)
        lines.append(f"| {kind} | {label} | {sum(found.values())} | {found.get('answer', 0)} | {shown} | {bad} |")
    return "\n".join(lines)


def make_summary(counts):
    """Return Markdown: the totals, then a row for every kind of label with all its labels together."""
    total = collections.Counter({outcome: n for (kind, _, outcome), n in counts.items() if kind == "all"})
    codes = ", ".join(f"`{code}` {n}" for code, n in total.most_common() if "." in code)
    head = "| kind | labels | fewest a label | frames | answers | refused | crashed or wrong |"
    lines = [f"Refused with: {codes}.\n", head, "|---|---:|---:|---:|---:|---:|---:|"]
    for kind in sorted({kind for kind, _, _ in counts}):
        found, labels = collections.Counter(), collections.Counter()
        for (one, label, outcome), n in counts.items():
            if one == kind:
                found["refused" if "." in outcome else outcome] += n
                labels[label] += n
        numbers = [len(labels), min(labels.values()), found.total(), found["answer"], found["refused"]]
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} | {found['WRONG'] + found['CRASH']} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=0, help="one frame in so many goes through tsar-tiny; 0: none")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--only", type=int, help="run this frame and show what happens")
    parser.add_argument("--table", help="write the table of what was tried to this file")
    parser.add_argument("--keep", help="folder for finished parts: a run that was stopped goes on from there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only is not None:
        case = make_case(options.seed, options.only)
        print(case.kinds, case.freq, case.horizon, case.table, case.table.dtypes, run(case, random_decoder()), sep="\n")
        return 0
    began = time.perf_counter()
    asked = (options.seed, options.frames, options.sample, options.jobs, options.table, options.keep)
    failures = fuzz_in_parts(*asked)[1]
    text = f"{options.frames} frames, seed {options.seed}, {len(failures)} crashed or wrong"
    print(f"{text}; {time.perf_counter() - began:.0f} s; {datetime.datetime.now(tz=datetime.UTC).date()}.")
    return int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
