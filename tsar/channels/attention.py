"""Attention across the channels of an item, around a frozen model that reads each channel alone.

A model of single series forecasts every channel; one small layer then lets each channel look at the newest moves of the
others and shifts its quantiles. Mixing channels behind a trunk that reads each alone is TTM's idea (Ekambaram et al.,
2024), there by an MLP, here by attention. Whom to listen to follows from the hidden states of the frozen trunk and from
a learned place for each channel; what is heard is linear in the moves. The layer starts as the identity, is trained on
backtests of the history, and acts only on channels whose latest backtests, not trained on, are forecast better.
"""

from __future__ import annotations

import copy
import io
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tsar.arrays import read_arrays
from tsar.errors import ReleaseError
from tsar.frame import Panel
from tsar.heads.quantile import pinball_loss
from tsar.inference import Inference
from tsar.types import BoolArray, FloatArray, IntArray
from tsar.windows import make_batches

LOOK = 32
"""Newest points of each channel whose moves the others see."""

MOST_WINDOWS = 256
"""Backtests of an item, fewer where there are many series: `MOST_SERIES` in all."""

MOST_SERIES = 2048
LEAST_WINDOWS = 24
LEAST_HISTORY = 64
TRAINED, STOPPED = 0.6, 0.75
"""Shares of the backtests, in time, that are trained on, and up to which training is stopped by; the rest judge."""

STEPS, EVERY, BATCH, RATE, DECAY, DROPPED = 400, 20, 64, 5e-3, 0.1, 0.2
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far each channel may follow what the mixer says."""

LEAST_GAIN, LEAST_Z = 0.01, 2.0
"""What a channel must gain on the judging backtests, as a share and in standard errors."""


class ChannelMixer(nn.Module):
    """One layer of attention across C channels; see the module.

    Parameters
    ----------
    num_channels, d_model, horizon
        C, width of the hidden states, steps that it shifts.
    num_heads, d_head
        Of the attention.
    """

    def __init__(self, num_channels: int, d_model: int, horizon: int, num_heads: int = 4, d_head: int = 16) -> None:
        super().__init__()
        self.num_heads = num_heads
        width = num_heads * d_head
        self.place_query = nn.Parameter(0.5 * torch.randn(num_channels, width))
        self.place_key = nn.Parameter(0.5 * torch.randn(num_channels, width))
        self.query = nn.Linear(d_model, width)
        self.key = nn.Linear(d_model, width)
        self.drop = nn.Dropout(DROPPED)
        self.value = nn.Linear(LOOK, width, bias=False)
        self.output = nn.Linear(width, horizon, bias=False)
        self.log_width = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("share", torch.ones(num_channels))
        for start_small in (self.query, self.key):
            nn.init.normal_(start_small.weight, std=0.1 * d_model**-0.5)
            nn.init.zeros_(start_small.bias)
        nn.init.zeros_(self.output.weight)

    def forward(self, hidden: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
        """Shift (B, C, F) and logarithm of the width (C,) of the bands, both in units of the band.

        `hidden` (B, C, D) are states of the frozen trunk, `moves` (B, C, `LOOK`) the newest points.
        """

        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # (B, H, C, d)

        queries, keys = self.query(hidden) + self.place_query, self.key(hidden) + self.place_key
        values = self.value(self.drop(moves))
        heard = nn.functional.scaled_dot_product_attention(heads(queries), heads(keys), heads(values))
        share = self.get_buffer("share")
        shift: Tensor = self.output(heard.transpose(1, 2).flatten(2)) * share[:, None]
        return shift, self.log_width * share


@dataclass(frozen=True, eq=False)
class MixedChannels:
    """A trained mixer and where it acts.

    Attributes
    ----------
    mixer
        In evaluation mode.
    kept : (C,) bool
        Channels that it moves.
    gain : (C,) float64
        Share of the quantile loss that it took off on the judging backtests; NaN without any.
    """

    mixer: ChannelMixer
    kept: BoolArray
    gain: FloatArray

    def apply(self, quantiles: FloatArray, panel: Panel, inference: Inference) -> FloatArray:
        """Move the forecast (I * C, F, Q) of a panel; steps further than those of the training stay as they are."""
        if not self.kept.any():
            return quantiles
        num_channels = len(self.kept)
        reach = min(self.mixer.output.out_features, quantiles.shape[1])
        seen = _look(panel.values, panel.offsets, quantiles, inference, num_channels)
        with torch.no_grad():
            shift, log_width = self.mixer(seen.hidden, seen.moves)
        moved = quantiles.reshape(-1, num_channels, *quantiles.shape[1:]).copy()
        near = moved[:, :, :reach]
        middle = near[..., near.shape[-1] // 2, None]
        factor = log_width.exp().numpy().astype(float)[:, None, None]
        changed = middle + factor * (near - middle) + (shift[..., :reach].numpy() * seen.unit[..., None])[..., None]
        moved[:, :, :reach] = np.where(self.kept[:, None, None], changed, near)
        return moved.reshape(quantiles.shape)

    def to_bytes(self) -> bytes:
        """Write it without pickles."""
        content = io.BytesIO()
        state = {f"mixer.{name}": value.numpy() for name, value in self.mixer.state_dict().items()}
        np.savez(content, kept=self.kept, gain=self.gain, **state)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> MixedChannels:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ReleaseError
            ``release.bad_manifest`` if it cannot be read.
        """
        try:
            stored = read_arrays(content)
            state = {
                name.removeprefix("mixer."): torch.from_numpy(values)
                for name, values in stored.items()
                if name.startswith("mixer.")
            }
            with torch.random.fork_rng(devices=[]):
                sizes = len(stored["kept"]), state["query.weight"].shape[1], len(state["output.weight"])
                mixer = ChannelMixer(*sizes)
            mixer.load_state_dict(state)
            return cls(mixer.eval().requires_grad_(False), stored["kept"], stored["gain"])
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            text = f"the channel attention of a forecaster cannot be read: {error}."
            raise ReleaseError(text, code="release.bad_manifest") from error


