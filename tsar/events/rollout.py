"""Paths of coming events, drawn one event after another; a token is read once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tsar.errors import OptionError
from tsar.events.network import EventModel, Gaps, survival
from tsar.model.cache import LayerCache
from tsar.types import FloatArray, IntArray

MOST_EVENTS = 20_000  # of a path


@torch.no_grad()
def roll_out(
    model: EventModel,
    codes: IntArray,
    gaps: FloatArray,
    random: np.random.Generator,
    *,
    window: int,
    least: int,
    duration: float = 0.0,
    elapsed: float = 0.0,
) -> tuple[IntArray, FloatArray]:
    """Continue each row of (B, T) by `least` events, and on until each has passed `duration`.

    Parameters
    ----------
    model
        Law of the next event.
    codes, gaps
        Types and gaps read before; NaN for a gap that is not known.
    random
        Random numbers; the same give the same paths.
    window
        Events that the model has learned to look at; half of it is history when the window begins anew.
    least, duration
        Where to stop; the longest row decides.
    elapsed
        Time since the last event in which nothing came; the first gap is drawn given that.

    Returns
    -------
    codes, gaps : (B, M)
        The new events; the first gap counts from the last event, `elapsed` included. What a row has after its end
        is not to be looked at.

    Raises
    ------
    OptionError
        ``option.invalid`` if a path would take more than 20,000 events.
    """
    device = model.log_mean.device
    history = torch.as_tensor(codes, device=device), torch.as_tensor(gaps, dtype=torch.float32, device=device)
    passed = np.full(len(codes), -elapsed)
    active = np.arange(len(codes))  # rows that go on: those that have ended wait with gaps of zero
    new_codes: list[IntArray] = []
    new_gaps: list[FloatArray] = []
    half = max(window // 2, 1)
    while len(active):
        if len(new_gaps) > MOST_EVENTS:
            text = f"A path of events to the end of the horizon takes more than {MOST_EVENTS:,} events."
            raise OptionError(text, code="option.invalid", hint="Ask for a shorter horizon.")
        kept = [part[:, -half:] for part in history]
        caches = [LayerCache() for _ in model.trunk.blocks]
        clock = model.clock(kept[1])
        state, now = model.trunk(kept[0], model.normalize(kept[1]), clock, caches)[:, -1], clock[:, -1:]
        for _ in range(half):
            gap, code = _draw(model, state, random, 0.0 if new_gaps else elapsed)
            new_codes.append(np.zeros(len(codes), dtype=np.int64))
            new_gaps.append(np.zeros(len(codes)))
            new_codes[-1][active], new_gaps[-1][active] = code.cpu().numpy(), gap.cpu().numpy()
            passed += new_gaps[-1]
            history = torch.cat([history[0], code[:, None]], 1), torch.cat([history[1], gap[:, None]], 1)
            if len(new_gaps) >= least and (passed > duration).all():
                break
            now = now + gap[:, None] / model.mean_gap
            state = model.trunk(code[:, None], model.normalize(gap)[:, None], now, caches)[:, -1]
        goes_on = (passed[active] <= duration) | (len(new_gaps) < least)
        history = history[0][goes_on], history[1][goes_on]
        active = active[goes_on]
    return np.stack(new_codes, 1), np.stack(new_gaps, 1)


def _draw(model: EventModel, state: Tensor, random: np.random.Generator, elapsed: float) -> tuple[Tensor, Tensor]:
    """One gap (B,) and type (B,) after each state (B, D)."""
    chosen, place, kind = torch.as_tensor(random.random((3, len(state))), dtype=torch.float32, device=state.device)
    z = draw_gap(model, model.gap_law(state), chosen, place, elapsed)
    gap = torch.exp(z * model.log_deviation + model.log_mean).clamp(min=elapsed)
    probability = model.type_law(state, z).exp()
    return gap, _pick(probability, kind)


def draw_gap(model: EventModel, law: Gaps, chosen: Tensor, place: Tensor, elapsed: float) -> Tensor:
    """Normalised log gap (B,) longer than `elapsed`, from two uniform numbers (B,)."""
    if elapsed > 0:
        bound = model.normalize(torch.full_like(chosen, elapsed))
        left = survival(law, bound)
        component = _pick(torch.softmax(left, -1), chosen).unsqueeze(-1)
        share = (left - law.log_weight).gather(-1, component).squeeze(-1).exp()
    else:
        component = _pick(law.log_weight.exp(), chosen).unsqueeze(-1)
        share = torch.ones_like(chosen)
    mean = law.mean.gather(-1, component).squeeze(-1)
    deviation = law.log_deviation.gather(-1, component).squeeze(-1).exp()
    upper = ((1 - place) * share).clamp(1e-7, 1 - 1e-7)
    z: Tensor = mean - deviation * torch.special.ndtri(upper)
    return z


def _pick(probability: Tensor, uniform: Tensor) -> Tensor:
    """Index (B,) drawn from probabilities (B, K)."""
    below = (probability.cumsum(-1) < uniform.unsqueeze(-1) * probability.sum(-1, keepdim=True)).sum(-1)
    return below.clamp(max=probability.shape[-1] - 1)
