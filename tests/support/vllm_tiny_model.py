"""Writes a Llama of 1 MB with random weights and a tokenizer that needs no network.

Run by the Python of vLLM's environment: `python tiny_model.py FOLDER [HEADS LAYERS]`, with more of
them for one that is larger and slower. Every character of ASCII
is one token. The rows of the output layer for all other tokens are zero, so greedy answers are
printable and never end by themselves. The weights depend on nothing but the seed.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

SPECIAL = ("<unk>", "<s>", "</s>")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write_tokenizer(folder: Path) -> int:
    """Byte-level BPE without a single merge; returns the size of its vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 512,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return len(vocabulary)


def write_model(folder: Path, n_vocab: int, heads: int = 4, layers: int = 6) -> None:
    """Heads of 32, half as many for keys and values."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=n_vocab,
        hidden_size=32 * heads,
        intermediate_size=64 * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=32,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    letters = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    with torch.no_grad():
        for token, number in letters.items():
            if len(token) > 1 or not token.isascii() or not token.isprintable():
                model.lm_head.weight[number] = 0
    model.save_pretrained(folder)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    write_model(target, write_tokenizer(target), *map(int, sys.argv[2:]))
