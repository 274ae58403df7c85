"""What goes onto llama-server's command line beyond the common: by the names its binary has.

Names drift between builds. What a binary lacks is told in a sentence, never left out in silence.
"""

from collections.abc import Sequence
from dataclasses import replace

from splitrig.core.engine import LaunchRequest
from splitrig.core.engine_rules import EngineRules, Knob
from splitrig.core.errors import EngineError
from splitrig.core.extra_arguments import CheckedArguments, check_arguments
from splitrig.core.plan import PlanRequest
from splitrig.core.server_options import Options, lacks
from splitrig.core.split_mode import missing

EVERY = "999"
"""More layers than any model has."""
SIMPLE_DRAFT = "draft-simple"
"""Without it newer builds load a draft model and never ask it."""
_ALL_EXPERTS, _SOME_EXPERTS = ("-cmoe", "--cpu-moe"), ("-ncmoe", "--n-cpu-moe")
_DRAFT = ("-md", "--model-draft", "--spec-draft-model")
_PROJECTOR = ("-mm", "--mmproj")
NO_EXPERTS = "This llama-server cannot keep experts with the processor."
NO_PROJECTOR = "This llama-server takes no projector."
OTHER = "Choose a newer llama-server in Settings, or leave it out."


def check_supported(plan: PlanRequest, options: Options) -> None:
    """Refuse a split mode, a cache type or a shared cache that the binary does not list.

    Raises:
        EngineError: It lacks one.
    """
    if not options.by_name:
        return
    if problem := missing(plan.split_mode, options.split_modes):
        raise EngineError(problem, "Choose another split mode, or another llama-server.")
    if plan.kv_unified and options.find("-kvu") is None:
        raise EngineError("This llama-server cannot let requests share one KV cache.", OTHER)
    types = options.cache_types
    for kind in (plan.cache_type_k, plan.cache_type_v):
        if types and kind not in types:
            raise EngineError(
                lacks(f"This llama-server has no KV cache of type {kind}", types),
                "Choose another type, or another llama-server.",
            )


def rules_with(rules: EngineRules, options: Options) -> EngineRules:
    """The rules of llama.cpp as far as one binary goes: what its help lacks is refused."""
    if not options.by_name:
        return rules
    lacking = {
        Knob.EXPERTS: "" if options.first_of(*_ALL_EXPERTS, *_SOME_EXPERTS) else NO_EXPERTS,
        Knob.DRAFT: _draft_lack(options),
        Knob.PROJECTOR: "" if options.first_of(*_PROJECTOR) else NO_PROJECTOR,
    }
    closed = tuple((knob, f"{why} {OTHER}") for knob, why in lacking.items() if why)
    knobs = rules.knobs - {knob for knob, _ in closed}
    return replace(rules, knobs=knobs, refusals=rules.refusals + closed)


def unsupported(plan: PlanRequest, options: Options, extra: CheckedArguments) -> str:
    """Why a binary cannot be given these settings, with a way out; empty when it can.

    What its help does not tell is not held against it.
    """
    if not options.by_name:
        return ""
    try:
        check_supported(plan, options)
        _experts(plan, options)
        _draft(plan, options, extra)
        _projector(plan, options, ())
    except EngineError as error:
        return str(error)
    return ""


def more_arguments(
    request: LaunchRequest, options: Options, devices: Sequence[str]
) -> tuple[str, ...]:
    """Experts, draft model, projector and what the user adds by hand.

    Raises:
        EngineError: The binary lacks something, or an argument cannot be passed on.
    """
    check_supported(request.plan, options)
    extra = check_arguments(request.extra_arguments, options)
    return (
        *_experts(request.plan, options),
        *_draft(request.plan, options, extra),
        *_projector(request.plan, options, devices),
        *extra.demand(),
    )


def _experts(plan: PlanRequest, options: Options) -> tuple[str, ...]:
    if not plan.n_cpu_moe:
        return ()
    every, some = options.first_of(*_ALL_EXPERTS), options.first_of(*_SOME_EXPERTS)
    if plan.n_cpu_moe < 0 and every:
        return (every,)
    if some:
        return (some, EVERY if plan.n_cpu_moe < 0 else str(plan.n_cpu_moe))
    if every:
        raise EngineError(
            "This llama-server keeps all experts with the processor, or none.",
            "Keep all of them there, or choose a newer llama-server in Settings.",
        )
    raise EngineError(NO_EXPERTS, OTHER)


def _draft(plan: PlanRequest, options: Options, extra: CheckedArguments) -> tuple[str, ...]:
    if plan.draft is None:
        return ()
    own_way = "--spec-type" in extra.names
    if lack := _draft_lack(options, own_way=own_way):
        raise EngineError(lack, OTHER)
    name = options.first_of(*_DRAFT)
    found = [name, str(plan.draft.path.absolute())]
    layers = options.first_of("-ngld", "--gpu-layers-draft", "--spec-draft-ngl")
    if layers:
        found += [layers, EVERY if plan.draft_layers < 0 else str(plan.draft_layers)]
    if options.find("--spec-type") is not None and not own_way:
        found += ["--spec-type", SIMPLE_DRAFT]
    return tuple(found)


def _draft_lack(options: Options, *, own_way: bool = False) -> str:
    """Why a binary cannot draft; `own_way`: the user says by hand how it is to."""
    if not options.first_of(*_DRAFT):
        return "This llama-server takes no draft model."
    kind = options.find("--spec-type")
    if kind is None or own_way or SIMPLE_DRAFT in kind.value.split(","):
        return ""
    return "This llama-server does not draft with a small model."


def _projector(plan: PlanRequest, options: Options, devices: Sequence[str]) -> tuple[str, ...]:
    if plan.projector is None:
        return ()
    name = options.first_of(*_PROJECTOR)
    if not name:
        raise EngineError(NO_PROJECTOR, OTHER)
    found = [name, str(plan.projector.path.absolute())]
    where = options.first_of("-mmdev", "--mmproj-device")
    if where:
        found += [where, devices[0] if devices else "none"]
    elif not devices and options.find("--no-mmproj-offload") is not None:
        found.append("--no-mmproj-offload")
    return tuple(found)


def projector_device(plan: PlanRequest, options: Options, devices: Sequence[str]) -> dict[str, str]:
    """Variables that put a projector on the first device, for builds without an option for it.

    They take the engine's own first card otherwise, whatever `-dev` says (tools/mtmd/clip.cpp).
    """
    by_option = options.first_of("-mmdev", "--mmproj-device")
    if plan.projector is None or by_option or not devices:
        return {}
    return {"MTMD_BACKEND_DEVICE": devices[0]}
