"""From windows to tokens. A new tokenizer is a module here and a line in `TOKENIZERS`."""

from typing import Any

from tsar.tokenizers.gap import GapTokenizer
from tsar.tokenizers.patch import PatchTokenizer
from tsar.tokenizers.vocabulary import (
    DigitsTokenizer,
    QuantileBinsTokenizer,
    QuantizeTokenizer,
    TwoLevelTokenizer,
    VocabularyTokenizer,
)

TOKENIZERS: dict[str, type[Any]] = {
    "patch": PatchTokenizer,
    "gap": GapTokenizer,
    "quantize": QuantizeTokenizer,
    "quantile_bins": QuantileBinsTokenizer,
    "two_level": TwoLevelTokenizer,
    "digits": DigitsTokenizer,
}
"""By the name in a config. Those with `has_vocabulary` give whole numbers, the others features of patches."""

__all__ = ["TOKENIZERS", "VocabularyTokenizer"]
