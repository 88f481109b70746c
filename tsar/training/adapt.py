"""Adaptation at test time: a few gradient steps of norms and biases on the history that is about to be forecast.

Training the norms alone at test time is Tent's idea (Wang et al., 2021), there by entropy, here by the loss of
fine-tuning, since the next points of the history are labels. A few thousand numbers can move the model to the style of
a panel, and can hardly forget what it knows.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, nn

from tsar.errors import TrainingError
from tsar.model.decoder import Decoder
from tsar.model.layers import RMSNorm
from tsar.training.objectives import NextPatches
from tsar.training.optim import clip_gradients
from tsar.training.own_windows import OwnWindows
from tsar.types import FloatArray, IntArray

RATE = 2e-3
BATCH = 16
GRAD_CLIP = 1.0


def adapt(
    base: Decoder,
    values: FloatArray,
    offsets: IntArray,
    *,
    steps: int,
    prediction_length: int,
    context_length: int,
    seed: int = 0,
) -> Decoder:
    """Return a copy of a decoder with norms and biases moved by `steps` updates on a panel's own windows.

    Parameters
    ----------
    base
        The decoder; it is not changed.
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,). All share the copy.
    steps
        Updates, of 16 windows each; the rate falls to zero over them.
    prediction_length, context_length
        Of the forecasts to come: what lies further ahead does not count, what lies further back is not read.
    seed
        Of the windows drawn; the result is a function of the arguments alone.

    Returns
    -------
    Decoder
        In evaluation mode; `base` itself if there are no steps or no series is long enough to learn from.

    Raises
    ------
    TrainingError
        ``training.nan_loss`` when the loss is not finite.
    """
    config = base.config
    patches = max(-(-min(int(context_length), int(max(offsets[1:] - offsets[:-1]))) // config.patch_length), 1)
    windows = OwnWindows.make(
        values, offsets, context_length=patches * config.patch_length, output_length=config.output_length,
        reach=min(prediction_length, config.output_length),
    )  # fmt: skip
    if not steps or not windows.num_usable:
        return base
    decoder = copy.deepcopy(base).requires_grad_(False)
    trained = _norms_and_biases(decoder)
    for parameter in trained:
        parameter.requires_grad_(True)
    objective = NextPatches(decoder, reach=windows.reach)
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    generator = Generator().manual_seed(seed)
    ahead = -(-max(prediction_length - config.output_length, 0) // config.patch_length)
    hidden = min(ahead, config.max_span, patches - 1) * config.patch_length
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        batch = windows.draw(BATCH, generator)
        flipped = torch.rand(len(batch), 1, generator=generator) < 0.5  # forecasts are symmetrised
        batch = torch.where(flipped, -batch, batch)
        visible = torch.isfinite(batch)
        visible[:, windows.context_length - hidden :] = False
        loss = objective(batch.to(base.levels.device), visible.to(base.levels.device)).mean()
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"The loss is not finite at step {step + 1} of the adaptation.",
                code="training.nan_loss",
                hint="Forecast with adapt_steps=0",
            )
        loss.backward()
        clip_gradients(trained, GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return decoder.requires_grad_(False)


def _norms_and_biases(decoder: Decoder) -> list[nn.Parameter]:
    """Weights of the norms and all biases, each once."""
    norms = [
        parameter for module in decoder.modules() if isinstance(module, RMSNorm) for parameter in module.parameters()
    ]
    biases = [parameter for name, parameter in decoder.named_parameters() if name.endswith("bias")]
    return list({id(parameter): parameter for parameter in norms + biases}.values())
