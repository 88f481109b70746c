"""Model with full attention -> distribution: quantiles of every point of a series from what stands on both sides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT, back_from_one, near_one
from tsar.types import BoolArray, FloatArray, IntArray

ROWS = 64  # windows that go through the model together


def infill_panel(
    model: Decoder, values: FloatArray, offsets: IntArray, wanted: BoolArray, *, symmetrize: bool = True
) -> FloatArray:
    """Quantiles of the wanted points of every series.

    Parameters
    ----------
    model
        A decoder with full attention, in evaluation mode.
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,).
    wanted
        (N,) which points to answer for; an observed point is answered with itself in view.
    symmetrize
        Average the answers for the series, its mirror image, and both read backwards: four times the work.

    Returns
    -------
    ndarray
        (N, Q) float64 in data units; NaN for points that are not wanted, and where a window shows no observed point.

    Notes
    -----
    A series longer than the context is cut into windows that overlap by half; a point is answered by the window in
    which it stands nearest to the middle.
    """
    length = model.config.context_length
    quantiles = np.full((len(values), len(model.config.quantile_levels)), np.nan)
    by_width: dict[int, list[tuple[int, int, int, int]]] = {}
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for window in _windows(start, stop, length):
            if wanted[window[2] : window[3]].any():
                width = -(-(window[1] - window[0]) // model.config.patch_length) * model.config.patch_length
                by_width.setdefault(width, []).append(window)
    for width, windows in by_width.items():
        for first in range(0, len(windows), ROWS):
            part = windows[first : first + ROWS]
            context = np.full((len(part), width), np.nan)
            for row, (begin, end, _, _) in enumerate(part):
                context[row, width - (end - begin) :] = values[begin:end]
            answer = infill(model, context, symmetrize=symmetrize)
            for row, (begin, end, low, high) in enumerate(part):
                inner = answer[row, width - (end - begin) :][low - begin : high - begin]
                quantiles[low:high] = np.where(wanted[low:high, None], inner, np.nan)
    return quantiles


def _windows(start: int, stop: int, length: int) -> list[tuple[int, int, int, int]]:
    """Windows (begin, end) of at most `length` points, and the part (low, high) each answers for."""
    if stop - start <= length:
        return [(start, stop, start, stop)]
    begins = [*range(start, stop - length, length // 2), stop - length]
    bounds = [start, *((a + b + length) // 2 for a, b in pairwise(begins)), stop]
    return [(b, b + length, bounds[i], bounds[i + 1]) for i, b in enumerate(begins)]


@torch.inference_mode()
def infill(model: Decoder, context: FloatArray, *, symmetrize: bool = True) -> FloatArray:
    """Quantiles (B, L, Q) of all points of windows (B, L), L a multiple of ``patch_length``; NaN is missing.

    Windows that never vary are answered by the constant, those without an observed value by NaN.
    """
    device = next(model.parameters()).device
    values = torch.from_numpy(context).to(device)
    observed = torch.isfinite(values)
    values, power = near_one(values, observed)
    answer = _answer(model, values, observed)
    if symmetrize:
        backwards = values.flip(1), observed.flip(1)
        answers = [answer, -_answer(model, -values, observed).flip(-1), _answer(model, *backwards).flip(1)]
        answers.append(-_answer(model, -backwards[0], backwards[1]).flip(1, 2))
        answer = answer + (sum(answers) - 4 * answer) / 4  # exact where all agree
    answer[~observed.any(1)] = torch.nan
    return back_from_one(answer, power)


def _answer(model: Decoder, values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    tokens = model.tokenizer.encode(values, observed)
    z = model(tokens).clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    return tokens.state.denormalize(z.flatten(2)).view(z.shape).flatten(1, 2)
