"""What `splitrig doctor` says of each engine: its version, or why it cannot be used."""

import sys
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import Ratio, rules_of, why_not_here
from splitrig.core.engine_words import NAMES
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.settings import EngineSettings
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.mailbox import Mailbox

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: `state` is ok, note or problem; `hint` is the way out."""

    id: str
    state: str
    message: str
    hint: str = ""


def engine_findings(rig: Rig, settings: EngineSettings) -> list[Finding]:
    """A finding or more for every engine; blocks for some seconds.

    One that is not there is a note, unless the settings choose it by hand.

    Args:
        rig: The cards.
        settings: Which programs the user chose.
    """
    engines = Engines(Mailbox(), settings)
    return [
        *_llama_cpp(rig, settings.llama_server),
        _other(engines, EngineKind.LLAMA_CPP_PYTHON, "llama-cpp-python", settings.python),
        _other(engines, EngineKind.OLLAMA, "ollama-program", settings.ollama),
        _running_ollama(engines, settings.ollama_url),
        _other(engines, EngineKind.VLLM, "vllm", settings.vllm),
    ]


def _llama_cpp(rig: Rig, chosen: Path | None) -> list[Finding]:
    try:
        server = find_llama_server(chosen)
        build = server.capabilities().build
        devices = server.list_devices()
    except SplitRigError as error:
        return [Finding(id="engine", state=PROBLEM, message=error.message, hint=error.hint)]
    names = ", ".join(f"{d.name} {d.description}" for d in devices) or "no card"
    findings = [
        Finding(id="engine", state=OK, message=f"llama.cpp build {build} starts and sees {names}")
    ]
    if rig.gpus and not devices:
        findings.append(
            Finding(
                id="engine-blind",
                state=PROBLEM,
                message=f"The engine sees none of the {len(rig.gpus)} cards.",
                hint="Install the cards' Vulkan driver, or choose a llama-server built for them.",
            )
        )
    if server.rpc_server is None:
        findings.append(
            Finding(
                id="rpc-server",
                state=NOTE,
                message="There is no ggml-rpc-server beside the engine, so no demo rig.",
                hint="The llama-server that ./run installs has one.",
            )
        )
    return findings


def _other(engines: Engines, kind: EngineKind, finding: str, chosen: Path | None) -> Finding:
    """An engine that is started by SplitRig, besides llama.cpp's own server."""
    if why := why_not_here(kind, sys.platform):
        return Finding(id=finding, state=NOTE, message=why)
    try:
        build = engines.get(kind).check()
    except SplitRigError as error:
        return _unusable(finding, error, chosen=chosen is not None)
    rules = rules_of(kind, build)
    if rules.ratio is Ratio.NONE:
        hint = "Update it where the model is to be split by a ratio."
        return Finding(id=finding, state=NOTE, message=rules.no_ratio, hint=hint)
    return Finding(id=finding, state=OK, message=f"{NAMES[kind]} {build} can be used")


def _running_ollama(engines: Engines, chosen: str) -> Finding:
    """The Ollama that runs already, at the address of the settings or of the environment."""
    listing = engines.served_models()
    if listing.error is not None:
        return _unusable("ollama", listing.error, chosen=bool(chosen))
    try:
        version = engines.get(EngineKind.OLLAMA_ATTACHED).check()
    except SplitRigError as error:
        return _unusable("ollama", error, chosen=bool(chosen))
    count = len(listing.models)
    models = f"{count} model{'' if count == 1 else 's'}"
    message = f"Ollama {version} is running at {listing.url} with {models}."
    hint = "" if count else "'ollama pull NAME' gets one."
    return Finding(id="ollama", state=OK, message=message, hint=hint)


def _unusable(finding: str, error: SplitRigError, *, chosen: bool) -> Finding:
    state = PROBLEM if chosen else NOTE
    return Finding(id=finding, state=state, message=error.message, hint=error.hint)
