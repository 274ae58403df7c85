"""How vLLM fills cards, in its own words: a second, plain count beside the program's own plan.

The texts are those of vllm/v1/worker/gpu_worker.py, gpu_model_runner.py, worker/utils.py and
core/kv_cache_utils.py of 0.32. `FAKE_CARDS` has free and total GiB of every visible card, such as
`23/24,9/10`; a batch is taken to need 1 GiB, captured graphs 0.6.
"""

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

GIB = 2**30
PEAK, GRAPHS = GIB, round(0.6 * GIB)
CONTEXT = GIB // 2
NOT_ON_CARDS = re.compile(r"cpu_worker|cpu\.py|ompmulti|Triton|NUMA|reduce_op|hasattr|wrapper =")


class RefusalError(Exception):
    """A start that fails for want of memory; `recording` is what `Fake.fail` takes."""

    def __init__(self, name: str, error: str) -> None:
        super().__init__(error)
        patterns = {
            "truncated": r"safetensors\S*SafetensorError.*",
            "kv_too_small": r"ValueError: To serve at least one.*",
        }
        pattern = patterns[name]
        self.recording: tuple[str, Callable[[str], str]] = (
            name,
            lambda line: re.sub(pattern, lambda _: error, line),
        )


def tensors(folder: Path) -> list[tuple[str, int, int]]:
    """Name, dimensions and bytes of every tensor."""
    found = []
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        for name, entry in table.items():
            begin, end = entry["data_offsets"]
            found.append((name, len(entry["shape"]), end - begin))
    return found


def gib(n_bytes: float) -> str:
    """As vLLM writes sizes."""
    return f"{n_bytes / GIB:.2f}"


class Cards:
    """What every worker takes."""

    def __init__(self, model: Path, asked: dict[str, str], tp: int, pp: int) -> None:
        config = json.loads((model / "config.json").read_text())
        pairs = [pair.split("/") for pair in os.environ["FAKE_CARDS"].split(",")]
        self.free = [float(free) * GIB for free, _ in pairs]
        self.total = [float(total) * GIB for _, total in pairs]
        self.tp, self.pp = tp, pp
        self.share = float(asked.get("--gpu-memory-utilization", "0.92"))
        self.length = int(asked.get("--max-model-len", config["max_position_embeddings"]))
        self.graphs = 0 if "--enforce-eager" in asked else GRAPHS
        n_layers = config["num_hidden_layers"]
        parts = os.environ.get("VLLM_PP_LAYER_PARTITION")
        self.layers = (
            [int(part) for part in parts.split(",")] if parts and pp > 1 else [n_layers // pp] * pp
        )
        heads = max(config.get("num_key_value_heads", config["num_attention_heads"]) // tp, 1)
        head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        self.token = 2 * heads * head * 2
        self.weights = [self.stage_weights(model, rank // tp) for rank in range(tp * pp)]

    def stage_weights(self, model: Path, stage: int) -> float:
        """Bytes of one worker of a stage."""
        first = sum(self.layers[:stage])
        n_bytes = 0.0
        for name, n_dimensions, size in tensors(model):
            match = re.search(r"layers\.(\d+)\.", name)
            if match:
                mine = first <= int(match[1]) < first + self.layers[stage]
            else:
                mine = stage == (0 if "embed" in name else self.pp - 1)
            if mine:
                n_bytes += size / self.tp if n_dimensions > 1 else size
        return n_bytes

    def requested(self, rank: int) -> float:
        """The share of a card."""
        return self.total[rank] * self.share

    def cache(self, rank: int) -> float:
        """Left for the KV cache."""
        return self.requested(rank) - self.weights[rank] - PEAK - self.graphs

    def tokens(self) -> int:
        """Tokens of the cache, or why there is none."""
        for rank in range(self.tp * self.pp):
            if self.free[rank] - CONTEXT < self.requested(rank):
                raise RefusalError(
                    "truncated",
                    f"ValueError: Free memory on device cuda:{rank} "
                    f"({gib(self.free[rank] - CONTEXT)}/{gib(self.total[rank])} GiB) on startup "
                    f"is less than desired GPU memory utilization ({self.share}, "
                    f"{gib(self.requested(rank))} GiB). Decrease GPU memory utilization or "
                    "reduce GPU memory used by other processes.",
                )
        ranks = range(self.tp * self.pp)
        if min(self.cache(rank) for rank in ranks) <= 0:
            raise RefusalError(
                "kv_too_small",
                "ValueError: No available memory for the cache blocks. Try increasing "
                "`gpu_memory_utilization` when initializing the engine.",
            )
        per_token = [self.layers[rank // self.tp] * self.token for rank in ranks]
        blocks = min(int(self.cache(r) // (per_token[r] * 16)) for r in ranks)
        if blocks * 16 < self.length:
            worst = max(ranks, key=lambda r: self.length * per_token[r] - self.cache(r))
            raise RefusalError(
                "kv_too_small",
                "ValueError: To serve at least one request with the model's max seq len "
                f"({self.length}), ({gib(self.length * per_token[worst])} GiB KV cache is "
                "needed, which is larger than the available KV cache memory "
                f"({gib(self.cache(worst))} GiB). Based on the available memory, the estimated "
                f"maximum model length is {blocks * 16}. Try increasing",
            )
        return blocks * 16


def on_cards(
    lines: list[tuple[float, str]], model: Path, asked: dict[str, str], tp: int, pp: int
) -> list[tuple[float, str]]:
    """A recording of the processor as it would read on cards."""
    cards = Cards(model, asked, tp, pp)
    tokens = cards.tokens()
    told: list[tuple[float, str]] = []
    for at, line in lines:
        if NOT_ON_CARDS.search(line):
            continue
        prefix = line.split("[", 1)[0]
        if "Loading weights took" in line:
            told.append((at, line))
            line = prefix + (  # noqa: PLW2901 - one line becomes two
                f"[gpu_model_runner.py:5150] Model loading took {gib(cards.weights[0])} GiB "
                "memory and 1.234567 seconds"
            )
        elif "KV cache size" in line:
            line = prefix + (  # noqa: PLW2901 - the same line on cards
                f"[kv_cache_utils.py:2327] GPU KV cache size: {tokens:,} tokens, Maximum "
                f"concurrency for {cards.length:,} tokens per request: "
                f"{tokens / cards.length:.2f}x"
            )
        elif "init engine (profile" in line:
            told += [(at, worker_line(cards, rank)) for rank in range(tp * pp)]
        told.append((at, line))
    return told


def worker_line(cards: Cards, rank: int) -> str:
    """What every worker says at the end (`compile_or_warm_up_model`)."""
    place = f"_PP{rank // cards.tp}" if cards.pp > 1 else ""
    place += f"_TP{rank % cards.tp}" if cards.tp > 1 else ""
    return (
        f"(Worker{place} pid=0) INFO 11-25 00:00:00 [gpu_worker.py:1034] Free memory on device "
        f"({gib(cards.free[rank] - CONTEXT)}/{gib(cards.total[rank])} GiB) on startup. Desired "
        f"GPU memory utilization is ({cards.share}, {gib(cards.requested(rank))} GiB). Actual "
        f"usage is {gib(cards.weights[rank])} GiB for consumed memory (weights + non-torch), "
        f"{gib(PEAK)} GiB for peak activation, and {gib(cards.graphs)} GiB for CUDAGraph memory. "
        f"Current kv cache memory in use is {gib(cards.cache(rank))} GiB."
    )
