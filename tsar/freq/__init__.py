"""Frequencies: read an alias, know its season, infer it from stamps, count periods and make future stamps.

The spelling is that of pandas 2.2 and later: ``h``, ``min``, ``D``, ``W-SUN``, ``ME``, ``QS-OCT``, ``B``.
"""

from tsar.freq.alias import canonical_freq, season_length
from tsar.freq.grid import TimeGrid, make_grid
from tsar.freq.infer import infer_freq

__all__ = ["TimeGrid", "canonical_freq", "infer_freq", "make_grid", "season_length"]
