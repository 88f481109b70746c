"""A frozen language model as the trunk: patches in, patches out, its weights untouched.

Patches are projected to the width of its word embeddings (AutoTimes, Liu et al., 2024; LLM4TS, Chang et al., 2025), or
reprogrammed: each patch asks a few prototypes, which are mixtures of the words the model knows (Time-LLM, Jin et al.,
2024). In front of them may stand a sentence about the window (Time-LLM) and the prompts of a pool that fit the window
best (TEMPO, Cao et al., 2024). Position codes and norms may be trained as well (LLM4TS), all else never is.

The model is a folder of transformers' on this machine: safetensors only, no code from it, nothing from the network. A
release holds what was trained and a checksum of the folder's weights, not those weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsar.errors import ModelError
from tsar.freq.resolution import RESOLUTIONS
from tsar.model.config import ModelConfig
from tsar.optional import require
from tsar.tokenizers.patch import Tokens

NUM_PROTOTYPES = 64
NUM_CHOSEN = 3  # prompts of the pool that a window gets
PROMPT_LENGTH = 2  # tokens of each
SENTENCE_LENGTH = 48  # tokens of the sentence about a window, cut or filled up
EXTRA = "llm"
TRAINABLE = {"norm": ("norm", "ln_"), "position": ("wpe", "position")}
"""What of the language model may be trained, and what its weights are called."""


class LanguageBody(nn.Module):
    """Stand for the blocks of a trunk: (B, T, D) -> (B, T, D), causal.

    Parameters
    ----------
    config
        With `body`, `body_input`, `body_trains`, `body_sentence` and `prompt_pool`.

    Raises
    ------
    ModelError
        ``model.bad_body`` if the folder holds no such model.
    MissingDependencyError
        ``dependency.missing`` without transformers (extra ``llm``).
    """

    checksum: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.path, self.trains = Path(config.body), config.body_trains
        self.patch_length = config.patch_length
        self._known: dict[str, Any] = {}  # the language model, out of sight of state_dict and the optimizer
        self.lm_config = self._load("AutoConfig")
        width = int(self.lm_config.hidden_size)
        self.enter: nn.Module = (
            nn.Linear(config.d_model, width)
            if config.body_input == "linear"
            else Reprogramming(config, width, int(self.lm_config.vocab_size))
        )
        self.leave = nn.Linear(width, config.d_model)
        self.pool = PromptPool(config.prompt_pool, config.d_model, width) if config.prompt_pool else None
        self.speaks = config.body_sentence
        self.tuned = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.empty(shape)) for name, shape in self._trained_shapes().items()}
        )
        self.register_buffer("checksum", torch.zeros(8))

    def forward(self, x_BTD: Tensor, tokens: Tokens) -> Tensor:
        """Return states (B, T, D); what stands in front of the patches is left out of the answer."""
        model = self._model(x_BTD.device)
        words = model.get_input_embeddings().weight
        entered = self.enter(x_BTD, words) if isinstance(self.enter, Reprogramming) else self.enter(x_BTD)
        front = self._front(x_BTD, tokens, words)
        everything = torch.cat([*front, entered], 1)
        batch, ahead = len(x_BTD), everything.shape[1] - x_BTD.shape[1]
        mask = torch.ones(batch, everything.shape[1], dtype=torch.long, device=x_BTD.device)
        if tokens.mask is not None:
            mask[:, ahead:] = tokens.mask
        arguments = {
            "inputs_embeds": everything,
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp_min(0),
            "use_cache": False,
        }
        tuned = {name.replace("/", "."): value for name, value in self.tuned.items()}
        states = torch.func.functional_call(model, tuned, (), arguments).last_hidden_state
        left: Tensor = self.leave(states[:, ahead:])
        return x_BTD + left

    @torch.no_grad()
    def initialize(self) -> None:
        """Begin with the weights of the folder, adding nothing to the embedding."""
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        weights = dict(self._model(torch.device("cpu"), check=False).named_parameters())
        for name, value in self.tuned.items():
            value.copy_(weights[name.replace("/", ".")])
        self.checksum.copy_(self._sum_of_files())
        if self.pool is not None:
            self.pool.initialize()

    def _front(self, x_BTD: Tensor, tokens: Tokens, words: Tensor) -> list[Tensor]:
        front = []
        if self.speaks:
            sentences = [describe(row) for row in summaries(tokens, self.patch_length)]
            if tokens.frequency is not None:
                named = [RESOLUTIONS[number] for number in tokens.frequency.tolist()]
                sentences = [f"{name} {rest}" for name, rest in zip(named, sentences, strict=True)]
            front.append(F.embedding(self._spell(sentences).to(words.device), words))
        if self.pool is not None:
            front.append(self.pool(x_BTD, tokens.mask))
        return front

    def _spell(self, sentences: list[str]) -> Tensor:
        """Token ids (B, SENTENCE_LENGTH): by the folder's tokenizer if it has one, else bytes."""
        if "tokenizer" not in self._known:
            has_one = (self.path / "tokenizer.json").is_file()
            self._known["tokenizer"] = self._load("AutoTokenizer") if has_one else None
        tokenizer = self._known["tokenizer"]
        size = int(self.lm_config.vocab_size)
        rows = []
        for sentence in sentences:
            ids = tokenizer.encode(sentence) if tokenizer is not None else [byte % size for byte in sentence.encode()]
            rows.append((ids + [0] * SENTENCE_LENGTH)[:SENTENCE_LENGTH])
        return torch.tensor(rows)

    def _model(self, device: torch.device, check: bool = True) -> Any:
        """The language model, read when it is first needed."""
        if "model" not in self._known:
            if check and not torch.equal(self.checksum.cpu(), self._sum_of_files()):
                raise ModelError(
                    f"The language model in {self.path} is not the one that this model was trained on.",
                    code="model.bad_body",
                    hint="Put the same weights there.",
                )
            model = self._load("AutoModel", use_safetensors=True, dtype=torch.float32)
            self._known["model"] = model.eval().requires_grad_(False)
        model = self._known["model"]
        if next(model.parameters()).device != device:
            model.to(device)
        return model

    def _load(self, kind: str, **options: Any) -> Any:
        transformers = require("transformers", EXTRA)
        if not self.path.is_dir():
            raise ModelError(
                f"There is no language model at {self.path}.",
                code="model.bad_body",
                hint="model.body is the folder of a transformers model on this machine, relative to where you run.",
            )
        try:
            return getattr(transformers, kind).from_pretrained(
                str(self.path), local_files_only=True, trust_remote_code=False, **options
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"The language model at {self.path} cannot be read: {reason}", code="model.bad_body"
            ) from error

    def _trained_shapes(self) -> dict[str, torch.Size]:
        if not self.trains:
            return {}
        words = [word for part in self.trains for word in TRAINABLE[part]]
        with torch.device("meta"):
            skeleton = require("transformers", EXTRA).AutoModel.from_config(self.lm_config)
        return {
            name: weight.shape for name, weight in skeleton.named_parameters() if any(word in name for word in words)
        }

    def _sum_of_files(self) -> Tensor:
        """Eight bytes of a hash of the weights, as numbers that stay exact in the sixteen bits of a release."""
        digest = hashlib.sha256()
        for path in sorted(self.path.glob("*.safetensors")):
            digest.update(path.read_bytes())
        return torch.tensor([float(byte) for byte in digest.digest()[:8]])


