"""The sentences and numbers of the Launch page; knows no widgets."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

from splitrig.core.attached import is_attached
from splitrig.core.engine import EngineStatus, LaunchRequest
from splitrig.core.engine_log import Holding
from splitrig.core.engine_rules import RULES, Knob
from splitrig.core.extra_arguments import CheckedArguments
from splitrig.core.gpu import Note, Severity
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.core.plan import DevicePlan, Plan
from splitrig.core.split import split_text
from splitrig.core.split_mode import LABELS, LAYER, NONE, doubt
from splitrig.core.units import GIB, MIB, number_text, size_text
from splitrig.core.vllm import VllmOptions, VllmPlan
from splitrig.core.vllm_layout import Layout
from splitrig.views.launch.knobs import Knobs
from splitrig.views.launch.vllm_choice import VllmKnobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Fits or not, and by how much."""

    fits: bool
    title: str
    detail: str


def room_text(n_bytes: int) -> str:
    """Room on a card: GiB with one decimal, MiB where that would say 0.0."""
    if abs(n_bytes) >= GIB / 10:
        return f"{number_text(n_bytes / GIB, 1)} GiB"
    return f"{number_text(n_bytes / MIB)} MiB"


def verdict(plan: Plan, *, unable: str = "") -> Verdict:
    """Whether every card has room, and where it is tight.

    Args:
        plan: Where everything goes.
        unable: Name of the engine chosen, if it cannot load the model.
    """
    if unable:
        return Verdict(
            fits=False,
            title=f"{unable} cannot load it here",
            detail="The reason stands beside Start.",
        )
    tightest = plan.tightest
    if tightest is None and plan.notes:
        return Verdict(fits=True, title="The engine places it", detail=plan.notes[0])
    if tightest is None:
        return Verdict(fits=False, title="No card takes part", detail="Switch a card on.")
    if not any(device.n_layers for device in plan.devices):
        return Verdict(
            fits=True,
            title="Runs on the processor",
            detail=f"No layer lies on a card; {size_text(plan.host.model_bytes)} go into RAM.",
        )
    if plan.fits:
        room = f"{room_text(tightest.free_bytes)} free"
        alone = len(plan.devices) == 1
        detail = f"{tightest.name} has {room} then" if alone else (
            f"tightest: {tightest.name} with {room}"
        )  # fmt: skip
        return Verdict(fits=True, title="Fits", detail=detail)
    over = [device for device in plan.devices if device.free_bytes < 0]
    if not over:  # an engine that keeps a share free has room, but not for this context
        return Verdict(fits=False, title="Does not fit", detail=next(iter(plan.notes), ""))
    missing = room_text(-tightest.free_bytes)
    title = f"Does not fit: {tightest.name} is {missing} over"
    if len(over) > 1:
        title = f"Does not fit: {len(over)} cards are over, {tightest.name} by {missing}"
    return Verdict(fits=False, title=title, detail=_room_elsewhere(plan))


def _room_elsewhere(plan: Plan) -> str:
    missing = -sum(min(device.free_bytes, 0) for device in plan.devices)
    room = sum(max(device.free_bytes, 0) for device in plan.devices)
    emptiest = max(plan.devices, key=lambda d: d.free_bytes)
    if room > missing * 1.1:
        return f"The {emptiest.name} has {room_text(emptiest.free_bytes)} free; move layers there."
    if len(plan.devices) == 1:
        return "It is the only card that takes part."
    return f"All cards together are {room_text(max(missing - room, MIB))} short."


def remarks(plan: Plan, model: Model, n_ctx: int) -> list[Note]:
    """What the plan itself has to say: a context that is too long, what it assumes."""
    found = []
    if 0 < model.n_ctx_train < n_ctx:
        found.append(
            Note(
                id="context-beyond-training",
                severity=Severity.WARNING,
                message=f"{n_ctx:,} tokens of context are more than the {model.n_ctx_train:,} "
                "the model was trained for.",
                detail="Answers far into the context may make no sense; set it lower.",
            )
        )
    if plan.devices:  # else the verdict says them
        found += [Note(id="plan-note", severity=Severity.INFO, message=note) for note in plan.notes]
    return found


