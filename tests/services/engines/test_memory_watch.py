"""Whether memory ran out, by counters of the kernel that lie in folders of the tests'."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from splitrig.services.engines import memory_watch as module
from splitrig.services.engines.memory_watch import MemoryWatch

if sys.platform == "win32":
    pytest.skip("no process is killed for want of memory there", allow_module_level=True)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    """Writes a file below the test's own / of the kernel."""

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    put("proc/self/cgroup", "0::/user.slice/app.scope\n")
    put("proc/vmstat", "nr_free_pages 7\noom_kill 4\n")
    return put


def watch(folder: Path) -> MemoryWatch:
    return MemoryWatch(proc=folder / "proc", cgroups=folder / "cgroup")


def test_our_own_control_group_is_believed_before_the_whole_machine(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    events = "cgroup/user.slice/app.scope/memory.events"
    write(events, "low 0\noom 0\noom_kill 0\n")
    watched = watch(tmp_path)
    assert not watched.ran_out()
    write("proc/vmstat", "oom_kill 5\n")
    assert not watched.ran_out(), "something else on the machine was killed"
    write(events, "low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert watched.ran_out()


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/\n", "cgroup/memory.events"),
        ("0::/on/the/host\n", "cgroup/memory.events"),
        ("4:memory:/api/7\n0::/\n", "cgroup/memory/api/7/memory.oom_control"),
        ("3:cpu:/\n", "proc/vmstat"),
        ("nonsense\n", "proc/vmstat"),
    ],
    ids=["container", "path of the host", "older groups", "whole machine", "not readable"],
)
def test_wherever_the_kernel_counts_it_is_seen(
    tmp_path: Path, write: Callable[[str, str], None], groups: str, file: str
) -> None:
    write("proc/self/cgroup", groups)
    write(file, "under_oom 0\noom_kill 1\n")
    watched = watch(tmp_path)
    assert not watched.ran_out()
    write(file, "under_oom 0\noom_kill 2\n")
    assert watched.ran_out()


def test_what_happened_long_before_proves_nothing(
    tmp_path: Path, write: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    watched = watch(tmp_path)
    write("proc/vmstat", "oom_kill 5\n")
    watched.look()
    assert watched.ran_out(), "one that is still dying"
    monkeypatch.setattr(module, "LATELY_S", 0.0)
    watched.look()
    watched.look()
    assert not watched.ran_out()


def test_where_nothing_counts_the_memory_left_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not watch(tmp_path).ran_out()
    monkeypatch.setattr(module, "LOW_SHARE", 1.1)  # less than all of it
    assert watch(tmp_path).ran_out()


def test_this_machine_is_understood() -> None:
    assert not MemoryWatch().ran_out()
