"""From windows to tokens. A new tokenizer is a module here and a line in `TOKENIZERS`."""

from tsar.tokenizers.decompose import DecomposeTokenizer
from tsar.tokenizers.gap import GapTokenizer
from tsar.tokenizers.patch import PatchTokenizer

TOKENIZERS: dict[str, type[PatchTokenizer]] = {
    "patch": PatchTokenizer,
    "gap": GapTokenizer,
    "decompose": DecomposeTokenizer,
}
"""By the name in a config."""

__all__ = ["TOKENIZERS"]
