"""Options that several commands share, and how a rig is chosen for them."""

import argparse
import json
from pathlib import Path

from splitrig.core.devices import DeviceMap, backend_of
from splitrig.core.errors import SplitRigError
from splitrig.core.footprint import Backend
from splitrig.core.ggml_types import CACHE_TYPES
from splitrig.core.gpu import Rig
from splitrig.core.plan import OVERHEAD_BYTES, PlanDevice, PlanRequest, card_devices
from splitrig.core.specs import parse_specs
from splitrig.core.split import parse_split
from splitrig.core.units import MIB
from splitrig.services.store.resources import resource
from splitrig.services.telemetry.sampler import default_sources, read_rig


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


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """The knobs that decide where the bytes go, named as llama-server names them."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a GGUF file")
    parser.add_argument("--tensor-split", metavar="3,1", help="share of each card")
    parser.add_argument("--ctx", type=whole(0, 2**24), default=4096, metavar="N",
                        help="context, tokens; 0: the model's own")  # fmt: skip
    parser.add_argument("--ubatch", type=whole(1, 2**20), default=512, metavar="N")
    parser.add_argument("--batch", type=whole(1, 2**20), default=2048, metavar="N")
    parser.add_argument("--parallel", type=whole(1, 256), default=1, metavar="N",
                        help="requests served at the same time")  # fmt: skip
    parser.add_argument("--kv-unified", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--cache-type-k", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--cache-type-v", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--n-gpu-layers", type=whole(-1, 10_000), default=-1, metavar="N",
                        help="layers on the cards, the output counted; -1: all")  # fmt: skip
    parser.add_argument("--flash-attn", choices=("on", "off"), default="on")
    parser.add_argument("--split-mode", choices=("layer", "none"), default="layer")
    parser.add_argument("--json", action="store_true", help="print JSON")


def plan_request(options: argparse.Namespace, n_devices: int) -> PlanRequest:
    """The request these options make.

    Raises:
        SplitError: `--tensor-split` has not one share for each card.
    """
    split = options.tensor_split
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
    )


def detected_rig(*, demo: bool = False) -> Rig:
    """The cards of this machine, read once; blocks for up to some seconds."""
    return read_rig(default_sources(demo=demo))


def rig_devices(rig: Rig, device_map: DeviceMap | None = None) -> tuple[PlanDevice, ...]:
    """All cards of a rig that an engine would use, and what drives each."""
    matches = device_map.matches if device_map is not None else ()
    backends = {match.gpu_id: backend_of(match.device.name) for match in matches}
    return card_devices(rig, [g.id for g in rig.gpus if not g.integrated], backends)


def free_mib_devices(text: str) -> tuple[PlanDevice, ...]:
    """Nameless CUDA-like cards with this much free memory each.

    Raises:
        SplitRigError: A number is missing or negative.
    """
    try:
        free = [int(part) for part in text.split(",")]
    except ValueError:
        free = [-1]
    if min(free) < 0:
        raise SplitRigError(
            f"'{text}' is no list of free MiB.", "Write one whole number a card, as in 24000,10000."
        )
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
    try:
        cards = json.loads(path.read_text(encoding="utf-8"))["gpus"]
        wanted = [(str(card["name"]), card.get("free_mib")) for card in cards]
        free_mib = [None if mib is None else int(mib) for _, mib in wanted]
    except (OSError, UnicodeDecodeError) as error:
        raise SplitRigError(f"{path} cannot be read: {error}.", "Choose another file.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SplitRigError(f"{path} is no rig file.", way_out) from error
    specs = parse_specs(resource("gpu_specs.csv").read_text(encoding="utf-8"))
    devices, bandwidths = [], []
    for number, ((name, _), mib) in enumerate(zip(wanted, free_mib, strict=True)):
        spec = specs.by_name(name)
        if spec is None:
            raise SplitRigError(f"The card '{name}' is not in the table.", "Check its spelling.")
        total = round(spec.vram_gib * 1024) * MIB
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
