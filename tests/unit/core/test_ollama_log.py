"""Lines of `ollama serve`, recorded from the real one and from versions it replaced."""

from pathlib import Path

import pytest

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_events import (
    Begun,
    Healthy,
    Logged,
    Spawned,
)
from splitrig.core.engine_log import (
    BufferKind,
    BufferSeen,
    BuildNamed,
    DeviceUsed,
    Mark,
    Passed,
    Placed,
    Several,
    Trouble,
    TroubleKind,
)
from splitrig.core.engine_machine import (
    step,
)
from splitrig.core.ollama import unplanned
from splitrig.core.ollama_log import (
    all_devices_told,
    answered_load,
    placement_line,
    read_device,
    read_ollama_line,
)
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.units import GIB, MIB

RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"
OWN = 'time=2026-11-25T00:31:11.175Z level=INFO source=types.go:32 msg="inference compute" '
CUDA_LINE = OWN + (
    'id=1 filter_id=1 library=CUDA compute=8.6 name=CUDA1 description="NVIDIA GeForce RTX 3060" '
    'libdirs=ollama,cuda_v13 driver=13.0 pci_id=0000:01:00.0 type=discrete total="12.0 GiB" '
    'available="11.6 GiB"'
)
ROCM_0_14 = OWN + (
    'id=GPU-f0aa503cdcdcab4a filter_id="" library=ROCm compute=gfx1151 name=ROCm0 '
    'description="AMD Radeon Graphics" libdirs=ollama,rocm driver=60342.13 '
    'pci_id=0000:c6:00.0 type=discrete total="24.0 GiB" available="24.0 GiB"'
)
CUDA_0_6 = OWN + (
    "id=GPU-d6de3398-9932-6902-11ec-fee8e424c8a2 library=cuda variant=v12 compute=7.5 "
    'driver=12.1 name="NVIDIA GeForce RTX 2080 Ti" total="11.0 GiB" available="9.9 GiB"'
)
IN_USE = "Error: listen tcp 127.0.0.1:38954: bind: address already in use"
CPU = OWN + 'id=cpu library=cpu compute="" name=cpu description=cpu total="23.5 GiB"'


def lines_of(name: str) -> list[str]:
    return (RECORDED / name).read_text(encoding="utf-8").splitlines()


def planned(*rows: tuple[str, int, float, float]) -> Plan:
    devices = tuple(
        DevicePlan(
            name=name, id=name, first_layer=0, n_blocks=layers, has_output=False,
            model_bytes=round(model * MIB), kv_bytes=round(kv * MIB), compute_bytes=None,
            overhead_bytes=0, free_bytes=0,
        )
        for name, layers, model, kv in rows
    )  # fmt: skip
    host = HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None)
    return Plan(devices=devices, host=host, split=(3.0, 1.0), fits=True)


def live(name: str, plan: Plan, kind: EngineKind = EngineKind.OLLAMA) -> EngineStatus:
    """The life of an engine with this recorded log."""
    request = LaunchRequest(model=Path("m"), plan=PlanRequest(), engine=kind)
    status = step(EngineStatus(), Begun(time_s=0, request=request, plan=plan))
    names = tuple(f"Vulkan{n}" for n in range(len(plan.devices)))
    spawned = Spawned(pid=1, url="u", api_key=None, command=(), device_names=names)
    status = step(status, spawned)
    phases, steps = [], []
    for number, line in enumerate(lines_of(name)):
        event = read_ollama_line(line)
        if event is not None:
            status = step(status, Logged(time_s=number, event=event))
        phases.append(status.phase)
        steps.append(status.step)
    assert list(dict.fromkeys(phases)) == [Phase.STARTING, Phase.LOADING]
    assert list(dict.fromkeys(steps))[:4] == ["process", "weights", "context", "warmup"]
    return step(status, Healthy(time_s=9999))


def test_a_recorded_start_arrives_on_two_cards_as_planned() -> None:
    plan = planned(("one", 24, 50.7305, 72), ("two", 7, 41.3723, 18))
    ready = live("vulkan_3_1.log", plan)
    assert ready.phase is Phase.READY
    assert ready.build == "0.32.15"  # and not that of the llama-server below
    assert ready.mismatches == ()
    assert ready.layers == {"Vulkan0": 24, "Vulkan1": 7}
    carried = {name: (has.model_bytes, has.kv_bytes) for name, has in ready.actual.items()}
    assert carried["Vulkan0"] == (round(50.73 * MIB), 72 * MIB)
    assert carried["Vulkan1"] == (round(41.37 * MIB), 18 * MIB)
    assert ready.log.loaded


