"""Files that are loaded beside a model: one that drafts for it, and one that lets it see."""

from dataclasses import dataclass
from pathlib import Path

from splitrig.core.model import Model
from splitrig.core.units import number_text

PROJECTOR = "clip"
"""Architecture of a projector's file (tools/mtmd/clip.cpp)."""
MOST_APART = 128
"""Entries by which two vocabularies may differ (SPEC_VOCAB_MAX_SIZE_DIFFERENCE,
common/speculative.cpp)."""
_TOKENIZER = "tokenizer.ggml."
_EDGES = (("add_bos_token", "bos_token_id"), ("add_eos_token", "eos_token_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """A file that turns pictures or sound into what a model reads.

    Attributes:
        path: The file.
        n_bytes: Its tensors, bytes.
    """

    path: Path
    n_bytes: int


def draft_obstacle(model: Model, draft: Model) -> str:
    """Why a model cannot draft for another, one sentence; empty when it can.

    What `common_speculative_are_compatible` compares (common/speculative.cpp), as far as headers
    tell it. An engine loads an unfit one all the same, and never uses it.
    """
    name = draft.path.name
    if abs(model.n_vocab - draft.n_vocab) > MOST_APART:
        return (
            f"{name} cannot draft for this model: it knows {number_text(draft.n_vocab)} tokens, "
            f"the model {number_text(model.n_vocab)}."
        )
    kinds = [_said(m, "model") for m in (model, draft)]
    if kinds[0] != kinds[1]:
        return f"{name} cannot draft for this model: its tokenizer is {kinds[1]}, not {kinds[0]}."
    for flag, token in _EDGES:
        if _said(model, flag) and _said(draft, flag) and _said(model, token) != _said(draft, token):
            return f"{name} cannot draft for this model: texts begin or end otherwise in it."
    return ""


def _said(model: Model, key: str) -> object:
    return model.metadata.get(_TOKENIZER + key)
