"""One page about a table and its forecast, as a file that needs nothing else."""

from tsar.reporting.make import report

__all__ = ["report"]
