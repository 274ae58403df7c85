"""The supervisor on a fake engine that misbehaves: ports, time limits, floods, ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.services.cli.run_cli import environment
from tests.services.engines.conftest import Watch, Watched, planned
from tests.services.engines.processes import running, seconds_until_gone, wait_for

from splitrig.core.devices import MatchedBy
from splitrig.core.engine import LaunchRequest, Phase
from splitrig.core.errors import DevicesUnknownError, EngineError
from splitrig.core.gpu import GpuInfo, Rig, Vendor
from splitrig.core.plan import PlanRequest
from splitrig.core.restart import RestartPolicy
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB, MIB
from splitrig.services.engines.line_feed import EngineLogLines, GapCounter
from splitrig.services.engines.llama_cpp import LlamaCppRun, healthy
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import GRACE_S

if sys.platform == "win32":
    pytest.skip("the fake engine is a shell script", allow_module_level=True)

StartFake = Callable[..., Watched]


def real_card(number: int, name: str) -> GpuInfo:
    return GpuInfo(
        id=f"GPU-{number}", name=name, vendor=Vendor.NVIDIA, pci=f"0000:0{number}:00.0",
        vram_total_bytes=24 * GIB, source="nvml",
    )  # fmt: skip


def test_a_start_goes_through_its_phases_and_stop_leaves_nothing(start_fake: StartFake) -> None:
    watched = start_fake("ready")
    ready = watched.wait(Phase.READY)
    assert ready.pid is not None
    assert running([ready.pid]) == [ready.pid]
    assert ready.url
    assert ready.api_key
    assert len(ready.api_key) >= 32
    assert ready.api_key not in " ".join(ready.command)
    begun = time.monotonic()
    watched.supervisor.stop()
    assert time.monotonic() - begun < 0.05
    watched.wait(Phase.STOPPED, most_s=2)
    assert running([ready.pid]) == []
    assert watched.phases() == [
        Phase.STARTING, Phase.LOADING, Phase.READY, Phase.STOPPING, Phase.STOPPED,
    ]  # fmt: skip


def test_it_can_be_started_again_with_another_key(start_fake: StartFake) -> None:
    watched = start_fake("ready")
    first = watched.wait(Phase.READY)
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    request, plan = planned(1.0, names=("CUDA0",))
    watched.start(request, plan)
    second = watched.wait(Phase.READY)
    assert second.api_key != first.api_key


def test_a_second_start_while_one_runs_is_refused(start_fake: StartFake) -> None:
    watched = start_fake("ready")
    request, plan = planned(1.0, names=("CUDA0",))
    with pytest.raises(EngineError, match="running already"):
        watched.start(request, plan)
    watched.wait(Phase.READY)


def test_an_automatic_port_that_is_taken_is_replaced(start_fake: StartFake, tmp_path: Path) -> None:
    watched = start_fake("port-once")
    ready = watched.wait(Phase.READY)
    ports = (tmp_path / "seen").read_text().split()
    assert len(ports) == 2
    assert ports[0] != ports[1]
    assert ready.url == f"http://127.0.0.1:{ports[1]}"
    assert Phase.FAILED not in watched.phases()


def test_a_wanted_port_that_is_taken_is_one_sentence(start_fake: StartFake) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = start_fake("ready", port=port).wait(Phase.FAILED)
    assert failed.failure is not None
    assert str(port) in failed.failure.message
    assert failed.failure.hint


def test_a_wanted_port_is_used_twice_in_a_row(start_fake: StartFake) -> None:
    """Connections of the first engine linger on the port, which is no reason to refuse."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    watched = start_fake("ready", port=port)
    request = watched.wait(Phase.READY).request
    assert request is not None
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    _, plan = planned(1.0, names=("CUDA0",))
    watched.start(request, plan)
    assert watched.wait(Phase.READY).url == f"http://127.0.0.1:{port}"


def test_an_engine_that_dies_later_is_a_failure(start_fake: StartFake) -> None:
    failed = start_fake("dies").wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.exit_code == 9
    assert failed.pid is None


