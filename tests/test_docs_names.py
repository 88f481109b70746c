"""What the documentation names is there: files, tests, modules, commands with their flags, options, keys, codes."""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import shlex
from functools import lru_cache
from pathlib import Path

import pytest

import tsar
from tsar.cli import make_parser
from tsar.model.config import ModelConfig
from tsar.training.config import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:Using `json`-module:UserWarning")  # GluonTS without orjson

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "zoo").glob("*/card.md")),
]
FOLDERS = "pretrain|examples|scripts|tsar|docs|zoo|tests"
NOT_IN_A_CHECKOUT = {"docs/_build", "tsar/_zoo", "tsar/_recipes"}  # built, or in a wheel only
PLACEHOLDERS = {"utils.py", "zoo/NAME/corpus.json", "zoo/tsar"}  # never to be; to fill in; the start of several
FLAGS_OF_OTHERS = {
    "--all",  # scripts/test
    "--build-arg", "--cap-drop", "--network", "--read-only",  # docker
    "--max-examples",  # schemathesis
}  # fmt: skip


def name_of(page: Path) -> str:
    return page.parent.name if page.name == "card.md" else page.name


def by_page(function):
    return pytest.mark.parametrize("page", PAGES, ids=name_of)(function)


def code_of(text: str) -> list[str]:
    """What is marked as code: spans, also over a line's end, and blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*blocks, *(span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose))]


# ---------------------------------------------------------------------------------------------------- files and modules


def unknown_files(text: str) -> set[str]:
    """Paths and names of Python files that are not in the repository."""
    paths = set(re.findall(rf"(?<![\w./-])(?:\.\.?/)?((?:{FOLDERS})/[\w./-]*\w)", text))
    files = set(re.findall(r"\b\w+\.py\b", text))
    known = {path.name for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.py")}
    missing = {path for path in paths if not (ROOT / path).exists()} | (files - known)
    return missing - NOT_IN_A_CHECKOUT - PLACEHOLDERS


def unknown_tests(text: str) -> set[str]:
    known = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    return {name for name in re.findall(r"\btest_\w+\b", text) if name not in known}


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute or field within one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
            if not hasattr(found, part):
                return part in fields
            found = getattr(found, part)
        return True
    return False


def unknown_names(text: str) -> set[str]:
    """Names below `tsar` that cannot be imported."""
    names = set(re.findall(r"(?<![\w/.-])tsar(?:\.[A-Za-z_]\w*)+", text))
    return {name for name in names if not name.endswith((".py", ".yaml", ".onnx")) and not exists(name)}


# ------------------------------------------------------------------------------------------------------- command line


def flags_by_command() -> dict[str, set[str]]:
    parser = make_parser()
    commands = next(one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return {
        name: {flag for action in command._actions for flag in action.option_strings}
        for name, command in commands.items()
    }


FLAGS = flags_by_command()
EVERY_FLAG = set().union(*FLAGS.values()) | {"--version"}


def flags_of_script(path: Path) -> set[str]:
    """Flags that the parser of a script of this repository takes."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = (call.args for call in calls if ast.unparse(call.func).endswith(("add_argument", "add")))
    return {one.value for some in named for one in some if isinstance(one, ast.Constant) and one.value[:2] == "--"}


def unknown_flags(text: str) -> set[str]:
    """Flags that the command, or script, they stand behind does not take; alone, that none of this page takes."""
    scripts = {name: ROOT / name for name in re.findall(r"pretrain/\w+\.py", text)}
    of_scripts = {name: flags_of_script(path) for name, path in scripts.items() if path.is_file()}
    anywhere = EVERY_FLAG.union(FLAGS_OF_OTHERS, *of_scripts.values())
    bad = set()
    for line in (line for code in code_of(text) for line in code.replace("\\\n", " ").splitlines()):
        words = line.replace("'", " ").replace('"', " ").split()
        taken = anywhere if words and words[0].startswith("--") else None
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == "tsar" or word.endswith("tsar.cli"):
                taken = FLAGS.get(following, EVERY_FLAG)
            elif word in of_scripts:
                taken = of_scripts[word]
            elif taken is not None and re.fullmatch(r"--[a-z][\w-]*", word.split("=")[0]):
                flag = word.split("=")[0]
                bad |= {flag} - taken
    return bad


