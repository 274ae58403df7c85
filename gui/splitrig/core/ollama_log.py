"""Reads the log of `ollama serve`: its own lines, and those of the llama-server below it.

Its own are `time=… level=… source=… msg="…" key=value …` (log/slog's text form); what
llama-server says stands between them as it is (llm/llama_server.go).
"""

import re
from collections.abc import Mapping

from splitrig.core.devices import normal_pci
from splitrig.core.engine_log import (
    BufferKind,
    BufferSeen,
    BuildNamed,
    DeviceListed,
    DeviceUsed,
    Held,
    Holding,
    LogEvent,
    Mark,
    Passed,
    Placed,
    Several,
    Trouble,
    TroubleKind,
    read_line,
)
from splitrig.core.ollama import OllamaDevice
from splitrig.core.units import GIB, KIB, MIB

_PAIR = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')
_LISTENING = re.compile(r"Listening on \S+ \(version ([\w.+-]+)\)")
_BOUND = ("discovering available GPUs", "looking for compatible GPUs")
_TAKEN = re.compile(r"Error: listen tcp .*:(\d+): bind: (?!.*permi)")
_GENERATE = re.compile(r"\[GIN\].*\|\s*(\d{3})\s*\|.*POST\s+\"/api/generate\"")
_PLACED = re.compile(r"(\S+) takes (\d+) bytes, (\d+) of them on the cards")
_HELD = re.compile(rf"\S+ is ({'|'.join(Holding)})")
_SIZE = re.compile(r"([\d.]+)\s*([KMGT]i?)?B")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4,
          "Ki": KIB, "Mi": MIB, "Gi": GIB, "Ti": 1024 * GIB}  # fmt: skip
_OLD_BUFFERS = {
    "model weights": BufferKind.MODEL,
    "kv cache": BufferKind.KV,
    "compute graph": BufferKind.COMPUTE,
}
"""How the engine of versions before 0.30 tells what it took, rounded to one decimal.

For models that llama.cpp runs there the same lines come first, as an estimate."""


def read_ollama_line(line: str) -> LogEvent | None:
    """What a line of `ollama serve` says; `None` for lines that say nothing to follow."""
    if line.startswith("time="):
        return _read_own(line)
    if line.startswith("[GIN"):
        return None
    if match := _TAKEN.search(line):
        return Trouble(TroubleKind.PORT_TAKEN, match[1], None, line)
    if match := _PLACED.fullmatch(line):
        return Placed(total_bytes=int(match[2]), on_cards_bytes=int(match[3]))
    if match := _HELD.fullmatch(line):
        return Held(Holding(match[1]))
    event = read_line(line)
    # llama-server's own build would stand in the place of Ollama's version
    return None if isinstance(event, BuildNamed) else event


def _read_own(line: str) -> LogEvent | None:
    if match := _LISTENING.search(line):
        return BuildNamed(match[1])
    if any(words in line for words in _BOUND):
        return Passed(Mark.BOUND)
    if "inference compute" in line:
        card = read_device(line)
        return DeviceListed(card.name, card.description) if card is not None else None
    if "size=" in line and "device=" in line:
        pairs = _pairs(line)
        kind, n_bytes = _OLD_BUFFERS.get(pairs.get("msg", "")), _bytes(pairs.get("size", ""))
        if kind is not None and n_bytes:
            device = pairs["device"]
            buffer = BufferSeen(device, kind, n_bytes)
            return buffer if device == "CPU" else Several((DeviceUsed(device, "", None, 0), buffer))
    return None


def starts_own_engine(line: str) -> bool | None:
    """Whether a version before 0.30 starts its own engine, or llama.cpp; `None`: neither."""
    if not line.startswith("time=") or 'msg="starting runner"' not in line:
        return None
    return "--ollama-engine" in line


def is_old_buffer(line: str) -> bool:
    """Whether this line tells of a buffer as versions before 0.30 do."""
    return line.startswith("time=") and "device=" in line and "size=" in line


def read_device(line: str) -> OllamaDevice | None:
    """The card of a line `inference compute`; `None` for other lines and for the processor.

    Versions before 0.12 give the driver's name as `name` and no name of llama.cpp's.
    """
    if "inference compute" not in line:
        return None
    pairs = _pairs(line)
    library = pairs.get("library", "")
    if pairs.get("msg") != "inference compute" or library in ("", "cpu"):
        return None
    library = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan"}.get(library, library)
    name, description = pairs.get("name", ""), pairs.get("description", "")
    if not description:
        name, description = "", name
    folder = pairs.get("libdirs", "").rpartition(",")[2]
    return OllamaDevice(
        name=name,
        library=library,
        description=description,
        id=pairs.get("id", ""),
        filter_id=pairs.get("filter_id", ""),
        pci=normal_pci(pairs.get("pci_id")),
        total_bytes=_bytes(pairs.get("total", "")),
        free_bytes=_bytes(pairs.get("available", "")),
        folder="" if folder == "ollama" else folder,
    )


def all_devices_told(line: str) -> bool:
    """Whether this line comes after the last card Ollama sees."""
    return "vram-based default context" in line or "entering low vram mode" in line or (
        "inference compute" in line and "library=cpu" in line
    )  # fmt: skip


def answered_load(line: str) -> int | None:
    """The HTTP status of a load that Ollama has answered; `None` for other lines."""
    match = _GENERATE.search(line)
    return int(match[1]) if match else None


def placement_line(name: str, total_bytes: int, on_cards_bytes: int) -> str:
    """What an Ollama that ran before holds, as a line for the log."""
    return f"{name} takes {total_bytes} bytes, {on_cards_bytes} of them on the cards"


def held_line(name: str, how: Holding) -> str:
    """How an Ollama that ran before has the model, as a line for the log."""
    return f"{name} is {how.value}"


def _pairs(line: str) -> Mapping[str, str]:
    return {key: _unquoted(value) for key, value in _PAIR.findall(line)}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    return round(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
