"""Turns the end of an engine into one sentence that says what happened and one that helps."""

import re
import signal
from collections.abc import Mapping

from splitrig.core.engine import Failure, Fallback
from splitrig.core.engine_log import SPLIT_TROUBLES, BufferKind, LoadLog, Trouble, TroubleKind
from splitrig.core.split_mode import LAYER, WITHIN
from splitrig.core.units import MIB, number_text

TAIL_LINES = 20
_PREFIX = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ")
KILLED_HINT = (
    "Another program or a limit of this machine ended it; launch it again, and look at the "
    "system's log if it happens again."
)
LESS_MEMORY = (
    "Shorten the context, move the split away from this card, or keep some layers off the cards."
)
SENTENCES = {
    TroubleKind.HOST_OUT_OF_MEMORY: (
        "The computer's memory is too small for the model.",
        "Close other programs, or choose a smaller model.",
    ),
    TroubleKind.PORT_TAKEN: (
        "Port {} is in use by another program.",
        "Choose another port, or 0 for a free one.",
    ),
    TroubleKind.BAD_DEVICE: (
        "The engine has no device {}.",
        "The card may have gone, or this engine is built for another make of card.",
    ),
    TroubleKind.RPC_UNREACHABLE: (
        "Nothing answers at {}, which should lend its devices.",
        "Start ggml-rpc-server there, or take the address out.",
    ),
    TroubleKind.RPC_LOST: (
        "A server that lends its devices stopped, or another program uses it.",
        "Start ggml-rpc-server there again; it serves one program at a time.",
    ),
    TroubleKind.RPC_VERSION: (
        "A server that lends its devices speaks RPC protocol {}, which this engine does not.",
        "Use the same llama.cpp on both machines.",
    ),
    TroubleKind.NEEDS_FLASH: (
        "A quantised V cache needs flash attention.",
        "Switch flash attention on, or take f16 for the values.",
    ),
    TroubleKind.DEVICE_LOST: (
        "A card stopped working under the engine.",
        "Look at its temperature and power; restart the computer if it does not return.",
    ),
    TroubleKind.MISSING_LIBRARY: (
        "The engine needs a library that is not installed: {}.",
        "Install it, or choose another llama-server in the settings.",
    ),
    TroubleKind.BAD_ARGUMENT: (
        "The engine does not take the argument {}.",
        "Choose another value, or a newer llama-server in the settings.",
    ),
    TroubleKind.NOT_GGUF: (
        "The model file is no GGUF file.",
        "Choose a file in GGUF format.",
    ),
    TroubleKind.MODEL_MISSING: (
        "The model file cannot be opened.",
        "It may have been moved: choose it again.",
    ),
    TroubleKind.UNKNOWN_ARCHITECTURE: (
        "The engine does not know models of the kind '{}'.",
        "A newer llama-server may: choose one in the settings.",
    ),
    TroubleKind.MODEL_BROKEN: (
        "The model file is incomplete or broken: {}.",
        "Download it again, or check its size against the source.",
    ),
    TroubleKind.MODEL_REFUSED: (
        "The engine refused the model: {}.",
        "Look at its log, or try another file of the model.",
    ),
    TroubleKind.PART_DIED: (
        "A part of the engine ended, so it cannot answer any more.",
        "Launch it again.",
    ),
    TroubleKind.OTHER: (
        "The engine stopped: {}.",
        "Look at its log.",
    ),
}
"""Message and hint by kind; the hole takes what the line names."""
SENTENCES |= {
    TroubleKind.SPLIT_ARCHITECTURE: (
        "This engine cannot divide models of the kind '{}' within their layers.",
        "Start it with layer split: whole layers on each card.",
    ),
    TroubleKind.SPLIT_FLASH: (
        "Tensor split needs flash attention.",
        "Switch flash attention on, or start it with layer split.",
    ),
    TroubleKind.SPLIT_CACHE: (
        "This engine takes no quantised KV cache in a tensor split.",
        "Take f16 for keys and values, or start it with layer split.",
    ),
    TroubleKind.SPLIT_ROWS: (
        "{} can take no part in a row split.",
        "Start it with layer split: whole layers on each card.",
    ),
    TroubleKind.SPLIT_GAVE_UP: (
        "The engine gave up on dividing this model within its layers: {}.",
        "Tensor split is an experiment of llama.cpp's; start it with layer split.",
    ),
    TroubleKind.DRAFT_REFUSED: (
        "The engine could not load the draft model {}.",
        "Choose another one, or none.",
    ),
    TroubleKind.PROJECTOR_REFUSED: (
        "The engine could not load the projector {}.",
        "Choose the one that was published with the model, or none.",
    ),
    TroubleKind.PROJECTOR_UNFIT: (
        "The projector belongs to another model: this one is {} elements wide.",
        "Choose the one that was published with the model, or none.",
    ),
}
_BESIDE = frozenset(
    {
        TroubleKind.DRAFT_REFUSED,
        TroubleKind.PROJECTOR_REFUSED,
        TroubleKind.PROJECTOR_UNFIT,
    }
)
"""Say which file the more general line before them is about."""
_MEMORY = frozenset({TroubleKind.OUT_OF_MEMORY, TroubleKind.HOST_OUT_OF_MEMORY})
LAYERS_INSTEAD = Fallback(
    label="Start with layer split instead", option="--split-mode layer", split_mode=LAYER
)
_WINDOWS_CODES = {
    0xC000001D: -4,  # STATUS_ILLEGAL_INSTRUCTION, told like SIGILL
    0xC0000005: -11,  # STATUS_ACCESS_VIOLATION, told like SIGSEGV
    0xC0000409: -6,  # STATUS_STACK_BUFFER_OVERRUN: how abort() ends there
}
_WINDOWS_DLL_MISSING = 0xC0000135


