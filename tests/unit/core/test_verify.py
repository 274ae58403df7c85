"""What is noticed after a start, and that nothing is where all is well."""

from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import Buffers, EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_log import DeviceUsed, LoadLog
from splitrig.core.gpu import GpuInfo, GpuProcess, GpuSample, Rig, Vendor
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.units import GIB, MIB
from splitrig.core.verify import FIRST_PROOF, FirstReadings, verify

NAMES = ("RTX 4090", "RTX 3080", "RTX 3060")
PID = 4711


def device(number: int, gib: float) -> DevicePlan:
    return DevicePlan(
        name=NAMES[number],
        id=f"GPU-{number}",
        first_layer=0,
        n_blocks=10,
        has_output=False,
        model_bytes=int(gib * GIB),
        kv_bytes=0,
        compute_bytes=100 * MIB,
        overhead_bytes=400 * MIB,
        free_bytes=GIB,
    )


def status(*gib: float, **changes: object) -> EngineStatus:
    """An engine that is ready, with so much on each card."""
    devices = tuple(device(n, size) for n, size in enumerate(gib))
    plan = Plan(
        devices=devices,
        host=HostPlan(model_bytes=500 * MIB, kv_bytes=0, compute_bytes=None),
        split=gib,
        fits=True,
    )
    names = tuple(f"CUDA{n}" for n in range(len(gib)))
    actual = {n: Buffers(model_bytes=d.model_bytes) for n, d in zip(names, devices, strict=True)}
    ready = EngineStatus(
        phase=Phase.READY,
        pid=PID,
        request=LaunchRequest(
            model=Path("m.gguf"), gpu_ids=tuple(d.id for d in devices), plan=PlanRequest()
        ),
        plan=plan,
        device_names=names,
        actual={**actual, "host": Buffers(model_bytes=500 * MIB)},
        log=LoadLog(used=tuple(DeviceUsed(n, "", None, 0) for n in names)),
    )
    return replace(ready, **changes)


def rig(*used_gib: float, pids: dict[int, tuple[GpuProcess, ...]] | None = None) -> Rig:
    """Three cards of 24 GiB with so much in use."""
    cards = tuple(
        GpuInfo(id=f"GPU-{n}", name=name, vendor=Vendor.NVIDIA, source="nvml")
        for n, name in enumerate(NAMES)
    )
    samples = {
        f"GPU-{n}": GpuSample(
            id=f"GPU-{n}",
            vram_used_bytes=int(gib * GIB),
            vram_total_bytes=24 * GIB,
            processes=None if pids is None else pids.get(n, ()),
        )
        for n, gib in enumerate(used_gib)
    }
    return Rig(time_s=0, gpus=cards, samples=samples)


def ids(*arguments: object, **more: object) -> list[str]:
    return [note.id for note in verify(*arguments, **more)]  # type: ignore[arg-type]


EMPTY = rig(1, 1, 1)


def test_a_start_that_went_well_gives_no_note() -> None:
    held = {n: (GpuProcess(pid=PID, vram_bytes=5 * GIB),) for n in range(2)}
    assert verify(status(5, 3), EMPTY, rig(6.5, 4.5, 1, pids=held), [PID]) == ()
    assert verify(status(5, 3), None, rig(6.5, 4.5, 1)) == ()
    assert verify(status(0.05, 0.02), EMPTY, rig(1.1, 1, 1)) == ()


def test_only_one_card_loaded_names_both_and_a_cause() -> None:
    (note,) = verify(status(5, 3), EMPTY, rig(9, 1, 1))
    assert note.id == "one-card-loaded"
    assert note.message == "Only RTX 4090 is loaded; RTX 3080 stayed empty."
    assert note.gpu_ids == ("GPU-1",)


