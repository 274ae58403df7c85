"""`splitrig doctor`: what works on this machine, what does not, and the way out."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from splitrig import __version__
from splitrig.cli.doctor_engines import NOTE, OK, PROBLEM, Finding, engine_findings
from splitrig.cli.options import detected_rig
from splitrig.cli.orphans import WAY_OUT, sentence
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import Rig, Severity
from splitrig.core.settings import Settings
from splitrig.core.units import gib_text
from splitrig.services.engines.environment import found_config_files, notes_for_all
from splitrig.services.engines.orphans import find_orphans
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model
from splitrig.services.store.settings import SettingsStore, config_dir, log_dir


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="say what works here and what does not",
        description="Looks at the cards, at every engine (llama.cpp, llama-cpp-python, Ollama, an "
        "Ollama that runs already, vLLM) as the settings choose them, at what earlier runs have "
        "left, the environment, the demo model, the folders and the display. Says of each whether "
        "it works and what to do; exits with 1 when something is a problem. An engine that is not "
        "installed is none.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print every finding; 0 when none is a problem."""
    rig = detected_rig()
    settings, told = _settings()
    findings = [
        _program(),
        told,
        *_cards(rig),
        *engine_findings(rig, settings.engine),
        *_orphans(),
        *_environment(),
        _model(),
        *_folders(),
        _display(),
    ]
    if options.json:
        print(json.dumps({"checks": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.message}")
            if finding.hint:
                print(f"{'':8} {finding.hint}")
    return 1 if any(finding.state == PROBLEM for finding in findings) else 0


def _program() -> Finding:
    system = f"{platform.system()} {platform.release()}"
    text = f"SplitRig {__version__}, Python {platform.python_version()}, {system}"
    return Finding(id="program", state=OK, message=text)


def _cards(rig: Rig) -> list[Finding]:
    findings = [
        Finding(
            id=f"card-{number}",
            state=PROBLEM if (sample := rig.samples.get(gpu.id)) and sample.lost else OK,
            message=f"{gpu.name}, {gib_text(gpu.vram_total_bytes)} GiB, at {gpu.pci or 'no bus'}, "
            f"driver {gpu.driver or 'unknown'}, read through {gpu.source}",
            hint="It stopped answering; restart the machine." if sample and sample.lost else "",
        )
        for number, gpu in enumerate(rig.gpus)
    ]
    findings += [
        Finding(
            id=note.id,
            state=NOTE if note.severity is Severity.INFO else PROBLEM,
            message=note.message,
            hint=note.detail,
        )
        for note in rig.notes
    ]
    if not rig.gpus:
        findings.append(
            Finding(
                id="no-card",
                state=NOTE,
                message="No graphics card was found.",
                hint="./run --demo opens a demo rig with a real engine on the processor.",
            )
        )
    return findings


def _settings() -> tuple[Settings, Finding]:
    """The settings, with the defaults for what cannot be used, and whether they could be read."""
    store = SettingsStore()
    settings = store.load()
    if (error := store.problem) is not None:
        flaw = Finding(id="settings", state=PROBLEM, message=error.message, hint=error.hint)
        return settings, flaw
    return settings, Finding(id="settings", state=OK, message="The settings can be read.")


def _orphans() -> list[Finding]:
    """Engines of an earlier run that still hold memory."""
    return [
        Finding(id=f"orphan-{number}", state=PROBLEM, message=sentence(orphan), hint=WAY_OUT)
        for number, orphan in enumerate(find_orphans())
    ]


def _environment() -> list[Finding]:
    """Variables and files that an engine does not get, or that may change what it does."""
    replaced, kept = notes_for_all()
    told = [*((n.name, n.sentence) for n in replaced), *((n.name, n.sentence) for n in kept)]
    told += [
        ("llama.cpp-user" if file.hidden else "llama.cpp-config", file.sentence)
        for file in found_config_files()
    ]
    return [Finding(id=f"environment-{name}", state=NOTE, message=text) for name, text in told]


def _model() -> Finding:
    path = demo_model()
    if path is None:
        return Finding(
            id="demo-model",
            state=NOTE,
            message="The demo model is not installed.",
            hint="Run ./run --setup.",
        )
    try:
        model = read_model(path)
    except SplitRigError as error:
        return Finding(id="demo-model", state=PROBLEM, message=error.message, hint=error.hint)
    return Finding(id="demo-model", state=OK, message=f"The demo model is there: {model.path.name}")


def _folders() -> list[Finding]:
    findings = []
    places: tuple[tuple[str, Callable[[], Path]], ...] = (
        ("settings", config_dir),
        ("logs", log_dir),
    )
    for name, folder in places:
        path = folder()
        existing = next((p for p in (path, *path.parents) if p.exists()), path)
        good = existing.is_dir() and _can_write(existing)
        findings.append(
            Finding(
                id=f"folder-{name}",
                state=OK if good else PROBLEM,
                message=f"The folder for {name} can{'' if good else 'not'} be written.",
                hint="" if good else f"Make {existing} writable.",
            )
        )
    return findings


def _can_write(folder: Path) -> bool:
    """Tried, not asked: what the mode says does not hold for root or a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _display() -> Finding:
    wanted = sys.platform.startswith("linux")
    named = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if wanted and not named:
        text = "No display: only the headless commands work."
        return Finding(id="display", state=NOTE, message=text)
    return Finding(id="display", state=OK, message="A display is there.")
