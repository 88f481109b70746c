"""Model -> distribution of a gap: a causal decoder trained to fill in the middle reads both sides, then answers.

What stands after the gap is moved before it (Bavarian et al., 2022), and the modes of the tokens say which part is
which; so the decoder that forecasts fills gaps with the same weights, if ``corrupt.middle`` was part of its training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tsar.decode.panel import answering_tokens, join_answers
from tsar.errors import ModelError, OptionError
from tsar.model.decoder import Decoder
from tsar.model.modes import MIDDLE, PREFIX, SUFFIX
from tsar.scaling import Z_LIMIT
from tsar.types import FloatArray


@torch.inference_mode()
def fill_middle(model: Decoder, windows: FloatArray, start: int, stop: int) -> FloatArray:
    """Quantiles of a run of points from what stands on both sides.

    Parameters
    ----------
    model
        A causal decoder with ``config.modes``, in evaluation mode.
    windows
        (B, W) float64, NaN where missing; W a multiple of ``patch_length``. What stands in the gap is not looked at.
    start, stop
        The gap, multiples of ``patch_length``; at least one patch stands on either side. Of a gap shorter than
        ``output_length`` the next points are taken as missing, too, for training asks for no shorter one.

    Returns
    -------
    ndarray
        (B, stop - start, Q) float64 in data units; NaN in windows without an observed value.

    Raises
    ------
    ModelError
        ``model.wrong_task`` for a model without modes.
    OptionError
        ``option.invalid`` for a gap off the grid, without both sides, or longer than one pass reaches.
    """
    config = model.config
    if not config.modes or config.attention != "causal":
        raise ModelError("This model was not trained to fill in the middle.", code="model.wrong_task")
    patch, width = config.patch_length, windows.shape[1]
    until = max(stop, start + config.output_length)
    on_grid = start % patch == 0 and stop % patch == 0 and width % patch == 0
    if not on_grid or not 0 < start < stop or until >= width or until - start > config.one_pass_length:
        text = f"A gap from {start} to {stop} of {width} points cannot be filled in one pass."
        raise OptionError(text, code="option.invalid")
    hidden = (until - start - config.output_length) // patch
    values = torch.from_numpy(windows).to(model.levels.device)
    after, unknown = values[:, until:], values.new_full((len(values), hidden * patch), torch.nan)
    read = torch.cat([values[:, :start], after, unknown], 1)
    observed = torch.isfinite(read)
    # a token's mode is the part that it has to go on with
    parts = [PREFIX] * (start // patch - 1) + [SUFFIX] * (after.shape[1] // patch) + [MIDDLE] * (1 + hidden)
    modes = torch.tensor(parts, device=values.device).expand(len(values), -1)
    tokens = replace(model.tokenizer.encode(read, observed), modes=modes)
    answering = answering_tokens(hidden, config)
    z = model(tokens, last=hidden + 1, at=answering).clamp(-Z_LIMIT, Z_LIMIT).to(values.dtype)
    state = tokens.state.at(slice(-hidden - 1, None)).at(answering)
    quantiles = join_answers(state.denormalize(z.flatten(2)).view(z.shape), answering, config)
    quantiles[~observed.any(1)] = torch.nan
    result: FloatArray = quantiles[:, : stop - start].cpu().numpy().astype(np.float64)
    return result