def test_the_cause_follows_what_is_known() -> None:
    def cause(changed: EngineStatus) -> str:
        (note,) = verify(changed, EMPTY, rig(9, 1, 1))
        return note.detail

    def with_request(**changes: object) -> EngineStatus:
        base = status(5, 3)
        assert base.request is not None
        return replace(base, request=replace(base.request, **changes))

    one = LoadLog(used=(DeviceUsed("CUDA0", "", None, 0),))
    assert "sees one device, CUDA0" in cause(status(5, 3, log=one))
    assert "Split mode 'none'" in cause(with_request(plan=PlanRequest(split_mode="none")))
    assert "OLLAMA_SCHED_SPREAD" in cause(with_request(engine=EngineKind.OLLAMA))
    assert "Only 8 layers" in cause(with_request(plan=PlanRequest(n_gpu_layers=8)))
    assert "own figures" in cause(status(5, 3))


def test_one_of_three_that_stays_empty_is_told_with_both_numbers() -> None:
    (note,) = verify(status(5, 3, 4), EMPTY, rig(7, 4.2, 1.1))
    assert note.id == "card-stayed-empty"
    assert note.message == "RTX 3060 should carry 4.0 GiB, but only 102.40 MiB came onto it."


def test_a_process_on_a_card_outside_the_split() -> None:
    held = {2: (GpuProcess(pid=PID, vram_bytes=2 * GIB),)}
    (note,) = verify(status(5, 3), EMPTY, rig(7, 4.5, 3, pids=held), [PID])
    assert note.id == "wrong-card"
    assert note.message.startswith("RTX 3060 holds 2.0 GiB of this engine")
    # a context alone, or somebody else's process, is none of our business
    small = {2: (GpuProcess(pid=PID, vram_bytes=20 * MIB), GpuProcess(pid=1, vram_bytes=GIB))}
    assert verify(status(5, 3), EMPTY, rig(7, 4.5, 3, pids=small), [PID]) == ()


def test_a_card_without_our_process() -> None:
    held = {
        0: (GpuProcess(pid=PID, vram_bytes=5 * GIB),),
        1: (GpuProcess(pid=99, vram_bytes=5 * GIB),),
    }
    assert ids(status(5, 3), None, rig(7, 7, 1, pids=held), [PID]) == ["no-process-on-card"]
    # a driver that lists no process at all (in a container, say) proves nothing
    assert ids(status(5, 3), None, rig(7, 7, 1, pids={}), [PID]) == []


def test_weights_that_went_to_ram() -> None:
    base = status(5, 3)
    spilled = replace(base, actual={**base.actual, "host": Buffers(model_bytes=3 * GIB)})
    (note,) = verify(spilled, None, rig(7, 5, 1))
    assert note.id == "spilled-to-ram"
    assert note.message == "2.5 GiB more than planned lie in the computer's RAM."


def test_a_card_that_is_full_is_told_of() -> None:
    assert ids(status(5, 3), None, rig(23.95, 5, 1)) == ["card-full"]


def test_an_engine_that_is_not_ready_and_the_demo_rig_are_not_judged() -> None:
    assert verify(status(5, 3, phase=Phase.LOADING), EMPTY, rig(1, 1, 1)) == ()
    demo = replace(rig(1, 1, 1), demo=True)
    assert verify(status(5, 3), demo, demo) == ()
    assert verify(status(5, 3, plan=None), EMPTY, rig(1, 1, 1)) == ()


def test_memory_that_others_free_meanwhile_is_not_missed_on_a_card() -> None:
    held = {n: (GpuProcess(pid=PID, vram_bytes=5 * GIB),) for n in range(2)}
    game = rig(7, 1, 1)
    assert verify(status(5, 3), game, rig(6.5, 4.5, 1, pids=held), [PID]) == ()
    assert ids(status(5, 3), game, rig(6.5, 4.5, 1)) == ["one-card-loaded"]  # not told by whom


def test_what_happens_on_the_cards_after_the_proof_is_the_doing_of_others() -> None:
    """Another engine on the same card, or a game, ends an hour later."""
    before, after, later = rig(8, 1, 1), rig(13.5, 4.5, 1), rig(6.5, 4.5, 1)
    assert verify(status(5, 3), before, later, after=after) == ()


def test_process_numbers_of_another_namespace_prove_nothing() -> None:
    """In a container the driver tells the numbers that the host gave."""
    host = {n: (GpuProcess(pid=90210, vram_bytes=5 * GIB),) for n in range(2)}
    assert verify(status(5, 3), EMPTY, rig(6.5, 4.5, 1, pids=host), [PID]) == ()


