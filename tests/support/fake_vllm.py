"""Lays out the fake vLLM as an environment, and models for it that take no room on the disk."""

import json
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

FAKE = Path(__file__).parents[1] / "fakes/vllm"
RECORDED = Path(__file__).parents[1] / "recorded/vllm"
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}


def make_environment(folder: Path, *, version: str = "0.32.0", ray: bool = False) -> Path:
    """A folder that `find_vllm` takes: `bin/vllm`, `bin/python` and the packages they name."""
    site, bin_ = folder / "site", folder / "bin"
    package = site / "vllm/engine"
    package.mkdir(parents=True)
    bin_.mkdir()
    (site / "vllm/__init__.py").touch()
    flags = (RECORDED / "flags.txt").read_text(encoding="utf-8").split()
    (package / "arg_utils.py").write_text(f"FLAGS = {flags!r}\n")
    names = {"vllm": version, "torch": "2.13.0"}
    if ray:
        names["ray"] = "2.60.0"
        shutil.copytree(FAKE / "ray", site / "ray")
    for name, number in names.items():
        entry = site / f"{name}-{number}.dist-info"
        entry.mkdir()
        (entry / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    variables = f'PYTHONPATH="{site}" FAKE_RAY_RECORDED="{RECORDED}/ray.json"'
    script(bin_ / "python", f'{variables} exec "{sys.executable}" "$@"')
    script(bin_ / "vllm", f'exec "{bin_}/python" "{FAKE}/fake_vllm.py" "$@"')
    return folder


def script(path: Path, line: str) -> None:
    """A shell script of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def make_model(folder: Path, config: Mapping[str, object] = LLAMA_8B) -> Path:
    """A dense Llama whose weights are a hole in a file."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    width, deep = int(str(config["hidden_size"])), int(str(config["intermediate_size"]))
    head = int(str(config["head_dim"]))
    queries = head * int(str(config["num_attention_heads"]))
    keys = head * int(str(config["num_key_value_heads"]))
    words = int(str(config["vocab_size"]))
    shapes = {"model.embed_tokens.weight": (words, width)}
    for layer in range(int(str(config["num_hidden_layers"]))):
        before = f"model.layers.{layer}"
        shapes |= {
            f"{before}.self_attn.q_proj.weight": (queries, width),
            f"{before}.self_attn.k_proj.weight": (keys, width),
            f"{before}.self_attn.v_proj.weight": (keys, width),
            f"{before}.self_attn.o_proj.weight": (width, queries),
            f"{before}.mlp.gate_proj.weight": (deep, width),
            f"{before}.mlp.up_proj.weight": (deep, width),
            f"{before}.mlp.down_proj.weight": (width, deep),
            f"{before}.input_layernorm.weight": (width,),
        }
    shapes |= {"model.norm.weight": (width,), "lm_head.weight": (words, width)}
    table, at = {}, 0
    for name, shape in shapes.items():
        n_bytes = 2
        for size in shape:
            n_bytes *= size
        table[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    header = json.dumps(table).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)
    return folder
