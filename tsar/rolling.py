"""Model -> distribution of every point: what the model expected one patch ahead, all over a series, in few passes."""

from __future__ import annotations

import numpy as np
import torch

from tsar.model.decoder import Decoder
from tsar.scaling import Z_LIMIT
from tsar.types import FloatArray, IntArray

ROWS = 16  # windows that go through the model together
WARM_UP = 2  # patches at the start of a series that are too little to judge by


@torch.inference_mode()
def rolling_quantiles(model: Decoder, values: FloatArray, offsets: IntArray) -> FloatArray:
    """Quantiles of every point, from what stands before its patch.

    Parameters
    ----------
    model
        A causal decoder, in evaluation mode.
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,).

    Returns
    -------
    ndarray
        (N, Q) float64 in data units, the mean of the answers for the series and its mirror image. NaN in the first two
        patches of a series, and where nothing was observed before.

    Notes
    -----
    Patches count from the start of the series. A causal decoder answers at every token, so one pass over a window gives
    as many forecasts as it has patches. Windows overlap by half; each answers for its later half.
    """
    patch, context = model.config.patch_length, model.config.context_length // model.config.patch_length
    quantiles = np.full((len(values), len(model.config.quantile_levels)), np.nan)
    windows = [
        window
        for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        for window in _windows(start, stop, patch, context)
    ]
    windows.sort(key=lambda window: window[1] - window[0])
    for first in range(0, len(windows), ROWS):
        part = windows[first : first + ROWS]
        width = max(end - begin for begin, end, _, _ in part)
        context_values = np.full((len(part), width), np.nan)  # padded at the right, which a causal model does not see
        for row, (begin, end, _, _) in enumerate(part):
            context_values[row, : end - begin] = values[begin:end]
        answer = _next_patches(model, context_values)
        for row, (begin, end, low, high) in enumerate(part):
            quantiles[low:high] = answer[row, low - begin - patch : high - begin - patch]
    return quantiles


def _windows(start: int, stop: int, patch: int, context: int) -> list[tuple[int, int, int, int]]:
    """Windows (begin, end) that are read, and the points (low, high) each answers for."""
    half, windows = max(context // 2, 1) * patch, []
    begin, low = start, start + WARM_UP * patch
    while low < stop:
        high = min(begin + (context + 1) * patch, stop)
        windows.append((begin, begin + (-(-(high - begin) // patch) - 1) * patch, low, high))
        begin, low = high - half, high
    return windows


def _next_patches(model: Decoder, context: FloatArray) -> FloatArray:
    """Quantiles (B, L, Q) of the patch after each token of windows (B, L): answer [:, p] is about point p + P."""
    device = next(model.parameters()).device
    patch = model.config.patch_length
    padded = np.pad(context, ((0, 0), (0, -context.shape[1] % patch)), constant_values=np.nan)
    values = torch.from_numpy(padded).to(device)
    observed = torch.isfinite(values)
    exponent = torch.frexp(torch.where(observed, values.abs(), 0.0).amax(1)).exponent.clamp(-1000, 1000)
    unit = torch.ldexp(torch.ones_like(values[:, 0]), exponent)
    values = values / unit[:, None]
    tokens = model.tokenizer.encode(torch.cat([values, -values]), observed.repeat(2, 1))
    z = model(tokens)[:, :, :patch].clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    both = tokens.state.denormalize(z.flatten(2)).view(z.shape)
    plain, mirrored = both.chunk(2)
    answer = plain - (plain + mirrored.flip(-1)) / 2
    answer[tokens.state.count.chunk(2)[0] == 0] = torch.nan
    return (answer.flatten(1, 2) * unit[:, None, None]).cpu().numpy()
