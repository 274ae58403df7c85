"""What engines of a crashed program have left is found and ended, and never anything else."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.services.engines.crashed import Crashed, Tree, trees
from tests.services.engines.guarded import STUBBORN, sh
from tests.services.engines.processes import running, seconds_until_gone, wait_for
from tests.services.engines.rpc_servers import rpc_server

from splitrig.core.errors import EngineError
from splitrig.core.orphan import RUN_VARIABLE, orphan_sentence
from splitrig.core.remote import RemoteEndpoint
from splitrig.services.engines import orphans
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.orphans import end_orphan, find_orphans
from splitrig.services.engines.rpc_probe import probe

if sys.platform == "win32":
    pytest.skip("the trees here are shell scripts", allow_module_level=True)

SERVER = (
    "import socket, time\n"
    "s = socket.create_server(('127.0.0.1', 0))\n"
    "print('port', s.getsockname()[1], flush=True)\n"
    "hold = bytearray(50_000_000)\n"
    "time.sleep(60)\n"
)
"""Listens and holds 50 MB, as an engine's child does."""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Starts programs with a process tree below; whatever the test has left is killed."""
    with trees(tmp_path / "running") as begin:
        yield begin


def records_of(crashed: Crashed) -> list[Path]:
    return list(crashed.folder.iterdir())


def test_what_an_engine_had_started_is_found_and_ended(tree: Tree) -> None:
    """As when Ollama's parent is killed: its llama-server lives on, with memory and port."""
    crashed = tree(*sh(f'{sys.executable} -c "{SERVER}" & sleep 60; :'))
    crashed.crash()
    left = crashed.below_the_engine()
    seconds_until_gone([crashed.engine, *crashed.guards])
    assert running(left) == left
    (orphan,) = find_orphans(crashed.folder)
    assert set(orphan.pids) == set(left)
    assert orphan.record.about.model == "m.gguf"
    assert 50e6 < orphan.memory_bytes < 90e6
    assert orphan.ports == (int(crashed.lines[0].split()[1]),)

    freed = end_orphan(orphan, crashed.folder)
    assert running(left) == []
    assert set(freed.ended) == set(left)
    assert freed.left == ()
    assert freed.ports == orphan.ports
    assert freed.memory_bytes > 50e6
    assert records_of(crashed) == []
    with socket.socket() as again:
        again.bind(("127.0.0.1", orphan.ports[0]))
    assert find_orphans(crashed.folder) == ()


DEAF_TO_DEATH = (
    "#!{python}\n"
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG\n"
    "os.execv('{real}', ['{real}', *sys.argv[1:]])\n"
)
"""Runs a program that does not hear of the end of those above it."""


@pytest.mark.engine
def test_a_server_that_lends_cards_is_found_and_ended_and_no_other_one(
    tree: Tree, tmp_path: Path
) -> None:
    real = find_llama_server()
    for name, program in (("llama-server", real.path), ("ggml-rpc-server", real.rpc_server)):
        (tmp_path / name).write_text(DEAF_TO_DEATH.format(python=sys.executable, real=program))
        (tmp_path / name).chmod(0o755)
    crashed = tree(str(tmp_path / "llama-server"), program="lending_program")
    with rpc_server(1) as of_somebody_else:
        crashed.crash()
        seconds_until_gone(crashed.guards)
        assert running([crashed.engine]) == [crashed.engine]
        (orphan,) = find_orphans(crashed.folder)
        assert orphan.pids == (crashed.engine,)
        (endpoint,) = crashed.lines
        assert orphan.ports == (int(endpoint.rpartition(":")[2]),)
        said = orphan_sentence(orphan, datetime.now().astimezone())
        assert said.startswith("A server of an earlier run that lends this machine's cards (ggml-")
        freed = end_orphan(orphan, crashed.folder)
        assert (freed.ended, freed.left) == ((crashed.engine,), ())
        assert running([crashed.engine]) == []
        assert records_of(crashed) == []
        assert probe(RemoteEndpoint.parse(of_somebody_else.endpoint), rates=False).usable


