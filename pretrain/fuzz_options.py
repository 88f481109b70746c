"""Throw random combinations of options at a forecaster: each must end in a coded error or a sound answer.

    python pretrain/fuzz_options.py --cases 1000

Case k of a seed is always the same: `--only k` runs one again and shows the traceback. The decoder is tiny and has
random weights. `fuzz_frames.py` varies the frames; here they are plain, and the options, and what is done with them,
vary. The exit code is 1 if any crashed or was answered wrongly.
"""

import argparse
import collections
import copy
import pickle
import tempfile
import threading
import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from fuzz_frames import random_decoder

from tsar import Forecaster
from tsar.errors import CODES, TsarError, TsarWarning

FREQS = ["s", "15min", "h", "D", "B", "W-WED", "MS", "QE-NOV", "YS", 1, 3]
SHAPES = ["season", "walk", "noise", "counts", "constant", "spike", "half missing", "missing"]
SIZES = [1.0, 1.0, 1e5, 1e30, 1e-30]
LEVELS = [[0.1, 0.5, 0.9], [0.01, 0.999], [0.9, 0.1], [0.5], [0.123456]]
COVARIATES = {"past_covariates": "driver", "future_covariates": "plan", "static_covariates": "kind"}
CHANNELS = ["related", "group", "attention", "identity", "pca", "linear", "vae", {"kind": "pca", "num_latents": 1}]
CONSTRAINTS = [
    {"lower": 0.0}, {"lower": 2.0, "upper": 9.0}, {"integer": True, "upper": 7.5}, {"upper": {"item 0": 3.0}},
    {"closed": "auto"},
]  # fmt: skip
OPTIONS = {  # name: choices, and how often it is given
    "context_length": ([1, 16, 40, [16, 64], 1000], 0.4), "symmetrize": ([False], 0.3),
    "downsample": ([1, 2, 100], 0.3), "follow_period": ([False], 0.3),
    "non_negative": ([True, False], 0.3), "batch_size": ([1, 7], 0.3),
    "calibrate": ([True, "split"], 0.15), "constraints": (CONSTRAINTS, 0.3), "gap": ([1, 4], 0.3),
    "mode": (["head", "lora", "full", "prompt", "from_scratch"], 0.08),
}  # fmt: skip
CONTAINERS = {
    "pandas": lambda table: table, "polars": pl.from_pandas,
    "pyarrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
}  # fmt: skip
AHEAD = 20


@dataclass
class Case:
    """A frame, the future of its covariates, options, and labels for the report."""

    dice: np.random.Generator
    table: pd.DataFrame = None
    future: pd.DataFrame = None
    options: dict = field(default_factory=dict)
    kinds: dict = field(default_factory=dict)

    @property
    def targets(self):
        """Names of the targets."""
        given = self.options["target"]
        return [given] if isinstance(given, str) else given

    @property
    def learns(self):
        """Whether items have to do with each other, so that they are not forecast alone as they are together."""
        return any(self.options.get(name) for name in (*COVARIATES, "channel_adapter", "calibrate", "mode"))


def make_case(seed, number):
    """Return case `number` of a seed."""
    dice = np.random.default_rng([seed, number])
    case = Case(dice)

    def pick(name, choices):
        case.kinds[name] = choices[dice.integers(len(choices))]
        return case.kinds[name]

    freq, rows, items = pick("freq", FREQS), pick("rows", [1, 2, 12, 60, 150]), pick("items", [1, 2, 4])
    if isinstance(freq, int):
        grid = pd.Index(7 + freq * np.arange(rows + AHEAD))
    else:
        grid = pd.date_range("2019-10-20", periods=rows + AHEAD, freq=freq)
    names = ["target", "b", "c"][: pick("targets", [1, 1, 2, 3])]
    covariates = [name for name in COVARIATES if dice.random() < 0.12]
    parts = []
    for item in dice.permutation(items):
        part = pd.DataFrame({"item_id": f"item {item}", "timestamp": grid, "driver": dice.normal(size=len(grid))})
        part["plan"], part["kind"] = np.where(dice.random(len(grid)) < 0.3, "on", "off"), float(item)
        for name in names:
            part[name] = make_values(pick("shape", SHAPES), len(grid), dice) * pick("size", SIZES)
        parts.append(part[int(dice.integers(rows)) if dice.random() < 0.4 else 0 :])
    whole = pd.concat(parts, ignore_index=True)
    is_past = whole.groupby("item_id").cumcount(ascending=False) >= AHEAD
    case.table = whole[is_past].sample(frac=1, random_state=number).reset_index(drop=True)
    case.future = whole[~is_past].reset_index(drop=True)[["item_id", "timestamp", "plan"]]
    case.options = {
        "prediction_length": pick("horizon", [1, 2, 16]), "freq": freq, "target": names if len(names) > 1 else names[0],
        "quantile_levels": pick("levels", LEVELS), "random_state": int(dice.integers(3)),
    }  # fmt: skip
    case.options |= {name: [COVARIATES[name]] for name in covariates}
    if covariates:
        case.options["covariate_method"] = "ridge"
    for name, (choices, share) in OPTIONS.items():
        if dice.random() < share:
            case.options[name] = choices[dice.integers(len(choices))]
    if case.options.get("mode"):
        case.options["fine_tune"] = {"max_steps": 3, "least_gain": 0.0}
    if dice.random() < (0.5 if len(names) > 1 else 0.1):
        case.options["channel_adapter"] = CHANNELS[dice.integers(len(CHANNELS))] if len(names) > 1 else "group"
    pick("container", list(CONTAINERS))
    return case


