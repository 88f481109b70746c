"""Score forecasters on sets of series with known endings, against simple baselines: `run_benchmark`.

What is measured, with formulas, stands in docs/benchmark.md.
"""

from tsar.benchmark.readers import from_fev, from_gluonts, read_sets
from tsar.benchmark.result import BenchmarkResult, validate_output
from tsar.benchmark.run import run_benchmark
from tsar.benchmark.sets import EvaluationSet

__all__ = [
    "BenchmarkResult",
    "EvaluationSet",
    "from_fev",
    "from_gluonts",
    "read_sets",
    "run_benchmark",
    "validate_output",
]
