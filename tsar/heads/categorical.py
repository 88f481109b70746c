"""Categorical head: a probability for each id of a vocabulary, or each bin of z (Ansari et al., 2024, Chronos)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from tsar.heads.base import Head

Z_REACH = 6.0  # of the bins over patches, in z, that is, 200 deviations


class CategoricalHead(Head):
    """One logit a class: of a vocabulary's ids, or of `num_components` bins, evenly spaced in z, of every point."""

    def __init__(self, d_model: int, output_length: int, num_levels: int, num_components: int = 1) -> None:
        super().__init__()
        self.output_length = output_length
        self.num_classes = num_components
        self.says_ids = False  # set by a decoder whose tokenizer has a vocabulary
        self.logits = nn.Linear(d_model, output_length * num_components)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw small weights: all classes are alike at first."""
        nn.init.normal_(self.logits.weight, std=0.1 * self.logits.in_features**-0.5)
        nn.init.zeros_(self.logits.bias)

    def forward(self, hidden_BTD: Tensor, anchor: Tensor) -> Tensor:
        """Return logits (B, T, output_length, classes); the anchor is not needed."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            logits = self.logits(hidden_BTD.to(self.logits.weight.dtype))
        by_point: Tensor = logits.view(*logits.shape[:-1], self.output_length, self.num_classes)
        return by_point

    def law(self, parameters: Tensor, levels: Tensor) -> CategoricalLaw:
        """The law of these logits, over ids or over centres in z."""
        low, high = (0.0, self.num_classes - 1.0) if self.says_ids else (-Z_REACH, Z_REACH)
        centres = torch.linspace(low, high, self.num_classes, dtype=torch.float64, device=parameters.device)
        return CategoricalLaw(parameters, centres.to(parameters.dtype))


class CategoricalLaw:
    """Probabilities of classes, each of which stands for a value.

    Parameters
    ----------
    logits
        (…, V), not normalised.
    centres
        (V,) value of each class, ascending.
    """

    def __init__(self, logits: Tensor, centres: Tensor) -> None:
        self.logits = logits
        self.centres = centres

    def loss(self, target: Tensor) -> Tensor:
        """Cross-entropy (…) of the class nearest to `target` (…)."""
        return -self.log_prob(target)

    def log_prob(self, target: Tensor) -> Tensor:
        """Log probability (…) of the class nearest to `target` (…)."""
        edges = ((self.centres[1:] + self.centres[:-1]) / 2).to(target.dtype)
        index = torch.bucketize(target.contiguous(), edges)
        chosen = self.logits.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        log_probability: Tensor = chosen - self.logits.logsumexp(-1)
        return log_probability

    def quantile(self, levels: Tensor) -> Tensor:
        """Smallest values whose cumulated probability reaches the `levels` (Q,), shape (…, Q)."""
        reached = self.logits.softmax(-1).cumsum(-1)
        wanted = levels.to(reached).expand(*reached.shape[:-1], -1).contiguous()
        return self.centres[torch.searchsorted(reached, wanted).clamp_max(len(self.centres) - 1)]

    def sample(self, generator: Generator, num_samples: int, *, temperature: float = 1.0, top_k: int = 0) -> Tensor:
        """Draws (num_samples, …); a low `temperature` or a small `top_k` (0: all) narrows the law."""
        flat = sharpened(self.logits, temperature, top_k).softmax(-1).reshape(-1, self.logits.shape[-1])
        index = torch.multinomial(flat, num_samples, replacement=True, generator=generator)
        return self.centres[index.T.reshape(num_samples, *self.logits.shape[:-1])]


def sharpened(logits: Tensor, temperature: float, top_k: int) -> Tensor:
    """Logits (…, V) divided by the temperature, all but the `top_k` largest (0: none) at minus infinity."""
    logits = logits / temperature
    if not 0 < top_k < logits.shape[-1]:
        return logits
    kept = logits.topk(top_k, -1)
    return torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
