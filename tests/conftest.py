"""What all tests share: bounded threads, and the conditions of the markers ``needs_corpus`` and ``gpu``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))  # before anything imports torch
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parent.parent
CORPUS = ROOT.parent / "shared" / "data" / "corpus"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine has no corpus or GPU for."""
    for item in items:
        if item.get_closest_marker("needs_corpus") and not CORPUS.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no corpus at {CORPUS}"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def corpus_folder() -> Path:
    """The optional corpus; for tests marked ``needs_corpus``."""
    return CORPUS


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a very small decoder with random weights, for tests of what surrounds the model."""
    import torch

    from tsar.model.config import ModelConfig
    from tsar.model.decoder import Decoder
    from tsar.training.checkpoint import RunState
    from tsar.training.config import Recipe
    from tsar.training.release import write_release

    config = ModelConfig(
        d_model=16, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8, d_ff=16, patch_length=8, output_length=16,
        context_length=128, max_span=2,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("zoo") / "test-tiny"
    write_release(folder, Recipe(name="test-tiny", model=config), Decoder(config).state_dict(), RunState(), {})
    return folder


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """Close what a test drew: matplotlib warns of more than twenty open figures, whichever test opens the last."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
