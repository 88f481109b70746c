"""The architecture of a release: one frozen dataclass, stored as ``config.json`` beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from tsar.errors import ModelError

FORMAT_VERSION = 1
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SCALINGS = ("causal", "window")
ATTENTIONS = ("causal", "full")
POSITIONS = ("rotary", "none")
EXPERT_BALANCES = ("bias", "loss", "none")
BODY_INPUTS = ("linear", "reprogram")
BODY_PARTS = ("norm", "position")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and choices that fix the shape and meaning of a decoder's weights.

    Parameters
    ----------
    d_model, num_layers, num_heads, num_kv_heads, head_dim, d_ff
        Width, depth, query heads, key/value heads (grouped-query attention), width of a head, hidden width of SwiGLU.
    patch_length
        P, points in one token.
    output_length
        Points that every position predicts, a multiple of `patch_length`.
    context_length
        Longest context the model was trained on, in points; the default context of a forecast.
    max_span
        Longest run of hidden patches seen in training; horizons up to ``output_length + max_span * patch_length``
        come out of one pass.
    quantile_levels
        Levels of the quantile head; odd in number (three or more), ascending, symmetric around 0.5.
    scaling
        ``"causal"``: every token is normalised by the running statistics up to its own end.
        ``"window"``: all tokens by the statistics of the whole context.
    attention
        ``"causal"``: a token sees itself and those before it, and predicts what follows: a model that forecasts.
        ``"full"``: a token sees all tokens and predicts its own points: a model that fills gaps. It needs
        ``scaling="window"`` and `output_length` equal to `patch_length`.
    period
        Whether tokens carry the period found in the window, see `tsar.tokenizers.period`.
    prompt_length
        Learned keys in each layer, see `tsar.model.prompt`; 0 for none.
    head
        The output law, a name in `tsar.heads.HEADS`: ``"quantile"``, ``"student_t"``, ``"mixture"`` or
        ``"categorical"``.
    num_components
        Normal laws of a mixture; bins of a categorical head over patches.
    horizons
        Points of each of the heads of ``head="horizons"``: from 1, each a divisor of the next, the last is
        `output_length`; see `tsar.decode.horizons`. Empty: one head.
    highway
        Points of a patch, counted from its end, that a linear autoregression beside the quantile head reads, see
        `tsar.heads.highway`; 0 for none.
    stages
        Factors by which tokens are pooled, one a stage of the trunk, descending to 1, see `tsar.model.stages`; empty
        for one stage.
    tokenizer
        How windows become tokens, a name in `tsar.tokenizers.TOKENIZERS`. With full attention ``"patch"`` stands for
        ``"gap"``. One with a vocabulary (``"quantize"``, ``"quantile_bins"``, ``"two_level"``, ``"digits"``) needs
        ``head="categorical"``, ``patch_length=1``, ``output_length=1`` and ``scaling="window"``.
    num_bins
        Values of a point that a vocabulary tells apart.
    token_lags
        Ids that each position of a model with a vocabulary reads: its own and those before it.
    num_samples, temperature, top_k
        How a model with a vocabulary forecasts: paths that are drawn, and what narrows the law they are drawn from
        (1 and 0: nothing).
    blocks
        The layers of the trunk, names in `tsar.model.blocks.BLOCKS`, taken in turn until there are `num_layers`.
    feed_forward
        The position-wise half of a block, a name in `tsar.model.blocks.FEED_FORWARDS`.
    patch_splits
        In how many parts each token is split inside a ``"mixer"`` layer, taken in turn like `blocks`, see
        `tsar.model.blocks.mixer`; empty for none.
    state_size
        Order of a state-space layer, and number of frequencies of a Fourier layer.
    num_experts, experts_per_token
        With ``feed_forward="experts"``: how many there are, each of `d_ff`, and how many work on a token.
    shared_expert
        Hidden width of one more expert that works on every token; 0 for none.
    expert_balance
        What spreads the load over experts: ``"bias"``, ``"loss"`` or ``"none"``, see `tsar.model.blocks.experts`.
    qk_norm
        Whether queries and keys are normalised.
    position
        ``"rotary"``, or ``"none"`` for no position code at all: the causal mask alone tells the order.
    body
        Folder of a transformers language model on this machine that stands for the blocks, frozen, see
        `tsar.model.body`; empty for none. `num_layers` then counts for nothing.
    body_input
        How patches enter it: ``"linear"`` or ``"reprogram"``.
    body_sentence
        Whether a sentence about the window stands in front of it, with `freq_token` also about the frequency.
    body_trains
        What of it is trained: of ``"norm"`` and ``"position"``.
    prompt_pool
        Prompts of which the best stand in front of a window; 0 for none. It needs a body.
    modes
        Whether each token carries the learned vector of its role, see `tsar.model.modes`: for mixtures of objectives.
    freq_token
        Whether each token carries the learned vector of the frequency's resolution, see `tsar.model.frequency`.
    rope_base
        Base of the rotary position code.
    norm_eps
        Added to the mean square in RMSNorm.
    """

    d_model: int = 256
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    d_ff: int = 512
    patch_length: int = 16
    output_length: int = 64
    context_length: int = 1024
    max_span: int = 32
    quantile_levels: tuple[float, ...] = DECILES
    scaling: str = "causal"
    attention: str = "causal"
    period: bool = False
    prompt_length: int = 0
    head: str = "quantile"
    num_components: int = 3
    horizons: tuple[int, ...] = ()
    highway: int = 0
    stages: tuple[int, ...] = ()
    tokenizer: str = "patch"
    blocks: tuple[str, ...] = ("attention",)
    feed_forward: str = "swiglu"
    state_size: int = 16
    num_experts: int = 8
    experts_per_token: int = 2
    shared_expert: int = 0
    expert_balance: str = "bias"
    qk_norm: bool = True
    position: str = "rotary"
    body: str = ""
    body_input: str = "linear"
    body_sentence: bool = False
    body_trains: tuple[str, ...] = ()
    prompt_pool: int = 0
    modes: bool = False
    freq_token: bool = False
    patch_splits: tuple[int, ...] = ()
    num_bins: int = 4096
    token_lags: int = 1
    num_samples: int = 20
    temperature: float = 1.0
    top_k: int = 0
    rope_base: float = 10000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantile_levels", tuple(float(level) for level in self.quantile_levels))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        for name in ("body_trains", "horizons", "stages", "patch_splits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        problem = self._problem()
        if problem:
            raise ModelError(f"The model config is not usable: {problem}.", code="model.bad_config")

    def _problem(self) -> str | None:
        sizes = ("d_model", "num_layers", "num_heads", "num_kv_heads", "head_dim", "d_ff", "patch_length",
                 "output_length", "context_length", "num_components", "num_bins", "num_samples", "token_lags",
                 "state_size", "num_experts", "experts_per_token")  # fmt: skip
        for name in sizes:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1 << 20:
                return f"{name} must be a positive whole number, got {value!r}"
        for name in ("max_span", "prompt_length", "prompt_pool", "top_k", "shared_expert", "highway"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 20:
                return f"{name} must be a whole number from 0, got {value!r}"
        if self.num_heads % self.num_kv_heads:
            return f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads})"
        if self.head_dim % 2:
            return f"head_dim must be even for the rotary code, got {self.head_dim}"
        if self.output_length % self.patch_length:
            return f"output_length ({self.output_length}) must be a multiple of patch_length ({self.patch_length})"
        if self.scaling not in SCALINGS:
            return f"scaling must be one of {SCALINGS}, got {self.scaling!r}"
        if self.attention not in ATTENTIONS:
            return f"attention must be one of {ATTENTIONS}, got {self.attention!r}"
        if self.attention == "full" and (self.scaling != "window" or self.output_length != self.patch_length):
            return 'attention="full" needs scaling="window" and output_length equal to patch_length'
        problem = None if self.is_plain else self._unknown_part()
        if problem:
            return problem
        for name in ("period", "modes", "freq_token", "qk_norm"):
            if getattr(self, name) not in (True, False):
                return f"{name} must be true or false, got {getattr(self, name)!r}"
        for name in ("rope_base", "norm_eps", "temperature"):
            value = getattr(self, name)
            if not isinstance(value, float | int) or not 0 < value < float("inf"):
                return f"{name} must be a positive number, got {value!r}"
        levels = self.quantile_levels
        if len(levels) < 3 or len(levels) % 2 == 0 or not all(a < b for a, b in pairwise((0.0, *levels, 1.0))):
            return "quantile_levels must ascend strictly inside (0, 1), and be odd in number, three or more"
        if any(abs(low + high - 1) > 1e-9 for low, high in zip(levels, reversed(levels), strict=True)):
            return "quantile_levels must be symmetric around 0.5"
        return None

    def _unknown_part(self) -> str | None:
        """Parts are found by name, in closed registries; torch is imported for those beyond the usual ones only."""
        from tsar.heads import HEADS
        from tsar.model.blocks import BLOCKS, FEED_FORWARDS
        from tsar.tokenizers import TOKENIZERS

        if self.position not in POSITIONS:
            return f"position must be one of {POSITIONS}, got {self.position!r}"
        chosen = [("head", self.head, tuple(HEADS)), ("tokenizer", self.tokenizer, tuple(TOKENIZERS))]
        chosen += [("feed_forward", self.feed_forward, tuple(FEED_FORWARDS))]
        chosen += [("blocks", block, tuple(BLOCKS)) for block in self.blocks or ("",)]
        for field, name, known in chosen:
            if name not in known:
                return f"{field} must be one of {known}, got {name!r}"
        if self.attention == "full" and not {*self.blocks} <= {"attention", "channel"}:
            return f'attention="full" needs blocks of attention, {self.blocks} see the past only'
        if self.experts_per_token > self.num_experts:
            return f"experts_per_token ({self.experts_per_token}) is more than num_experts ({self.num_experts})"
        if self.expert_balance not in EXPERT_BALANCES:
            return f"expert_balance must be one of {EXPERT_BALANCES}, got {self.expert_balance!r}"
        if self.body_input not in BODY_INPUTS or self.body_sentence not in (True, False):
            return f"body_input must be one of {BODY_INPUTS}, and body_sentence true or false"
        if any(part not in BODY_PARTS for part in self.body_trains):
            return f"body_trains must be of {BODY_PARTS}, got {self.body_trains}"
        if not isinstance(self.body, str) or (not self.body and (self.prompt_pool or self.body_trains)):
            return "prompt_pool and body_trains need a body, the folder of a language model"
        if self.body and self.attention != "causal":
            return 'a body needs attention="causal"'
        return self._misfit() or (self._vocabulary_problem() if self.has_vocabulary else None)

    def _vocabulary_problem(self) -> str | None:
        if self.head != "categorical" or self.body or self.period or self.modes or self.freq_token:
            return f'tokenizer {self.tokenizer} needs head="categorical", and no body, period, modes or freq_token'
        if (self.patch_length, self.output_length, self.scaling, self.attention) != (1, 1, "window", "causal"):
            return f"tokenizer {self.tokenizer} needs patch_length=1, output_length=1, window scaling, causal attention"
        return "num_bins must be at least 2" if self.num_bins < 2 else None

    @property
    def has_vocabulary(self) -> bool:
        """Whether windows become ids, the next of which is predicted; such a model forecasts by drawing paths."""
        if self.tokenizer in ("patch", "gap"):
            return False
        from tsar.tokenizers import TOKENIZERS, VocabularyTokenizer

        return issubclass(TOKENIZERS[self.tokenizer], VocabularyTokenizer)

    def _misfit(self) -> str | None:
        """Parts that do not go together."""
        if self.horizons and (self.head != "horizons" or self.attention != "causal"):
            return 'horizons need head="horizons" and attention="causal"'
        if self.horizons and not _is_ladder(self.horizons, self.output_length):
            return f"horizons must rise from 1 to output_length, each a divisor of the next, got {self.horizons}"
        if self.highway > self.patch_length or (self.highway and self.head != "quantile"):
            return f'highway must be at most patch_length ({self.patch_length}), with head="quantile"'
        if self.stages and (self.attention != "causal" or self.body):
            return 'stages need attention="causal" and no body'
        if self.patch_splits and self.blocks != ("mixer",):
            return 'patch_splits need blocks of ["mixer"]'
        if not all(_is_split(split, self.d_model, self.d_ff, self.head_dim) for split in self.patch_splits):
            return f"patch_splits must divide d_model, d_ff and head_dim (and leave it even), got {self.patch_splits}"
        if self.stages and "channel" in self.blocks:
            return "stages do not know which windows are channels of one item"
        if self.stages and not _is_descent(self.stages):
            return f"stages must be whole numbers that descend to 1, got {self.stages}"
        return None

    @property
    def is_plain(self) -> bool:
        """Whether every part is the usual one, so that sizes follow from a formula."""
        has_body = bool(self.body or self.prompt_pool or self.body_trains or self.body_sentence)
        has_extra = bool(self.horizons or self.highway or self.stages or self.modes or self.freq_token)
        has_extra = has_extra or bool(self.patch_splits)
        parts = (self.head, self.tokenizer, self.blocks, self.feed_forward, self.position)
        return parts == ("quantile", "patch", ("attention",), "swiglu", "rotary") and not has_body and not has_extra

    @property
    def head_options(self) -> dict[str, Any]:
        """Arguments of the head beyond the sizes that every head takes."""
        return {"horizons": self.horizons} if self.horizons else {}

    @property
    def task(self) -> str:
        """What a model of this config is for: ``"forecast"`` or ``"infill"``."""
        return "forecast" if self.attention == "causal" else "infill"

    @property
    def can_forecast(self) -> bool:
        """Whether it forecasts: every causal model, and one with full attention that knows runs of hidden patches."""
        return self.attention == "causal" or self.max_span > 0

    @property
    def one_pass_length(self) -> int:
        """Longest horizon, in points, that one forward pass gives."""
        direct = self.output_length if self.attention == "causal" else 0
        return direct + self.max_span * self.patch_length

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain JSON types, with its ``format_version``."""
        return {"format_version": FORMAT_VERSION, **asdict(self), "quantile_levels": list(self.quantile_levels),
                "blocks": list(self.blocks), "body_trains": list(self.body_trains),
                "horizons": list(self.horizons), "stages": list(self.stages),
                "patch_splits": list(self.patch_splits)}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build a config from parsed JSON or YAML; unknown keys and other format versions are refused.

        Raises
        ------
        ModelError
            ``model.bad_config`` for an unknown key, a wrong value or an unsupported ``format_version``.
        """
        values = dict(values)
        version = values.pop("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise ModelError(
                f"The model config has format_version {version!r}; this tsar reads {FORMAT_VERSION}.",
                code="model.bad_config",
                hint="Upgrade tsar, or take a release made for this version.",
            )
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ModelError(f"The model config has unknown keys: {unknown}.", code="model.bad_config")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"The model config is not usable: {error}.", code="model.bad_config") from error


