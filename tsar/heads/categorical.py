"""Categorical head: a probability for each word of a vocabulary (Ansari et al., 2024, Chronos)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from tsar.heads.base import Head, Law


class CategoricalLaw:
    """Probabilities of numbers 0 … V - 1, with closed forms for everything.

    Parameters
    ----------
    logits
        (…, V), not normalised; -inf for what cannot be.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.log_probs = logits.log_softmax(-1)

    def loss(self, target: Tensor) -> Tensor:
        """Cross-entropy (…) of whole numbers `target` (…)."""
        return -self.log_prob(target)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log probability (…) of whole numbers (…)."""
        return self.log_probs.gather(-1, target.long().unsqueeze(-1)).squeeze(-1)

    def quantile(self, levels: Tensor) -> Tensor:
        """Smallest numbers whose cumulated probability reaches the `levels` (Q,), shape (…, Q)."""
        wanted = levels.to(self.log_probs).expand(*self.log_probs.shape[:-1], -1)
        return self.at(wanted)

    def at(self, uniform: Tensor, *, temperature: float = 1.0, top_k: int = 0) -> Tensor:
        """Numbers (…, n) whose share of the law reaches `uniform` (…, n) in [0, 1): draws, if those are random."""
        reached = self._narrowed(temperature, top_k).softmax(-1).cumsum(-1)
        wanted = (uniform * reached[..., -1:]).contiguous()  # rounding may leave the sum below 1
        return torch.searchsorted(reached.contiguous(), wanted, right=True).clamp_max(reached.shape[-1] - 1)

    def sample(self, generator: Generator, num_samples: int, *, temperature: float = 1.0, top_k: int = 0) -> Tensor:
        """Draws (num_samples, …); a low `temperature` or a small `top_k` (0: all) narrows the law."""
        flat = self._narrowed(temperature, top_k).softmax(-1).reshape(-1, self.log_probs.shape[-1])
        drawn = torch.multinomial(flat, num_samples, replacement=True, generator=generator)
        return drawn.T.reshape(num_samples, *self.log_probs.shape[:-1])

    def _narrowed(self, temperature: float, top_k: int) -> Tensor:
        logits = self.log_probs / temperature
        if 0 < top_k < logits.shape[-1]:
            kept = logits.topk(top_k, -1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
        return logits


class CategoricalHead(Head):
    """One linear layer from hidden states to logits; `num_components` is the size of the vocabulary."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int) -> None:
        super().__init__()
        self.words = nn.Linear(d_model, num_components, bias=False)

    @staticmethod
    def width_of(num_levels: int, num_components: int) -> int:
        """A number for each word."""
        return num_components

    @torch.no_grad()
    def initialize(self) -> None:
        """All words alike."""
        nn.init.normal_(self.words.weight, std=0.1 * self.words.in_features**-0.5)

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Logits (B, T, 1, V); the anchor is for heads of values."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            logits: Tensor = self.words(hidden_BTD.to(self.words.weight.dtype)).unsqueeze(2)
        return logits

    def law(self, parameters: Tensor, levels: Tensor) -> Law:
        """Return the law of logits (…, V)."""
        return CategoricalLaw(parameters)