def test_an_engine_that_never_gets_ready_is_given_up(start_fake: StartFake) -> None:
    watched = start_fake("silent", start_timeout_s=0.4)
    failed = watched.wait(Phase.FAILED, most_s=5)
    assert failed.failure is not None
    assert failed.failure.message == "The engine was not ready after 0.4 s."


def test_stop_while_it_loads_ends_even_a_deaf_engine_within_two_seconds(
    start_fake: StartFake,
) -> None:
    watched = start_fake("stubborn")
    loading = watched.wait(Phase.LOADING)
    assert loading.pid is not None
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=3)
    assert time.monotonic() - begun < 2
    assert running([loading.pid]) == []


def test_a_server_that_does_not_answer_leaves_time_for_stop() -> None:
    """One that stands still takes a connection and says nothing; Stop has 2 s with the kill."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        assert not healthy(silent.getsockname()[1])
        assert time.monotonic() - begun + GRACE_S < 2


def test_an_engine_that_stands_still_while_it_loads_is_stopped_in_time(
    start_fake: StartFake,
) -> None:
    watched = start_fake("frozen")
    loading = watched.wait(Phase.LOADING)
    wait_for(lambda: psutil.Process(loading.pid).status() == psutil.STATUS_STOPPED)
    for _ in range(3):
        time.sleep(0.3)
        watched.drain()
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=5)
    assert time.monotonic() - begun < 2.5
    assert running([loading.pid or 0]) == []


def test_close_while_it_loads_ends_everything(start_fake: StartFake) -> None:
    watched = start_fake("stubborn")
    loading = watched.wait(Phase.LOADING)
    assert loading.pid is not None
    begun = time.monotonic()
    watched.supervisor.close()
    assert time.monotonic() - begun < 2.5
    assert running([loading.pid]) == []
    assert watched.supervisor.status.phase is Phase.STOPPED


def test_close_right_after_start_leaves_nothing(start_fake: StartFake) -> None:
    watched = start_fake("silent")
    watched.supervisor.close()
    assert watched.supervisor.status.phase is Phase.STOPPED


def test_close_twice_and_without_a_start_is_harmless(watch: Watch) -> None:
    watched = watch()
    watched.supervisor.stop()
    watched.supervisor.close()
    watched.supervisor.close()
    assert watched.phases() == []


def test_a_flood_of_log_lines_neither_fills_the_mailbox_nor_hides_the_start(
    start_fake: StartFake,
) -> None:
    watched = start_fake("flood")
    wait_for(lambda: watched.supervisor.status.phase is Phase.READY, 60)
    items = watched.mailbox.drain()
    assert len(items) < 3000
    assert watched.mailbox.dropped == 0


def test_lines_of_a_flood_that_are_not_posted_are_counted_and_in_the_file(
    start_fake: StartFake, tmp_path: Path
) -> None:
    watched = start_fake("flood")
    wait_for(lambda: watched.supervisor.status.phase is Phase.READY, 60)
    watched.supervisor.close()
    gaps = GapCounter()
    news = [item for item in watched.mailbox.drain() if isinstance(item, EngineLogLines)]
    posted = sum(len(item.lines) for item in news)
    skipped = sum(gaps.skipped_before(item) for item in news)
    (file,) = (tmp_path / "logs").iterdir()
    assert skipped > 0
    assert posted + skipped == len(file.read_bytes().splitlines()) > 200_000


def test_a_missing_engine_is_one_sentence(watch: Watch, tmp_path: Path) -> None:
    watched = watch(tmp_path / "none")
    request, plan = planned(3.0, 1.0)
    watched.start(request, plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "There is no llama-server at" in failed.failure.message


def test_an_engine_without_its_lending_tool_is_one_sentence(watch: Watch, fake: Path) -> None:
    watched = watch(fake)
    request, plan = planned(3.0, 1.0)
    watched.start(request, plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "ggml-rpc-server" in failed.failure.message


def test_a_log_folder_that_cannot_be_written_is_one_sentence(
    start_fake: StartFake, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    failed = start_fake("ready").wait(Phase.FAILED)
    assert failed.failure is not None
    assert "log cannot be written" in failed.failure.message


def test_a_shuffled_rig_gets_the_engines_own_names(watch: Watch, fake: Path) -> None:
    listed = (
        "  CUDA0: NVIDIA GeForce RTX 3080 (24576 MiB, 20000 MiB free)\n"
        "  CUDA1: NVIDIA GeForce RTX 4090 (24576 MiB, 20000 MiB free)"
    )
    watched = watch(fake, {"FAKE_DEVICES": listed})
    big, old = real_card(1, "NVIDIA GeForce RTX 4090"), real_card(5, "NVIDIA GeForce RTX 3080")
    rig = Rig(time_s=0, gpus=(big, old))
    watched.discover(rig)
    wait_for(lambda: watched.drain() or watched.found)
    device_map = watched.found[0].device_map
    assert watched.found[0].build == "b9876"
    assert [(m.device.name, m.by) for m in device_map.matches] == [
        ("CUDA1", MatchedBy.NAME),
        ("CUDA0", MatchedBy.NAME),
    ]
    request = LaunchRequest(
        model=Path("m.gguf"), gpu_ids=(big.id, old.id), plan=PlanRequest(split=(3.0, 1.0))
    )
    command = watched.supervisor.command_for(request)
    assert command[command.index("-dev") + 1] == "CUDA1,CUDA0"
    assert command[command.index("-ts") + 1] == "3,1"


def test_no_command_is_shown_with_names_that_nobody_asked_for(watch: Watch, fake: Path) -> None:
    listed = "  CUDA7: NVIDIA GeForce RTX 4090 (24576 MiB, 20000 MiB free)"
    watched = watch(fake, {"FAKE_DEVICES": listed})
    card = real_card(1, "NVIDIA GeForce RTX 4090")
    request = LaunchRequest(model=Path("m.gguf"), gpu_ids=(card.id,), plan=PlanRequest())
    with pytest.raises(DevicesUnknownError, match=r"not been asked yet .* asked in a moment"):
        watched.supervisor.command_for(request)
    watched.engines.run_began()
    with pytest.raises(DevicesUnknownError, match="when the engine that runs has ended"):
        watched.supervisor.command_for(request)
    watched.engines.run_ended()
    watched.discover(Rig(time_s=0, gpus=(card,)))
    wait_for(lambda: watched.drain() or watched.found)
    command = watched.supervisor.command_for(request)
    assert command[command.index("-dev") + 1] == "CUDA7"


def test_a_card_the_engine_does_not_have_is_one_sentence(watch: Watch, fake: Path) -> None:
    watched = watch(fake)
    rig = Rig(time_s=0, gpus=(real_card(1, "NVIDIA GeForce RTX 4090"),))
    request, plan = planned(1.0)
    request = LaunchRequest(model=request.model, gpu_ids=("GPU-1",), plan=request.plan)
    watched.supervisor.start(request, plan, rig)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "sees no card at all" in failed.failure.message


def test_discovery_without_an_engine_says_why(watch: Watch, tmp_path: Path) -> None:
    watched = watch(tmp_path / "none")
    watched.discover(Rig(time_s=0))
    wait_for(lambda: watched.drain() or watched.found)
    assert watched.found[0].build is None
    assert watched.found[0].error is not None


def other_fake(tmp_path: Path, devices: str) -> Path:
    """A second fake engine, which sees other devices whatever the environment says."""
    path = tmp_path / "other" / "llama-server"
    path.parent.mkdir()
    fake = Path(__file__).with_name("fake_llama_server.py")
    path.write_text(
        f"#!/bin/sh\nexport FAKE_DEVICES='{devices}' FAKE_SLOW=none\n"
        f'exec "{sys.executable}" "{fake}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_the_command_is_shown_without_running_a_slow_engine(watch: Watch, fake: Path) -> None:
    watched = watch(fake, {"FAKE_SLOW": "--help"})
    request, _ = planned(1.0, names=("CUDA0",))
    begun = time.monotonic()
    assert watched.supervisor.command_for(request) == ()
    assert time.monotonic() - begun < 0.5


def test_close_ends_a_probe_in_progress(watch: Watch, fake: Path) -> None:
    watched = watch(fake, {"FAKE_SLOW": "--list-devices"})
    rig = Rig(time_s=0, gpus=(real_card(1, "NVIDIA GeForce RTX 4090"),))
    watched.discover(rig)
    probes: list[int] = []

    def look() -> bool:
        probes[:] = [
            p.pid for p in psutil.Process().children(recursive=True) if "--list-devices" in line(p)
        ]
        return bool(probes)

    wait_for(look)
    begun = time.monotonic()
    watched.close()
    assert time.monotonic() - begun < 2.5
    assert running(probes) == []
    watched.drain()
    assert watched.found == []


def line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_stop_ends_a_start_that_still_asks_the_engine(start_fake: StartFake, fake: Path) -> None:
    fake.write_text(fake.read_text().replace("exec", "FAKE_SLOW=--help exec"))
    watched = start_fake("ready")
    watched.wait(Phase.STARTING)
    time.sleep(0.2)
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=3)
    assert time.monotonic() - begun < 2


def test_a_probe_does_not_outlive_a_program_killed_by_force(fake: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from splitrig.services.engines.llama_server import LlamaServer\n"
        f"LlamaServer(Path({str(fake)!r}), extra_env={{'FAKE_SLOW': '--help'}}).capabilities()"
    )
    with subprocess.Popen([sys.executable, "-c", program], env=environment()) as started:
        me = psutil.Process(started.pid)
        wait_for(lambda: any("--help" in line(p) for p in me.children(recursive=True)))
        below = [p.pid for p in me.children(recursive=True)]
        started.kill()
        started.wait()
    seconds_until_gone(below)


def test_what_an_engine_saw_that_is_no_longer_chosen_counts_for_nothing(
    watch: Watch, fake: Path, tmp_path: Path
) -> None:
    card = real_card(1, "NVIDIA GeForce RTX 4090")
    rig = Rig(time_s=0, gpus=(card,))
    listed = "  {}: NVIDIA GeForce RTX 4090 (24576 MiB, 20000 MiB free)"
    watched = watch(fake, {"FAKE_DEVICES": listed.format("CUDA0")})
    fake.write_text(fake.read_text().replace("exec", "sleep 0.5; exec"))
    watched.discover(rig)
    time.sleep(0.1)
    chosen = other_fake(tmp_path, listed.format("Vulkan0"))
    watched.engines.use(EngineSettings(llama_server=chosen))
    watched.discover(rig)
    wait_for(lambda: watched.drain() or watched.found)
    watched.close()  # waits for the slow one as well
    watched.drain()
    maps = [found.device_map for found in watched.found if found.device_map is not None]
    assert [m.matches[0].device.name for m in maps] == ["Vulkan0"]
    request = LaunchRequest(model=Path("m.gguf"), gpu_ids=(card.id,), plan=PlanRequest())
    command = watched.supervisor.command_for(request)
    assert command[command.index("-dev") + 1] == "Vulkan0"


def test_settings_that_change_during_a_start_do_not_bend_it(
    watch: Watch, fake: Path, tmp_path: Path
) -> None:
    """The start goes on with the engine it began with, and the devices that one has named."""
    card = real_card(1, "NVIDIA GeForce RTX 4090")
    listed = "  CUDA0: NVIDIA GeForce RTX 4090 (24576 MiB, 20000 MiB free)"
    env = {"FAKE_DEVICES": listed, "FAKE_MODE": "ready", "FAKE_SEEN": str(tmp_path / "seen")}
    watched = watch(fake, env)
    slow = '#!/bin/sh\ncase "$*" in *--list-devices*) sleep 1;; esac\n'
    fake.write_text(fake.read_text().replace("#!/bin/sh\n", slow))
    request, plan = planned(1.0)
    request = replace(request, gpu_ids=(card.id,))
    watched.supervisor.start(request, plan, Rig(time_s=0, gpus=(card,)))
    wait_for(lambda: any("--list-devices" in line(p) for p in psutil.Process().children(True)))
    watched.engines.use(EngineSettings(llama_server=tmp_path / "another"))
    ready = watched.wait(Phase.READY)
    assert ready.command[0] == str(fake)
    assert ready.device_names == ("CUDA0",)


def test_a_look_at_the_devices_gives_way_to_a_start(
    watch: Watch, fake: Path, tmp_path: Path
) -> None:
    """Cards that are being filled show themselves to nobody else; it looks again afterwards."""
    env = {"FAKE_MODE": "ready", "FAKE_SEEN": str(tmp_path / "seen")}
    watched = watch(fake, env)
    slow = '#!/bin/sh\ncase "$*" in *--list-devices*) sleep 5;; esac\n'
    fake.write_text(fake.read_text().replace("#!/bin/sh\n", slow))

    def looks() -> bool:
        return any("--list-devices" in line(p) for p in psutil.Process().children(True))

    watched.discover(Rig(time_s=0, gpus=(real_card(1, "NVIDIA GeForce RTX 4090"),)))
    wait_for(looks)
    watched.start(*planned(1.0, names=("CUDA0",)))
    watched.wait(Phase.READY, most_s=4)
    assert not looks()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    wait_for(looks)
    watched.drain()
    # while it ran it was only asked whether it is there
    assert all(found.device_map is None for found in watched.found)


def test_cards_that_change_while_an_engine_runs_are_asked_about_afterwards(
    start_fake: StartFake,
) -> None:
    watched = start_fake("ready")
    watched.wait(Phase.READY)
    watched.discover(Rig(time_s=0))
    wait_for(lambda: watched.drain() or watched.found)
    assert watched.found[0].build is not None, "a second engine can be chosen"
    assert watched.found[0].device_map is None
    watched.supervisor.stop()
    wait_for(lambda: watched.drain() or len(watched.found) == 2)
    assert watched.found[1].device_map is not None


def test_an_engine_given_up_is_gone_before_that_is_told(start_fake: StartFake) -> None:
    watched = start_fake("stubborn", start_timeout_s=0.4)
    pid = watched.wait(Phase.LOADING).pid
    assert pid is not None
    watched.wait(Phase.FAILED, most_s=5)
    assert running([pid]) == []


def test_memory_the_computer_does_not_have_is_not_lent(watch: Watch) -> None:
    watched = watch()
    request, plan = planned(3.0, 1.0)
    big = tuple(replace(device, model_bytes=2**50) for device in plan.devices)
    watched.start(request, replace(plan, devices=big))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "2,097,152.1 GiB are needed" in failed.failure.message
    assert failed.failure.hint


def test_an_engine_that_crashes_is_started_again_as_often_as_wanted(start_fake: StartFake) -> None:
    watched = start_fake(
        "crashes", restart=RestartPolicy(enabled=True, most_tries=2, first_delay_s=0.1)
    )
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.exit_code == 9
    phases = [status.phase for status in watched.statuses]
    begins = [i for i, p in enumerate(phases) if p is Phase.STARTING and phases[i - 1] is not p]
    assert len(begins) == 3
    restarts = dict.fromkeys(s.restart for s in watched.statuses if s.restart)
    assert [r.rpartition("(")[2] for r in restarts] == ["1st of 2).", "2nd of 2)."]
    assert list(watched.records.iterdir()) == []


def test_stop_ends_the_wait_for_another_start(start_fake: StartFake) -> None:
    watched = start_fake("crashes", restart=RestartPolicy(enabled=True, first_delay_s=60))
    wait_for(lambda: watched.supervisor.status.restart)
    begun = time.monotonic()
    since_s = watched.supervisor.status.step_since_s
    assert since_s is not None
    assert since_s > begun + 50  # the wait is no part of what a start takes
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=2)
    assert time.monotonic() - begun < 1
    watched.supervisor.close()


def test_a_running_engine_is_written_down_and_forgotten_when_it_ends(start_fake: StartFake) -> None:
    watched = start_fake("ready")
    ready = watched.wait(Phase.READY)
    (file,) = watched.records.iterdir()
    record = json.loads(file.read_text())
    assert record["engine"]["pid"] == ready.pid
    assert record["about"]["kind"] == "llama.cpp"
    assert (ready.url or "").endswith(str(record["about"]["port"]))
    assert ready.api_key not in file.read_text()
    watched.supervisor.close()
    assert list(watched.records.iterdir()) == []


def test_what_an_engine_says_at_once_is_not_lost(watch: Watch, fake: Path, tmp_path: Path) -> None:
    """It may speak before this program knows that it exists."""
    said = "load_tensors:        CUDA0 model buffer size =    50.00 MiB"
    used = "using device CUDA0 (a card) (unknown id) - 100 MiB free"
    first = f'#!/bin/sh\ncase "$*" in *--port*) echo "{used}"; echo "{said}";; esac\n'
    fake.write_text(fake.read_text().replace("#!/bin/sh\n", first))
    watched = watch(fake, {"FAKE_MODE": "ready", "FAKE_SEEN": str(tmp_path / "seen")})
    for _ in range(8):
        watched.start(*planned(1.0, names=("CUDA0",)))
        ready = watched.wait(Phase.READY)
        assert ready.actual["CUDA0"].model_bytes == 50 * MIB
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)
        watched.statuses.clear()


def test_late_lines_of_a_crashed_process_are_not_the_next_ones(
    start_fake: StartFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is busy for seconds holds the reader up, which has lines left to read."""
    write, busy_s = LogFile.write, [3.0]

    def slow_write(file: LogFile, data: bytes) -> None:
        time.sleep(busy_s.pop() if busy_s and b"model loaded" in data else 0)
        write(file, data)

    monkeypatch.setattr(LogFile, "write", slow_write)
    watched = start_fake("recovers", restart=RestartPolicy(enabled=True, first_delay_s=0.1))
    wait_for(lambda: watched.supervisor.status.restart)
    wait_for(lambda: watched.supervisor.status.phase is Phase.READY)
    wait_for(lambda: watched.drain() or any("CUDA error" in line for line in watched.lines))
    assert watched.supervisor.status.log.troubles == ()


