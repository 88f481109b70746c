"""Embeddings: one vector for each series, from the hidden states of a forecasting model.

The decoder is causal, so the states of the first patches know little of the series and nothing of its scale. Each
series is therefore shown twice in a row, and only the states of the second showing are pooled: every one of them has
seen the whole series ("echo embeddings", Springer et al., 2024, there for language models).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsar.errors import OptionError, warn
from tsar.frame import make_item_frame, normalize_frame
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.tasks.views import as_series, resample, standardize, statistics_of
from tsar.types import FloatArray

POOLINGS = ("mean", "std", "last", "segments")
NUM_SEGMENTS = 4
ROWS = {"cpu": 4, "cuda": 64}
"""Windows of every batch, the last one filled up: with one shape, a window's rounding is the same in any company."""


def embed(
    data: Any,
    *,
    model: str | Path | Decoder = "tsar-tiny",
    pooling: str = "mean",
    layer: int | Sequence[int] | None = None,
    length: int | None = 512,
    statistics: bool = True,
    per_patch: bool = False,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
    device: str = "auto",
) -> Any:
    """Turn every series into a vector.

    Parameters
    ----------
    data
        A long frame (pandas, polars, pyarrow), one row per item and stamp; or an array (n, L) or (n, C, L); or a list
        of arrays (L,) or (C, L) of different lengths. NaN is missing.
    model
        Name of a shipped release, path of a release folder, or a `Decoder`.
    pooling
        How the states of the patches become one vector: ``"mean"``, ``"std"``, ``"last"``, ``"segments"`` (means of
        four parts), or several joined by ``_`` as in ``"mean_last"``.
    layer
        One or several of 0 (before the first block) … ``num_layers`` (after the last); None: the last.
    length
        Every series is brought to this many points, so that short ones fill several patches: by linear interpolation,
        or by averages over equal bins if it is longer. None: the last points as they are, up to half a context.
    statistics
        Append what normalising removes: means, deviations and slopes of intervals, and the logarithms of level, scale
        and length.
    per_patch
        Return the states of the patches instead of pooling them; arrays only, of one length, or with `length`.
    id_column, timestamp_column, target, freq
        Of a frame, as in `Forecaster`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …

    Returns
    -------
    frame or ndarray
        For a frame, one of its kind with a row per item: the id, then ``e0``, ``e1``, … For arrays (n, K), the
        channels of an item side by side; (n, C, T, K) with `per_patch`. Missing for series without any observed
        value, with a warning.

    Raises
    ------
    OptionError
        ``option.invalid`` for an unknown pooling or layer, arrays of another shape, or an id column with the name of
        one of the answer's.
    FrameError, FrequencyError
        For a frame that cannot be read.

    Notes
    -----
    Deterministic; the vector of a series does not depend on the others beyond rounding, and, `statistics` apart, not
    on its level and scale (tests/unit/test_embed.py).
    """
    decoder = load_model(model, resolve_device(device))
    is_frame = not isinstance(data, (list, tuple, np.ndarray))
    panel = None
    if is_frame:
        panel = normalize_frame(
            data, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq
        )  # fmt: skip
        decoder = decoder.at_frequency(panel.freq)
        series = [row[None] for row in np.split(panel.values, panel.offsets[1:-1])]
    else:
        series = as_series(data)
    flat = [channel for item in series for channel in item]
    unseen = np.array([np.isnan(channel).all() for channel in flat])
    layers = _layers(decoder, layer)
    if per_patch:
        if is_frame:
            raise OptionError("per_patch needs arrays, not a frame.", code="option.invalid")
        states = hidden_states(decoder, _windows(decoder, flat, length), layers)
        if len({state.shape for state in states}) > 1:
            text = "per_patch needs series of one length."
            raise OptionError(text, code="option.invalid", hint="Give length=512.")
        stacked = np.stack([state.transpose(1, 0, 2).reshape(state.shape[1], -1) for state in states])
        stacked[unseen] = np.nan
        return stacked.reshape(len(series), -1, *stacked.shape[1:])
    vectors = pooled_states(decoder, _windows(decoder, flat, length), layers, pooling)
    if statistics:
        vectors = np.concatenate([vectors, statistics_of(flat)], axis=1)
    vectors[unseen] = np.nan
    if unseen.any():
        warn(f"{unseen.sum()} series have no observed value: their vectors are missing")
    if panel is None:
        return vectors.reshape(len(series), -1)
    return make_item_frame(panel, {f"e{k}": vectors[:, k] for k in range(vectors.shape[1])}, id_column=id_column)


