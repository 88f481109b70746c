"""Draft and verify for vocabularies: several ids of a path in one pass of the model, with its law unchanged.

A draft costs nothing here: it is drawn around what stood one season ago. The model reads the drafted ids at once and
says how likely each of them was; each is kept with probability min(1, p / q), and the first that is not is drawn anew
from what p has beyond q. So every id follows the model's own law, whatever the draft (Leviathan et al., 2023; Chen et
al., 2023). A good draft saves passes, a bad one costs reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from tsar.decode.token_rollout import ROOM, SEED, growing, id_tokens, inverse
from tsar.errors import ModelError, OptionError
from tsar.heads.categorical import sharpened
from tsar.model.cache import Cache
from tsar.model.decoder import Decoder
from tsar.tokenizers.patch import Tokens
from tsar.tokenizers.vocabulary import PAD

SEASONS = 4
"""Seasons whose values are averaged for the middle of a draft."""

FLAT = 0.05
"""Share of a draft that is spread over all classes."""


@dataclass(frozen=True)
class DraftedPaths:
    """Paths, and what they took.

    Attributes
    ----------
    values
        (B, num_samples, horizon) float64.
    passes
        Passes of the model after the context was read; without drafts there is one for each id but the first.
    accepted
        Share of the drafted ids that were looked at and kept.
    """

    values: Tensor
    passes: int
    accepted: float


@torch.inference_mode()
def sample_drafted_paths(
    model: Decoder,
    values: Tensor,
    observed: Tensor,
    horizon: int,
    *,
    season_length: int,
    draft_length: int = 8,
    num_samples: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int = SEED,
) -> DraftedPaths:
    """Draw paths as `sample_paths` does, in fewer passes where the series has the season; in law, not number by number.

    Parameters
    ----------
    model
        A decoder whose config `has_vocabulary` and whose blocks can cache, in evaluation mode.
    values, observed
        (B, L) values and which of them are known.
    horizon
        Points of each path, at most a quarter of ``config.context_length``: what the window leaves free.
    season_length
        Points from a season to the next.
    draft_length
        Ids drafted for a pass; at most a season of them.
    num_samples, temperature, top_k, seed
        As in `sample_paths`. The numbers of a window depend on its place in the batch.

    Raises
    ------
    OptionError
        ``option.invalid`` for a horizon, season or draft that cannot be.
    ModelError
        ``model.wrong_task`` for a model without a vocabulary or a cache.
    """
    config = model.config
    if not config.has_vocabulary or not all(block.can_cache for block in model.blocks):
        text = "Drafts of ids are verified by a model with a vocabulary whose blocks can cache."
        raise ModelError(text, code="model.wrong_task")
    if not 1 <= horizon <= max(int(ROOM * config.context_length), 1) or min(season_length, draft_length) < 1:
        text = f"horizon must be from 1 to {ROOM} of the context, season_length and draft_length from 1."
        raise OptionError(text, code="option.invalid")
    count = config.num_samples if num_samples is None else num_samples
    keep = config.context_length - horizon
    values, observed = values[:, -keep:], observed[:, -keep:]
    rollout = _Rollout(
        model, values, observed, horizon, count, season_length, draft_length,
        config.temperature if temperature is None else temperature, config.top_k if top_k is None else top_k,
        Generator(values.device).manual_seed(seed),
    )  # fmt: skip
    return rollout.run()


class _Rollout:
    """N paths, each as far as its drafts were good, and a cache with holes where they were not."""

    def __init__(
        self, model: Decoder, values: Tensor, observed: Tensor, horizon: int, count: int, season: int, drafts: int,
        temperature: float, top_k: int, generator: Generator,
    ) -> None:  # fmt: skip
        self.model, self.vocabulary, self.count = model, model.vocabulary, count
        self.temperature, self.top_k, self.generator = temperature, top_k, generator
        self.per_point = self.vocabulary.tokens_per_point
        self.steps, self.season = horizon * self.per_point, season * self.per_point
        self.drafts = min(drafts, self.season)
        self.scale = self.vocabulary.find_scale(values, observed)
        tokens = self.vocabulary.encode(values, observed, scale=self.scale)
        ids, self.mask = tokens.patches[..., 0], observed.cumsum(1).repeat_interleave(self.per_point, 1) > 0
        self.rows = torch.arange(len(ids), device=ids.device).repeat_interleave(count)
        self.read = ids.shape[1]
        self.ids = pad(ids[self.rows], (0, self.steps + self.drafts + 1))
        self.done = torch.zeros_like(self.rows)  # ids drawn of each path
        spans = [self.vocabulary.allowed(step) for step in range(self.per_point)]
        place = torch.arange(self.vocabulary.vocabulary_size, device=ids.device)
        self.allowed = torch.stack([(place >= span.start) & (place < span.stop) for span in spans])
        self.spread = self._spread()

    def run(self) -> DraftedPaths:
        """Draft, verify, go on, until the slowest path is there."""
        cache = Cache.empty(self.model.config.num_layers)
        windows = slice(None, None, self.count)
        if self.read > 1:
            context = self.ids[windows, : self.read - 1]
            self.model.trunk(id_tokens(context, self.mask[:, :-1], self.model), cache=cache, last=1)
            cache = cache.select(self.rows, cache.num_tokens)
            cache = growing(cache, self.read + 2 * (self.steps + self.drafts))
        passes, kept, looked_at = 0, 0, 0
        while bool((self.done < self.steps).any()):
            accepted = self._extend(cache)
            passes += 1
            kept += int(accepted.sum())
            looked_at += int((accepted + 1).clamp_max(self.drafts).sum())
        drawn = self.ids[:, self.read : self.read + self.steps]
        values = self.vocabulary.decode(drawn, self.scale[self.rows])
        return DraftedPaths(values.view(-1, self.count, values.shape[1]), passes, kept / looked_at)

    def _extend(self, cache: Cache) -> Tensor:
        """Draft, read and verify once; how many drafted ids (N,) were kept."""
        ahead = torch.arange(self.drafts + 1, device=self.ids.device)
        place = self.read + self.done.unsqueeze(1) + ahead  # of the ids that are drafted, and of one more
        phase = (self.done.unsqueeze(1) + ahead) % self.per_point
        q = self._draft_law(place[:, :-1], phase[:, :-1])
        drafted = inverse(q, self._numbers(q))
        self.ids.scatter_(1, place[:, :-1], drafted)
        hidden = self.model.trunk(self._tokens(place - 1), cache=cache, positions=place - 1)
        logits = self.model.head(hidden, hidden[..., 0])[:, :, 0].to(torch.float64)
        logits = logits.masked_fill(~self.allowed[phase], -torch.inf)
        p = sharpened(logits, self.temperature, self.top_k).softmax(-1)
        accepted, following = verify(p, q, drafted, self._numbers(q), self._numbers(q)[:, 0])
        self.ids.scatter_(1, self.read + (self.done + accepted).unsqueeze(1), following.unsqueeze(1))
        if cache.mask is not None:
            cache.mask[:, -self.drafts - 1 :] = ahead <= accepted.unsqueeze(1)
        self.done = (self.done + accepted + 1).clamp_max(self.steps)
        return accepted

    def _tokens(self, place: Tensor) -> Tokens:
        """Tokens of the ids at these places (N, K)."""
        lags = torch.arange(self.model.config.token_lags, device=place.device)
        before = place.unsqueeze(-1) - lags
        said = self.ids.gather(1, before.clamp_min(0).flatten(1)).view_as(before)
        read = torch.where(before >= 0, said, PAD)
        return Tokens(patches=read, mask=torch.ones_like(place, dtype=torch.bool), state=None)  # type: ignore[arg-type]

    def _draft_law(self, place: Tensor, phase: Tensor) -> Tensor:
        """Probabilities (N, drafts, V) float64 around the middle of the last seasons."""
        classes = torch.arange(self.vocabulary.vocabulary_size, device=place.device, dtype=torch.float64)
        middle, known = self._middle(place, phase)
        distance = (classes - middle.unsqueeze(-1)) / self.spread[self.rows].gather(1, phase).unsqueeze(-1)
        allowed = self.allowed[phase]
        peaked = torch.where(known.unsqueeze(-1), -distance.square() / 2, 0.0).masked_fill(~allowed, -torch.inf)
        flat = allowed / allowed.sum(-1, keepdim=True)
        return (1 - FLAT) * peaked.softmax(-1) + FLAT * flat

    def _middle(self, place: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Mean id (N, K) one, two, … seasons before each place, and whether there is any; one season for inner ids."""
        total, count = torch.zeros_like(place, dtype=torch.float64), torch.zeros_like(place, dtype=torch.float64)
        for turn in range(1, SEASONS + 1 if self.per_point == 1 else 2):
            before = place - turn * self.season
            said = self.ids.gather(1, before.clamp_min(0))
            valid = (before >= 0) & self.allowed[phase].gather(-1, said.unsqueeze(-1)).squeeze(-1)
            total, count = total + torch.where(valid, said, 0), count + valid
        return total / count.clamp_min(1), count > 0

    def _spread(self) -> Tensor:
        """How far (B, tokens_per_point) ids of the window fall from the middle of the seasons before, at least 1."""
        rows, self.ids = self.ids, self.ids[:: self.count]
        place = torch.arange(self.season, self.read, device=rows.device).expand(len(self.ids), -1)
        phase = place % self.per_point
        middle, known = self._middle(place, phase)
        said = self.ids.gather(1, place)
        known &= self.allowed[phase].gather(-1, said.unsqueeze(-1)).squeeze(-1)
        self.ids = rows
        spreads = []
        for step in range(self.per_point):
            mine = known & (phase == step)
            error = torch.where(mine, (said - middle).square(), 0.0).sum(1) / mine.sum(1).clamp_min(1)
            spreads.append(torch.where(mine.any(1), error.sqrt().clamp_min(1.0), float(self.vocabulary.sizes[step])))
        return torch.stack(spreads, 1)

    def _numbers(self, like: Tensor) -> Tensor:
        """Random numbers in (0, 1), one for each drafted id."""
        return torch.rand(
            like.shape[:2], generator=self.generator, device=like.device, dtype=torch.float64
        ).clamp(1e-12, 1 - 1e-12)  # fmt: skip


def verify(p: Tensor, q: Tensor, drafted: Tensor, dice: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Keep drafted ids as far as the law allows, and draw the one after them.

    Parameters
    ----------
    p
        (N, K + 1, V) the law of each drafted id, and of the one after the last, given those before.
    q
        (N, K, V) the laws that they were drafted from.
    drafted
        (N, K).
    dice, number
        (N, K) and (N,) random numbers in (0, 1): to keep or not, and to draw the id that follows.

    Returns
    -------
    tuple
        How many (N,) of the drafted are kept, and the id (N,) that follows these: all of them follow p exactly.
    """
    said = drafted.unsqueeze(-1)
    ratio = (p[:, :-1].gather(-1, said) / q.gather(-1, said)).squeeze(-1)
    accepted = (dice < ratio).long().cumprod(1).sum(1)
    row = torch.arange(len(p), device=p.device)
    wanted = p[row, accepted]
    beyond = (wanted - pad(q, (0, 0, 0, 1))[row, accepted]).clamp_min(0.0)  # no draft after the last: q is 0 there
    usable = beyond.sum(-1, keepdim=True) > 0  # else p is q, and nothing is refused but by rounding
    return accepted, inverse(torch.where(usable, beyond, wanted), number)