def test_daemons_and_the_deaf_are_found_and_ended(tree: Tree) -> None:
    crashed = tree(*sh(f'setsid sh -c "{STUBBORN}" & setsid sleep 60 & sleep 61'))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    (orphan,) = find_orphans(crashed.folder)
    assert len(orphan.pids) >= 3
    begun = time.monotonic()
    assert end_orphan(orphan, crashed.folder).left == ()
    assert time.monotonic() - begun < 3
    assert running(crashed.below_the_engine()) == []


def test_one_that_hides_its_environment_is_known_by_its_record(tree: Tree) -> None:
    """vLLM's workers give themselves a title, which wipes what /proc tells of the environment."""
    crashed = tree(*sh("env -i setsid sleep 60 & env -i sleep 61 & sleep 62"))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    left = running(crashed.below_the_engine())
    bare = [pid for pid in left if not psutil.Process(pid).environ()]
    assert len(bare) == 2
    (orphan,) = find_orphans(crashed.folder)
    assert set(bare) <= set(orphan.pids)
    end_orphan(orphan, crashed.folder)
    assert running(crashed.below_the_engine()) == []


def test_one_in_the_session_of_a_known_one_belongs_to_it(tree: Tree) -> None:
    """A worker that was started after the last look at the tree, and hides."""
    crashed = tree(*sh("env -i sleep 60 & sleep 61"))
    crashed.edit(lambda values: values.update(members=[]))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    (orphan,) = find_orphans(crashed.folder)
    assert set(orphan.pids) == set(crashed.below_the_engine())
    end_orphan(orphan, crashed.folder)
    assert running(crashed.below_the_engine()) == []


def test_a_stopped_one_is_ended(tree: Tree) -> None:
    crashed = tree(*sh("sleep 60 & sleep 61"))
    for pid in crashed.below_the_engine():
        os.kill(pid, signal.SIGSTOP)
    crashed.crash()
    (orphan,) = find_orphans(crashed.folder)
    assert end_orphan(orphan, crashed.folder).left == ()


def test_after_a_crash_the_guard_has_its_time_and_nothing_is_an_orphan(tree: Tree) -> None:
    crashed = tree(*sh(STUBBORN))
    crashed.crash(guards=False)
    assert find_orphans(crashed.folder) == ()
    assert running(crashed.below) == []
    assert records_of(crashed) == []


def test_the_engines_of_a_program_that_runs_are_left_alone(tree: Tree) -> None:
    crashed = tree(*sh("sleep 60 & sleep 61"))
    below = running(crashed.below)
    assert find_orphans(crashed.folder) == ()
    assert running(below) == below
    assert len(records_of(crashed)) == 1


def test_an_orphan_whose_program_came_back_is_refused(tree: Tree) -> None:
    """Its owner is looked for again before anything is ended."""
    crashed, alive = tree(*sh("sleep 60 & sleep 61")), tree("sleep", "62")
    crashed.crash()
    seconds_until_gone([crashed.engine])
    (orphan,) = find_orphans(crashed.folder)
    owner = orphans.mark(psutil.Process(alive.program.pid))
    assert owner is not None
    record = orphans.RunRecord(
        **{
            name: getattr(orphan.record, name)
            for name in orphan.record.__dataclass_fields__
            if name != "owner"
        },
        owner=owner,
    )
    with pytest.raises(EngineError, match="belongs to a SplitRig that is running"):
        end_orphan(orphans.Orphan(record=record, pids=orphan.pids, memory_bytes=0))
    assert running(orphan.pids) == list(orphan.pids)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with any engine."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def as_engine(process: "subprocess.Popen[bytes]", **changes: Any) -> Callable[[Any], object]:
    """An edit that makes the record name this process, but for `changes`, as its engine."""
    wait_for(lambda: psutil.Process(process.pid).cmdline() == ["sleep", "60"])
    seen = orphans.mark(psutil.Process(process.pid))
    assert seen is not None
    named = {
        "pid": seen.pid,
        "started_s": seen.started_s,
        "ticks": seen.ticks,
        "command": list(seen.command),
    }
    return lambda values: values.update(engine=named | changes, members=[], guard=None)


