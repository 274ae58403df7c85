"""Which models can draft for another."""

from collections.abc import Mapping

import pytest
from tests.support.model_samples import model

from splitrig.core.companion import draft_obstacle

TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.add_eos_token": False,
    "tokenizer.ggml.eos_token_id": 2,
}
MODEL = model(metadata=TOKENIZER)


@pytest.mark.parametrize(
    ("n_vocab", "metadata", "words"),
    [
        (1000, {}, ""),
        (1128, {}, ""),
        (1129, {}, "it knows 1,129 tokens, the model 1,000"),
        (1000, {"tokenizer.ggml.model": "llama"}, "its tokenizer is llama, not gpt2"),
        (1000, {"tokenizer.ggml.bos_token_id": 9}, "begin or end otherwise"),
        (1000, {"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.bos_token_id": 9}, ""),
        (1000, {"tokenizer.ggml.eos_token_id": 9}, ""),  # which neither adds
    ],
)
def test_tokens_tokenizer_and_edges_have_to_be_alike(
    n_vocab: int, metadata: Mapping[str, object], words: str
) -> None:
    draft = model(n_vocab=n_vocab, metadata={**TOKENIZER, **metadata})
    why = draft_obstacle(MODEL, draft)
    assert words in why
    assert bool(words) == bool(why)


def test_a_model_can_draft_for_itself() -> None:
    assert draft_obstacle(MODEL, MODEL) == ""