# ----------------------------------------------------------------------------------------------------- options and keys

BELOW = (
    "backtesting",
    "benchmark",
    "benchmark.speed",
    "distributed",
    "export",
    "frame",
    "hierarchy",
    "interop.fev",
    "interop.gluonts",
    "interop.huggingface",
    "interop.nixtla",
    "interop.windows",
    "serving",
    "training.mapped",
    "training.views",
)  # modules of functions that pages call
METHODS = ("fit", "predict", "sample", "predict_quantiles")
OWNERS = (tsar.Forecaster, tsar.EventForecaster)


@lru_cache(maxsize=1)
def callables() -> dict[str, object]:
    """Functions and classes that pages call, by name; those of `import tsar` go before others."""
    modules = (*(importlib.import_module(f"tsar.{part}") for part in BELOW), tsar)
    return {
        name: one
        for module in modules
        for name in getattr(module, "__all__", vars(module))
        if callable(one := getattr(module, name)) and getattr(one, "__module__", "").startswith("tsar")
    }


def allowed_options(name: str) -> set[str] | None:
    """Options of a public function or class, or of a method of a forecaster; None for what is none of these."""
    if name in METHODS:
        methods = (getattr(owner, name) for owner in OWNERS if hasattr(owner, name))
        parameters = {option: one for method in methods for option, one in inspect.signature(method).parameters.items()}
    elif name in callables():
        parameters = inspect.signature(callables()[name]).parameters
    else:
        return None
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return None
    return set(parameters)


def unknown_options(text: str) -> set[str]:
    """``name(option=)`` of calls with an option that they do not have."""
    bad = set()
    for code in code_of(text):
        for match in re.finditer(r"(?<![\w.])(?:tsar\.|forecaster\.)?(\w+)\(", code):
            allowed = allowed_options(match[1])
            if allowed is not None:
                given = re.findall(r"(?:^|, ?)(\w+)=(?!=)", top_level(code[match.end() :]))
                bad |= {f"{match[1]}({option}=)" for option in given if option not in allowed}
    return bad


def top_level(code: str) -> str:
    """What stands between the parentheses of a call, without what is nested in them."""
    depth, kept = 1, []
    for character in code:
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            break
        if depth == 1:
            kept.append(character)
    return "".join(kept).strip()


SECTIONS = {
    field.name: {one.name for one in dataclasses.fields(field.default_factory)}
    for field in dataclasses.fields(Recipe)
    if field.name in ("model", "data", "corrupt", "optim", "train")
}
TOP = {field.name for field in dataclasses.fields(Recipe)}
FILE_TYPES = {"csv", "json", "onnx", "parquet", "py", "safetensors", "yaml"}


def unknown_keys(text: str) -> set[str]:
    """Keys of recipes, as ``section.key`` in code or behind ``--set``, that no recipe has."""
    sections = "|".join(SECTIONS)
    found = re.compile(rf"(?<![\w./-])({sections})\.([a-z]\w*)(?=[:=` ,]|$)")
    spans = [span for code in code_of(text) for span in found.findall(code)]
    tops = [key for code in code_of(text) for key in re.findall(r"--set ([a-z]\w+)=", code)]
    bad = {f"{section}.{key}" for section, key in spans if key not in SECTIONS[section] and key not in FILE_TYPES}
    return {one for one in bad if one not in tsar.errors.CODES} | {key for key in tops if key not in TOP}


FAMILIES = {code.split(".")[0] for code in tsar.errors.CODES}


def unknown_codes(text: str) -> set[str]:
    """Spans that look like error codes and are none."""
    spans = [code for code in code_of(text) if re.fullmatch(rf"(?:{'|'.join(FAMILIES)})\.[a-z]\w+", code)]
    keys = {f"{section}.{key}" for section, some in SECTIONS.items() for key in some}
    return {one for one in spans if one not in {*tsar.errors.CODES, *keys} and one.split(".")[1] not in FILE_TYPES}


