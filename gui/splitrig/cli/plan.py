"""`splitrig plan`: where every byte of a model would lie, without loading it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.cli.extra import HELP as EXTRA_HELP
from splitrig.cli.extra import checked
from splitrig.cli.options import (
    add_gpus_option,
    add_plan_options,
    check_mode,
    detected_rig,
    file_devices,
    free_mib_devices,
    in_order,
    plan_request,
    rig_devices,
    stored_settings,
    with_companions,
)
from splitrig.cli.table import table
from splitrig.cli.taken import check_options
from splitrig.cli.vllm_options import add_vllm_options, folder_json, folder_text, plan_folder
from splitrig.core.card_choice import named_cards
from splitrig.core.engine import EngineKind
from splitrig.core.errors import SplitRigError
from splitrig.core.extra_arguments import CheckedArguments
from splitrig.core.plan import DevicePlan, Plan, PlanDevice, make_plan
from splitrig.core.speed import BAND, Speed, estimate_speed
from splitrig.core.units import gib_text, number_text
from splitrig.services.engines.engines import Engines
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "plan", help="plan a model onto cards without loading it", epilog=EXTRA_HELP
    )
    add_plan_options(parser)
    rig = parser.add_mutually_exclusive_group()
    rig.add_argument("--free-mib", metavar="24000,10000", help="free memory of imagined cards")
    rig.add_argument("--rig", type=Path, metavar="FILE", help="a rig of cards by name")
    add_gpus_option(rig)
    add_vllm_options(parser)
    parser.add_argument("--no-overhead", action="store_true", help="leave out runtime overhead")


def run(options: argparse.Namespace) -> int:
    """Print the plan; 0 also when it does not fit, for the question was answered."""
    is_folder = options.model.is_dir()
    check_options(options, EngineKind.VLLM if is_folder else EngineKind.LLAMA_CPP)
    model = None if is_folder else read_model(options.model)
    devices, bandwidths = _devices(options)
    if options.no_overhead:
        devices = tuple(replace(device, overhead_bytes=0) for device in devices)
    if not devices:
        raise SplitRigError(
            "No card was found to plan for.",
            "Give free memory with --free-mib 24000,10000 or a rig with --rig FILE.",
        )
    if model is None:
        _print_folder(options, devices)
        return 0
    extra = _checked(options.extra)
    request = with_companions(plan_request(options, len(devices)), options, model)
    check_mode(request, devices)
    plan = make_plan(model, devices, request)
    plan = replace(plan, notes=(*plan.notes, *map(str, extra.warnings)))
    speed = estimate_speed(model, plan, bandwidths)
    if options.json:
        print(json.dumps(as_json(plan, speed), indent=2))
    else:
        print(as_text(model.name, plan, speed))
    return 0


def _checked(extra: Sequence[str]) -> CheckedArguments:
    """The extra arguments, as the llama-server at hand takes them."""
    return checked(extra, Engines(Mailbox(), stored_settings().engine))


def _print_folder(options: argparse.Namespace, devices: Sequence[PlanDevice]) -> None:
    """The plan of vLLM for a folder of a Hugging Face model."""
    planned, _ = plan_folder(options, devices, plan_request(options, len(devices)))
    plan = planned.as_plan()
    if options.json:
        print(json.dumps(as_json(plan, Speed()) | folder_json(planned), indent=2))
    else:
        name = options.model.absolute().name
        print(as_text(name, plan, Speed()), folder_text(planned), sep="\n")


def _devices(
    options: argparse.Namespace,
) -> tuple[tuple[PlanDevice, ...], tuple[float | None, ...]]:
    """The devices to plan for and their bandwidths, GB/s."""
    if options.free_mib is not None:
        devices = free_mib_devices(options.free_mib)
        return devices, (None,) * len(devices)
    if options.rig is not None:
        return file_devices(options.rig)
    rig = detected_rig()
    only = named_cards(options.gpus, rig.gpus) if options.gpus is not None else None
    devices = in_order(rig_devices(rig), only)
    known = {gpu.id: gpu.bandwidth_gbps for gpu in rig.gpus}
    return devices, tuple(known.get(device.id) for device in devices)


def as_json(plan: Plan, speed: Speed) -> dict[str, object]:
    """The plan in the shape that scripts rely on."""
    notes = [*plan.notes, *([speed.note] if speed.note else [])]
    return {
        "devices": [
            {
                "name": device.name,
                "layers": device.n_layers,
                "share": device.share,
                "first_layer": device.first_layer,
                "has_output": device.has_output,
                "model_bytes": device.model_bytes,
                "kv_bytes": device.kv_bytes,
                "compute_bytes": device.compute_bytes,
                "overhead_bytes": device.overhead_bytes,
                "free_bytes": device.free_bytes,
            }
            for device in plan.devices
        ],
        "host": {
            "model_bytes": plan.host.model_bytes,
            "kv_bytes": plan.host.kv_bytes,
            "compute_bytes": plan.host.compute_bytes,
        },
        "split": list(plan.split),
        "split_mode": plan.split_mode,
        "experts_in_ram": plan.host.expert_layers,
        "fits": plan.fits,
        "speed": {
            "expected_tok_s": speed.expected_tok_s,
            "ceiling_tok_s": speed.ceiling_tok_s,
        },
        "notes": notes,
    }


def as_text(name: str, plan: Plan, speed: Speed) -> str:
    """The plan as a page of text, GiB."""
    rows: list[Sequence[str]] = [
        (
            device.name,
            layers_text(device),
            gib_text(device.model_bytes, 2),
            gib_text(device.kv_bytes, 2),
            gib_text(device.compute_bytes, 2),
            gib_text(device.overhead_bytes, 2),
            gib_text(device.free_bytes, 2),
        )
        for device in plan.devices
    ]
    host = plan.host
    rows.append(
        ("RAM", "", gib_text(host.model_bytes, 2), gib_text(host.kv_bytes, 2),
         gib_text(host.compute_bytes, 2), "", "")
    )  # fmt: skip
    head = ("GiB", "layers", "weights", "KV cache", "compute", "overhead", "free")
    lines = [name, "", table(head, rows), "", verdict(plan)]
    if speed.expected_tok_s is not None and speed.ceiling_tok_s is not None:
        low, high = (speed.expected_tok_s * (1 + sign * BAND) for sign in (-1, 1))
        lines.append(
            f"Expected {number_text(low)}–{number_text(high)} tok/s, at most "
            f"{number_text(speed.ceiling_tok_s)}; the memory bandwidth allows no more."
        )
    lines += [*plan.notes, *([speed.note] if speed.note else [])]
    return "\n".join(lines)


def layers_text(device: DevicePlan) -> str:
    """How many layers a card holds, or which part of all of them."""
    return str(device.n_layers) if device.share is None else f"{device.share * 100:.0f} %"


def verdict(plan: Plan) -> str:
    """Whether it fits, and where it is tight, in one sentence."""
    tight = plan.tightest
    if tight is None:
        return "Nothing is offloaded."
    if plan.fits:
        return f"Fits; tightest is {tight.name} with {gib_text(tight.free_bytes, 2)} GiB free."
    over = [
        f"{device.name} is {gib_text(-device.free_bytes, 2)} GiB over"
        for device in plan.devices
        if device.free_bytes < 0
    ]
    return "Does not fit: " + ", ".join(over) + "."
