"""Reads llama-server's log: what it took on which device, how far it is, what went wrong.

The lines are those of `-lv 4` (src/llama-model.cpp, src/llama-context.cpp, ggml, tools/server); a
prefix such as `0.00.518.546 I srv ` may stand before each.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

from splitrig.core.engine_remarks import Remarked, read_remark
from splitrig.core.trouble_patterns import PATTERNS, SUSPICIOUS
from splitrig.core.units import MIB

HOST = "host"


class BufferKind(StrEnum):
    """What a buffer is for."""

    MODEL = "model"
    KV = "kv"
    COMPUTE = "compute"
    OUTPUT = "output"


class Mark(StrEnum):
    """Points an engine passes while it starts."""

    BOUND = "bound"
    """It has its port; nothing is loaded yet."""
    WEIGHTS = "weights"
    CONTEXT = "context"
    WARMUP = "warmup"
    DRAFT = "draft"
    """The model is loaded; what follows is about its draft model."""
    LOADED = "loaded"


class TroubleKind(StrEnum):
    """What an error line is about."""

    OUT_OF_MEMORY = "out of memory"
    HOST_OUT_OF_MEMORY = "host out of memory"
    PORT_TAKEN = "port taken"
    BAD_DEVICE = "bad device"
    RPC_UNREACHABLE = "rpc unreachable"
    RPC_LOST = "rpc lost"
    RPC_VERSION = "rpc version"
    DEVICE_LOST = "device lost"
    MISSING_LIBRARY = "missing library"
    BAD_ARGUMENT = "bad argument"
    NOT_GGUF = "not gguf"
    MODEL_MISSING = "model missing"
    UNKNOWN_ARCHITECTURE = "unknown architecture"
    MODEL_BROKEN = "model broken"
    MODEL_REFUSED = "model refused"
    NEEDS_FLASH = "needs flash attention"
    PART_DIED = "part died"
    OTHER = "other"
    DRAFT_REFUSED = "draft refused"
    PROJECTOR_REFUSED = "projector refused"
    PROJECTOR_UNFIT = "projector unfit"
    SPLIT_ARCHITECTURE = "split: architecture"
    SPLIT_FLASH = "split: flash attention"
    SPLIT_CACHE = "split: cache type"
    SPLIT_ROWS = "split: rows"
    SPLIT_GAVE_UP = "split: gave up"


SPLIT_TROUBLES = frozenset(kind for kind in TroubleKind if kind.startswith("split: "))
"""The engine cannot divide the model in the way it was asked to."""


@dataclass(frozen=True, slots=True)
class DeviceListed:
    """The engine could take a device; behind an RPC server the description is its address."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class DeviceUsed:
    """The engine takes a device: its name, description, PCI address if known, free bytes."""

    name: str
    description: str
    pci: str | None
    free_bytes: int


@dataclass(frozen=True, slots=True)
class BufferSeen:
    """The engine took a buffer, bytes; `device` is as printed, such as `RPC0[127.0.0.1:50151]`."""

    device: str
    kind: BufferKind
    n_bytes: int


@dataclass(frozen=True, slots=True)
class LayerAssigned:
    """A layer goes to a device (only printed with `-lv 5`)."""

    layer: int
    device: str


@dataclass(frozen=True, slots=True)
class Passed:
    """The engine passed a mark."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class BuildNamed:
    """The engine named its build."""

    build: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error line.

    Attributes:
        kind: What it is about.
        subject: The device, file, option or port it names; may be empty.
        n_bytes: The size it names, bytes.
        text: The line.
        message: What happened, one sentence, where the engine's own reader knows it; otherwise
            `core.engine_failure` tells it from the kind.
        hint: The way out that belongs to `message`.
    """

    kind: TroubleKind
    subject: str = ""
    n_bytes: int | None = None
    text: str = ""
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Progressed:
    """So much of the weights is read, 0–1."""

    share: float