def test_the_cards_after_a_start_are_kept_for_each_engine_until_it_ends() -> None:
    first, second = status(5, slot=1), status(3, slot=2, phase=Phase.LOADING)
    rigs = [replace(rig(n, n, n), time_s=n) for n in range(1, 9)]
    readings = FirstReadings()
    for reading in rigs[:4]:
        readings.add(reading, (first, second))
    assert readings.of(1) is rigs[FIRST_PROOF - 1]
    assert readings.of(2) is None
    ready = replace(second, phase=Phase.READY)
    for reading in rigs[4:]:
        readings.add(reading, (first, ready))
    assert readings.of(1) is rigs[FIRST_PROOF - 1]
    assert readings.of(2) is rigs[3 + FIRST_PROOF]
    readings.follow(ready)
    assert readings.of(2) is not None
    readings.follow(replace(first, phase=Phase.STARTING, restart="It crashed."))
    readings.add(rigs[0], (first, ready))
    assert readings.of(1) is None


def crashed(ready: EngineStatus, **changes: object) -> EngineStatus:
    """Between a crash and the next process."""
    return replace(
        ready,
        **{
            "phase": Phase.STARTING,
            "restart": "It crashed.",
            "pid": None,
            "pids": frozenset(),
            **changes,
        },
    )


def follow(readings: FirstReadings, engine: EngineStatus, *rigs: Rig) -> None:
    readings.follow(engine)
    for reading in rigs:
        readings.add(reading, (engine,))


def test_before_a_restart_counts_what_others_hold_by_then() -> None:
    """A game came onto the second card after the first start; that card then stays empty."""
    readings, ready = FirstReadings(), status(5, 3)
    follow(readings, ready, *[rig(6.5, 8.5, 1)] * FIRST_PROOF)
    assert readings.before(1) is None, "the first start has its own"
    follow(readings, crashed(ready), rig(1, 5, 1))
    follow(readings, replace(crashed(ready), pid=PID, phase=Phase.LOADING), rig(3, 5, 1))
    follow(readings, ready, *[rig(6.5, 5.1, 1)] * FIRST_PROOF)
    assert verify(ready, EMPTY, rig(6.5, 5.1, 1)) == (), "what the first start saw proves nothing"
    assert ids(ready, readings.before(1), rig(6.5, 5.1, 1)) == ["one-card-loaded"]


def test_memory_that_a_crashed_engine_gives_back_late_is_not_taken_for_that_of_others() -> None:
    readings, ready = FirstReadings(), status(5, 3)
    full = rig(6.5, 4.5, 1)
    follow(readings, ready, *[full] * FIRST_PROOF)
    follow(readings, crashed(ready), full)
    assert verify(ready, full, full) != ()
    assert verify(ready, readings.before(1), full) == ()


def test_the_part_of_an_engine_is_what_its_processes_hold_where_the_driver_tells() -> None:
    held = {n: (GpuProcess(pid=PID, vram_bytes=int(5.5 * GIB)),) for n in range(2)}
    readings, ready = FirstReadings(), status(5, 3, pids=frozenset({PID}))
    follow(readings, ready, *[rig(6.5, 6.5, 1, pids=held)] * FIRST_PROOF)
    follow(readings, crashed(ready))
    before = readings.before(1)
    assert before is not None
    assert [s.vram_used_bytes for s in before.samples.values()] == [GIB, GIB, GIB]


def test_a_load_that_failed_again_is_measured_anew_and_a_start_by_hand_forgets() -> None:
    readings, ready = FirstReadings(), status(5, 3)
    follow(readings, crashed(ready), rig(1, 1, 1), rig(2, 1, 1))
    first = readings.before(1)
    assert first is not None
    assert first.samples["GPU-0"].vram_used_bytes == GIB
    follow(readings, replace(crashed(ready), pid=PID), rig(9, 9, 9))
    assert readings.before(1) is first, "its own process may be on the cards already"
    follow(readings, crashed(ready), rig(3, 1, 1))
    second = readings.before(1)
    assert second is not None
    assert second.samples["GPU-0"].vram_used_bytes == 3 * GIB
    follow(readings, crashed(ready, restart=""))
    assert readings.before(1) is None
