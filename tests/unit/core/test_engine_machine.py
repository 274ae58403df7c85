"""The life of an engine, event by event, without a process."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.engine import (
    Buffers,
    EngineKind,
    EngineStatus,
    Failure,
    LaunchRequest,
    Phase,
)
from splitrig.core.engine_events import (
    Advanced,
    Begun,
    Broken,
    Counted,
    EngineEvent,
    Exited,
    GivenUp,
    Healthy,
    Launching,
    Logged,
    Metered,
    Restarting,
    Spawned,
    StopAsked,
)
from splitrig.core.engine_log import (
    BufferKind,
    BufferSeen,
    BuildNamed,
    DeviceUsed,
    LayerAssigned,
    LogEvent,
    Mark,
    Passed,
    Trouble,
    TroubleKind,
    read_line,
)
from splitrig.core.engine_machine import (
    step,
)
from splitrig.core.engine_placement import (
    HOST,
    divides_by_itself,
)
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.units import MIB

RECORDED = Path(__file__).parents[2] / "recorded" / "engine"
NAMES = ("RPC0", "RPC1")
REQUEST = LaunchRequest(
    model=Path("model.gguf"), gpu_ids=("a", "b"), plan=PlanRequest(split=(3.0, 1.0))
)


def device(name: str, n_blocks: int, model_mib: float, kv_mib: float, *, last: bool) -> DevicePlan:
    return DevicePlan(
        name=name, id=name, first_layer=0, n_blocks=n_blocks, has_output=last,
        model_bytes=round(model_mib * MIB), kv_bytes=round(kv_mib * MIB), compute_bytes=None,
        overhead_bytes=0, free_bytes=0,
    )  # fmt: skip


PLAN = Plan(
    devices=(
        device("RTX 4090", 24, 50.7305, 72, last=False),
        device("RTX 3080", 6, 41.3723, 18, last=True),
    ),
    host=HostPlan(model_bytes=round(28.69 * MIB), kv_bytes=0, compute_bytes=None),
    split=(3.0, 1.0),
    fits=True,
)
BEGUN = Begun(time_s=100.0, request=REQUEST, plan=PLAN)
SPAWNED = Spawned(
    pid=4711, url="http://127.0.0.1:8137", api_key="k", command=("llama-server",),
    device_names=NAMES,
)  # fmt: skip
FAILURE = Failure(message="No llama-server was found.", hint="Choose one.")


def after(*events: EngineEvent, status: EngineStatus | None = None) -> EngineStatus:
    status = status or EngineStatus()
    for event in events:
        status = step(status, event)
    return status


def logged(event: LogEvent, time_s: float = 101.0) -> Logged:
    return Logged(time_s=time_s, event=event)


def recorded(name: str) -> list[EngineEvent]:
    """All events of a recorded log, a millisecond apart."""
    lines = (RECORDED / name).read_text(encoding="utf-8").splitlines()
    events = [read_line(line) for line in lines]
    return [logged(event, 101.0 + number / 1000) for number, event in enumerate(events) if event]


STARTING = after(BEGUN)
LOADING = after(BEGUN, SPAWNED, logged(Passed(Mark.WEIGHTS)))
READY = after(BEGUN, SPAWNED, *recorded("rpc_3_1.log"), Healthy(time_s=102.0))
STOPPING = after(StopAsked(), status=READY)
STOPPED = after(Exited(exit_code=0), status=STOPPING)
FAILED = after(Exited(exit_code=1), status=READY)


def test_start_keeps_what_was_asked_and_planned() -> None:
    assert STARTING.phase is Phase.STARTING
    assert STARTING.request is REQUEST
    assert STARTING.plan is PLAN
    assert (STARTING.step, STARTING.step_since_s) == ("process", 100.0)
    assert STARTING.pid is None


def test_a_process_gives_pid_address_and_devices() -> None:
    status = after(BEGUN, SPAWNED)
    assert status.phase is Phase.STARTING
    assert (status.pid, status.url, status.api_key) == (4711, "http://127.0.0.1:8137", "k")
    assert status.device_names == NAMES
    assert status.command == ("llama-server",)


def test_a_second_process_on_another_port_forgets_the_log_of_the_first() -> None:
    first = after(BEGUN, SPAWNED, logged(Trouble(TroubleKind.PORT_TAKEN, "8137")))
    assert first.log.troubles
    assert first.phase is Phase.STARTING
    second = after(
        Launching(time_s=101.0),
        replace(SPAWNED, pid=4712, url="http://127.0.0.1:8138"),
        status=first,
    )
    assert second.pid == 4712
    assert second.log.troubles == ()
    assert (second.step, second.step_since_s) == ("process", 100.0)


def test_a_second_process_has_passed_no_step_of_the_first() -> None:
    """One that loads before it takes its port is through with everything when that fails."""
    status = step(
        after(*recorded("rpc_3_1.log"), status=after(BEGUN, SPAWNED)), Launching(time_s=109)
    )
    assert status.phase is Phase.STARTING
    assert (status.request, status.plan) == (REQUEST, PLAN)
    assert (status.step, status.step_since_s, status.step_seconds) == ("process", 109, {})
    assert (status.pid, status.url, status.actual) == (None, None, {})


def test_a_process_may_speak_before_it_is_known_to_exist() -> None:
    said = (logged(BuildNamed("b1")), logged(Passed(Mark.WEIGHTS)))
    status = after(BEGUN, Launching(time_s=100.1), *said, SPAWNED)
    assert status.phase is Phase.LOADING
    assert status.log.build == "b1"
    assert status.pid == 4711


def test_a_build_that_was_asked_for_before_the_process_stays() -> None:
    status = after(BEGUN, logged(BuildNamed("0.3.36")), Launching(time_s=100.1), SPAWNED)
    assert status.build == "0.3.36"


def test_a_stop_is_not_undone_by_a_process_that_is_about_to_start() -> None:
    assert step(STOPPING, Launching(time_s=103.0)) is STOPPING


def test_the_log_moves_through_the_steps_and_times_them() -> None:
    status = after(
        BEGUN, SPAWNED,
        logged(Passed(Mark.WEIGHTS), 100.5), Advanced(share=0.4), Advanced(share=0.3),
    )  # fmt: skip
    assert status.phase is Phase.LOADING
    assert status.progress == 0.4
    status = after(logged(Passed(Mark.CONTEXT), 103.5), status=status)
    assert status.progress == 1.0
    status = after(
        logged(Passed(Mark.WARMUP), 103.75), logged(Passed(Mark.LOADED), 104.0),
        Healthy(time_s=104.25), status=status,
    )  # fmt: skip
    assert dict(status.step_seconds) == {
        "process": 0.5, "weights": 3.0, "context": 0.25, "warmup": 0.5,
    }  # fmt: skip
    assert list(status.step_seconds) == ["process", "weights", "context", "warmup"]
    assert status.step == ""


def test_without_warmup_the_context_lasts_until_ready() -> None:
    status = after(
        BEGUN, SPAWNED, logged(Passed(Mark.WEIGHTS), 101.0), logged(Passed(Mark.CONTEXT), 102.0),
        Healthy(time_s=104.0),
    )  # fmt: skip
    assert dict(status.step_seconds) == {"process": 1.0, "weights": 1.0, "context": 2.0}


def test_an_engine_that_prints_no_mark_still_becomes_ready() -> None:
    status = after(BEGUN, SPAWNED, Healthy(time_s=101.0))
    assert status.phase is Phase.READY
    assert dict(status.step_seconds) == {"process": 1.0}


def test_progress_stays_between_nothing_and_everything() -> None:
    assert after(Advanced(share=7.0), status=LOADING).progress == 1.0
    assert after(Advanced(share=-1.0), status=LOADING).progress == 0.0
    half = after(Advanced(share=0.5), status=LOADING)
    assert step(half, Advanced(share=0.5)) is half


def test_a_recorded_start_ends_ready_as_planned() -> None:
    assert READY.phase is Phase.READY
    assert READY.mismatches == ()
    assert READY.layers == {"RPC0": 24, "RPC1": 7}
    assert READY.build == "571d0d5"
    assert READY.progress == 1.0
    assert list(READY.actual) == ["RPC0", "RPC1", HOST]
    assert READY.actual["RPC0"] == Buffers(
        model_bytes=round(50.73 * MIB), kv_bytes=72 * MIB, compute_bytes=round(16.38 * MIB)
    )
    assert READY.actual[HOST].kv_bytes == 0


def test_layers_in_the_log_are_taken_from_there() -> None:
    loading = after(BEGUN, SPAWNED, *recorded("rpc_3_1_layers.log"))
    assert loading.layers == {"RPC0": 24, "RPC1": 7}
    assert after(Healthy(time_s=102.0), status=loading).layers == {"RPC0": 24, "RPC1": 7}


def test_layers_on_the_processor_are_the_hosts() -> None:
    status = after(
        logged(LayerAssigned(0, "CPU")), logged(LayerAssigned(1, "RPC0")), status=LOADING
    )
    assert status.layers == {HOST: 1, "RPC0": 1}


def test_a_device_says_nothing_until_its_buffer_is_made() -> None:
    used = logged(DeviceUsed("RPC0", "127.0.0.1:1", None, 0))
    seen = logged(BufferSeen("RPC0", BufferKind.MODEL, 50 * MIB))
    status = after(used, seen, status=LOADING)
    assert status.actual["RPC0"] == Buffers(model_bytes=50 * MIB)
    assert status.actual["RPC1"] == Buffers()


def test_swapped_devices_are_named_with_both_numbers() -> None:
    swapped = replace(SPAWNED, device_names=("RPC1", "RPC0"))
    status = after(BEGUN, swapped, *recorded("rpc_3_1.log"), Healthy(time_s=102.0))
    assert status.phase is Phase.READY
    assert status.mismatches[0] == (
        "RTX 4090 (RPC1) carries 41.37 MiB of weights, planned were 50.73."
    )
    assert len(status.mismatches) == 4
    assert status.layers == {}


def test_a_card_that_carries_nothing_and_one_that_should_not_are_both_named() -> None:
    status = after(
        BEGUN, replace(SPAWNED, device_names=("RPC0", "RPC9")), *recorded("rpc_3_1.log"),
        Healthy(time_s=102.0),
    )  # fmt: skip
    assert status.actual["RPC9"] == Buffers(model_bytes=0, kv_bytes=0, compute_bytes=0)
    assert "RTX 3080 (RPC9) carries 0.00 MiB of weights, planned were 41.37." in status.mismatches
    assert "RPC1 carries 59.37 MiB, but is not part of the plan." in status.mismatches


def test_stop_while_ready_goes_through_stopping_to_stopped() -> None:
    assert STOPPING.phase is Phase.STOPPING
    assert STOPPING.pid == 4711
    assert STOPPED.phase is Phase.STOPPED
    assert STOPPED.failure is None
    assert (STOPPED.pid, STOPPED.url, STOPPED.api_key) == (None, None, None)
    assert STOPPED.plan is PLAN
    assert STOPPED.actual == READY.actual


@pytest.mark.parametrize("status", [STARTING, LOADING], ids=["starting", "loading"])
def test_stop_while_it_comes_up_is_no_failure_whatever_the_exit_code(status: EngineStatus) -> None:
    stopping = step(status, StopAsked())
    assert stopping.phase is Phase.STOPPING
    assert stopping.step == ""
    assert step(stopping, Exited(exit_code=-9)).phase is Phase.STOPPED


def test_a_start_that_breaks_while_stopping_is_stopped() -> None:
    assert after(StopAsked(), Broken(failure=FAILURE), status=STARTING).phase is Phase.STOPPED


@pytest.mark.parametrize("status", [STARTING, LOADING, READY], ids=["start", "load", "ready"])
def test_an_exit_nobody_asked_for_is_a_failure(status: EngineStatus) -> None:
    failed = step(status, Exited(exit_code=-11, tail=("last words",)))
    assert failed.phase is Phase.FAILED
    assert failed.failure is not None
    assert failed.failure.exit_code == -11
    assert failed.failure.log_tail == ("last words",)
    assert failed.pid is None
    assert failed.progress is None
    when = "while it was running" if status is READY else "before it was ready"
    assert when in failed.failure.message


def test_out_of_memory_names_the_card_of_the_plan() -> None:
    events = recorded("oom_rpc.log")
    failed = after(BEGUN, SPAWNED, *events, Exited(exit_code=-11))
    assert failed.failure is not None
    assert "did not fit on RTX 4090" in failed.failure.message


def test_an_engine_that_cannot_start_fails_with_the_reason() -> None:
    failed = step(STARTING, Broken(failure=FAILURE))
    assert failed.phase is Phase.FAILED
    assert failed.failure is FAILURE
    assert failed.step == ""


def test_the_exit_that_follows_a_reason_does_not_replace_it() -> None:
    failed = after(Broken(failure=FAILURE), Exited(exit_code=-15), status=LOADING)
    assert failed.failure is FAILURE


def test_the_log_of_a_ready_engine_is_still_read() -> None:
    status = after(
        logged(BuildNamed("b1")),
        logged(BufferSeen("RPC0[127.0.0.1:50161]", BufferKind.COMPUTE, 20 * MIB)),
        logged(Passed(Mark.WEIGHTS)),
        status=READY,
    )
    assert status.phase is Phase.READY
    assert status.actual["RPC0"].compute_bytes == 20 * MIB
    assert status.step == ""


def test_a_new_start_begins_clean() -> None:
    for ended in (STOPPED, FAILED):
        again = step(ended, replace(BEGUN, time_s=200.0))
        assert again == replace(STARTING, step_since_s=200.0)


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (READY, BEGUN), (STOPPING, BEGUN), (STARTING, BEGUN),
        (EngineStatus(), SPAWNED), (READY, SPAWNED), (STOPPING, SPAWNED), (FAILED, SPAWNED),
        (EngineStatus(), Healthy(time_s=1.0)), (STOPPING, Healthy(time_s=1.0)),
        (READY, Healthy(time_s=1.0)), (FAILED, Healthy(time_s=1.0)),
        (STOPPING, logged(Passed(Mark.CONTEXT))), (FAILED, logged(Passed(Mark.CONTEXT))),
        (READY, Advanced(share=0.5)), (STOPPED, Advanced(share=0.5)),
        (EngineStatus(), StopAsked()), (STOPPING, StopAsked()), (FAILED, StopAsked()),
        (STOPPED, Exited(exit_code=0)), (FAILED, Exited(exit_code=0)),
        (STOPPED, Broken(failure=FAILURE)), (FAILED, Broken(failure=FAILURE)),
    ],
)  # fmt: skip
def test_an_event_that_comes_too_late_or_too_early_changes_nothing(
    status: EngineStatus, event: EngineEvent
) -> None:
    assert step(status, event) is status


def test_a_log_that_is_read_after_the_engine_has_answered_still_counts() -> None:
    events = recorded("rpc_3_1.log")
    late = [e for e in events if isinstance(e, Logged) and "KV" in repr(e)]
    early = [e for e in events if e not in late]
    status = after(BEGUN, SPAWNED, *early, Healthy(time_s=102.0))
    assert any("KV cache" in sentence for sentence in status.mismatches)
    status = after(*late, status=status)
    assert status.mismatches == ()
    assert status.layers == {"RPC0": 24, "RPC1": 7}
    assert status.actual["RPC0"].kv_bytes == 72 * MIB


def test_the_processes_of_a_running_engine_are_kept_until_it_ends() -> None:
    ready = replace(EngineStatus(), phase=Phase.READY, pid=4711)
    counted = step(ready, Counted(pids=frozenset({4711, 4712})))
    assert counted.pids == {4711, 4712}
    assert step(counted, Counted(pids=frozenset({4711, 4712}))) is counted
    assert step(counted, Exited(exit_code=0)).pids == frozenset()
    assert step(EngineStatus(), Counted(pids=frozenset({1}))).pids == frozenset()


def test_why_the_counts_of_an_engine_cannot_be_read_stands_in_its_status() -> None:
    ready = replace(EngineStatus(), phase=Phase.READY)
    assert step(ready, Metered(problem="")) is ready
    silent = step(ready, Metered(problem="No answer."))
    assert silent.unmetered == "No answer."
    assert step(silent, Metered(problem="")).unmetered == ""
    assert step(silent, Exited(exit_code=1)).unmetered == ""


def test_a_crash_that_is_followed_by_another_start_keeps_its_reason() -> None:
    request = LaunchRequest(model=Path("m.gguf"), plan=PlanRequest())
    ready = EngineStatus(slot=2, phase=Phase.READY, pid=4711, url="http://x", request=request)
    event = Restarting(time_s=7.0, end=Exited(exit_code=-11), sentence="Starting again in 2 s.")
    again = step(ready, event)
    assert (again.slot, again.phase, again.request) == (2, Phase.STARTING, request)
    assert (again.pid, again.url, again.failure) == (None, None, None)
    assert "crashed" in again.restart
    assert again.restart.endswith("Starting again in 2 s.")
    assert again.step_since_s == 7.0
    stopping = replace(ready, phase=Phase.STOPPING)
    assert step(stopping, event).phase is Phase.STOPPED
    assert step(EngineStatus(), event) == EngineStatus()


def test_a_crash_that_is_not_followed_by_a_start_says_so() -> None:
    given_up = GivenUp(end=Exited(exit_code=-6), sentence="It crashed too often.")
    failed = step(READY, given_up)
    assert failed.phase is Phase.FAILED
    assert failed.failure is not None
    assert failed.failure.hint.startswith("It crashed too often. Launch it again")
    assert step(STOPPING, given_up) == STOPPED


def test_what_an_ollama_without_a_ratio_did_is_no_mismatch() -> None:
    request = replace(REQUEST, engine=EngineKind.OLLAMA, plan=PlanRequest())
    begun = replace(BEGUN, request=request)
    shares = [
        (NAMES[0], BufferKind.MODEL, 12 * MIB),
        (NAMES[1], BufferKind.MODEL, 80 * MIB),
    ]
    for build, by_itself in (("0.24.0", True), ("0.32.15", False)):
        status = after(
            begun,
            Logged(time_s=100.1, event=BuildNamed(build)),
            SPAWNED,
            *(Logged(time_s=101.0, event=BufferSeen(*share)) for share in shares),
            Healthy(time_s=102.0),
        )
        assert status.build == build
        assert divides_by_itself(status) == by_itself
        assert bool(status.mismatches) != by_itself
    whole = replace(request, plan=PlanRequest(split_mode="none"))
    assert not divides_by_itself(replace(status, build="0.24.0", request=whole))
    assert not divides_by_itself(replace(status, build="0.24.0", device_names=NAMES[:1]))