def test_the_very_process_of_a_record_is_found(
    tree: Tree, stranger: "subprocess.Popen[bytes]"
) -> None:
    """The counterpart of the next test: with all three the same it would be one."""
    crashed = tree("sleep", "61")
    crashed.edit(as_engine(stranger))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    (orphan,) = find_orphans(crashed.folder)
    assert orphan.pids == (stranger.pid,)


@pytest.mark.parametrize(
    "changes", [{"ticks": 5}, {"ticks": None, "started_s": 5.0}, {"command": ["sleep", "59"]}],
    ids=["start in ticks", "start", "command line"],
)  # fmt: skip
def test_a_process_id_that_was_given_anew_is_left_alone(
    tree: Tree, stranger: "subprocess.Popen[bytes]", changes: dict[str, Any]
) -> None:
    crashed = tree("sleep", "61")
    crashed.edit(as_engine(stranger, **changes))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    assert find_orphans(crashed.folder) == ()
    assert stranger.poll() is None
    assert records_of(crashed) == []


def test_a_session_that_was_given_anew_is_left_alone(tree: Tree) -> None:
    """A foreign session with the number that the guard had: nobody in it is known."""
    crashed = tree("sleep", "61")
    with subprocess.Popen(sh("sleep 60 & sleep 60"), start_new_session=True) as foreign:
        crashed.edit(lambda values: values["guard"].update(pid=foreign.pid))
        crashed.edit(lambda values: values.update(members=[]))
        crashed.crash()
        seconds_until_gone([crashed.engine])
        assert find_orphans(crashed.folder) == ()
        assert foreign.poll() is None
        os.killpg(foreign.pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_left_alone(tree: Tree) -> None:
    """Even where it carries the run's name, has its number and its command line."""
    crashed = tree("sleep", "61")
    (path,) = records_of(crashed)
    with subprocess.Popen(
        ["sleep", "60"],
        user=65534,
        group=65534,
        extra_groups=[],
        env={RUN_VARIABLE: path.stem, "PATH": os.environ["PATH"]},
    ) as other:
        crashed.edit(as_engine(other))
        crashed.crash()
        seconds_until_gone([crashed.engine])
        assert find_orphans(crashed.folder) == ()
        assert other.poll() is None
        other.kill()


def test_records_of_other_machines_users_and_containers_are_not_judged(tree: Tree) -> None:
    for field in ("host", "user", "namespace"):
        crashed = tree(*sh("sleep 60 & sleep 61"))
        crashed.edit(lambda values, field=field: values["place"].update({field: "other"}))
        crashed.crash()
        seconds_until_gone([crashed.engine])
        assert find_orphans(crashed.folder) == ()
        (path,) = records_of(crashed)
        path.unlink()


def test_records_of_an_earlier_boot_are_deleted(tree: Tree) -> None:
    crashed = tree(*sh("sleep 60 & sleep 61"))
    crashed.edit(lambda values: values["place"].update(boot="before"))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    left = crashed.below_the_engine()
    assert find_orphans(crashed.folder) == ()
    assert records_of(crashed) == []
    assert running(left) == left


def test_broken_records_are_deleted_and_newer_ones_kept(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "newer.json").write_text('{"version": 999}')
    old = tmp_path / ".abandoned.new"
    old.write_text("{")
    os.utime(old, (0, 0))
    (tmp_path / ".writing.new").write_text("{")
    assert find_orphans(tmp_path) == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".writing.new", "newer.json"]


def test_without_a_folder_there_is_nothing_to_find(tmp_path: Path) -> None:
    assert find_orphans(tmp_path / "none") == ()
    assert find_orphans() == ()
