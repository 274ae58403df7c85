"""`splitrig orphans`: engines that a crash has left, and an end to them."""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime

from splitrig.core.orphan import Freed, Orphan, freed_sentence, orphan_sentence
from splitrig.services.engines.orphans import end_orphan, find_orphans

HANGS = "They may hang in a driver, or belong to another user; restart the computer if they stay."
WAY_OUT = "splitrig orphans --end ends it."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("orphans", help="find engines that a crash has left")
    parser.add_argument("--end", action="store_true", help="end them")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """List them, or end them all; 1 when one could not be ended."""
    orphans = find_orphans()
    freed = [end_orphan(orphan) for orphan in orphans] if options.end else []
    if options.json:
        print(json.dumps(as_json(orphans, freed, ended=options.end), indent=2))
    else:
        print(as_text(orphans, freed))
    return int(any(one.left for one in freed))


def sentence(orphan: Orphan) -> str:
    """What is still there, its start told in local time."""
    return orphan_sentence(orphan, datetime.now().astimezone())


def as_text(orphans: Sequence[Orphan], freed: Sequence[Freed]) -> str:
    """One sentence for each, and the way out."""
    if not orphans:
        return "No engine of an earlier run is left."
    lines = [sentence(orphan) for orphan in orphans]
    if not freed:
        return "\n".join([*lines, "splitrig orphans --end ends what is listed here."])
    lines = [freed_sentence(one) for one in freed]
    return "\n".join([*lines, HANGS] if any(one.left for one in freed) else lines)


def as_json(orphans: Sequence[Orphan], freed: Sequence[Freed], *, ended: bool) -> dict[str, object]:
    """What was found and, where that was asked for, what ending it gave back."""
    found: dict[str, object] = {"orphans": [_orphan_json(orphan) for orphan in orphans]}
    if ended:
        found["ended"] = [_freed_json(one) for one in freed]
    return found


def _orphan_json(orphan: Orphan) -> dict[str, object]:
    record = orphan.record
    return {
        "engine": record.about.kind,
        "executable": record.executable,
        "started_s": record.begun_s,
        "pids": orphan.pids,
        "memory_bytes": orphan.memory_bytes,
        "ports": orphan.ports,
        "model": record.about.model,
        "cards": record.about.cards,
        "message": sentence(orphan),
    }


def _freed_json(freed: Freed) -> dict[str, object]:
    return {
        "pids": freed.ended,
        "left": freed.left,
        "memory_bytes": freed.memory_bytes,
        "ports": freed.ports,
        "message": freed_sentence(freed),
    }
