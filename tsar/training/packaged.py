"""A small corpus that needs no download: the classic series that ship with statsmodels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from tsar.errors import MissingDependencyError
from tsar.training.corpus import Corpus


def load_packaged_corpus(device: torch.device | str = "cpu") -> Corpus:
    """Return atmospheric CO2 (weekly), sunspots and the Nile (yearly), El Niño (monthly), German rates (quarterly).

    Six series: enough to try a recipe on real data, not to train a model. The package's US macro series are left out,
    for evaluation uses their like.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without statsmodels.
    """
    return Corpus.from_arrays(_series(), device=device)


def _series() -> Iterator[tuple[str, str, NDArray[np.floating]]]:
    try:
        from statsmodels import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "The packaged corpus needs statsmodels.", code="dependency.missing", hint="pip install statsmodels"
        ) from error
    yield "co2", "W-SAT", datasets.co2.load_pandas().data["co2"].to_numpy()
    yield "sunspots", "YE", datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    yield "nile", "YE", datasets.nile.load_pandas().data["volume"].to_numpy()
    elnino = datasets.elnino.load_pandas().data
    yield "elnino", "ME", elnino.drop(columns="YEAR").to_numpy().ravel()
    german = datasets.interest_inflation.load_pandas().data
    for column in ("Dp", "R"):
        yield "german_rates", "QE", german[column].to_numpy()
