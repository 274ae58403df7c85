"""Manifests of Ollama's store: names, and hostile ones."""

import json
from typing import Any

import pytest

from splitrig.core.errors import ModelFileError
from splitrig.core.ollama_model import (
    MODEL_LAYER,
    PROJECTOR_LAYER,
    TENSOR_LAYER,
    name_of,
    read_manifest,
    weights_of,
)

DIGEST = "sha256:" + "ab" * 32
WEIGHTS = {"mediaType": MODEL_LAYER, "digest": DIGEST, "size": 98}
CONFIG = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": DIGEST}


def manifest(*layers: Any, **more: Any) -> str:
    return json.dumps({"layers": list(layers), "config": CONFIG, **more})


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("registry.ollama.ai", "library", "smollm2", "latest"), "smollm2:latest"),
        (("registry.ollama.ai", "me", "m", "q4"), "me/m:q4"),
        (("hf.co", "owner", "model-GGUF", "Q4_K_M"), "hf.co/owner/model-GGUF:Q4_K_M"),
        (("registry.ollama.ai", "library", "m"), None),
        (("registry.ollama.ai", "library", "..", "latest"), None),
        (("registry.ollama.ai", "library", "m", "a b"), None),
        (("registry.ollama.ai", "library", ".DS_Store", "x"), None),
        (("x y", "library", "m", "latest"), None),
    ],
)
def test_names_follow_from_the_place(parts: tuple[str, ...], name: str | None) -> None:
    assert name_of(parts) == name


def test_the_weights_are_found_among_the_layers() -> None:
    template = {"mediaType": "application/vnd.ollama.image.template", "digest": DIGEST, "size": 1}
    layers = read_manifest(manifest(template, WEIGHTS), "m:latest")
    weights = weights_of(layers)
    assert (weights.blob, weights.n_bytes) == ("sha256-" + "ab" * 32, 98)
    assert layers[-1].media_type == CONFIG["mediaType"]


def test_odd_sizes_are_no_sizes() -> None:
    for size in (-1, "9", True, 2**70, None, 1.5):
        layers = read_manifest(manifest({**WEIGHTS, "size": size}), "m")
        assert weights_of(layers).n_bytes == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "names no layers"),
        ("{}", "names no layers"),
        ('{"layers":{}}', "names no layers"),
        ('{"layers":[]}', "names no layers"),
        (manifest({"mediaType": MODEL_LAYER, "digest": "sha256:../../x"}), "no proper digest"),
        (manifest({"mediaType": MODEL_LAYER, "digest": 7}), "no proper digest"),
        (manifest({"mediaType": 7, "digest": DIGEST}), "no proper digest"),
        (manifest("x"), "no proper digest"),
        (manifest({"mediaType": TENSOR_LAYER, "digest": DIGEST}), "no GGUF file"),
        (manifest({"mediaType": PROJECTOR_LAYER, "digest": DIGEST}), "has no weights"),
        (manifest(*[WEIGHTS] * 10_001), "names no layers"),
    ],
)
def test_hostile_manifests_are_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ModelFileError) as failed:
        read_manifest(text, "m:latest")
    assert words in failed.value.message
    assert failed.value.hint