def learn_mixer(
    inference: Inference, panel: Panel, num_channels: int, prediction_length: int, *, seed: int = 0
) -> MixedChannels:
    """Train a mixer on backtests of a panel, and judge it by the latest of them, channel by channel.

    Parameters
    ----------
    inference
        The model and its options; its weights stay as they are.
    panel
        I * C series, the channels of an item after each other.
    num_channels, prediction_length
        C, F.
    seed
        Of weights and batches; the result is a function of the arguments alone.

    Returns
    -------
    MixedChannels
        With nothing kept where there are fewer than `LEAST_WINDOWS` backtests, or no channel gains.
    """
    with torch.random.fork_rng(devices=[]):  # of weights and dropout; the caller's generator stays where it was
        torch.manual_seed(seed)
        return _learn(inference, panel, num_channels, prediction_length, seed)


def _learn(inference: Inference, panel: Panel, num_channels: int, prediction_length: int, seed: int) -> MixedChannels:
    mixer = ChannelMixer(num_channels, inference.model.config.d_model, prediction_length)
    nothing = MixedChannels(
        mixer.eval().requires_grad_(False), np.zeros(num_channels, bool), np.full(num_channels, np.nan)
    )
    quickly = replace(inference, symmetrize=False)  # to compare with, not to forecast
    tests = _backtests(quickly, panel, num_channels, prediction_length)
    if tests is None:
        return nothing
    trained = torch.from_numpy(tests.age < TRAINED)
    judges = torch.from_numpy(tests.age >= STOPPED)
    stops = ~trained & ~judges
    trained &= torch.from_numpy(tests.end <= tests.cutoff[stops.numpy()].min(initial=np.iinfo(np.int64).max))
    stops &= torch.from_numpy(tests.end <= tests.cutoff[judges.numpy()].min(initial=np.iinfo(np.int64).max))
    if min(int(trained.sum()), int(stops.sum()), int(judges.sum())) < 4:
        return nothing
    best = _train(mixer, tests, trained, stops, inference.model.levels.cpu(), seed)
    gain, z = _judge(best, tests, judges, inference.model.levels.cpu())
    return MixedChannels(best, (gain >= LEAST_GAIN) & (z >= LEAST_Z), gain)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the mixer reads of B windows: hidden (B, C, D), moves (B, C, LOOK) and the unit of each band (B, C)."""

    hidden: Tensor
    moves: Tensor
    unit: FloatArray


@dataclass(frozen=True, eq=False)
class _Backtests:
    """B windows: what is read, forecast (B, C, F, Q) and outcome (B, C, F) in units of the band, NaN if missing."""

    seen: _Seen
    quantiles: Tensor
    actual: Tensor
    cutoff: IntArray  # (B,) where the window's history ends on the common grid, and where its outcome does
    end: IntArray
    age: FloatArray  # (B,) share of the backtests that are older

    def loss(self, mixer: ChannelMixer, rows: Tensor, levels: Tensor) -> Tensor:
        """Quantile loss (b, C) of some windows; NaN without any outcome."""
        shift, log_width = mixer(self.seen.hidden[rows], self.seen.moves[rows])
        quantiles = self.quantiles[rows]
        middle = quantiles[..., quantiles.shape[-1] // 2, None]
        moved = middle + log_width.exp()[:, None, None] * (quantiles - middle) + shift.unsqueeze(-1)
        known = torch.isfinite(self.actual[rows]) & torch.isfinite(moved[..., 0])
        error = pinball_loss(torch.where(known.unsqueeze(-1), moved, 0.0), self.actual[rows].nan_to_num(), levels)
        count = known.sum(-1)
        return torch.where(count > 0, torch.where(known, error, 0.0).sum(-1) / count.clamp_min(1), torch.nan)


def _train(
    mixer: ChannelMixer, tests: _Backtests, trained: Tensor, stops: Tensor, levels: Tensor, seed: int
) -> ChannelMixer:
    """Return a copy as it was when the loss on the windows `stops` was least."""
    generator = torch.Generator().manual_seed(seed)
    mixer = copy.deepcopy(mixer).requires_grad_(True)
    optimizer = torch.optim.AdamW(mixer.parameters(), lr=RATE, weight_decay=DECAY)
    rows, stopping = torch.nonzero(trained)[:, 0], torch.nonzero(stops)[:, 0]
    best, lowest = copy.deepcopy(mixer).eval(), math.inf
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        batch = rows[torch.randint(len(rows), (BATCH,), generator=generator)]
        loss = tests.loss(mixer, batch, levels).nanmean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % EVERY == 0:
            mixer.eval()
            with torch.no_grad():
                score = float(tests.loss(mixer, stopping, levels).nanmean())
            if score < lowest:
                best, lowest = copy.deepcopy(mixer), score
            mixer.train()
    best.requires_grad_(False)
    _choose_shares(best, tests, stopping, levels)
    return best


def _choose_shares(mixer: ChannelMixer, tests: _Backtests, rows: Tensor, levels: Tensor) -> None:
    """Set how far each channel follows to the share with the least loss on some windows."""
    share = mixer.get_buffer("share")
    losses = []
    for candidate in SHARES:
        share.fill_(candidate)
        losses.append(tests.loss(mixer, rows, levels).nanmean(0).nan_to_num(math.inf))
    share.copy_(torch.tensor(SHARES)[torch.stack(losses).argmin(0)])


@torch.no_grad()
def _judge(mixer: ChannelMixer, tests: _Backtests, judges: Tensor, levels: Tensor) -> tuple[FloatArray, FloatArray]:
    """Gain of each channel (C,) on windows, and in standard errors over windows; overlapping ones count once."""
    rows = torch.nonzero(judges)[:, 0]
    still = copy.deepcopy(mixer)
    still.get_buffer("share").zero_()  # then it moves nothing
    before, after = (tests.loss(one, rows, levels).double().numpy() for one in (still, mixer))
    cutoff, length = tests.cutoff[rows.numpy()], (tests.end - tests.cutoff)[rows.numpy()]
    gain, z = np.full(before.shape[1], np.nan), np.zeros(before.shape[1])
    for channel in range(before.shape[1]):
        known = np.isfinite(before[:, channel])
        if known.sum() < 4 or before[known, channel].sum() <= 0:
            continue
        better = before[known, channel] - after[known, channel]
        span = cutoff[known].max() - cutoff[known].min() + length.max()
        apart = min(known.sum(), max(span / length.max(), 1))  # items of one date are no independent witnesses
        gain[channel] = better.sum() / before[known, channel].sum()
        z[channel] = better.mean() / max(better.std() / math.sqrt(apart), 1e-12)
    return gain, z


def _backtests(inference: Inference, panel: Panel, num_channels: int, horizon: int) -> _Backtests | None:
    """Forecast the ends of cut histories; None if there are too few."""
    lengths, first = panel.lengths[::num_channels], panel.offsets[:-1].reshape(-1, num_channels)
    places = ((panel.starts - panel.starts.min()) // panel.grid.step)[::num_channels]
    most = max(min(MOST_WINDOWS, MOST_SERIES // panel.num_items), 1)
    cuts = [
        (item, cut)
        for item, length in enumerate(lengths)
        for cut in np.unique(np.linspace(LEAST_HISTORY, length - horizon, most).astype(int))
        if length - horizon >= LEAST_HISTORY
    ]
    if len(cuts) < LEAST_WINDOWS:
        return None
    longest = max(inference.context_lengths)
    pasts, actual = [], []
    for item, cut in cuts:
        for start in first[item]:
            pasts.append(panel.values[start + max(cut - longest, 0) : start + cut])
            actual.append(panel.values[start + cut : start + cut + horizon])
    values, offsets = np.concatenate(pasts), np.cumsum([0, *map(len, pasts)])
    quantiles = inference.decode_followed(values, offsets, horizon)
    seen = _look(values, offsets, quantiles, inference, num_channels)
    last = np.array([past[-1] if len(past) else np.nan for past in pasts])[:, None]
    unit = seen.unit.reshape(-1, 1)
    scaled = (quantiles - last[..., None]) / unit[..., None]
    outcome = (np.stack(actual) - last) / unit
    cutoff = np.array([places[item] + cut for item, cut in cuts])
    order = np.argsort(np.argsort(cutoff, kind="stable"), kind="stable")
    return _Backtests(
        seen, _by_channel(scaled, num_channels), _by_channel(outcome, num_channels), cutoff, cutoff + horizon,
        order / len(order),
    )  # fmt: skip


def _look(
    values: FloatArray, offsets: IntArray, quantiles: FloatArray, inference: Inference, num_channels: int
) -> _Seen:
    """What the mixer reads at the end of every series; zeros where nothing is known."""
    model = inference.model
    device = next(model.parameters()).device
    hidden = np.zeros((len(offsets) - 1, model.config.d_model), np.float32)
    moves = np.zeros((len(offsets) - 1, LOOK), np.float32)
    unit = np.abs(quantiles[..., -1] - quantiles[..., 0]).mean(1)
    unit = np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
    for batch in make_batches(
        values, offsets, context_length=max(inference.context_lengths), patch_length=model.config.patch_length,
        points_per_batch=1 << 17,
    ):  # fmt: skip
        with torch.no_grad():
            context = torch.from_numpy(batch.context).to(device)
            states = model.trunk(model.tokenizer.encode(context, torch.isfinite(context)))
        hidden[batch.rows] = states[:, -1].float().cpu().numpy()
        newest = batch.context[:, -LOOK:]
        anchor = newest[:, -1:]
        change = np.arcsinh((newest - anchor) / unit[batch.rows, None])
        moves[batch.rows, LOOK - newest.shape[1] :] = np.nan_to_num(change)
    return _Seen(
        _by_channel(hidden, num_channels), _by_channel(moves, num_channels), unit.reshape(-1, num_channels)
    )  # fmt: skip


def _by_channel(rows: npt.NDArray[Any], num_channels: int) -> Tensor:
    return torch.from_numpy(rows.reshape(-1, num_channels, *rows.shape[1:]).astype(np.float32))