def vllm_remarks(plan: VllmPlan) -> list[Note]:
    """What a plan for vLLM has to say: its layout, the share of memory, what is stranded."""
    found = [
        Note(
            id="vllm-layout",
            severity=Severity.INFO,
            message=f"{plan.layout.words.capitalize()}, {number_text(plan.kv_tokens)} tokens of "
            "KV cache.",
            detail=plan.fraction_reason,
        )
    ]
    if plan.layout.tp > 1 and plan.stranded_bytes >= GIB:
        cards = [
            f"{card.name} {number_text(card.stranded_bytes / GIB, 1)} GiB"
            for card in plan.cards
            if card.stranded_bytes >= GIB // 10
        ]
        found.append(
            Note(
                id="vllm-stranded",
                severity=Severity.WARNING,
                message=f"{number_text(plan.stranded_bytes / GIB, 1)} GiB stay unused.",
                detail=f"Every card takes as much as the smallest: {', '.join(cards)}. "
                "A pipeline (see Layout) gives each card layers by its size.",
            )
        )
    found += [Note(id="plan-note", severity=Severity.INFO, message=note) for note in plan.notes]
    return found


def layers_text(device: DevicePlan) -> str:
    """Which layers lie on a card: 'layers 41–63 + output'."""
    if device.share is not None:
        return f"{device.share * 100:.0f} % of every layer"
    if device.first_layer is None or not device.n_blocks:
        return "output only" if device.has_output else "no layers"
    last = device.first_layer + device.n_blocks - 1
    span = f"layer {last}" if device.n_blocks == 1 else f"layers {device.first_layer}–{last}"
    return span + (" + output" if device.has_output else "")


def free_text(device: DevicePlan) -> str:
    """'8.4 GiB free' or '1.9 GiB too much'."""
    if device.free_bytes < 0:
        return f"{room_text(-device.free_bytes)} too much"
    return f"{room_text(device.free_bytes)} free"


def table_unit(plan: Plan) -> tuple[str, int, int]:
    """Unit of the plan's table, its bytes, its decimals: GiB, or MiB for a small model."""
    largest = max((device.used_bytes for device in plan.devices), default=0)
    return ("GiB", GIB, 1) if largest >= GIB else ("MiB", MIB, 0)


def row_texts(values: Sequence[int], unit_bytes: int, decimals: int) -> list[str]:
    """Numbers rounded so that the row adds up to its rounded sum (largest remainders).

    The last one, what is free, is rounded by itself: it also stands elsewhere.
    """
    step = unit_bytes / 10**decimals
    exact = [value / step for value in values]
    whole = [floor(e) for e in exact[:-1]] + [floor(exact[-1] + 0.5)]
    missing = floor(sum(values) / step + 0.5) - sum(whole)
    order = sorted(range(len(values) - 1), key=lambda i: whole[i] - exact[i])
    for index in order[:missing]:
        whole[index] += 1
    return [number_text(n / 10**decimals, decimals) for n in whole]


def handle_text(plan: Plan, handle: int) -> str:
    """What a screen reader says of a handle: '41 layers to 23 and output, fits, 0.6 GiB free'."""
    left, right = plan.devices[handle], plan.devices[handle + 1]

    def side(device: DevicePlan, word: str = "") -> str:
        if device.share is not None:
            return f"{device.share * 100:.0f} %"
        return f"{device.n_blocks}{word}" + (" and output" if device.has_output else "")

    tight = min(plan.devices, key=lambda d: d.free_bytes)
    room = room_text(abs(tight.free_bytes))
    ending = f"fits, {room} free" if plan.fits else f"does not fit, {room} missing"
    return f"{side(left, ' layers')} to {side(right)}, {ending}"


def model_name(path: Path, quantization: str | None = None) -> str:
    """The name an owner knows: the file's, without the quantisation; headers often hold junk."""
    stem = path.stem
    for ending in (quantization or "", "gguf"):
        if ending and stem.lower().endswith(ending.lower()):
            stem = stem[: -len(ending)].rstrip("-._ ")
    return stem or path.stem


