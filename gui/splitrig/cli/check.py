"""`splitrig check`: the main job once, without a display, on two real devices."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from splitrig.cli.options import detected_rig, rig_devices, stored_settings
from splitrig.cli.proof import Proof
from splitrig.cli.serve import stop_on_signals
from splitrig.cli.serve_news import devices_json, note_text
from splitrig.cli.start_notes import before_start
from splitrig.cli.table import table
from splitrig.cli.wanted import lent_devices
from splitrig.core.chat import Answer, AnswerPhase, Message, Role
from splitrig.core.devices import DeviceMap
from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import EngineError, ModelFileError
from splitrig.core.gpu import Note, Rig, Severity
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.units import mib_text, number_text
from splitrig.services.chat.client import ChatClient
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model
from splitrig.services.store.settings import log_dir

SPLIT = (3.0, 1.0)
QUESTION = "Say hello in one short sentence."
LONGEST_START_S = 120


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check", help="detect, plan, load on two devices, ask, compare, stop"
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="instead of the demo model")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Do the main job; 0 only if the devices carry what was planned and an answer came."""
    model_file = options.model or demo_model()
    if model_file is None:
        raise ModelFileError(
            "The demo model is not installed.", "Run ./run --setup, or name a model with --model."
        )
    engines = Engines(Mailbox(), stored_settings().engine)
    supervisor = Supervisor(Mailbox(), engines, log_dir=log_dir(), start_timeout_s=LONGEST_START_S)
    with stop_on_signals() as stopped:
        try:
            rig = detected_rig(cancelled=lambda: bool(stopped))
            request, devices = _request(engines, rig, model_file, stopped)
            plan = make_plan(read_model(model_file), devices, request.plan)
            notes = before_start(request, rig)
            supervisor.start(request, plan, rig)
            status = _wait_ready(supervisor, stopped)
            findings = _findings(supervisor, rig, stopped)
            answer = _ask(status, stopped)
        finally:
            supervisor.close()
    after = supervisor.status
    as_planned = not status.mismatches and all(
        row["layers"] == row["planned"]["layers"] for row in devices_json(status)
    )
    contradicted = any(note.severity is Severity.DANGER for note in findings)
    good = (
        as_planned and not contradicted and answer.stats.tokens > 0 and after.phase is Phase.STOPPED
    )
    if options.json:
        print(json.dumps(_as_json(rig, status, answer, (*notes, *findings), good=good), indent=2))
    else:
        print(_as_text(rig, status, answer, (*notes, *findings), good=good))
    return 0 if good else 1


def _request(
    engines: Engines, rig: Rig, model: Path, stopped: list[int]
) -> tuple[LaunchRequest, tuple[PlanDevice, ...]]:
    """Two real cards where the engine sees them, else two devices lent by the processor."""
    plan = PlanRequest(split=SPLIT, n_ctx=4096)
    if len(rig.gpus) >= 2:
        device_map: DeviceMap = engines.ask_devices(
            EngineKind.LLAMA_CPP, rig, model, lambda: bool(stopped)
        )
        ids = [match.gpu_id for match in device_map.matches][:2]
        if len(ids) == 2:
            devices = {d.id: d for d in rig_devices(rig, device_map)}
            request = LaunchRequest(model=model, gpu_ids=tuple(ids), plan=plan, log_layers=True)
            return request, tuple(devices[gpu_id] for gpu_id in ids)
    devices_two = lent_devices(2)
    request = LaunchRequest(
        model=model, gpu_ids=tuple(d.id for d in devices_two), plan=plan, log_layers=True
    )
    return request, devices_two


def _wait_ready(supervisor: Supervisor, stopped: list[int]) -> EngineStatus:
    """Block until the engine is ready.

    Raises:
        EngineError: It failed, or the user stopped it.
    """
    while True:
        status = supervisor.status
        if status.phase is Phase.READY:
            return status
        if status.failure is not None:
            raise EngineError(
                status.failure.message,
                status.failure.hint,
                details="\n".join(status.failure.log_tail),
            )
        if stopped or status.phase is Phase.STOPPED:
            raise EngineError("The check was stopped.")
        time.sleep(0.02)


def _findings(supervisor: Supervisor, rig: Rig, stopped: list[int]) -> tuple[Note, ...]:
    """What the cards' own figures say of it; blocks until they were read again."""
    proof = Proof(rig, lambda: bool(stopped))
    while (status := supervisor.status).phase is Phase.READY:
        if (findings := proof.follow(status)) is not None:
            return findings
        time.sleep(0.02)
    return ()


def _ask(status: EngineStatus, stopped: list[int]) -> Answer:
    """One short question; blocks until it is answered.

    Raises:
        ChatError: The engine did not answer.
        EngineError: The user stopped it.
    """
    if status.url is None:
        raise EngineError("The engine gave no address.")
    mailbox = Mailbox()
    client = ChatClient(mailbox)
    try:
        client.ask(
            status.url,
            status.api_key,
            [Message(Role.USER, QUESTION)],
            temperature=0.0,
            max_tokens=48,
        )
        while True:
            for news in mailbox.drain():
                if isinstance(news, Answer) and news.error is not None:
                    raise news.error
                if isinstance(news, Answer) and news.phase is AnswerPhase.FINISHED:
                    return news
            if stopped:
                raise EngineError("The check was stopped.")
            time.sleep(0.01)
    finally:
        client.close()


def _as_json(
    rig: Rig, status: EngineStatus, answer: Answer, notes: Sequence[Note], *, good: bool
) -> dict[str, object]:
    stats = answer.stats
    return {
        "ok": good,
        "gpus": [gpu.name for gpu in rig.gpus],
        "engine": {"build": status.build, "command": list(status.command)},
        "devices": devices_json(status),
        "mismatches": list(status.mismatches),
        "notes": [asdict(note) for note in notes],
        "start_s": sum(status.step_seconds.values()),
        "answer": answer.text,
        "tokens": stats.tokens,
        "tok_s": stats.tok_s,
        "prompt_tok_s": stats.prompt_tok_s,
        "first_token_s": stats.first_token_s,
    }


def _as_text(
    rig: Rig, status: EngineStatus, answer: Answer, notes: Sequence[Note], *, good: bool
) -> str:
    """A page of text with planned against actual."""
    stats = answer.stats
    cards = ", ".join(gpu.name for gpu in rig.gpus) or "none found; the processor lends two devices"
    rows = []
    for row in devices_json(status):
        planned, actual = row["planned"], row["actual"]
        rows.append(
            (
                str(row["device"]),
                f"{planned['layers']} / {row['layers']}",
                *(
                    f"{mib_text(planned[key])} / {mib_text(actual[key])}"
                    for key in ("model_bytes", "kv_bytes", "compute_bytes")
                ),
            )
        )
    head = ("planned / actual", "layers", "weights MiB", "KV cache MiB", "compute MiB (est.)")
    seconds = sum(status.step_seconds.values())
    model = status.request.model.name if status.request is not None else ""
    speed = (
        f"speed    {number_text(stats.tok_s, 1)} tok/s, first token after "
        f"{number_text(stats.first_token_s, 2)} s, {stats.tokens} tokens"
    )
    lines = [
        f"cards    {cards}",
        f"engine   llama.cpp {status.build}, ready after {seconds:.1f} s",
        f"model    {model}, split 3 : 1, context 4,096",
        "",
        table(head, rows),
        "",
        f"answer   {answer.text.strip()}",
        speed,
        "",
        *status.mismatches,
        *map(note_text, notes),
        "The devices carry what was planned." if good else "The check failed.",
    ]
    return "\n".join(lines)