def explain_exit(
    log: LoadLog,
    *,
    exit_code: int | None,
    tail: tuple[str, ...],
    names: Mapping[str, str] | None = None,
    was_ready: bool = False,
    split_mode: str = LAYER,
    out_of_memory: bool = False,
) -> Failure:
    """Say why an engine ended.

    Args:
        log: What it said before.
        exit_code: Of the process, negative for a signal; `None` if unknown.
        tail: Its last lines.
        names: Shown names by engine device name.
        was_ready: It had answered requests before.
        split_mode: How it was to divide the model.
        out_of_memory: The computer's memory ran out when it ended.
    """
    code = None if exit_code is None else _WINDOWS_CODES.get(exit_code & 0xFFFFFFFF, exit_code)
    trouble = _cause(log)
    if trouble is not None:
        message, hint = _tell(trouble, log, names or {})
    else:
        message, hint = _tell_code(code, tail, was_ready=was_ready, out_of_memory=out_of_memory)
    return Failure(
        message=message,
        hint=hint,
        log_tail=tuple(tail[-TAIL_LINES:]),
        exit_code=exit_code,
        fallback=_fallback(trouble, split_mode, code, was_ready=was_ready),
    )


def _fallback(
    trouble: Trouble | None, split_mode: str, code: int | None, *, was_ready: bool
) -> Fallback | None:
    """Whole layers, where dividing every layer was the cause, or crashed for an unknown one."""
    if split_mode not in WITHIN:
        return None
    if trouble is not None:
        return LAYERS_INSTEAD if trouble.kind in SPLIT_TROUBLES else None
    crashed = code is not None and code < 0 and code != -signal.SIGILL
    return LAYERS_INSTEAD if crashed and not was_ready else None


def _cause(log: LoadLog) -> Trouble | None:
    """The first error line, or the one of its kind that names the device and the size.

    A line that is understood comes before one that is only repeated.
    """
    troubles = [t for t in log.troubles if not _is_doubtful(t, log)]
    troubles = [t for t in troubles if t.kind is not TroubleKind.OTHER] or troubles
    if not troubles:
        return None
    beside = next((t for t in troubles if t.kind in _BESIDE), None)
    if beside is not None and troubles[0].kind not in _MEMORY:
        return beside
    same = [t for t in troubles if t.kind is troubles[0].kind]
    return max(same, key=lambda t: (bool(t.subject), t.n_bytes is not None))