def pooled_states(model: Decoder, windows: Sequence[FloatArray], layers: Sequence[int], pooling: str) -> FloatArray:
    """Vectors (n, K) of windows that are shown twice; parameters as in `embed`."""
    parts = pooling.split("_")
    if not set(parts) <= set(POOLINGS):
        text = f"pooling joins any of {', '.join(POOLINGS)} by '_', got {pooling!r}."
        raise OptionError(text, code="option.invalid")
    return np.stack(hidden_states(model, windows, layers, tuple(parts))).astype(np.float64)


@torch.inference_mode()
def hidden_states(
    model: Decoder, windows: Sequence[FloatArray], layers: Sequence[int], pooling: tuple[str, ...] = ()
) -> list[FloatArray]:
    """States (layers, T, D) of the second showing of each window (L,), or, with a pooling, their vector.

    Windows of like numbers of patches go through the model together, so that no window's padding depends on another.
    """
    patch = model.config.patch_length
    device = next(model.parameters()).device
    per_batch = ROWS.get(device.type, ROWS["cpu"])
    tokens = np.array([-(-len(window) // patch) for window in windows])
    result: list[FloatArray] = [np.empty(0)] * len(windows)
    for num in np.unique(tokens):
        rows = np.flatnonzero(tokens == num)
        for chunk in np.split(rows, np.arange(per_batch, len(rows), per_batch)):
            once = np.full((per_batch, num * patch), np.nan)
            for place, row in enumerate(np.resize(chunk, per_batch).tolist()):
                once[place, once.shape[1] - len(windows[row]) :] = windows[row]
            values = torch.from_numpy(np.concatenate([once, once], 1)).to(device)
            states: list[torch.Tensor] = []
            states.append(model.trunk(model.tokenizer.encode(values, torch.isfinite(values)), states=states))
            states = [*states[:-2], states[-1]]  # the last one with its norm
            stacked = torch.stack([states[index][:, -num:] for index in layers], 1)
            out = (_pool(stacked, pooling) if pooling else stacked).float().cpu().numpy()
            for place, row in enumerate(chunk):
                result[row] = out[place]
    return result


def _pool(states: torch.Tensor, pooling: tuple[str, ...]) -> torch.Tensor:
    """Vectors (B, K) from states (B, layers, T, D)."""
    segments = torch.tensor_split(states, min(NUM_SEGMENTS, states.shape[2]), 2)
    whole = [part.mean(2) for part in segments]
    whole += [whole[-1]] * (NUM_SEGMENTS - len(whole))  # one width, whatever the number of patches
    pooled = {
        "mean": lambda: [states.mean(2)],
        "std": lambda: [states.std(2, correction=0)],
        "last": lambda: [states[:, :, -1]],
        "segments": lambda: whole,
    }
    return torch.cat([part.flatten(1) for name in pooling for part in pooled[name]()], 1)


def _windows(model: Decoder, series: Sequence[FloatArray], length: int | None) -> list[FloatArray]:
    longest = model.config.context_length // 2
    if length is None:
        return [standardize(one[-longest:]) for one in series]
    if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or not 1 <= length <= longest:
        text = f"length must be a whole number from 1 to {longest}, half the model's context, or None, got {length!r}."
        raise OptionError(text, code="option.invalid")
    return [standardize(resample(one, int(length))) for one in series]


def _layers(model: Decoder, layer: int | Sequence[int] | None) -> list[int]:
    last = model.config.num_layers
    wanted = [last] if layer is None else [int(one) for one in np.atleast_1d(np.asarray(layer))]
    if not wanted or not all(0 <= one <= last for one in wanted):
        raise OptionError(f"layer must be from 0 to {last}, got {layer!r}.", code="option.invalid")
    return wanted
