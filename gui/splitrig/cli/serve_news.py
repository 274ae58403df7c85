"""What `splitrig serve` says: sentences, or with `--json` one object a line."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from splitrig.cli.ollama_options import placement_json, placement_text
from splitrig.cli.remote_cards import Chosen, cost_lines, server_json
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_placement import (
    HOST,
    is_shared,
)
from splitrig.core.engine_remarks import RemarkKind, note_of
from splitrig.core.engine_words import model_stem
from splitrig.core.gpu import Note
from splitrig.core.plan import DevicePlan
from splitrig.core.remote_cost import LinkCost
from splitrig.core.share import Way, lines_for
from splitrig.core.told_together import told_together
from splitrig.core.units import mib_text

_TOLD = {"told-together", *RemarkKind}
"""Findings that `notes_of` has among what is said of an engine that is ready."""

_SHARE_TITLES = {
    "curl": "To try it with curl:",
    "python": "From Python (pip install openai):",
    "environment": "For programs that read the environment:",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Tells what happens on standard output.

    Attributes:
        as_json: One object a line instead of sentences.
        share: With lines to copy into another program, once the engine is ready.
    """

    as_json: bool
    share: bool = False

    def status(self, status: EngineStatus) -> None:
        """A change of the engine."""
        if self.as_json:
            lines = _share_lines(status) if self.share and status.phase is Phase.READY else {}
            _print_json(_status_json(status) | ({"share": lines} if lines else {}))
        else:
            _say_text(status, share=self.share)

    def lent(self, n_devices: int) -> None:
        """That the processor stands for cards; the JSON tells it by the devices' names."""
        if not self.as_json:
            print(f"No card is used: the processor lends {n_devices} devices.", flush=True)

    def notes(self, event: str, notes: Sequence[Note]) -> None:
        """What is worth a word at this point; nothing where there is none."""
        if not notes:
            return
        if self.as_json:
            _print_json({"event": event, "notes": [asdict(note) for note in notes]})
            return
        for note in notes:
            print(note_text(note), flush=True)

    def verified(self, findings: Sequence[Note]) -> None:
        """What the cards' own figures say; in words only what the engine has not said itself."""
        if self.as_json:
            _print_json({"event": "verified", "notes": [asdict(note) for note in findings]})
        else:
            self.notes("", [note for note in findings if note.id not in _TOLD])

    def remote(self, chosen: Chosen, costs: Sequence[LinkCost]) -> None:
        """What is used on other machines, what it costs, and what to beware of."""
        if not self.as_json:
            for line in cost_lines(chosen.servers, costs):
                print(line, flush=True)
            return
        servers = [server_json(server) for server in chosen.servers]
        costs_json = [asdict(cost) for cost in costs]
        _print_json({"event": "remote", "servers": servers, "costs": costs_json})


def note_text(note: Note) -> str:
    """A note in one line; the details of some say all that their message does."""
    if note.id in ("environment-replaced", "config-file-hidden", "config-file-read"):
        return note.detail
    return f"{note.message} {note.detail}".strip()


def _print_json(news: Mapping[str, object]) -> None:
    print(json.dumps(news), flush=True)


def devices_json(status: EngineStatus) -> list[dict[str, Any]]:
    """Planned and actual bytes of each device, in the order of the split.

    A card of another machine that Ray hands out has no name of the engine's own.
    """
    if status.plan is None:
        return []
    rows: list[dict[str, Any]] = []
    for name, device in _named(status):
        actual = status.actual.get(name) if name is not None else None
        rows.append(
            {
                "name": device.name,
                "device": name,
                "layers": status.layers.get(name) if name is not None else None,
                "planned": {
                    "layers": device.n_layers,
                    "model_bytes": device.model_bytes,
                    "kv_bytes": device.kv_bytes,
                    "compute_bytes": device.compute_bytes,
                },
                "actual": {
                    "model_bytes": actual.model_bytes if actual else None,
                    "kv_bytes": actual.kv_bytes if actual else None,
                    "compute_bytes": actual.compute_bytes if actual else None,
                },
                "share": device.share,
            }
        )
    return rows


def _named(status: EngineStatus) -> list[tuple[str | None, DevicePlan]]:
    """The engine's word for each card of the plan; Ray's cards of other machines stand last."""
    planned = status.plan.devices if status.plan is not None else ()
    missing = [None] * (len(planned) - len(status.device_names))
    return list(zip((*status.device_names, *missing), planned, strict=True))