def test_a_restart_that_fails_is_not_explained_by_what_the_run_before_said(
    start_fake: StartFake,
) -> None:
    watched = start_fake(
        "gives-up", restart=RestartPolicy(enabled=True, most_tries=1, first_delay_s=0.1)
    )
    failure = watched.wait(Phase.FAILED).failure
    assert failure is not None
    assert failure.log_tail[-1] == "no more"
    assert not any("CUDA error" in line for line in failure.log_tail)
    assert failure.message.endswith("Last line: no more")
    assert failure.hint.startswith("The start failed after a restart; it is not started again. ")


def test_a_mistake_of_our_own_at_the_end_leaves_nothing_hanging(
    start_fake: StartFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LlamaCppRun, "close", lambda _run: 1 / 0)
        watched = start_fake("ready")
        watched.wait(Phase.READY)
        watched.discover(Rig(time_s=0))
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED, most_s=5)
    wait_for(lambda: watched.drain() or watched.found)  # what was put off is asked now
    watched.statuses.clear()
    watched.start(*planned(1.0, names=("CUDA0",)))
    watched.wait(Phase.READY)


def test_a_mistake_of_our_own_after_the_start_leaves_no_process(
    start_fake: StartFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LlamaCppRun, "url", lambda _run, _port: 1 / 0)
    failed = start_fake("ready").wait(Phase.FAILED)
    assert failed.failure is not None
    assert "ZeroDivisionError" in failed.failure.message
    assert psutil.Process().children(recursive=True) == []


def test_one_that_somebody_killed_did_not_run_out_of_memory(start_fake: StartFake) -> None:
    watched = start_fake("ready")
    ready = watched.wait(Phase.READY)
    assert ready.pid is not None
    os.kill(ready.pid, signal.SIGKILL)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == "The engine was killed (signal 9)."
