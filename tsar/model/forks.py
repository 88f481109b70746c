"""A forked child computes with one thread: OpenMP's others stay behind in the parent, and torch would wait for them.

libgomp keeps its threads between two parallel regions and does not know of forks. A child that asks for several
threads again waits for ones that do not exist, without end and without a word. With one thread it asks for none;
torch's own data loaders do the same. A child that then sets more threads itself (`torch.set_num_threads`) hangs still.
"""

from __future__ import annotations

import os

import torch


def _compute_alone() -> None:
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # systems that can fork
    os.register_at_fork(after_in_child=_compute_alone)