def model_text(model: Model) -> str:
    """'18.4 GiB · 64 layers · context up to 40,960 · qwen3'."""
    parts = [
        size_text(model.file_bytes),
        f"{model.n_layer} layers",
        f"context up to {number_text(model.n_ctx_train)}",
        model.architecture,
    ]
    return " · ".join(parts)


def folder_text(model: HfModel) -> str:
    """'15.3 GiB · 36 layers · context up to 40,960 · Qwen3ForCausalLM'."""
    config = model.config
    parts = [size_text(model.file_bytes), f"{config.n_layer} layers"]
    if config.n_ctx:
        parts.append(f"context up to {number_text(config.n_ctx)}")
    return " · ".join([*parts, config.architecture])


def on_cards_text(n_gpu_layers: int, n_layer: int) -> str:
    """How many layers lie on the cards: 'all 64 + output'. The output goes there first."""
    if not n_layer:
        return "as Ollama chooses"
    if n_gpu_layers < 0 or n_gpu_layers > n_layer:
        return f"all {n_layer} + output"
    if n_gpu_layers == 0:
        return "none"
    if n_gpu_layers == 1:
        return "the output only"
    return f"{n_gpu_layers - 1} of {n_layer} + output"


def experts_text(n_experts: int, n_layer: int, n_bytes: int) -> str:
    """Whose experts stay with the processor: 'of 12 of 48 layers, 9.4 GiB in RAM'."""
    if not n_experts:
        return "none"
    which = f"all {n_layer} layers" if n_experts < 0 else f"{n_experts} of {n_layer} layers"
    return f"of {which}, {room_text(n_bytes)} in RAM"


def folded_text(knobs: Knobs, *, vllm: bool = False) -> str:
    """What of the folded settings is not as it comes: 'tensor split · draft SmolLM2-135M'.

    Args:
        knobs: All settings.
        vllm: It is vLLM that takes them.
    """
    parts = _vllm_parts(knobs.vllm) if vllm else []
    if knobs.split_mode != LAYER:
        parts.append(f"{LABELS[knobs.split_mode].lower()} split" if knobs.split_mode != NONE
                     else "no split")  # fmt: skip
    if knobs.n_cpu_moe:
        many = f"{knobs.n_cpu_moe} layers" if knobs.n_cpu_moe > 0 else "all layers"
        parts.append(f"experts of {many} in RAM")
    if knobs.draft is not None:
        parts.append(f"draft {model_name(knobs.draft.path, knobs.draft.quantization)}")
    if knobs.projector is not None:
        parts.append("projector")
    if knobs.extra_line.strip():
        parts.append("extra arguments")
    return " · ".join(parts)


def _vllm_parts(knobs: VllmKnobs) -> list[str]:
    parts = []
    if knobs.kv_dtype != "auto":
        parts.append(f"KV cache {knobs.kv_dtype}")
    if knobs.dtype != "auto":
        parts.append(knobs.dtype)
    if knobs.fraction is not None:
        parts.append(f"{knobs.fraction * 100:.0f} % of the memory")
    if knobs.eager:
        parts.append("no captured graphs")
    return parts


def more_remarks(knobs: Knobs, model: Model, checked: CheckedArguments) -> list[Note]:
    """What is to be said of the folded settings beside the plan."""
    found = []
    in_ram = checked.keeps_cache_in_ram
    if why := doubt(knobs.split_mode, model.architecture, cache_in_ram=in_ram):
        found.append(
            Note(
                id="split-doubt",
                severity=Severity.WARNING,
                message=why,
                detail="If it does, it can be started with layer split instead.",
            )
        )
    return found + extra_remarks(checked)


def extra_remarks(checked: CheckedArguments) -> list[Note]:
    """What is to be said of the extra arguments."""
    return [
        Note(id="extra", severity=Severity.INFO, message=remark.message, detail=remark.hint)
        for remark in checked.warnings
    ]


