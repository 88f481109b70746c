"""Output laws: from hidden states to distributions. A new one is a module here and a line in `HEADS`."""

from tsar.heads.base import Head, Law
from tsar.heads.categorical import CategoricalHead
from tsar.heads.diffusion import DiffusionHead
from tsar.heads.horizons import HorizonHeads
from tsar.heads.parametric import MixtureHead, StudentTHead
from tsar.heads.quantile import QuantileHead

HEADS: dict[str, type[Head]] = {
    "quantile": QuantileHead,
    "student_t": StudentTHead,
    "mixture": MixtureHead,
    "categorical": CategoricalHead,
    "diffusion": DiffusionHead,
    "horizons": HorizonHeads,
}
"""By the name in a config: a class that is made of d_model, output_length, num_levels and num_components."""

__all__ = ["HEADS", "Head", "Law"]
