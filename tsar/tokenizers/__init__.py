"""From windows to tokens. A new tokenizer is a module here and a line in `TOKENIZERS`."""

from tsar.tokenizers.decompose import DecomposeTokenizer
from tsar.tokenizers.gap import GapTokenizer
from tsar.tokenizers.levels import Digits, TwoLevel
from tsar.tokenizers.patch import PatchTokenizer
from tsar.tokenizers.quantize import QuantileBins, Quantize
from tsar.tokenizers.vocabulary import VocabularyTokenizer

TOKENIZERS: dict[str, type[PatchTokenizer] | type[VocabularyTokenizer]] = {
    "patch": PatchTokenizer,
    "gap": GapTokenizer,
    "decompose": DecomposeTokenizer,
    "quantize": Quantize,
    "quantile_bins": QuantileBins,
    "two_level": TwoLevel,
    "digits": Digits,
}
"""By the name in a config."""

__all__ = ["TOKENIZERS", "VocabularyTokenizer"]