def load_text(plan: Plan) -> str:
    """What Start will do, beside its button."""
    if not plan.fits:
        return "The engine would run out of memory while loading."
    if not plan.devices:
        return "Loads the model where the engine sees fit."
    on_cards = sum(device.model_bytes for device in plan.devices)
    if not on_cards:
        return "Nothing is loaded onto the cards."
    return f"Loads {size_text(on_cards)} onto the cards."


def seconds_text(seconds: float) -> str:
    """'0.4 s', '12 s' or '4 min 12 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def request_rows(request: LaunchRequest) -> list[tuple[str, str]]:
    """The settings of a running engine, label and value."""
    knobs = request.plan
    rules = RULES[request.engine]
    rows = []
    if knobs.split is not None and len(knobs.split) > 1 and not rules.no_ratio:
        rows.append(("Split", split_text(knobs.split)))
    rows.append(("Context", f"{knobs.n_ctx:,} tokens"))
    if request.vllm is not None:
        rows += _vllm_rows(request.vllm)
    if Knob.KEYS in rules.knobs:
        rows.append(("KV cache", f"{knobs.cache_type_k} · {knobs.cache_type_v}"))
    if knobs.n_parallel > 1:
        rows.append(("Requests", str(knobs.n_parallel)))
    return rows + _more_rows(request)


def _vllm_rows(options: VllmOptions) -> list[tuple[str, str]]:
    """How vLLM was started, as far as the plan or the user decided it."""
    rows = [("Layout", Layout(options.tp or 1, options.pp or 1).words)]
    if options.fraction is not None:
        rows.append(("Memory", f"{options.fraction * 100:.1f} % of each card"))
    if options.kv_dtype != "auto":
        rows.append(("KV cache", options.kv_dtype))
    if options.dtype != "auto":
        rows.append(("Computes in", options.dtype))
    if options.eager:
        rows.append(("Graphs", "not captured"))
    return rows


def _more_rows(request: LaunchRequest) -> list[tuple[str, str]]:
    """The folded settings of a running engine that are not as they come."""
    knobs = request.plan
    rows = []
    if knobs.split_mode != LAYER:
        rows.append(("Split mode", knobs.split_mode))
    if knobs.n_cpu_moe:
        many = "all layers" if knobs.n_cpu_moe < 0 else f"{knobs.n_cpu_moe} layers"
        rows.append(("Experts in RAM", many))
    if knobs.draft is not None:
        rows.append(("Draft model", model_name(knobs.draft.path, knobs.draft.quantization)))
    if knobs.projector is not None:
        rows.append(("Projector", knobs.projector.path.stem))
    if request.extra_arguments:
        rows.append(("Extra", shlex.join(request.extra_arguments)))
    return rows


def address_of(status: EngineStatus) -> str:
    """'127.0.0.1:8137', without the scheme."""
    return (status.url or "").removeprefix("http://").rstrip("/")


def stop_words(status: EngineStatus) -> tuple[str, str]:
    """What the button that ends it says, and a tip: an Ollama that ran before goes on running."""
    if not is_attached(status):
        return "Stop", ""
    match status.log.holding:
        case Holding.BEFORE:
            return "Release", "The model stays loaded, as it was before."
        case Holding.GONE:
            return "Release", "Ollama has let go of the model already; it goes on running."
    return "Unload", "Ollama lets go of the model; it goes on running."


def file_text(path: Path) -> str:
    """A file for a menu: its name and the folder it lies in."""
    return f"{path.name}  ·  {path.parent.name}"


def users_of_cards(engines: Iterable[EngineStatus]) -> dict[str, str]:
    """Which engines use a card, by its id: 'in use by engine 1'."""
    users: dict[str, list[str]] = {}
    for status in engines:
        for gpu_id in status.request.gpu_ids if status.request is not None else ():
            users.setdefault(gpu_id, []).append(str(status.slot))
    return {
        gpu_id: f"in use by engine{'s' * (len(slots) > 1)} {' and '.join(slots)}"
        for gpu_id, slots in users.items()
    }