@dataclass(frozen=True, slots=True)
class Several:
    """One line that says several things."""

    events: tuple["LogEvent", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What an engine holds altogether, where it says no more (an Ollama that ran before), bytes."""

    total_bytes: int
    on_cards_bytes: int


class Holding(StrEnum):
    """How an Ollama that ran before has the model."""

    OURS = "loaded for SplitRig"
    BEFORE = "loaded before"
    AGAIN = "loaded again"
    GONE = "not loaded any more"


@dataclass(frozen=True, slots=True)
class Held:
    """An Ollama that ran before has the model, or has it no more."""

    how: Holding


LogEvent = (
    DeviceListed
    | DeviceUsed
    | BufferSeen
    | LayerAssigned
    | Passed
    | BuildNamed
    | Trouble
    | Remarked
    | Progressed
    | Placed
    | Held
    | Several
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLog:
    """What the log has said since the start of the process.

    Attributes:
        listed: Devices the engine could take, in its own order.
        used: Devices the engine took.
        buffers: Buffers, in the order of the log; those of the draft model once it is loaded.
        before_draft: Buffers of the model, once those of its draft model are told of.
        layers: Layers with their devices; empty without `-lv 5`.
        troubles: Error lines, the first `MOST_TROUBLES`.
        build: The engine's build.
        loaded: It said that the model is loaded; the last word before it answers.
        drafting: The draft model is being loaded, or is loaded.
        remarks: What it does otherwise than asked, each once.
        placed: What it holds altogether, where it says no more.
        holding: How an Ollama that ran before has the model; `None` for other engines.
    """

    listed: tuple[DeviceListed, ...] = ()
    used: tuple[DeviceUsed, ...] = ()
    buffers: tuple[BufferSeen, ...] = ()
    layers: tuple[LayerAssigned, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    build: str | None = None
    loaded: bool = False
    before_draft: tuple[BufferSeen, ...] = ()
    drafting: bool = False
    remarks: tuple[Remarked, ...] = ()
    placed: Placed | None = None
    holding: Holding | None = None

    def device_of(self, printed: str) -> str:
        """The device a printed buffer belongs to; what is no used device is the host.

        `RPC0[127.0.0.1:50151]` is the first device *of that server*: the first ones of two
        servers are both called RPC0, and only the list of devices tells which is which.
        """
        name = printed
        if remote := _REMOTE.fullmatch(printed):
            of_server = [
                d.name
                for d in self.listed or sorted(self.used, key=str)
                if d.description == remote[2]
            ]
            number = int(remote[1])
            name = of_server[number] if number < len(of_server) else f"RPC{number}"
        if name.endswith(_ROWS_SUFFIX):
            return ROWS
        return name if any(d.name == name for d in self.used) else HOST

    def bytes_on(self, kind: BufferKind) -> dict[str, int]:
        """Bytes of one kind by device, the host's summed under `host`."""
        sums: dict[str, int] = {}
        for buffer in (*self.before_draft, *self.buffers):
            if buffer.kind is kind:
                name = self.device_of(buffer.device)
                sums[name] = sums.get(name, 0) + buffer.n_bytes
        return sums

    def layer_counts(self) -> dict[str, int]:
        """Layers by device as printed, the output layer counted."""
        counts: dict[str, int] = {}
        for assigned in self.layers:
            counts[assigned.device] = counts.get(assigned.device, 0) + 1
        return counts


_DEVICE = re.compile(r"using device (\S+) \((.*)\) \(([^()]*)\) - (\d+) MiB free")
_BUFFER = re.compile(
    r"(?:load_tensors|llama_kv_cache\w*|llama_memory\w*|sched_reserve|llama_context\w*):\s+"
    r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s+([\d.]+) MiB"
)
_REMOTE = re.compile(r"RPC(\d+)\[(.+)\]")
TOGETHER = "Meta()"
"""The device that stands for all cards in a tensor split; a buffer on it is that of the fullest
card (`ggml_backend_meta_buffer_type_alloc_buffer` in ggml/src/ggml-backend-meta.cpp)."""
ROWS = "rows"
"""Stands for buffers that a row split divides over all cards, such as `CUDA0_Split`."""
_ROWS_SUFFIX = "_Split"
_LISTED = re.compile(r" - (\w+) *: (.*) \(\d+ MiB, \d+ MiB free\)")
_KINDS = {
    "model": BufferKind.MODEL,
    "KV": BufferKind.KV,
    "RS": BufferKind.KV,
    "compute": BufferKind.COMPUTE,
    "output": BufferKind.OUTPUT,
}
_LAYER = re.compile(r"load_tensors: layer\s+(\d+) assigned to device (\w+)")
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]", re.IGNORECASE)
_BUILD = re.compile(r"common_params_print_info: build (\d+) \((\w+)\)")
_MARKS = (
    ("loading model tensors", Mark.WEIGHTS),
    ("constructing llama_context", Mark.CONTEXT),
    ("warming up the model", Mark.WARMUP),
    ("loading draft model", Mark.DRAFT),
    ("llama_server: model loaded", Mark.LOADED),
)
_TROUBLES: tuple[tuple[TroubleKind, re.Pattern[str], str], ...] = tuple(
    (TroubleKind(value), re.compile(pattern), unit) for value, pattern, unit in PATTERNS
)
_SUSPICIOUS = re.compile(SUSPICIOUS)
MOST_TROUBLES = 16