def notes_of(status: EngineStatus) -> list[str]:
    """What the plan assumes, and what the engine does otherwise than asked."""
    notes = [told_together(status)] if is_shared(status.actual) else []
    notes += status.plan.notes if status.plan is not None else ()
    return notes + [f"{n.message} {n.detail}" for n in map(note_of, status.log.remarks)]


def _status_json(status: EngineStatus) -> dict[str, object]:
    news: dict[str, object] = {"event": status.phase.value}
    if status.phase is Phase.STARTING and status.restart:
        news["restart"] = status.restart
    if status.phase is Phase.READY:
        news |= {
            "url": status.url,
            "network_urls": list(status.network_urls),
            "api_key": status.api_key,
            "served_model": _model_name(status),
            "pid": status.pid,
            "build": status.build,
            "command": list(status.command),
            "devices": devices_json(status),
            "mismatches": list(status.mismatches),
            "notes": notes_of(status),
        }
        news |= placement_json(status)
    if (failure := status.failure) is not None:
        news |= {
            "message": failure.message,
            "hint": failure.hint,
            "exit_code": failure.exit_code,
            "log_tail": list(failure.log_tail),
        }
        if failure.fallback is not None:
            news["try"] = failure.fallback.option
    return news


def _carries(status: EngineStatus, name: str | None, device: DevicePlan) -> str:
    """What a card carries; where the engine tells of all together only, what was planned."""
    if is_shared(status.actual):
        share = f"{(device.share or 0) * 100:.0f} % of every layer, planned "
        planned = device.model_bytes, device.kv_bytes
        return share + f"{mib_text(planned[0])} MiB of weights, {mib_text(planned[1])} MiB of KV"
    actual = status.actual.get(name) if name is not None else None
    if actual is None:  # one log of several machines tells of none of them
        return (
            f"{device.n_layers} layers, planned {mib_text(device.model_bytes)} MiB of weights, "
            f"{mib_text(device.kv_bytes)} MiB of KV"
        )
    return (
        f"{device.n_layers} layers, weights {mib_text(actual.model_bytes)} MiB, "
        f"KV cache {mib_text(actual.kv_bytes)} MiB"
    )


def _model_name(status: EngineStatus) -> str:
    """What a request names as its model: an engine that serves one takes any name."""
    return status.served_model or model_stem(status)


def _share_lines(status: EngineStatus) -> dict[str, str]:
    """Lines for each way to use it, for whom it is open to: this machine, or the network."""
    url = status.network_urls[0] if status.network_urls else status.url or ""
    windows = sys.platform == "win32"
    return {
        way.value.lower(): lines_for(way, url, status.api_key, _model_name(status), windows=windows)
        for way in Way
    }


def _say_text(status: EngineStatus, *, share: bool) -> None:
    match status.phase:
        case Phase.READY:
            _say_ready(status, share=share)
        case Phase.FAILED if status.failure is not None:
            print(f"{status.failure.message} {status.failure.hint}", flush=True)
            if status.failure.fallback is not None:
                print(f"Try it with {status.failure.fallback.option}.", flush=True)
        case Phase.STARTING if status.restart:
            print(status.restart, flush=True)
        case phase:
            print(f"{phase.value.capitalize()} …" if phase.active else "Stopped.", flush=True)


def _say_ready(status: EngineStatus, *, share: bool) -> None:
    """How it is reached, and what each card carries."""
    key = f" with the key {status.api_key}" if status.api_key else ""
    print(f"Ready at {status.url}{key}")
    if status.network_urls:
        print(f"Open to the network, unencrypted, at {' and '.join(status.network_urls)}")
    print(f"Model name: {_model_name(status)}")
    for name, device in _named(status):
        print(f"  {device.name}: {_carries(status, name, device)}")
    if held := placement_text(status):
        print(held)
    host = status.actual.get(HOST)
    if host is not None and status.device_names:
        print(f"  RAM: weights {mib_text(host.model_bytes)} MiB")
    for sentence in (*status.mismatches, *notes_of(status)):
        print(f"  {sentence}")
    if share:
        for name, lines in _share_lines(status).items():
            print(f"\n{_SHARE_TITLES[name]}\n{lines.strip()}")
        print()
    print("Ctrl-C stops it.", flush=True)
