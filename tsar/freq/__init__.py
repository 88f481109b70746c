"""Frequencies: read an alias, know its season, infer it from stamps, count periods and make future stamps.

The spelling is that of pandas 2.2 and later: ``h``, ``min``, ``D``, ``W-SUN``, ``ME``, ``QS-OCT``, ``B``.
"""

from tsar.freq.alias import canonical_freq, season_length
from tsar.freq.grid import TimeGrid, make_grid
from tsar.freq.infer import infer_freq
from tsar.freq.resolution import RESOLUTIONS, hours_per_step, resolution

__all__ = [
    "RESOLUTIONS",
    "TimeGrid",
    "canonical_freq",
    "hours_per_step",
    "infer_freq",
    "make_grid",
    "resolution",
    "season_length",
]
