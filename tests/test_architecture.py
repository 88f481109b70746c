"""The house rules that a reader relies on, held by reading the source: who may import whom, and what no file does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tsar"

# One import direction: a module may import what stands in its own line or above.
LAYERS = (
    ("errors", "types", "logging", "deprecation", "optional", "workers"),
    ("storage", "arrays", "unfitted", "validation"),
    ("freq",),
    ("frame",),
    ("windows", "diagnosis"),
    ("scaling",),
    ("tokenizers",),
    ("heads",),
    ("model",),
    ("constraints", "samples", "hierarchy"),
    ("forecast",),
    ("decode", "refining", "covariates", "aggregate"),
    ("metrics",),
    ("backtesting",),
    ("conformal",),
    ("registry", "upgrade"),
    ("hub",),
    ("inference", "tuning", "channels", "export"),
    ("options", "saved"),
    ("forecaster",),
    ("tasks", "events", "baselines", "plotting", "distributed", "interop"),
    ("explanation",),
    ("benchmark",),
    ("ranking",),
    ("reporting",),
    ("serving",),
    ("doctor",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
TRAINING_MAY_IMPORT = RANK["model"]
LAZILY_IMPORTS_TRAINING = {"cli", "events", "forecaster", "tasks", "tuning", "saved"}

PANDAS_ALLOWED = {
    "freq",
    "frame",
    "refining",
    "backtesting",
    "ranking",
    "metrics",
    "baselines",
    "plotting",
    "explanation",
    "interop",
    "distributed",
    "benchmark",
    "reporting",
    "tasks",
    "events",
}
PANDAS_LAZILY = {"cli", "doctor"}
TORCH_NEVER = {"errors", "types", "logging", "deprecation", "storage", "freq", "frame", "registry"}
TORCH_LAZILY = {"cli", "doctor"}
MAY_PRINT = {"cli"}

UNSAFE_CALLS = {
    "torch.load",
    "torch.save",
    "eval",
    "exec",
    "compile",
    "__import__",
    "yaml.load",
    "os.system",
    "os.popen",
}
UNSAFE_METHODS = {"unsafe_load", "full_load", "read_pickle", "to_pickle"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
UNSAFE_ARGUMENTS = {
    ("shell", "True"),
    ("allow_pickle", "True"),
    ("trust_remote_code", "True"),
    ("weights_only", "False"),
}

MAX_LINES = 600
MAX_EXAMPLE_LINES = 79


@dataclass(frozen=True)
class Import:
    """One imported module: at which line, whether it waits inside a function, whether only type checkers see it."""

    module: str
    line: int
    lazy: bool
    typing_only: bool

    @property
    def top(self) -> str:
        return self.module.split(".")[0]

    @property
    def part(self) -> str:
        """``frame`` of ``tsar.frame``; empty for other packages and for ``tsar`` itself."""
        return self.module.split(".")[1] if self.module.startswith("tsar.") else ""


@dataclass(frozen=True)
class Source:
    """A file of the package: ``name`` is its part, ``model`` for ``tsar/model/layers.py``."""

    path: Path
    name: str
    tree: ast.Module

    @classmethod
    def read(cls, path: Path) -> Source:
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        return cls(path.relative_to(ROOT), name, ast.parse(path.read_text()))

    @property
    def imports(self) -> list[Import]:
        return list(find_imports(self.tree))


def find_imports(node: ast.AST, lazy: bool = False, typing_only: bool = False) -> Iterator[Import]:
    """All imports below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, lazy, typing_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            modules = [f"tsar.{alias.name}" for alias in child.names] if base == "tsar" else [base]
            yield from (Import(module, child.lineno, lazy, typing_only) for module in modules)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from find_imports(child, lazy or is_function, typing_only or for_types)


SOURCES = [Source.read(path) for path in sorted(PACKAGE.rglob("*.py"))]
MODULES = [source for source in SOURCES if source.name != "__init__"]


def wrong_direction(source: Source) -> list[str]:
    """Imports that point up the list of layers."""
    found = []
    for imported in source.imports:
        if imported.part not in RANK and imported.part != "training":
            continue
        if imported.part == "training":
            allowed = source.name == "training" or (
                source.name in LAZILY_IMPORTS_TRAINING and (imported.lazy or imported.typing_only)
            )
        elif source.name == "training":
            allowed = RANK[imported.part] <= TRAINING_MAY_IMPORT
        else:
            allowed = RANK[imported.part] <= RANK[source.name]
        if not allowed:
            found.append(f"{source.path}:{imported.line} imports {imported.module}")
    return found