CHECKS = (unknown_files, unknown_tests, unknown_names, unknown_flags, unknown_options, unknown_keys, unknown_codes)


@pytest.mark.parametrize("check", CHECKS)
@by_page
def test_what_is_named_is_there(page, check):
    assert check(page.read_text()) == set()


@pytest.mark.parametrize(
    ("check", "text", "found"),
    [
        (unknown_files, "see `tsar/nowhere.py`", {"tsar/nowhere.py", "nowhere.py"}),
        (unknown_files, "`python pretrain/score.py` and `examples/99_none.py`", {"examples/99_none.py", "99_none.py"}),
        (unknown_tests, "(`test_docs_names.py`, `test_nothing.py`)", {"test_nothing"}),
        (unknown_names, "`tsar.decode.panel` and tsar.decoding.panel", {"tsar.decoding.panel"}),
        (unknown_names, "`tsar.Forecast.diagnosis` and `tsar.Forecast.diagnoses`", {"tsar.Forecast.diagnoses"}),
        (unknown_flags, "`tsar forecast a.csv --lower 0 --lowest 0`", {"--lowest"}),
        (unknown_flags, "`tsar models --lower 0`", {"--lower"}),
        (unknown_flags, "with `--calibrate` or `--calibrated`", {"--calibrated"}),
        (unknown_flags, "```bash\npython pretrain/score.py tsar-tiny --clip --clop\n```\n", {"--clop"}),
        (unknown_options, "`Forecaster(gap=1, gape=f(x=2))`", {"Forecaster(gape=)"}),
        (unknown_options, "`predict(horizons=3)` and `predict(horizon=3)`", {"predict(horizons=)"}),
        (unknown_keys, "`train.minutes` and `train.hours`", {"train.hours"}),
        (unknown_keys, "`tsar pretrain a.yaml --set corpora=null --set seed=1`", {"corpora"}),
        (unknown_codes, "`frame.gap` and `frame.gaps`", {"frame.gaps"}),
    ],
)
def test_the_check_sees_what_is_not_there(check, text, found):
    assert check(text) == found


# -------------------------------------------------------------------------------------------------------- capabilities


def capabilities() -> dict[int, list[str]]:
    """Number -> cells of the table of docs/capabilities.md."""
    lines = (ROOT / "docs" / "capabilities.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| \d+ \|", line)]
    return {int(row[0]): row[1:] for row in rows}


ROWS = capabilities()


def is_a_call(span: str) -> bool:
    """Whether code names something that a user can call or set: a public name, option, method, command or key."""
    if span.startswith("tsar ") and shlex.split(span)[1] in FLAGS:
        return True
    words = re.findall(r"[A-Za-z_][\w.]*", span)
    options = set(inspect.signature(tsar.Forecaster).parameters) | set(
        inspect.signature(tsar.Forecaster.predict).parameters
    )
    keys = {f"{section}.{key}" for section, some in SECTIONS.items() for key in some}
    return any(
        word in tsar.__all__ or word in options or word in METHODS or word in keys or word in TOP
        or (word.startswith("tsar.") and exists(word)) or hasattr(tsar, word.split(".")[0])
        for word in words
    ) or (ROOT / span).is_file()  # fmt: skip


def test_capabilities_are_numbered_through():
    assert list(ROWS) == list(range(1, len(ROWS) + 1))
    assert {len(row) for row in ROWS.values()} == {4}


@pytest.mark.parametrize("number", ROWS)
def test_a_capability_names_a_call_a_status_and_a_test(number):
    _, how, status, check = ROWS[number]
    assert any(is_a_call(span) for span in re.findall(r"`([^`]+)`", how))
    assert status in ("yes", "part")
    assert re.search(r"`test_\w+\.py`", check)


# ---------------------------------------------------------------------------------------------------------- all of them


def test_the_model_section_of_a_recipe_is_the_config_of_a_model():
    assert SECTIONS["model"] == {field.name for field in dataclasses.fields(ModelConfig)}