def make_values(shape, length, dice):
    """Return (length,) numbers."""
    steps = np.arange(length)
    values = {
        "season": 10 + 3 * np.sin(steps / 2) + 0.3 * dice.normal(size=length), "noise": dice.normal(size=length),
        "walk": 20 + dice.normal(size=length).cumsum(), "counts": dice.poisson(0.7, length).astype(float),
        "constant": np.full(length, 3.0), "spike": np.where(steps == length // 2, 1e6, 0.0),
        "half missing": np.where(dice.random(length) < 0.5, np.nan, dice.normal(size=length)),
        "missing": np.full(length, np.nan),
    }  # fmt: skip
    return values[shape]


# ---------------------------------------------------------------------------------------------------------- checking


def run(case, model):
    """Return ``answer`` or the error's code; raise AssertionError for a wrong answer."""
    before, world = case.table.copy(deep=True), state_of_the_world()
    ahead = {"future_df": contain(case, case.future)} if "future_covariates" in case.options else {}
    try:
        fitted = Forecaster(model, **case.options).fit(contain(case, case.table))
        own = dict(vars(fitted))
        answer = fitted.predict(**ahead)
    except TsarError as error:
        assert error.code in CODES and str(error), "an unknown code"
        return error.code
    check_answer(case, answer)
    numbers = numbers_of(case, answer)
    for name in case.dice.choice(list(CHECKS), 3, replace=False):
        CHECKS[name](case, fitted, ahead, numbers)
    pd.testing.assert_frame_equal(case.table, before)
    assert state_of_the_world() == world, "the caller's random numbers or settings have changed"
    assert own.keys() == vars(fitted).keys() and all(own[name] is vars(fitted)[name] for name in own), "predict wrote"
    return "answer"


def state_of_the_world():
    """Return what a library must leave as it is: random numbers, threads, how errors are handled."""
    legacy = np.random.get_state()  # noqa: NPY002 the state of callers that use it
    return legacy[1].tobytes(), legacy[2], torch.get_rng_state().numpy().tobytes(), torch.get_num_threads(), np.geterr()


def contain(case, table):
    return CONTAINERS[case.kinds["container"]](table)


def columns_of(case):
    return ["predictions", *(str(level) for level in case.options["quantile_levels"])]


def numbers_of(case, answer):
    """Return the numbers (I * C, F, 1 + Q), whatever the order of the items."""
    table = answer if isinstance(answer, pd.DataFrame) else answer.to_pandas()
    rows = table.sort_values(["item_id", "target_name", "timestamp"])[columns_of(case)].to_numpy(float)
    return rows.reshape(-1, case.options["prediction_length"], rows.shape[-1])


def check_answer(case, answer):
    """Schema, order, stamps after the gap, finite ordered quantiles, constants, constraints."""
    table = answer if isinstance(answer, pd.DataFrame) else answer.to_pandas()
    assert table.columns.tolist() == ["item_id", "timestamp", "target_name", *columns_of(case)]
    items, horizon = case.table["item_id"].drop_duplicates().tolist(), case.options["prediction_length"]
    expected = [(item, name) for item in items for name in case.targets for _ in range(horizon)]
    assert list(zip(table["item_id"], table["target_name"], strict=True)) == expected, "rows"
    order = np.argsort(case.options["quantile_levels"])
    gap = case.options.get("gap", 0)
    for (item, name), rows in table.groupby(["item_id", "target_name"]):
        stamps = case.future.loc[case.future["item_id"] == item, "timestamp"]
        assert rows["timestamp"].tolist() == stamps.iloc[gap : gap + horizon].tolist(), "stamps"
        known = case.table.loc[case.table["item_id"] == item, name].dropna().unique()
        numbers = rows[columns_of(case)].to_numpy()
        if not len(known) and case.options.get("channel_adapter") in (None, "group", "related", "identity"):
            assert np.isnan(numbers).all(), "numbers from nothing"
        if len(known) and "context_length" not in case.options:
            assert np.isfinite(numbers).all(), "not finite"
        assert not (np.diff(numbers[:, 1:][:, order]) < 0).any(), "crossing quantiles"
        is_moved = any(case.options.get(one) for one in ("constraints", "channel_adapter", "calibrate", "non_negative"))
        if len(known) == 1 and not is_moved and np.isfinite(numbers).all():
            assert (numbers == known[0]).all(), "a constant has moved"
    check_constraints(case, table[columns_of(case)].to_numpy())


def check_constraints(case, numbers):
    wanted = case.options.get("constraints") or {}
    if wanted.get("integer"):
        assert not (np.abs(numbers - np.rint(numbers)) > 0).any(), "no whole number"
    for name, sign in (("lower", 1), ("upper", -1)):
        if isinstance(wanted.get(name), float):
            assert not (sign * numbers < sign * wanted[name]).any(), f"beyond {name}"


def check_repeated(case, fitted, ahead, numbers):
    assert_same(numbers, numbers_of(case, fitted.predict(**ahead)), "the second time")
    adapted = fitted.predict(adapt_steps=1, **ahead)
    check_answer(case, adapted)
    check_answer(case, fitted.predict(neighbours=2, **ahead))
    assert_same(numbers, numbers_of(case, fitted.predict(**ahead)), "after another call")


def check_copies(case, fitted, ahead, numbers):
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(f"{folder}/saved")
        loaded = Forecaster.load(f"{folder}/saved")
        for other in (loaded, pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
            assert_same(numbers, numbers_of(case, other.predict(**ahead)), f"of a copy ({type(other).__name__})")


def check_frames(case, fitted, ahead, numbers):
    """The frame again, with columns that nobody asked for, and as another call of fit."""
    more = case.table.assign(**{"0.5": np.inf, "other": "text"})
    again = Forecaster(fitted.model, **case.options).fit(contain(case, more))
    assert_same(numbers, numbers_of(case, again.predict(**ahead)), "with more columns")
    assert_same(numbers, numbers_of(case, fitted.predict(contain(case, case.table), **ahead)), "of predict(df)")


def check_alone(case, fitted, ahead, numbers):
    if case.learns:
        return
    for place, item in enumerate(sorted(case.table["item_id"].unique())):
        alone = numbers_of(case, fitted.predict(case.table[case.table["item_id"] == item]))
        together = numbers[place * len(alone) : (place + 1) * len(alone)]
        assert_same(together, alone, "alone", tolerance=2e-4)


def check_scaled(case, fitted, ahead, numbers):
    """Series of another unit have the same forecast, in this unit."""
    if "constraints" in case.options:
        return
    larger = case.table.assign(**{name: 16 * case.table[name] for name in case.targets})
    again = Forecaster(fitted.model, **case.options).fit(contain(case, larger))
    assert_same(numbers, numbers_of(case, again.predict(**ahead)) / 16, "of another unit", tolerance=1e-6)


def check_samples(case, fitted, ahead, numbers):
    samples = fitted.sample(num_samples=7, **ahead)
    table = samples if isinstance(samples, pd.DataFrame) else samples.to_pandas()
    paths = table["predictions"].to_numpy().reshape(-1, 7, case.options["prediction_length"])
    check_constraints(case, paths)
    middles = fitted.predict_quantiles(quantile_levels=(np.arange(7) + 0.5) / 7, **ahead).quantiles
    assert_same(np.sort(paths, 1).transpose(0, 2, 1), middles, "of samples")


def check_levels(case, fitted, ahead, numbers):
    """A quantile does not depend on which others are asked for."""
    lowest = min(case.options["quantile_levels"])
    one = fitted.predict_quantiles(quantile_levels=[lowest], **ahead).quantiles
    several = fitted.predict_quantiles(quantile_levels=[lowest, 0.9995], **ahead).quantiles
    assert_same(one[..., 0], several[..., 0], "by level")


def check_threads(case, fitted, ahead, numbers):
    found = []

    def call():
        found.append(numbers_of(case, fitted.predict(**ahead)))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3, "a thread has died"
    for other in found:
        assert_same(numbers, other, "of threads")


CHECKS = {
    "repeated": check_repeated, "copies": check_copies, "frames": check_frames, "alone": check_alone,
    "scaled": check_scaled, "samples": check_samples, "levels": check_levels, "threads": check_threads,
}  # fmt: skip


def assert_same(one, two, what, tolerance=0.0):
    assert one.shape == two.shape and (np.isnan(one) == np.isnan(two)).all(), f"other shapes {what}"
    scale = np.nanmax(np.abs(one), initial=0.0)
    assert not (np.abs(one - two) > tolerance * scale).any(), f"other numbers {what}"


# ------------------------------------------------------------------------------------------------------------ running


def fuzz(seed, numbers):
    """Run cases; return counts of the outcomes and the failures' texts."""
    model = random_decoder()
    counts, failures = collections.Counter(), []
    for number in numbers:
        case = make_case(seed, number)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", TsarWarning)
                outcome = run(case, model)
        except Exception as error:  # noqa: BLE001 anything but a coded error is what we look for
            outcome = "WRONG" if isinstance(error, AssertionError) else "CRASH"
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:300]} {case.kinds} {case.options}")
        counts[outcome] += 1
    return counts, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this case and show what happens")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only is not None:
        case = make_case(options.seed, options.only)
        print(case.kinds, case.options, case.table, run(case, random_decoder()), sep="\n")
        return 0
    counts, failures = fuzz(options.seed, range(options.cases))
    print(*failures, dict(counts.most_common()), sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
