"""Mixture of experts: many feed-forward layers, of which each token goes through the few that its router chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.model.config import ModelConfig
from tsar.model.layers import SwiGLU

LOSS_WEIGHT = 0.01
"""Of the balance loss, as in Switch Transformer."""

BIAS_STEP = 0.001
"""How far a bias moves in a step, as in Wang et al. (2024)."""

MEMORY = 0.95
"""How much of the load that is remembered stays when a batch comes in."""


class Experts(nn.Module):
    """Gated feed-forward layers; each token goes through its best `experts_per_token`, weighted.

    Softmax over all experts, the best k, weights rescaled to sum to 1, as in Mixtral (Jiang et al., 2024). A shared
    expert for all tokens, behind a sigmoid gate, is that of Time-MoE (Shi et al., 2025).

    The load is spread by ``config.expert_balance``. ``"loss"``: an uneven load is added to the objective (Switch
    Transformer, Fedus et al., 2022). ``"bias"``: a bias, which counts in the choice only, moves against the load after
    every step (Wang et al., 2024, "Auxiliary-Loss-Free Load Balancing"; DeepSeek-V3). ``"none"``: not at all.

    Attributes
    ----------
    load
        (E,) share of the choices of recent training batches that fell on each expert; None before any.

    Notes
    -----
    Invariants (tests/unit/test_experts.py): one expert is the dense layer to the bit; several are their weighted sum;
    nothing is noted in evaluation mode. The tokens are sorted by expert, and each expert multiplies once.
    """

    bias: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, number = config.d_model, config.num_experts
        self.chosen_per_token, self.balance = config.experts_per_token, config.expert_balance
        self.router = nn.Linear(width, number, bias=False)
        self.gate_up = nn.Parameter(torch.empty(number, 2 * config.d_ff, width))
        self.down = nn.Parameter(torch.empty(number, width, config.d_ff))
        self.shared = SwiGLU(replace(config, d_ff=config.shared_expert)) if config.shared_expert else None
        self.shared_gate = nn.Linear(width, 1, bias=False) if config.shared_expert else None
        self.register_buffer("bias", torch.zeros(number))
        self.load: Tensor | None = None
        self._latest: Tensor | None = None  # counts of the last training batch
        self._loss: Tensor | None = None

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw fresh weights; no expert writes anything to begin with."""
        nn.init.normal_(self.router.weight, std=0.1 * self.router.in_features**-0.5)
        nn.init.normal_(self.gate_up, std=self.gate_up.shape[-1] ** -0.5)
        nn.init.zeros_(self.down)
        nn.init.zeros_(self.bias)
        if self.shared is not None:
            self.shared.initialize()

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return what to add to the residual stream, (B, T, D)."""
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        chosen_Nk, weights_Nk = self.route(x_ND)
        written = self._all(x_ND, chosen_Nk, weights_Nk) if torch.compiler.is_exporting() else None
        written = self._grouped(x_ND, chosen_Nk, weights_Nk) if written is None else written
        written = written.view(x_BTD.shape)
        if self.shared is not None and self.shared_gate is not None:
            written = written + torch.sigmoid(self.shared_gate(x_BTD)) * self.shared(x_BTD)
        return written

    def route(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return which experts work on each token (N, k), and what each says counts for (N, k), in all 1."""
        said_NE = self.router(x_ND)
        scores_NE = F.softmax(said_NE.to(torch.promote_types(said_NE.dtype, torch.float32)), -1)
        chosen_Nk = (scores_NE + self.bias).topk(self.chosen_per_token, dim=-1).indices
        weights_Nk = scores_NE.gather(1, chosen_Nk)
        if self.training:
            self._note(scores_NE, chosen_Nk)
        return chosen_Nk, weights_Nk / weights_Nk.sum(-1, keepdim=True)

    def auxiliary_loss(self) -> Tensor | None:
        """Take what the last batch adds to the objective, `LOSS_WEIGHT` where its load was even; None for nothing."""
        loss, self._loss = self._loss, None
        return loss

    @torch.no_grad()
    def after_step(self) -> None:
        """Make experts that had more than their share of the last batch less likely to be chosen, and the reverse."""
        if self.balance == "bias" and self._latest is not None:
            self.bias += BIAS_STEP * torch.sign(self._latest.mean() - self._latest)
        self._latest = None

    def statistics(self) -> dict[str, Any]:
        """Share of each expert in recent training batches, and its entropy over the largest possible; {} before any."""
        if self.load is None:
            return {}
        return {"load_entropy": load_entropy(self.load), "expert_load": [round(one, 4) for one in self.load.tolist()]}

    def train(self, mode: bool = True) -> Experts:
        """Switch between training and evaluation; what a batch left to be taken is dropped."""
        self._latest = self._loss = None
        return super().train(mode)

    def _note(self, scores_NE: Tensor, chosen_Nk: Tensor) -> None:
        """Keep the load of a batch, and the loss of an uneven one: E times the sum of shares times mean scores."""
        counts = torch.bincount(chosen_Nk.flatten(), minlength=len(self.bias)).to(self.bias.dtype)
        share = counts / counts.sum()
        self.load = share if self.load is None else torch.lerp(share, self.load.to(share), MEMORY)
        self._latest = counts
        if self.balance == "loss" and torch.is_grad_enabled():
            self._loss = LOSS_WEIGHT * len(share) * (share * scores_NE.mean(0)).sum()

    def _grouped(self, x_ND: Tensor, chosen_Nk: Tensor, weights_Nk: Tensor) -> Tensor:
        expert = chosen_Nk.flatten()
        order = expert.argsort(stable=True)
        counts = torch.bincount(expert, minlength=len(self.gate_up)).tolist()
        parts = torch.split(x_ND.index_select(0, order // self.chosen_per_token), counts)
        said = [_expert(*args) for args in zip(parts, self.gate_up, self.down, strict=True) if len(args[0])]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        said_NkD = torch.cat(said).index_select(0, back).view(*chosen_Nk.shape, -1)
        return (said_NkD * weights_Nk.to(said_NkD.dtype).unsqueeze(-1)).sum(1)

    def _all(self, x_ND: Tensor, chosen_Nk: Tensor, weights_Nk: Tensor) -> Tensor:
        """Every expert on every token: an exported graph cannot depend on how many tokens an expert has."""
        gate, up = torch.einsum("nd,efd->enf", x_ND, self.gate_up).chunk(2, dim=-1)
        said_END = torch.einsum("enf,edf->end", F.silu(gate) * up, self.down)
        weights_NE = weights_Nk.new_zeros(x_ND.shape[0], len(self.bias)).scatter(1, chosen_Nk, weights_Nk)
        return torch.einsum("end,ne->nd", said_END, weights_NE.to(said_END.dtype))


def load_entropy(share: Tensor) -> float:
    """Entropy of shares (E,) that sum to 1, over the largest possible: 1 if all experts work alike."""
    if len(share) == 1:
        return 1.0
    entropy = torch.special.entr(share.double()).sum() / torch.log(torch.tensor(len(share), dtype=torch.float64))
    return float(entropy)


def _expert(x_ND: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = F.linear(x_ND, gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, down)