class Reprogramming(nn.Module):
    """Say a patch in words: attention from patches to prototypes, which are mixtures of word embeddings."""

    def __init__(self, config: ModelConfig, width: int, num_words: int) -> None:
        super().__init__()
        self.num_heads, inner = config.num_heads, config.num_heads * config.head_dim
        self.mixture = nn.Linear(num_words, NUM_PROTOTYPES, bias=False)
        self.query = nn.Linear(config.d_model, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)

    def forward(self, x_BTD: Tensor, words_VW: Tensor) -> Tensor:
        """Return (B, T, W)."""
        prototypes = self.mixture(words_VW.T).T
        q = self.query(x_BTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k = self.key(prototypes).unflatten(-1, (self.num_heads, -1)).transpose(0, 1).expand(len(x_BTD), -1, -1, -1)
        v = self.value(prototypes).unflatten(-1, (self.num_heads, -1)).transpose(0, 1).expand(len(x_BTD), -1, -1, -1)
        said = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        reprogrammed: Tensor = self.output(said)
        return reprogrammed


class PromptPool(nn.Module):
    """Prompts with keys; a window gets those whose keys are nearest to the mean of its patches (TEMPO, section 3.3)."""

    def __init__(self, num_prompts: int, d_model: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(num_prompts, d_model))
        self.prompts = nn.Parameter(torch.empty(num_prompts, PROMPT_LENGTH * width))

    def initialize(self) -> None:
        """Draw keys and prompts."""
        nn.init.normal_(self.keys)
        nn.init.normal_(self.prompts, std=0.02)

    def forward(self, x_BTD: Tensor, mask: Tensor | None) -> Tensor:
        """Return prompts (B, chosen * PROMPT_LENGTH, W), weighted by how near their keys are."""
        seen = torch.ones_like(x_BTD[..., 0]) if mask is None else mask.to(x_BTD.dtype)
        mean = (x_BTD * seen.unsqueeze(-1)).sum(1) / seen.sum(1, keepdim=True).clamp_min(1)
        nearness = F.normalize(mean, dim=-1) @ F.normalize(self.keys, dim=-1).T
        best = nearness.topk(min(NUM_CHOSEN, len(self.keys)), -1)
        chosen = self.prompts[best.indices] * best.values.softmax(-1).unsqueeze(-1)
        prompts: Tensor = chosen.view(len(x_BTD), -1, chosen.shape[-1] // PROMPT_LENGTH)
        return prompts


def summaries(tokens: Tokens, patch_length: int) -> list[list[float]]:
    """Smallest, largest and last value of each window in deviations, and its mean step."""
    state = tokens.state
    coarse = tokens.patches[..., :patch_length]
    last = state.normalize(state.last.unsqueeze(-1))[:, -1, 0]
    safe = torch.where(state.scale > 0, state.scale, 1.0)
    step = (state.step / safe)[:, -1]
    columns = [coarse.amin((1, 2)), coarse.amax((1, 2)), last.to(coarse), step.to(coarse)]
    rows: list[list[float]] = torch.stack(columns, 1).double().tolist()
    return rows


def describe(summary: list[float]) -> str:
    """Say a window in a sentence."""
    low, high, last, step = summary
    return f"min {low:.1f} max {high:.1f} last {last:.1f} step {step:.1f}"
