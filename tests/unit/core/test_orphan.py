from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from splitrig.core.orphan import (
    RAY_HEAD,
    Freed,
    Orphan,
    Place,
    ProcessMark,
    RunAbout,
    RunRecord,
    freed_sentence,
    orphan_sentence,
    orphans_hint,
    same_process,
)
from splitrig.core.units import GIB

BEGUN = datetime(2026, 3, 14, 12, 31, tzinfo=UTC)
MARK = ProcessMark(pid=7, started_s=100.0, ticks=5, command=("llama-server", "-m", "x"))


def record(executable: str = "/opt/llama/llama-server") -> RunRecord:
    return RunRecord(
        token="t",
        begun_s=BEGUN.timestamp(),
        place=Place(host="h", boot="b", namespace="n", user="0"),
        about=RunAbout(kind="llama.cpp", port=8137),
        executable=executable,
        owner=MARK,
    )


def orphan(**changes: Any) -> Orphan:
    values = {"pids": (7,), "memory_bytes": round(3.2 * GIB), "ports": (8137,)}
    return Orphan(**({"record": record()} | values | changes))


def freed(**changes: Any) -> Freed:
    values = {"ended": (7, 8), "left": (), "memory_bytes": GIB, "ports": (8137,)}
    return Freed(record=record(), **(values | changes))


def test_an_orphan_is_told_with_name_start_memory_and_port() -> None:
    said = orphan_sentence(orphan(), BEGUN.replace(hour=14))
    assert said == (
        "An engine of an earlier run (llama-server, started 12:31) still holds 3.2 GiB of memory "
        "and port 8137."
    )


def test_what_is_no_engine_is_told_as_what_it_is() -> None:
    head = replace(record("/opt/vllm/bin/python"), about=RunAbout(kind=RAY_HEAD))
    said = orphan_sentence(orphan(record=head), BEGUN)
    assert said.startswith("Ray's head of an earlier run (ray, started 12:31) still holds 3.2 GiB")
    assert "only other machines may still use it" in orphans_hint([orphan(record=head)])
    assert "nothing uses it any more" in orphans_hint([orphan()])


def test_an_older_orphan_is_told_with_its_day_and_all_ports() -> None:
    said = orphan_sentence(orphan(ports=(8137, 8138)), BEGUN.replace(day=15))
    assert "started 2026-03-14 12:31" in said
    assert said.endswith("3.2 GiB of memory and ports 8137 and 8138.")
    alone = orphan_sentence(orphan(ports=()), BEGUN)
    assert alone.endswith("still holds 3.2 GiB of memory.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "llama-server was ended; 1.0 GiB of memory and port 8137 are free again."),
        ({"ports": ()}, "llama-server was ended; 1.0 GiB of memory is free again."),
        ({"ended": (), "memory_bytes": 0}, "llama-server had ended meanwhile."),
        ({"left": (9,)}, "llama-server could not be ended: process 9 still runs."),
        ({"left": (8, 9)}, "llama-server could not be ended: processes 8 and 9 still run."),
    ],
)
def test_what_was_freed_is_told(changes: dict[str, Any], said: str) -> None:
    assert freed_sentence(freed(**changes)) == said


def test_a_process_is_the_same_by_number_start_and_command_line() -> None:
    def seen(**changes: Any) -> ProcessMark:
        values = {"pid": 7, "started_s": 100.0, "ticks": 5, "command": MARK.command}
        return ProcessMark(**(values | changes))

    assert same_process(MARK, seen())
    assert same_process(MARK, seen(started_s=103.0)), "the clock was set meanwhile"
    assert not same_process(MARK, seen(pid=8))
    assert not same_process(MARK, seen(ticks=6))
    assert not same_process(MARK, seen(command=("llama-server", "-m", "y")))
    assert same_process(MARK, seen(ticks=None)), "where there are no ticks the clock decides"
    assert not same_process(MARK, seen(ticks=None, started_s=100.5))
