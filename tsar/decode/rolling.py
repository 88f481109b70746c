"""Model -> distribution at many cutoffs of one series, in few passes: a causal decoder answers at every token.

Tokens that end at a cutoff know what stands before it and nothing else, so one pass over a window gives a forecast from
each of its patches' ends. Cutoffs that are no multiple of a patch apart take a pass for each of P phases of the grid.
"""

from __future__ import annotations

import numpy as np
import torch

from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT, back_from_one, near_one
from tsar.types import FloatArray, IntArray

ROWS = 16  # windows that go through the model together
WARM_UP = 2  # patches at the start of a series that are too little to judge by


def rolling_quantiles(model: Decoder, values: FloatArray, offsets: IntArray) -> FloatArray:
    """Quantiles (N, Q) of every point, from what stands before its patch; patches count from the start of a series.

    Parameters
    ----------
    model
        A causal decoder, in evaluation mode.
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,).

    Returns
    -------
    ndarray
        (N, Q) float64 in data units. NaN in the first two patches of a series, and where nothing was observed before.
    """
    patch = model.config.patch_length
    bounds = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    parts = [np.arange(start + WARM_UP * patch, stop, patch) for start, stop in bounds]
    first = np.repeat(offsets[:-1], [len(part) for part in parts])
    stops = np.repeat(offsets[1:], [len(part) for part in parts])
    cutoffs = np.concatenate(parts).astype(np.int64)
    quantiles = np.full((len(values), len(model.config.quantile_levels)), np.nan)
    answers = forecasts_from(model, values, first, cutoffs, patch)
    for cutoff, stop, answer in zip(cutoffs, stops, answers, strict=True):
        quantiles[cutoff : min(cutoff + patch, stop)] = answer[: stop - cutoff]
    return quantiles


def forecasts_from(
    model: Decoder, values: FloatArray, first: IntArray, cutoffs: IntArray, horizon: int, *, symmetrize: bool = True
) -> FloatArray:
    """Forecast from each cutoff what follows it, whatever is known of that.

    Parameters
    ----------
    model
        A causal decoder, in evaluation mode.
    values
        (N,) series end to end, NaN where missing.
    first, cutoffs
        (K,) where the series of each cutoff starts, and where its forecast does: at or after the first.
    horizon
        F, at most ``output_length``.
    symmetrize
        As in `decode_panel`.

    Returns
    -------
    ndarray
        (K, F, Q) float64 in data units; NaN where nothing was observed before.

    Notes
    -----
    A cutoff sees half of the model's context at least, all of it at most, where the series goes back as far.
    """
    patch = model.config.patch_length
    half = max(model.config.context_length // patch // 2, 1)  # tokens
    out = np.full((len(cutoffs), horizon, len(model.config.quantile_levels)), np.nan)
    asked: dict[tuple[int, int, int], list[tuple[int, int]]] = {}  # window -> its tokens that are asked, and by whom
    for place, (start, cutoff) in enumerate(zip(first.tolist(), cutoffs.tolist(), strict=True)):
        if cutoff > start:
            origin = start - (start - cutoff) % patch
            token = (cutoff - origin) // patch - 1
            begin = origin + max(token // half - 1, 0) * half * patch
            asked.setdefault((start, origin, begin), []).append(((cutoff - begin) // patch - 1, place))
    windows = sorted(asked.items(), key=lambda window: max(window[1])[0])  # of similar length together
    for low in range(0, len(windows), ROWS):
        part = windows[low : low + ROWS]
        most_tokens = max(part[-1][1])[0] + 1
        context = np.full((len(part), most_tokens * patch), np.nan)  # what is padded at the right is inert
        for row, ((start, _, begin), tokens) in enumerate(part):
            end = begin + (max(tokens)[0] + 1) * patch
            context[row, max(start - begin, 0) : end - begin] = values[max(begin, start) : end]
        answers = _answers(model, context, horizon, symmetrize)
        for row, (_, tokens) in enumerate(part):
            for token, place in tokens:
                out[place] = answers[row, token]
    return out


@torch.inference_mode()
def _answers(model: Decoder, context: FloatArray, horizon: int, symmetrize: bool) -> FloatArray:
    """Quantiles (B, T, F, Q) of what follows each token of windows (B, L)."""
    values = torch.from_numpy(context).to(next(model.parameters()).device)
    observed = torch.isfinite(values)
    values, power = near_one(values, observed)
    if symmetrize:
        values, observed = torch.cat([values, -values]), observed.repeat(2, 1)
    tokens = model.tokenizer.encode(values, observed)
    z = model(tokens)[:, :, :horizon].clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    answer = tokens.state.denormalize(z.flatten(2)).view(z.shape)
    answer[tokens.state.count == 0] = torch.nan
    if symmetrize:
        plain, mirrored = answer.chunk(2)
        answer = plain - (plain + mirrored.flip(-1)) / 2
    return back_from_one(answer, power)