def test_a_ratio_that_did_not_arrive_is_said_first() -> None:
    ready = live("vulkan_3_1.log", planned(("one", 16, 33.82, 48), ("two", 15, 58.28, 42)))
    assert ready.mismatches[0] == "Ollama did not honour the ratio 3 : 1."
    assert "one (Vulkan0) carries 50.73 MiB of weights, planned were 33.82." in ready.mismatches


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (CUDA_LINE, ("CUDA1", "CUDA", "NVIDIA GeForce RTX 3060", "1", "1", "0000:01:00.0")),
        (ROCM_0_14, ("ROCm0", "ROCm", "AMD Radeon Graphics", "GPU-f0aa503cdcdcab4a", "",
                     "0000:c6:00.0")),
        (CUDA_0_6, ("", "CUDA", "NVIDIA GeForce RTX 2080 Ti",
                    "GPU-d6de3398-9932-6902-11ec-fee8e424c8a2", "", None)),
    ],
    ids=["0.32", "0.14", "0.6"],
)  # fmt: skip
def test_cards_of_three_generations_are_read(line: str, expected: tuple[str | None, ...]) -> None:
    device = read_device(line)
    assert device is not None
    assert (device.name, device.library, device.description, device.id, device.filter_id,
            device.pci) == expected  # fmt: skip


def test_memory_and_the_folder_of_the_driver_are_read() -> None:
    device = read_device(CUDA_LINE)
    assert device is not None
    assert (device.total_bytes, device.free_bytes) == (12 * GIB, round(11.6 * GIB))
    assert device.folder == "cuda_v13"
    recorded = [d for line in lines_of("vulkan_3_1.log") if (d := read_device(line))]
    assert [d.name for d in recorded] == ["Vulkan0", "Vulkan1"]
    assert {(d.total_bytes, d.folder, d.pci, d.filter_id) for d in recorded} == {
        (2 * GIB, "", None, "0")
    }


def test_the_processor_and_other_lines_are_no_card() -> None:
    assert read_device(CPU) is None
    assert read_device("[GIN] inference compute") is None
    assert read_device(OWN + "library=") is None
    assert read_ollama_line(CPU) is None


def test_the_last_line_about_cards_is_known() -> None:
    lines = lines_of("vulkan_3_1.log")
    ends = [number for number, line in enumerate(lines) if all_devices_told(line)]
    cards = [number for number, line in enumerate(lines) if read_device(line)]
    assert ends == [cards[-1] + 1]
    assert all_devices_told(CPU)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (IN_USE, Trouble(TroubleKind.PORT_TAKEN, "38954", None, IN_USE)),
        ('time=x level=INFO msg="Listening on 127.0.0.1:38951 (version 0.32.15)"',
         BuildNamed("0.32.15")),
        ('time=x level=INFO msg="discovering available GPUs..."', Passed(Mark.BOUND)),
        ('time=x level=INFO msg="looking for compatible GPUs"', Passed(Mark.BOUND)),
        ("load_tensors:      Vulkan1 model buffer size =    41.37 MiB",
         BufferSeen("Vulkan1", BufferKind.MODEL, round(41.37 * MIB))),
        ('time=x level=INFO msg="model weights" device=CUDA0 size="1.5 GiB"',
         Several((DeviceUsed("CUDA0", "", None, 0),
                  BufferSeen("CUDA0", BufferKind.MODEL, round(1.5 * GIB))))),
        ('time=x level=INFO msg="kv cache" device=CPU size="512.0 MiB"',
         BufferSeen("CPU", BufferKind.KV, 512 * MIB)),
        ('time=x level=INFO msg="total memory" size="2.0 GiB"', None),
        ('time=x level=WARN msg="refresh failed" error="unable to allocate CUDA0 buffer"', None),
        ('[GIN] 2026/11/25 - 00:31:18 | 500 | 1s | 127.0.0.1 | POST "/api/pull"', None),
        ("common_params_print_info: build 1 (571d0d5) with GNU 11.4.0", None),
        (placement_line("m:latest", 10, 7), Placed(total_bytes=10, on_cards_bytes=7)),
    ],
)  # fmt: skip
def test_lines_say_what_they_say(line: str, event: object) -> None:
    assert read_ollama_line(line) == event


def test_the_answer_to_a_load_is_found_in_the_log() -> None:
    answers = [code for line in lines_of("vulkan_3_1.log") if (code := answered_load(line))]
    assert set(answers) == {200}
    failed = [code for line in lines_of("out_of_memory.log") if (code := answered_load(line))]
    assert failed == [500]
    assert answered_load('[GIN] x | 200 | 1s | 127.0.0.1 | POST "/api/chat"') is None


def test_an_ollama_that_ran_before_is_not_compared_but_what_it_left_off_the_cards_is_told() -> None:
    request = LaunchRequest(
        model=Path("m"), plan=PlanRequest(), engine=EngineKind.OLLAMA_ATTACHED, model_name="m"
    )
    status = step(EngineStatus(), Begun(time_s=0, request=request, plan=unplanned()))
    status = step(status, Spawned(pid=None, url="u", api_key=None, command=(), device_names=()))
    status = step(status, Healthy(time_s=1))
    assert status.mismatches == ()
    half = Placed(total_bytes=2 * GIB, on_cards_bytes=GIB)
    status = step(status, Logged(time_s=2, event=half))
    assert status.mismatches == ("1.0 GiB of 2.0 GiB lie in the computer's memory.",)
    assert status.log.placed == half
    whole = Placed(total_bytes=2 * GIB, on_cards_bytes=2 * GIB)
    assert step(status, Logged(time_s=3, event=whole)).mismatches == ()
