"""What engines say of split modes, draft models and projectors, from their recorded logs."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.engine import Buffers, EngineStatus, Failure, Fallback, LaunchRequest, Phase
from splitrig.core.engine_events import (
    Begun,
    EngineEvent,
    Exited,
    Healthy,
    Logged,
    Spawned,
)
from splitrig.core.engine_failure import LAYERS_INSTEAD, explain_exit
from splitrig.core.engine_log import (
    ROWS,
    SPLIT_TROUBLES,
    TOGETHER,
    BufferKind,
    BufferSeen,
    LayerAssigned,
    LoadLog,
    Mark,
    Passed,
    Trouble,
    TroubleKind,
    add_event,
    read_line,
)
from splitrig.core.engine_machine import (
    step,
)
from splitrig.core.engine_placement import (
    HOST,
    is_shared,
)
from splitrig.core.engine_remarks import Remarked, RemarkKind, note_of, read_remark
from splitrig.core.gpu import Rig
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.told_together import NOT_TOLD, told_together
from splitrig.core.trouble_patterns import PATTERNS
from splitrig.core.units import MIB
from splitrig.core.verify import verify

RECORDED = Path(__file__).parents[2] / "recorded" / "engine"


def lines(name: str) -> list[str]:
    return (RECORDED / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()


def load(name: str) -> LoadLog:
    log = LoadLog()
    for line in lines(name):
        if (event := read_line(line)) is not None:
            log = add_event(log, event)
    return log


def explain(name: str, exit_code: int, split_mode: str = "layer", **changes: bool) -> Failure:
    return explain_exit(
        load(name), exit_code=exit_code, tail=tuple(lines(name)), split_mode=split_mode, **changes
    )


# Failures


@pytest.mark.parametrize(
    ("name", "exit_code", "mode", "message", "falls_back"),
    [
        ("tensor_architecture", 1, "tensor",
         "This engine cannot divide models of the kind 'olmoe' within their layers.", True),
        ("tensor_no_flash", -11, "tensor", "Tensor split needs flash attention.", True),
        ("tensor_cache_in_ram", -6, "tensor",
         ("The engine gave up on dividing this model within its layers: "
          "GGML_ASSERT(src_ss[1].axis == GGML_BACKEND_SPLIT_AXIS_2) failed."), True),
        ("row_rpc", 1, "row", "RPC0 can take no part in a row split.", True),
        ("draft_missing", 1, "layer",
         "The engine could not load the draft model none.gguf.", False),
        ("projector_missing", 1, "tensor",
         "The engine could not load the projector none.gguf.", False),
        ("projector_unfit", 1, "layer",
         "The projector belongs to another model: this one is 576 elements wide.", False),
    ],
)  # fmt: skip
def test_a_recorded_failure_is_one_sentence_with_a_way_out(
    name: str, exit_code: int, mode: str, message: str, falls_back: bool
) -> None:
    failure = explain(name, exit_code, mode)
    assert failure.message == message
    assert failure.hint
    assert failure.fallback == (LAYERS_INSTEAD if falls_back else None)


def test_older_builds_refuse_a_quantised_cache() -> None:
    line = (
        "llama_init_from_model: simultaneous use of SPLIT_MODE_TENSOR and KV cache quantization "
        "not implemented"
    )
    event = read_line(line)
    assert isinstance(event, Trouble)
    failure = explain_exit(
        LoadLog(troubles=(event,)), exit_code=1, tail=(line,), split_mode="tensor"
    )
    assert "no quantised KV cache in a tensor split" in failure.message
    assert failure.fallback is LAYERS_INSTEAD


@pytest.mark.parametrize(
    "line",
    [
        "/x/ggml-backend-meta.cpp:1006: ggml op not implemented: TURBO_WHT",
        "D:\\a\\ggml\\src\\ggml-backend-meta.cpp:535: GGML_ASSERT(ret.axis != X) failed",
    ],
)
def test_an_engine_that_gives_up_while_it_answers_can_be_started_with_layers(line: str) -> None:
    event = read_line(line)
    assert isinstance(event, Trouble)
    assert event.kind is TroubleKind.SPLIT_GAVE_UP
    log = LoadLog(troubles=(event,))
    failure = explain_exit(log, exit_code=-6, tail=(), split_mode="tensor", was_ready=True)
    assert failure.fallback is LAYERS_INSTEAD


@pytest.mark.parametrize(
    ("mode", "code", "was_ready", "falls_back"),
    [
        ("tensor", -11, False, True),
        ("row", -6, False, True),
        ("tensor", -11, True, False),
        ("tensor", -4, False, False),  # processor features: layers need them too
        ("tensor", 1, False, False),
        ("tensor", None, False, False),
        ("layer", -11, False, False),
        ("none", -11, False, False),
    ],
)
def test_a_crash_of_unknown_cause_before_it_answered_is_laid_to_the_split(
    mode: str, code: int | None, was_ready: bool, falls_back: bool
) -> None:
    failure = explain_exit(LoadLog(), exit_code=code, tail=(), split_mode=mode, was_ready=was_ready)
    assert (failure.fallback is not None) == falls_back


def test_another_known_cause_is_not_laid_to_the_split() -> None:
    log = LoadLog(troubles=(Trouble(TroubleKind.PORT_TAKEN, "80"),))
    assert explain_exit(log, exit_code=1, tail=(), split_mode="tensor").fallback is None
    # a card that is full while the draft model loads is short of memory, and no wrong file
    full = Trouble(TroubleKind.OUT_OF_MEMORY, "CUDA0", 5 * MIB)
    draft = Trouble(TroubleKind.DRAFT_REFUSED, "x.gguf")
    assert (
        "Out of memory"
        in explain_exit(LoadLog(troubles=(full, draft)), exit_code=1, tail=()).message
    )


def test_a_fallback_changes_the_split_mode_and_nothing_else() -> None:
    request = LaunchRequest(
        model=Path("m.gguf"), gpu_ids=("a",), plan=PlanRequest(n_ctx=9, split_mode="tensor")
    )
    assert LAYERS_INSTEAD.applied(request) == replace(request, plan=PlanRequest(n_ctx=9))
    assert (
        Fallback(label="x", option="--y", split_mode="none").applied(request).plan.split_mode
        == "none"
    )


def test_every_pattern_belongs_to_a_kind() -> None:
    kinds = {TroubleKind(value) for value, _, _ in PATTERNS}
    assert kinds > SPLIT_TROUBLES
    assert all(kind.name.startswith("SPLIT_") for kind in SPLIT_TROUBLES)


# A tensor split, told of all cards together


def device(name: str, weights_mib: float, cache_mib: float, share: float | None) -> DevicePlan:
    return DevicePlan(
        name=name, id=name, first_layer=0, n_blocks=30, has_output=True,
        model_bytes=round(weights_mib * MIB), kv_bytes=round(cache_mib * MIB),
        compute_bytes=None, overhead_bytes=0, free_bytes=0, share=share,
    )  # fmt: skip


TENSOR = Plan(
    devices=(device("RTX 4090", 77.6, 75, 0.75), device("RTX 3080", 43.3, 15, 0.25)),
    host=HostPlan(model_bytes=round(28.69 * MIB), kv_bytes=0, compute_bytes=None),
    split=(3.0, 1.0),
    fits=True,
    split_mode="tensor",
)


def run(name: str, plan: Plan, mode: str = "layer", *more: EngineEvent) -> EngineStatus:
    """An engine with this log, ready."""
    request = LaunchRequest(
        model=Path("m.gguf"), gpu_ids=("a", "b"), plan=PlanRequest(split_mode=mode)
    )
    status = step(EngineStatus(), Begun(time_s=1.0, request=request, plan=plan))
    spawned = Spawned(
        pid=1, url="http://127.0.0.1:1", api_key="k", command=(), device_names=("RPC0", "RPC1")
    )
    status = step(status, spawned)
    for line in lines(name):
        if (event := read_line(line)) is not None:
            status = step(status, Logged(time_s=2.0, event=event))
    for event in more or (Healthy(time_s=3.0),):
        status = step(status, event)
    return status


def test_no_mismatch_is_claimed_where_each_card_is_not_told_of() -> None:
    status = run("tensor_3_1", TENSOR, "tensor")
    assert status.phase is Phase.READY
    assert is_shared(status.actual)
    assert status.mismatches == ()
    assert status.layers == {}
    assert status.actual["RPC0"] == status.actual["RPC1"] == Buffers()
    together = status.actual[TOGETHER]
    assert together.model_bytes == round(77.6 * MIB)
    assert together.kv_bytes == 75 * MIB
    assert status.actual[HOST].model_bytes == round(28.69 * MIB)


def test_what_is_known_of_all_cards_stands_beside_the_plan() -> None:
    status = run("tensor_3_1", TENSOR, "tensor")
    assert told_together(status) == (
        "The most on any one card is 77.60 MiB of weights, planned 77.60, and 75.00 MiB of KV "
        "cache, planned 75.00."
    )
    (note,) = verify(status, None, Rig(time_s=0.0))
    assert (note.id, note.detail) == ("told-together", NOT_TOLD)
    assert told_together(run("rpc_3_1", TENSOR)) == ""


def test_buffers_of_a_row_split_are_of_all_cards() -> None:
    log = LoadLog()
    for device_name, n_bytes in (("CUDA0_Split", 100 * MIB), ("CPU_Mapped", 5 * MIB)):
        log = add_event(log, BufferSeen(device_name, BufferKind.MODEL, n_bytes))
    assert log.bytes_on(BufferKind.MODEL) == {ROWS: 100 * MIB, "host": 5 * MIB}
    status = replace(
        run("rpc_3_1", TENSOR), actual={ROWS: Buffers(model_bytes=100 * MIB), HOST: Buffers()}
    )
    assert told_together(status) == "All cards together carry 100.00 MiB of divided weights."


def test_a_failed_tensor_split_carries_its_way_out_in_the_status() -> None:
    failed = run("tensor_architecture", TENSOR, "tensor", Exited(exit_code=1))
    assert failed.phase is Phase.FAILED
    assert failed.failure is not None
    assert failed.failure.fallback is LAYERS_INSTEAD


# A draft model


def test_a_draft_model_is_added_to_what_the_model_takes() -> None:
    plan = replace(
        TENSOR,
        devices=(
            replace(device("a", 101.46, 144, None), n_blocks=24, has_output=False),
            replace(device("b", 82.74, 36, None), n_blocks=6),
        ),
        host=HostPlan(model_bytes=round(57.38 * MIB), kv_bytes=0, compute_bytes=None),
    )
    status = run("draft_3_1", plan)
    assert status.log.drafting
    assert status.mismatches == ()
    assert status.layers == {"RPC0": 24, "RPC1": 7}
    carried = status.actual["RPC0"]
    assert carried.model_bytes == pytest.approx(101.46 * MIB, abs=0.02 * MIB)
    assert carried.kv_bytes == 144 * MIB
    assert carried.compute_bytes == pytest.approx(2 * 16.38 * MIB, abs=0.02 * MIB)
    assert status.log.remarks == ()


def test_layers_of_a_draft_model_are_not_those_of_the_model() -> None:
    log = add_event(LoadLog(), LayerAssigned(0, "RPC0"))
    log = add_event(log, Passed(Mark.DRAFT))
    assert add_event(log, LayerAssigned(0, "RPC1")).layer_counts() == {"RPC0": 1}
    # a second mention changes nothing
    log = add_event(log, BufferSeen("RPC0", BufferKind.MODEL, 1))
    assert add_event(log, Passed(Mark.DRAFT)).buffers == log.buffers


# Remarks


def test_a_draft_model_that_is_never_asked_is_remarked() -> None:
    log = load("draft_unfit")
    assert log.loaded
    assert log.remarks == (Remarked(RemarkKind.DRAFT_UNUSED),)
    assert "not used" in note_of(log.remarks[0]).message
    status = run("draft_unfit", TENSOR)
    assert "draft-unused" in [note.id for note in verify(status, None, Rig(time_s=0.0))]
    assert "draft-unused" in [n.id for n in verify(status, None, Rig(time_s=0.0, demo=True))]


def test_settings_from_a_file_of_the_engine_are_remarked_once() -> None:
    line = "0.00.1 I using config file: /home/me/.config/llama.cpp/config.ini"
    remark = read_remark(line)
    assert remark == Remarked(RemarkKind.CONFIG_FILE, "/home/me/.config/llama.cpp/config.ini")
    assert "config.ini" in note_of(remark).message
    assert read_line(line) == remark
    log = add_event(add_event(LoadLog(), remark), remark)
    assert log.remarks == (remark,)
    assert read_remark("nothing of the kind") is None


@pytest.mark.parametrize("kind", list(RemarkKind))
def test_every_remark_has_words(kind: RemarkKind) -> None:
    note = note_of(Remarked(kind, "x"))
    assert note.message.endswith(".")
    assert note.detail.endswith(".")


# Verifying


def test_one_device_that_stands_for_all_is_not_taken_for_a_single_card() -> None:
    """'The engine sees one device, Meta()' would be a wrong cause."""
    status = run("tensor_3_1", TENSOR, "tensor")
    assert [d.name for d in status.log.used] == [TOGETHER]
    assert all("one device" not in n.detail for n in verify(status, None, Rig(time_s=0.0)))


def test_experts_in_ram_are_no_spill() -> None:
    spilled = run("rpc_3_1", replace(TENSOR, host=replace(TENSOR.host, model_bytes=0)))
    big = {**spilled.actual, HOST: Buffers(model_bytes=900 * MIB, kv_bytes=0)}
    assert [n.id for n in verify(replace(spilled, actual=big), None, Rig(time_s=0.0))] == [
        "spilled-to-ram"
    ]
    plan = replace(TENSOR, host=replace(TENSOR.host, model_bytes=0, expert_layers=3))
    kept = replace(spilled, actual=big, plan=plan)
    assert verify(kept, None, Rig(time_s=0.0)) == ()