def _is_split(split: object, *widths: int) -> bool:
    """Whether a whole number divides all widths, the last into an even one."""
    if not isinstance(split, int) or isinstance(split, bool) or split < 1:
        return False
    return all(width % split == 0 for width in widths) and widths[-1] // split % 2 == 0


def _is_ladder(horizons: tuple[int, ...], top: int) -> bool:
    """Whether whole numbers rise from 1 to `top`, each a divisor of the next."""
    whole = all(isinstance(horizon, int) for horizon in horizons)
    return (
        whole and horizons[0] == 1 and horizons[-1] == top and all(a < b and b % a == 0 for a, b in pairwise(horizons))
    )


def _is_descent(stages: tuple[int, ...]) -> bool:
    """Whether whole numbers descend to 1."""
    return (
        all(isinstance(stage, int) for stage in stages) and stages[-1] == 1 and all(a > b for a, b in pairwise(stages))
    )


def num_parameters(config: ModelConfig) -> int:
    """Count the weights of a decoder of this config (checked against the module by a test)."""
    if not config.is_plain:
        return _count_parameters(config)
    d, kv = config.d_model, config.num_kv_heads * config.head_dim
    q = config.num_heads * config.head_dim
    features = 3 * config.patch_length + 4 + (8 if config.period else 0)
    outputs = config.output_length * len(config.quantile_levels)
    embed = features * d + features * d + d + d * d
    prompt = 2 * kv * config.prompt_length + (config.num_heads if config.prompt_length else 0)
    block = prompt + 2 * d + d * (q + 2 * kv) + q * d + 2 * config.head_dim + 3 * d * config.d_ff
    head = d * outputs + outputs + 2 * d + 2
    return embed + config.num_layers * block + d + head


def num_active_parameters(config: ModelConfig) -> int:
    """Count the weights that work on a token: all but those of the experts that are not chosen."""
    if config.feed_forward != "experts" or config.body:
        return num_parameters(config)
    idle = config.num_experts - config.experts_per_token
    return num_parameters(config) - config.num_layers * idle * 3 * config.d_model * config.d_ff


def _count_parameters(config: ModelConfig) -> int:
    """Count the weights of a decoder that holds no memory."""
    import torch

    from tsar.model.decoder import Decoder

    with torch.device("meta"):
        return sum(weight.numel() for weight in Decoder(config, initialize=False).parameters())


def flops_per_token(config: ModelConfig, num_tokens: int) -> int:
    """Floating-point operations of one forward pass per token, in a sequence of `num_tokens` (training takes 3x)."""
    weights = 2 * num_active_parameters(config)
    attention = 2 * 2 * config.num_layers * config.num_heads * config.head_dim * num_tokens // 2  # causal: half
    return weights + attention
