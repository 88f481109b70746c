"""Read archives of arrays as data from strangers: sizes are compared before anything is allocated."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

_MAX_HEADER = 4096  # bytes that an array's description takes at most


def read_arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `numpy.savez` wrote; nothing larger than `content` is allocated, and nothing unpickled.

    Raises
    ------
    ValueError
        If it is no such archive, is compressed, or an array claims more than the archive holds.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(
                one.compress_type != zipfile.ZIP_STORED or one.file_size > len(content) for one in archive.infolist()
            ):
                raise ValueError("the archive is compressed or cut off")
            for name in archive.namelist():
                _check_array(archive.read(name), name)
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"no archive of arrays: {error}") from error


def _check_array(content: bytes, name: str) -> None:
    """Compare the size that an array claims with the bytes there are."""
    file = io.BytesIO(content)
    layout: Any = np.lib.format  # of which numpy's types know half
    read_header = layout.read_array_header_1_0 if layout.read_magic(file) == (1, 0) else layout.read_array_header_2_0
    shape, _, dtype = read_header(file, max_header_size=_MAX_HEADER)
    claimed = dtype.itemsize
    for length in shape:
        claimed *= length
    if claimed > len(content) or dtype.hasobject:
        raise ValueError(f"{name} claims {claimed} bytes and has {len(content)}")