def endpoint_of(printed: str) -> str | None:
    """The server a printed buffer belongs to, such as `127.0.0.1:50151`; `None` for a local one."""
    remote = _REMOTE.fullmatch(printed)
    return remote[2] if remote else None


def read_line(line: str) -> LogEvent | None:
    """What a line says; `None` for lines that say nothing we follow."""
    if "buffer size" in line and (match := _BUFFER.search(line)):
        return BufferSeen(match[1], _KINDS[match[2]], round(float(match[3]) * MIB))
    if "using device" in line and (match := _DEVICE.search(line)):
        pci = match[3].lower() if _PCI.fullmatch(match[3]) else None
        return DeviceUsed(match[1], match[2], pci, int(match[4]) * MIB)
    if "assigned to device" in line and (match := _LAYER.search(line)):
        return LayerAssigned(int(match[1]), match[2])
    if "print_info: build" in line and (match := _BUILD.search(line)):
        return BuildNamed(f"b{match[1]}" if int(match[1]) > 1 else match[2])
    for words, mark in _MARKS:
        if words in line:
            return Passed(mark)
    if " MiB free)" in line and (match := _LISTED.search(line)):
        return DeviceListed(match[1], match[2].strip())
    if remark := read_remark(line):
        return remark
    return _trouble(line) if _SUSPICIOUS.search(line) else None


def _trouble(line: str) -> Trouble | None:
    for kind, pattern, unit in _TROUBLES:
        if match := pattern.search(line):
            groups = match.groupdict()
            size = groups.get("size")
            scale = MIB if unit == "MiB" else 1
            n_bytes = round(float(size) * scale) if size is not None else None
            subject = (groups.get("subject") or "").strip()
            if kind is TroubleKind.BAD_DEVICE or (
                kind is TroubleKind.BAD_ARGUMENT and subject in {"-dev", "--device"}
            ):
                return Trouble(TroubleKind.BAD_DEVICE, subject.removeprefix("-dev"), None, line)
            return Trouble(kind, subject, n_bytes, line)
    return None


def add_event(log: LoadLog, event: LogEvent) -> LoadLog:
    """The log with one more event.

    A model buffer after a compute buffer begins a new load (a build that first tries what fits
    prints several): what was seen before is then forgotten, as a new context forgets the caches
    of the one before. Compute buffers are reserved again until the largest graph fits: the last
    one of a device stands.
    """
    match event:
        case DeviceListed():
            return replace(log, listed=(*(d for d in log.listed if d.name != event.name), event))
        case DeviceUsed():
            return replace(log, used=(*(d for d in log.used if d.name != event.name), event))
        case BufferSeen():
            return replace(log, buffers=_with_buffer(log.buffers, event))
        case LayerAssigned():
            before = () if event.layer == 0 else log.layers
            return log if log.drafting else replace(log, layers=(*before, event))
        case Passed():
            return _passed(log, event.mark)
        case Several():
            return reduce(add_event, event.events, log)
        case _:
            return _noted(log, event)


def _noted(log: LoadLog, event: LogEvent) -> LoadLog:
    match event:
        case BuildNamed():
            return replace(log, build=event.build)
        case Placed():
            return replace(log, placed=event)
        case Held():
            kept = None if event.how is Holding.GONE else log.placed
            return replace(log, holding=event.how, placed=kept)
        case Trouble():
            return replace(log, troubles=(*log.troubles, event)[:MOST_TROUBLES])
        case Remarked():
            return replace(log, remarks=tuple(dict.fromkeys((*log.remarks, event))))
    return log


def _with_buffer(buffers: tuple[BufferSeen, ...], seen: BufferSeen) -> tuple[BufferSeen, ...]:
    begun_again = seen.kind is BufferKind.MODEL and any(
        b.kind is BufferKind.COMPUTE for b in buffers
    )
    before = () if begun_again else buffers
    if seen.kind in (BufferKind.COMPUTE, BufferKind.OUTPUT):
        before = tuple(b for b in before if (b.device, b.kind) != (seen.device, seen.kind))
    return (*before, seen)


def _passed(log: LoadLog, mark: Mark) -> LoadLog:
    if mark is Mark.CONTEXT:
        model = tuple(b for b in log.buffers if b.kind is BufferKind.MODEL)
        return replace(log, buffers=model)
    if mark is Mark.DRAFT and not log.drafting:
        return replace(log, before_draft=log.buffers, buffers=(), drafting=True)
    return replace(log, loaded=log.loaded or mark is Mark.LOADED)