def _is_doubtful(trouble: Trouble, log: LoadLog) -> bool:
    """A buffer that 'cannot run the operation' is short of memory only if it holds too much."""
    if "cannot run the operation" not in trouble.text:
        return False
    device = log.device_of(trouble.subject)
    free = next((d.free_bytes for d in log.used if d.name == device), None)
    return free is None or _taken(log, device) <= free


def _taken(log: LoadLog, device: str) -> int:
    return sum(log.bytes_on(kind).get(device, 0) for kind in BufferKind)


def _tell(trouble: Trouble, log: LoadLog, names: Mapping[str, str]) -> tuple[str, str]:
    if trouble.message:
        return trouble.message, trouble.hint
    if trouble.kind is TroubleKind.OUT_OF_MEMORY:
        return _out_of_memory(trouble, log, names), LESS_MEMORY
    message, hint = SENTENCES[trouble.kind]
    subject = trouble.subject.rstrip(".") or "it gave no reason"
    return message.format(subject), hint


def _out_of_memory(trouble: Trouble, log: LoadLog, names: Mapping[str, str]) -> str:
    device = _device_name(trouble, log)
    shown = names.get(device, device) or "a card"
    free = next((d.free_bytes for d in log.used if d.name == device), None)
    had = f", which had {number_text(free / MIB)} MiB free" if free is not None else ""
    if trouble.n_bytes is not None:
        more = number_text(trouble.n_bytes / MIB, 1)
        return f"Out of memory: {more} MiB more did not fit on {shown}{had}."
    taken = _taken(log, device)
    if had and taken:
        return f"Out of memory: {number_text(taken / MIB, 1)} MiB do not fit on {shown}{had}."
    return f"Out of memory on {shown}."


def _device_name(trouble: Trouble, log: LoadLog) -> str:
    """The device an allocation failed on; CUDA and HIP name only its number."""
    if trouble.subject.isdigit():
        numbered = (d.name for d in log.used if d.name.endswith(trouble.subject))
        return next(numbered, f"device {trouble.subject}")
    if not log.used:
        return trouble.subject
    return log.device_of(trouble.subject) if trouble.subject else ""


def _tell_code(
    code: int | None, tail: tuple[str, ...], *, was_ready: bool, out_of_memory: bool
) -> tuple[str, str]:
    if code == -signal.SIGILL:
        return (
            "This engine build needs processor features that this machine lacks.",
            "Choose a llama-server built for an older processor in the settings.",
        )
    if code == -9 and out_of_memory:
        return (
            "The engine was killed (signal 9), most likely because the computer's memory ran out.",
            "Close other programs, choose a smaller model, or offload more layers to the cards.",
        )
    if code == -9:
        return "The engine was killed (signal 9).", KILLED_HINT
    if code == _WINDOWS_DLL_MISSING:
        return (
            "The engine needs a library (DLL) that is not installed.",
            "Install the runtime of its build, or choose another llama-server in the settings.",
        )
    when = "while it was running" if was_ready else "before it was ready"
    how = _how(code)
    said = [text for line in tail if (text := _PREFIX.sub("", line).strip())]
    last = next((text for text in reversed(said) if "rror" in text), said[-1] if said else "")
    hint = "Launch it again; if it happens again, look at its log."
    return (f"The engine ended {when}{how}." + (f" Last line: {last[:160]}" if last else "")), hint


def _how(code: int | None) -> str:
    if code is None:
        return ""
    if code < 0:
        words = {-6: "it aborted", -11: "it crashed", -15: "it was asked to end"}
        return f" ({words.get(code, 'signal')}, signal {-code})"
    return f" with exit code {code}"
