"""Options that several commands share, and how a rig is chosen for them."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.devices import DeviceMap, backend_of
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.experts import ALL
from splitrig.core.footprint import Backend
from splitrig.core.ggml_types import BY_NAME, CACHE_TYPES
from splitrig.core.gpu import Rig
from splitrig.core.model import Model
from splitrig.core.plan import OVERHEAD_BYTES, PlanDevice, PlanRequest, card_devices
from splitrig.core.settings import Settings
from splitrig.core.specs import parse_specs
from splitrig.core.split import MOST_CARDS, parse_split
from splitrig.core.split_mode import LAYER, MODES, SplitNeeds, obstacle
from splitrig.core.units import MIB
from splitrig.services.models.companions import read_draft, read_projector
from splitrig.services.store.resources import resource
from splitrig.services.store.settings import SettingsStore
from splitrig.services.telemetry.sampler import default_sources, read_rig

SPLIT_NAMES = ("--tensor-split", "--split")
MOST_MIB = 2**24
"""16 TiB: what an imagined card may have free at most."""


def whole(low: int, high: int) -> "argparse._ActionType":
    """A whole number between two bounds, for argparse."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{number:,} is not between {low:,} and {high:,}")
        return number

    return read


def joined_split(words: Sequence[str]) -> list[str]:
    """A split that begins with a minus joined to its option, as argparse takes it for another one.

    So that what is wrong with it is told, not that it is missing.
    """
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in SPLIT_NAMES and word[:1] == "-" and word[:2] != "--":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """The knobs that decide where the bytes go, named as llama-server names them."""
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FILE",
        help="a GGUF file, the name of a model in Ollama, or for vLLM a folder",
    )
    parser.add_argument(*SPLIT_NAMES, metavar="3,1", help="share of each card")
    parser.add_argument("--ctx", type=whole(0, 2**24), default=4096, metavar="N",
                        help="context, tokens; 0: the model's own")  # fmt: skip
    parser.add_argument("--ubatch", type=whole(1, 2**20), default=512, metavar="N")
    # llama.cpp warms up with two tokens at once
    parser.add_argument("--batch", type=whole(2, 2**20), default=2048, metavar="N")
    parser.add_argument("--parallel", type=whole(1, 256), default=1, metavar="N",
                        help="requests served at the same time")  # fmt: skip
    parser.add_argument("--kv-unified", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--cache-type-k", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--cache-type-v", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--n-gpu-layers", type=whole(-1, 10_000), default=-1, metavar="N",
                        help="layers on the cards, the output counted; -1: all")  # fmt: skip
    parser.add_argument("--flash-attn", choices=("on", "off"), default="on")
    parser.add_argument("--split-mode", choices=MODES, default=LAYER)
    experts = parser.add_mutually_exclusive_group()
    experts.add_argument("--n-cpu-moe", type=whole(0, 10_000), default=0, metavar="N",
                         help="experts of the first N layers stay with the processor")  # fmt: skip
    experts.add_argument("--cpu-moe", action="store_const", const=ALL, dest="n_cpu_moe",
                         help="all experts stay with the processor")  # fmt: skip
    parser.add_argument("--model-draft", type=Path, metavar="FILE",
                        help="a small model of the same family that guesses ahead")  # fmt: skip
    parser.add_argument("--n-gpu-layers-draft", type=whole(-1, 10_000), default=-1, metavar="N",
                        help="layers of the draft model on the cards; -1: all")  # fmt: skip
    parser.add_argument("--mmproj", type=Path, metavar="FILE",
                        help="a projector that lets the model see or hear")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def plan_request(options: argparse.Namespace, n_devices: int) -> PlanRequest:
    """The request these options make.

    Raises:
        SplitError: `--tensor-split` has not one share for each card.
        SplitRigError: The options do not go together.
    """
    split = options.tensor_split
    if BY_NAME[options.cache_type_v].quantized and options.flash_attn == "off":
        raise SplitRigError(
            f"A V cache of {options.cache_type_v} needs flash attention; llama.cpp refuses it.",
            "Leave --flash-attn on, or take --cache-type-v f16.",
        )
    return PlanRequest(
        split=parse_split(split, n_devices) if split is not None else None,
        n_ctx=options.ctx,
        n_gpu_layers=options.n_gpu_layers,
        cache_type_k=options.cache_type_k,
        cache_type_v=options.cache_type_v,
        flash_attention=options.flash_attn == "on",
        n_batch=options.batch,
        n_ubatch=options.ubatch,
        n_parallel=options.parallel,
        kv_unified=options.kv_unified,
        split_mode=options.split_mode,
        n_cpu_moe=options.n_cpu_moe,
    )


def with_companions(request: PlanRequest, options: argparse.Namespace, model: Model) -> PlanRequest:
    """The request with the files that are loaded beside the model; blocks for some 100 ms.

    Raises:
        ModelFileError: One cannot be read, or does not fit the model.
    """
    draft, projector = options.model_draft, options.mmproj
    if draft is not None:
        request = replace(
            request,
            draft=read_draft(draft, model),
            draft_layers=options.n_gpu_layers_draft,
        )
    if projector is not None:
        request = replace(request, projector=read_projector(projector))
    return request


def check_mode(request: PlanRequest, devices: Sequence[PlanDevice]) -> None:
    """Refuse a split mode that these cards or settings do not allow.

    Raises:
        SplitRigError: They do not.
    """
    needs = SplitNeeds(
        backends=[device.backend for device in devices],
        flash_attention=request.flash_attention,
    )
    if why := obstacle(request.split_mode, needs):
        raise SplitRigError(why, "Take --split-mode layer.")