def misplaced_library(source: Source) -> list[str]:
    """Pandas and torch where they may not be, or not at the top of a module."""
    found = []
    for imported in source.imports:
        if imported.typing_only or imported.top not in ("pandas", "torch"):
            continue
        if imported.top == "pandas":
            allowed = source.name in PANDAS_ALLOWED or (source.name in PANDAS_LAZILY and imported.lazy)
        else:
            lazily = source.name in TORCH_LAZILY
            allowed = source.name not in TORCH_NEVER and (imported.lazy or not lazily)
        if not allowed:
            found.append(f"{source.path}:{imported.line} imports {imported.module}")
    return found


def forbidden_statement(source: Source) -> list[str]:
    """Asserts, bare excepts, prints, and anything that unpickles."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            found.append(f"{source.path}:{node.lineno} asserts")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{source.path}:{node.lineno} has a bare except")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "print" and source.name not in MAY_PRINT:
                found.append(f"{source.path}:{node.lineno} prints")
            elif called in UNSAFE_CALLS or called.split(".")[-1] in UNSAFE_METHODS:
                found.append(f"{source.path}:{node.lineno} calls {called}")
        elif isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) in UNSAFE_ARGUMENTS:
            found.append(f"{source.path}:{node.value.lineno} passes {node.arg}={ast.unparse(node.value)}")
    found += [f"{source.path}:{one.line} imports {one.module}" for one in source.imports if one.top in UNSAFE_MODULES]
    return found


RULES = (wrong_direction, misplaced_library, forbidden_statement)


@pytest.mark.parametrize("rule", RULES)
def test_no_module_breaks_the_rule(rule):
    assert [line for source in MODULES for line in rule(source)] == []


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (wrong_direction, "frame", "from tsar.model.decoder import Decoder"),
        (wrong_direction, "freq", "def f():\n    from tsar import frame"),
        (wrong_direction, "hub", "def f():\n    import tsar.training.loop"),
        (wrong_direction, "cli", "import tsar.training.loop"),
        (wrong_direction, "training", "from tsar.forecaster import Forecaster"),
        (misplaced_library, "model", "import pandas as pd"),
        (misplaced_library, "cli", "import pandas as pd"),
        (misplaced_library, "frame", "def f():\n    import torch"),
        (misplaced_library, "cli", "from torch import nn"),
        (forbidden_statement, "frame", "assert True"),
        (forbidden_statement, "frame", "print(1)"),
        (forbidden_statement, "hub", "torch.load('weights.pt')"),
        (forbidden_statement, "hub", "import pickle"),
        (forbidden_statement, "saved", "np.load(path, allow_pickle=True)"),
        (forbidden_statement, "cli", "subprocess.run(text, shell=True)"),
        (forbidden_statement, "training", "yaml.load(text)"),
        (forbidden_statement, "frame", "try:\n    pass\nexcept:\n    pass"),
    ],
)
def test_the_rule_catches(rule, name, text):
    assert len(rule(Source(Path(f"tsar/{name}.py"), name, ast.parse(text)))) == 1


def test_every_module_has_a_place():
    places = {*RANK, "training", "__init__"}
    homeless = sorted({source.name for source in SOURCES} - places)
    assert homeless == [], "give these a line in LAYERS, here and in docs/flow.md"


def test_imports_are_absolute():
    relative = [f"{s.path}:{i.line}" for s in SOURCES for i in s.imports if i.module.startswith(".")]
    assert relative == []


def test_the_top_of_the_package_imports_the_standard_library_only():
    top = next(source for source in SOURCES if source.path.name == "__init__.py" and source.path.parent.name == "tsar")
    eager = {imported.top for imported in top.imports if not imported.typing_only}
    assert eager <= {"__future__", "importlib", "typing"}


def test_files_stay_readable():
    folders = ("tsar", "tests", "pretrain", "examples")
    lengths = {path: len(path.read_text().splitlines()) for name in folders for path in (ROOT / name).rglob("*.py")}
    limits = {path: MAX_EXAMPLE_LINES if path.parent.name == "examples" else MAX_LINES for path in lengths}
    assert {str(path): lines for path, lines in lengths.items() if lines > limits[path]} == {}


def test_no_file_is_a_drawer_for_everything():
    assert [path for name in ("utils.py", "core.py", "helpers.py") for path in PACKAGE.rglob(name)] == []
