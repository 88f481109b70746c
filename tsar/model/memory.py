"""Whether an error of torch or NumPy means that memory ran out."""

from __future__ import annotations

import torch

_TEXTS = (
    "can't allocate memory",  # of the CPU's allocator on Linux
    "not enough memory",  # and on Windows
    "could not create a memory object",  # of oneDNN
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
NO_MEMORY = (RuntimeError, MemoryError)
"""What to catch, then to ask `is_out_of_memory`."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from other errors of torch, which are of the same type."""
    lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return lacks or (isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS))


def release_cached() -> None:
    """Give memory that torch keeps for later back to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