def detected_rig(*, demo: bool = False, cancelled: Callable[[], bool] = lambda: False) -> Rig:
    """The cards of this machine, read once; blocks for up to some seconds.

    Args:
        demo: The made-up rig.
        cancelled: Asked meanwhile whether to give up.
    """
    return read_rig(default_sources(demo=demo), cancelled=cancelled)


def rig_devices(rig: Rig, device_map: DeviceMap | None = None) -> tuple[PlanDevice, ...]:
    """All cards of a rig that an engine would use, and what drives each."""
    matches = device_map.matches if device_map is not None else ()
    backends = {match.gpu_id: backend_of(match.device.name) for match in matches}
    return card_devices(rig, [g.id for g in rig.gpus if not g.integrated], backends)


def in_order(devices: Sequence[PlanDevice], only: Sequence[str] | None) -> tuple[PlanDevice, ...]:
    """The devices of these cards, in their order; all of them for `None`."""
    if only is None:
        return tuple(devices)
    by_id = {device.id: device for device in devices}
    return tuple(by_id[gpu_id] for gpu_id in only)


def unusable(rig: Rig, device_map: DeviceMap, gpu_id: str) -> EngineError:
    """That an engine cannot use a card that was chosen, and why."""
    gpu = rig.gpu(gpu_id)
    why = device_map.unmatched_gpus.get(gpu_id, "it does not see it")
    return EngineError(
        f"The engine cannot use {gpu.short_name if gpu is not None else gpu_id}: {why}.",
        "Leave that card out of --gpus, or choose another engine.",
    )


def add_gpus_option(parser: "argparse._ActionsContainer") -> None:
    """Which of this machine's cards to use."""
    parser.add_argument(
        "--gpus",
        metavar="1,0",
        help="only these cards, in the order of the split: numbers as nvidia-smi counts, "
        "UUIDs or PCI addresses",
    )


def _check_count(n_cards: int) -> None:
    """A rig needs a card, and llama.cpp takes so many and no more."""
    if not 1 <= n_cards <= MOST_CARDS:
        raise SplitRigError(
            f"The rig has {n_cards} cards; llama.cpp splits over 1 to {MOST_CARDS}.",
            "Add or leave out some.",
        )


def stored_settings() -> Settings:
    """The settings; for what cannot be used the defaults, with a sentence on stderr."""
    store = SettingsStore()
    settings = store.load()
    if store.problem is not None:
        print(store.problem, file=sys.stderr)
    return settings


def free_mib_devices(text: str) -> tuple[PlanDevice, ...]:
    """Nameless CUDA-like cards with this much free memory each.

    Raises:
        SplitRigError: A number is missing, negative or absurd, or there are too many.
    """
    try:
        free = [int(part) for part in text.split(",")]
    except ValueError:
        free = [-1]
    if not all(0 <= mib <= MOST_MIB for mib in free):
        raise SplitRigError(
            f"'{text[:80]}' is no list of free MiB.",
            "Write one whole number a card, as in 24000,10000.",
        )
    _check_count(len(free))
    return tuple(
        PlanDevice(
            name=f"card {number}",
            id=str(number),
            free_bytes=mib * MIB,
            overhead_bytes=OVERHEAD_BYTES[Backend.CUDA],
        )
        for number, mib in enumerate(free)
    )


def file_devices(path: Path) -> tuple[tuple[PlanDevice, ...], tuple[float | None, ...]]:
    """Cards of a rig file with their memory bandwidths, GB/s.

    Raises:
        SplitRigError: The file cannot be read, is no rig, or names an unknown card.
    """
    way_out = 'It should read {"gpus": [{"name": "NVIDIA GeForce RTX 4090", "free_mib": 23000}]}.'
    if path.exists() and not path.is_file():
        raise SplitRigError(f"{path} is no file.", "Choose another one.")
    try:
        cards = json.loads(path.read_text(encoding="utf-8-sig"))["gpus"]
        wanted = [(str(card["name"]), card.get("free_mib")) for card in cards]
        free_mib = [None if mib is None else int(mib) for _, mib in wanted]
    except (OSError, UnicodeDecodeError) as error:
        raise SplitRigError(f"{path} cannot be read: {error}.", "Choose another file.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as why:
        raise SplitRigError(f"{path} is no rig file.", way_out) from why
    _check_count(len(wanted))
    specs = parse_specs(resource("gpu_specs.csv").read_text(encoding="utf-8"))
    devices, bandwidths = [], []
    for number, ((name, _), mib) in enumerate(zip(wanted, free_mib, strict=True)):
        spec = specs.by_name(name)
        if spec is None:
            raise SplitRigError(f"The card '{name}' is not in the table.", "Check its spelling.")
        total = round(spec.vram_gib * 1024) * MIB
        if mib is not None and not 0 <= mib * MIB <= total:
            raise SplitRigError(
                f"{spec.name} cannot have {mib:,} MiB free of its {total // MIB:,}.",
                "Correct free_mib, or leave it out for an empty card.",
            )
        devices.append(
            PlanDevice(
                name=spec.name,
                id=str(number),
                free_bytes=total if mib is None else mib * MIB,
                total_bytes=total,
                overhead_bytes=OVERHEAD_BYTES[Backend.CUDA],
            )
        )
        bandwidths.append(spec.bandwidth_gbps)
    return tuple(devices), tuple(bandwidths)
