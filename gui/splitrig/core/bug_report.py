"""Everything a bug report needs, as one text that can be posted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from splitrig.core.engine import EngineStatus
from splitrig.core.gpu import GpuInfo
from splitrig.core.log_lines import TIME_CHARS, Level, LogLine
from splitrig.core.plan import DevicePlan
from splitrig.core.redact import redacted
from splitrig.core.secret import without_secrets
from splitrig.core.units import MISSING, gib_text, mib_text

REPORT_LINES = 300
REPORT_CHARS = 50_000
"""GitHub takes 65,536 characters in one text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """What the report says of the program and the machine.

    Attributes:
        program: Its name and version.
        system: The operating system and its version.
        python: Version of Python, and of Qt where the window is open.
        gpus: The cards.
        demo: They are the demo rig's.
        home: The user's folder, to be taken out.
        user: The user's name, to be taken out.
        host: The machine's name, to be taken out.
    """

    program: str = "SplitRig"
    system: str = ""
    python: str = ""
    gpus: tuple[GpuInfo, ...] = ()
    demo: bool = False
    home: str = ""
    user: str = ""
    host: str = ""


def line_text(line: LogLine, *, with_source: bool) -> str:
    """A line in columns: time, level, engine, text."""
    source = f"{line.source}  " if with_source and line.source else ""
    return f"{line.time or '':>{TIME_CHARS}} {line.level.letter} {source}{line.text}".rstrip()


def log_text(lines: Iterable[LogLine]) -> str:
    """Lines in columns, with their engine where there are several."""
    lines = list(lines)
    several = len({line.source for line in lines}) > 1
    return "\n".join(line_text(line, with_source=several) for line in lines)


def bug_report(
    facts: ReportFacts,
    engines: Mapping[str, EngineStatus],
    lines: Sequence[LogLine],
    *,
    most_lines: int = REPORT_LINES,
) -> str:
    """A report in the manner of GitHub: facts, then the end of the log in a block.

    Lines of level DEBUG are left out; engines write prompts there.

    Args:
        facts: Of the program and the machine.
        engines: Each engine by its name.
        lines: The log, oldest line first.
        most_lines: Lines of it that are taken, from the end.
    """
    said = [line for line in lines if line.level is not Level.DEBUG][-most_lines:]
    head = [" · ".join(part for part in (facts.program, facts.system, facts.python) if part)]
    head += ["", "Cards", *_cards(facts)]
    for name, status in sorted(engines.items()):
        head += ["", *_engine(name, status)]
    log = log_text(said)
    if len(log) > REPORT_CHARS:
        log = log[-REPORT_CHARS:].partition("\n")[2]
    n_lines = log.count("\n") + 1 if log else 0
    tail = ["", f"Log, the last {n_lines:,} lines", "```", log.replace("```", "'''"), "```", ""]
    return redacted(
        "\n".join(head + (tail if log else ["", "The log is empty.", ""])),
        secrets=[status.api_key for status in engines.values() if status.api_key],
        home=facts.home,
        user=facts.user,
        host=facts.host,
    )


def _cards(facts: ReportFacts) -> list[str]:
    if not facts.gpus:
        return ["- none found"]
    rows = []
    for gpu in facts.gpus:
        size = f"{gib_text(gpu.vram_total_bytes)} GiB"
        driver = f"driver {gpu.driver}" if gpu.driver else "driver unknown"
        demo = ["demo"] if facts.demo else []
        rows.append("- " + ", ".join([gpu.name, size, gpu.pci or "no bus", driver, *demo]))
    return rows


def _engine(name: str, status: EngineStatus) -> list[str]:
    """State, command, failure, and planned against actual of each card."""
    build = f", build {status.build}" if status.build else ""
    rows = [f"Engine {name}".rstrip() + f": {status.phase}{build}"]
    if status.command:
        words = without_secrets(status.command)
        rows.append(f"- command: {' '.join(_quoted(word) for word in words)}")
    if (failure := status.failure) is not None:
        code = f" (exit code {failure.exit_code})" if failure.exit_code is not None else ""
        rows.append(f"- failure: {failure.message} {failure.hint}".rstrip() + code)
    if status.step_seconds:
        steps = ", ".join(f"{step} {took:.1f} s" for step, took in status.step_seconds.items())
        rows.append(f"- start: {steps}")
    if status.plan is not None:
        for number, device in enumerate(status.plan.devices):
            names = status.device_names
            rows.append(_device(device, names[number] if number < len(names) else "", status))
    rows += [f"- {sentence}" for sentence in status.mismatches]
    return rows


def _device(device: DevicePlan, name: str, status: EngineStatus) -> str:
    actual = status.actual.get(name)
    weights, kv, compute = (
        (actual.model_bytes, actual.kv_bytes, actual.compute_bytes)
        if actual is not None
        else (None, None, None)
    )
    pairs = (
        ("weights", device.model_bytes, weights),
        ("KV cache", device.kv_bytes, kv),
        ("compute", device.compute_bytes, compute),
    )
    amounts = [f"{kind} {mib_text(plan)} / {mib_text(there)} MiB" for kind, plan, there in pairs]
    layers = f"layers {device.n_layers} / {status.layers.get(name, MISSING)}"
    title = f"{device.name} as {name}" if name else device.name
    return f"- {title}, planned / actual: {'; '.join([layers, *amounts])}"


def _quoted(word: str) -> str:
    return f'"{word}"' if not word or any(c in " \t&|;<>(){}$`*?" for c in word) else word
