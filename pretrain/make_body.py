"""Make a small language model with random weights, for recipes with `model.body` where none is at hand.

    python pretrain/make_body.py gpt2 language-model
    python pretrain/make_body.py llama language-model

Words are bytes. A real one is any folder of transformers' with safetensors, such as a copy of gpt2.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


def make_body(kind: str, folder: str | Path, *, width: int = 64, num_layers: int = 2, seed: int = 0) -> Path:
    """Write a causal language model of transformers' into a folder."""
    torch.manual_seed(seed)
    if kind == "gpt2":
        sizes = GPT2Config(
            vocab_size=256, n_embd=width, n_layer=num_layers, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=0
        )
        model = GPT2LMHeadModel(sizes)
    else:
        sizes = LlamaConfig(
            vocab_size=256, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=num_layers,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        )  # fmt: skip
        model = LlamaForCausalLM(sizes)
    model.save_pretrained(str(folder))
    return Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("gpt2", "llama"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()
    make_body(options.kind, options.folder, width=options.width, num_layers=options.layers)


if __name__ == "__main__":
    main()
