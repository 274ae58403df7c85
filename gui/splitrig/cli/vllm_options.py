"""What the commands need to know of vLLM: its own knobs, and plans for Hugging Face folders."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.extra_arguments import CheckedArguments
from splitrig.core.plan import Plan, PlanDevice, PlanRequest
from splitrig.core.ray import is_far
from splitrig.core.settings import EngineSettings
from splitrig.core.units import number_text
from splitrig.core.vllm import DTYPES, KV_BYTES, Cluster, VllmCard, VllmOptions, VllmPlan
from splitrig.core.vllm_command import checked_extra
from splitrig.core.vllm_plan import make_vllm_plan
from splitrig.services.models.hf import model_folder, read_hf_model


def add_vllm_options(parser: argparse.ArgumentParser) -> None:
    """Declare the knobs that only vLLM has, named as it names them."""
    group = parser.add_argument_group("vLLM, for a folder of a Hugging Face model")
    group.add_argument("--tensor-parallel-size", type=int, metavar="N", help="cards a layer")
    group.add_argument("--pipeline-parallel-size", type=int, metavar="N", help="stages")
    group.add_argument(
        "--gpu-memory-utilization", type=_share, metavar="0.9", help="share of every card's memory"
    )
    group.add_argument("--dtype", choices=DTYPES, default="auto", help="what it computes in")
    group.add_argument("--kv-cache-dtype", choices=sorted(KV_BYTES), default="auto")
    group.add_argument("--enforce-eager", action="store_true", help="no captured graphs")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0.01 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and 1")
    return share


def with_vllm(options: argparse.Namespace, settings: EngineSettings) -> EngineSettings:
    """The settings with the vLLM the options say instead."""
    return settings if options.vllm is None else settings.model_copy(update={"vllm": options.vllm})


def plan_folder(
    options: argparse.Namespace,
    devices: Sequence[PlanDevice],
    wanted: PlanRequest,
    cluster: Cluster | None = None,
) -> tuple[VllmPlan, VllmOptions]:
    """Plan a folder for vLLM; a split of the user's own makes a pipeline of it, as in the window.

    The notes also tell what the extra arguments change.

    Raises:
        ModelFileError: It is no Hugging Face model.
        SplitError: vLLM cannot lie on these cards.
        ArgumentError: An extra argument is refused.
    """
    extra = check_vllm_extra(options)
    cards = [
        VllmCard(
            name=device.name,
            id=device.id,
            free_bytes=device.free_bytes,
            total_bytes=device.total_bytes or device.free_bytes,
        )
        for device in devices
    ]
    tp, pp = options.tensor_parallel_size, options.pipeline_parallel_size
    if tp is None and pp is None and wanted.split is not None and len(cards) > 1:
        tp, pp = 1, len(cards)
    asked = VllmOptions(
        tp=tp,
        pp=pp,
        split=wanted.split,
        n_ctx=wanted.n_ctx,
        fraction=options.gpu_memory_utilization,
        dtype=options.dtype,
        kv_dtype=options.kv_cache_dtype,
        eager=options.enforce_eager,
        max_num_seqs=wanted.n_parallel if "--parallel" in options.given else None,
        cluster=cluster,
    )
    plan = make_vllm_plan(read_hf_model(options.model), cards, asked)
    return replace(plan, notes=(*plan.notes, *map(str, extra.warnings))), asked


def check_vllm_extra(options: argparse.Namespace) -> CheckedArguments:
    """The arguments behind `--`, as far as they can be judged without asking vLLM.

    Raises:
        ArgumentError: One is refused.
    """
    extra = checked_extra(options.extra, ())
    extra.demand()
    return extra


def folder_request(
    options: argparse.Namespace,
    devices: Sequence[PlanDevice],
    wanted: PlanRequest,
    cluster: Cluster | None = None,
) -> tuple[LaunchRequest, Plan]:
    """What starts a folder as it was planned.

    Args:
        options: The knobs.
        devices: This machine's cards, and behind them those of a cluster's other machines.
        wanted: The knobs that all engines share.
        cluster: What joins them.

    Raises:
        SplitRigError: As `plan_folder`.
    """
    if any(device.id.startswith("demo-") for device in devices):
        raise EngineError(
            "vLLM needs a real card, and there is none here.",
            "Take llama.cpp, to which the processor can lend devices.",
        )
    plan, asked = plan_folder(options, devices, wanted, cluster)
    request = LaunchRequest(
        model=model_folder(options.model),
        engine=EngineKind.VLLM,
        gpu_ids=tuple(device.id for device in devices if not is_far(device.id)),
        plan=replace(wanted, n_ctx=plan.n_ctx),
        vllm=plan.decided(asked),
        port=options.port,
        host=options.host,
        extra_arguments=options.extra,
    )
    return request, plan.as_plan()


def folder_json(plan: VllmPlan) -> dict[str, Any]:
    """What only vLLM's plans have."""
    return {
        "engine": EngineKind.VLLM.value,
        "tensor_parallel_size": plan.layout.tp,
        "pipeline_parallel_size": plan.layout.pp,
        "layouts": [
            {
                "tensor_parallel_size": layout.tp,
                "pipeline_parallel_size": layout.pp,
                "refused": layout.reason or None,
            }
            for layout in plan.layouts
        ],
        "layers_per_stage": list(plan.layers),
        "gpu_memory_utilization": plan.fraction,
        "kv_tokens": plan.kv_tokens,
        "max_ctx": plan.most_ctx,
        "stranded_bytes": [card.stranded_bytes for card in plan.cards],
    }


def folder_text(plan: VllmPlan) -> str:
    """The same in words."""
    tokens = number_text(plan.kv_tokens)
    return f"vLLM, {plan.layout.words}; {plan.fraction_reason} The KV cache holds {tokens} tokens."
