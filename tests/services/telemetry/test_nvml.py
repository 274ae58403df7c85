import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fakes.nvml import fake_nvml

from splitrig.core.gpu import GpuProcess, Limit, Severity, Vendor
from splitrig.core.units import MIB
from splitrig.services.telemetry import nvml
from splitrig.services.telemetry.nvml import NvmlSource, limits_from
from splitrig.services.telemetry.source import SourceFailedError

A, B = (f"GPU-{n:08x}-5711-0000-0000-{n:012x}" for n in range(2))


@pytest.fixture
def source(driver, specs):
    made = NvmlSource(specs)
    yield made
    made.close()


def test_a_card_is_described_completely(source):
    first, second = source.probe()
    assert (first.id, first.uuid, first.pci) == (A, A, "0000:01:00.0")
    assert (first.name, first.vendor, first.source) == (
        "NVIDIA GeForce RTX 4090", Vendor.NVIDIA, "nvml",
    )  # fmt: skip
    assert first.vram_total_bytes == 24564 * MIB
    assert (first.architecture, first.compute_capability) == ("Ada Lovelace", "8.9")
    assert first.bandwidth_gbps == 1008.1  # 10501 MHz × 2 × 384 bits / 8
    assert (first.pcie_gen_max, first.pcie_lanes_max) == (4, 16)
    assert (first.power_limit_default_w, first.driver) == (450.0, "580.65.06")
    assert (second.id, second.bandwidth_gbps, second.architecture) == (B, 760.1, "Ampere")
    assert source.notes == ()
    assert not source.needs_probe


def test_a_sample_carries_the_fast_set(source):
    source.probe()
    sample = source.sample()[A]
    # total − free: what is reserved counts as used, as nvidia-smi shows it
    assert sample.vram_used_bytes == (420 + 438) * MIB
    assert sample.vram_total_bytes == 24564 * MIB
    assert (sample.utilization_pct, sample.power_w, sample.power_limit_w) == (3.0, 24.15, 450.0)
    assert (sample.temperature_c, sample.fan_pct) == (41.0, 0.0)
    assert (sample.clock_sm_mhz, sample.clock_memory_mhz) == (210, 405)
    assert (sample.pcie_gen, sample.pcie_lanes, sample.limits) == (1, 16, (Limit.IDLE,))
    assert not sample.lost


def test_readings_follow_the_driver(source, driver):
    source.probe()
    driver(fake_nvml.changed(1, load=98, used_mib=9000, reasons=4))
    sample = source.sample()[B]
    assert (sample.utilization_pct, sample.limits) == (98.0, (Limit.POWER,))
    assert sample.vram_used_bytes == (9000 + 245) * MIB


@pytest.mark.parametrize(("scenario", "n"), [(fake_nvml.TWO_EQUAL, 2), (fake_nvml.EIGHT_CARDS, 8)])
def test_equal_cards_have_keys_of_their_own(source, driver, scenario, n):
    driver(scenario)
    gpus = source.probe()
    assert len({gpu.id for gpu in gpus}) == len({gpu.pci for gpu in gpus}) == n
    assert set(source.sample()) == {gpu.id for gpu in gpus}


def test_the_cards_own_lanes_count_not_those_of_its_slot(source, driver):
    driver(fake_nvml.changed(1, lanes=4, max_lanes=4))
    assert source.probe()[1].pcie_lanes_max == 16
    assert source.sample()[B].pcie_lanes == 4


UNLISTED = {"name": "NVIDIA Graphics Device", "device_id": "0x2ff0"}


@pytest.mark.parametrize(("both", "own"), [(16, 16), (8, None), (4, None)])
def test_lanes_of_card_and_slot_tell_nothing_of_an_unlisted_card_but_16(source, driver, both, own):
    driver(fake_nvml.changed(1, **UNLISTED, lanes=both, max_lanes=both))
    assert source.probe()[1].pcie_lanes_max == own


def test_the_cards_own_generation_counts_not_that_of_its_slot(source, driver):
    driver(fake_nvml.changed(1, gen=3, max_gen=3))
    assert source.probe()[1].pcie_gen_max == 4


def test_a_bandwidth_the_driver_hides_comes_from_the_table(source, driver):
    driver(fake_nvml.MIXED + "error nvmlDeviceGetMemoryBusWidth 3\n")
    assert source.probe()[1].bandwidth_gbps == 760.0


def test_an_unsupported_value_is_none_and_asked_for_once(source, driver, monkeypatch):
    driver(fake_nvml.MIXED + "error nvmlDeviceGetFanSpeed 3\nerror nvmlDeviceGetPowerUsage 4\n")
    source.probe()
    assert (source.sample()[B].fan_pct, source.sample()[B].power_w) == (None, None)
    assert source.sample()[A].fan_pct == 0.0
    driver(fake_nvml.MIXED)
    assert source.sample()[B].fan_pct is None
    source.probe()
    assert source.sample()[B].fan_pct == 30.0


def test_a_value_that_fails_once_comes_back(source, driver):
    driver(fake_nvml.MIXED + "error nvmlDeviceGetPowerUsage 999\n")
    source.probe()
    assert source.sample()[B].power_w is None
    driver(fake_nvml.MIXED)
    assert source.sample()[B].power_w == 31.0
    assert source.notes == ()


def test_a_card_that_fails_on_some_calls_is_told_of_once(source, driver):
    faults = "error nvmlDeviceGetPowerUsage 999\nerror nvmlDeviceGetFanSpeed 999\n"
    driver(fake_nvml.MIXED + faults)
    source.probe()
    source.sample()
    (note,) = source.notes
    assert note.message == "RTX 3080 does not report all of its readings (error 999)"
    assert (note.severity, note.gpu_ids) == (Severity.WARNING, (B,))
    driver(fake_nvml.changed(1, lost=True))
    source.sample()
    assert [n.id for n in source.notes] == ["card-lost"]


@pytest.mark.parametrize("code", [3, 4, 13, 25])
def test_a_reading_a_card_does_not_have_is_no_failure(source, driver, code):
    driver(fake_nvml.MIXED + f"error nvmlDeviceGetFanSpeed {code}\n")
    source.probe()
    source.sample()
    assert source.notes == ()


def test_a_call_that_another_one_stands_in_for_is_no_failure(source, driver):
    driver(fake_nvml.MIXED + "error nvmlDeviceGetMemoryInfo_v2 999\n")
    source.probe()
    assert source.sample()[B].vram_used_bytes is not None
    assert source.notes == ()


@pytest.mark.parametrize(
    ("missing", "value"),
    [("nvmlDeviceGetMemoryInfo_v2", "vram_used_bytes"),
     ("nvmlDeviceGetCurrentClocksEventReasons", "limits")],
)  # fmt: skip
def test_an_old_driver_is_asked_the_old_way(source, driver, missing, value):
    driver(fake_nvml.MIXED)
    source.probe()
    expected = getattr(source.sample()[A], value)
    driver(f"call {missing} 13\n" + fake_nvml.MIXED)
    source.probe()
    assert getattr(source.sample()[A], value) == expected


def test_a_lost_card_stays_in_view_and_the_others_go_on(source, driver):
    source.probe()
    driver(fake_nvml.ONE_LOST)
    samples = source.sample()
    assert samples[B].lost
    assert samples[B].vram_used_bytes is None
    assert samples[A].power_w == 24.15
    (note,) = source.notes
    assert (note.id, note.severity, note.gpu_ids) == ("card-lost", Severity.DANGER, (B,))
    assert note.message == "RTX 3080 no longer answers"
    assert [gpu.id for gpu in source.probe()].count(B) == 1
    assert source.sample()[B].lost
    assert [n.id for n in source.notes] == ["card-lost"]


def test_a_lost_twin_is_named_with_its_address(source, driver):
    driver(fake_nvml.TWO_EQUAL)
    source.probe()
    driver(fake_nvml.TWO_EQUAL + "lost\n")
    source.sample()
    (note,) = source.notes
    assert note.message == "RTX 3090 at 0000:02:00.0 no longer answers"


def test_a_lost_card_that_answers_again_is_back(source, driver):
    source.probe()
    driver(fake_nvml.ONE_LOST)
    source.sample()
    driver(fake_nvml.MIXED)
    assert not source.sample()[B].lost
    assert source.notes == ()


def test_a_card_lost_before_the_start_is_counted(source, driver):
    driver(fake_nvml.ONE_LOST)
    assert [gpu.id for gpu in source.probe()] == [A]
    (note,) = source.notes
    assert note.message == "1 of 2 NVIDIA cards does not answer"


@pytest.mark.parametrize(
    ("code", "note_id", "words"),
    [
        (18, "nvml-mismatch", "Restart the machine"),
        (9, "nvml-no-driver", "Restart the machine"),
        (4, "nvml-permission", "/dev/nvidiactl"),
        (15, "nvml-lost", "power cables"),
        (999, "nvml-error", "restart it"),
        (17, "nvml-error", "Restart the machine"),
    ],
)
def test_a_driver_that_fails_says_what_to_do(source, driver, code, note_id, words):
    driver(f"init {code}\n")
    with pytest.raises(SourceFailedError) as caught:
        source.probe()
    assert caught.value.note.id == note_id
    assert words in caught.value.hint
    assert source.needs_probe
    driver(fake_nvml.MIXED)
    assert len(source.probe()) == 2


def test_a_binding_newer_than_the_library_asks_for_a_restart(source, monkeypatch):
    import pynvml

    def mismatched():
        raise pynvml.NVMLLibraryMismatchError("Unversioned function called")

    monkeypatch.setattr(pynvml, "nvmlInit", mismatched)
    with pytest.raises(SourceFailedError, match="Restart the machine"):
        source.probe()


def test_a_driver_that_goes_away_is_told_and_found_again(source, driver):
    source.probe()
    driver("init 9\n")
    with pytest.raises(SourceFailedError, match="not loaded"):
        source.sample()
    assert source.needs_probe
    driver(fake_nvml.MIXED)
    source.probe()
    assert source.sample()[A].power_w == 24.15


def test_another_number_of_cards_asks_for_a_probe(source, driver):
    source.probe()
    driver(fake_nvml.EIGHT_CARDS)
    source.sample()
    assert source.needs_probe
    assert len(source.probe()) >= 8


def test_a_driver_without_cards_is_a_normal_state(source, driver):
    driver("driver 580.65.06\n")
    assert source.probe() == ()
    assert source.sample() == {}
    assert [(n.id, n.severity) for n in source.notes] == [("nvml-no-card", Severity.INFO)]


def test_closing_twice_and_reading_after_it_is_harmless(source):
    source.probe()
    source.close()
    source.close()
    assert source.sample() == {}
    assert source.probe() == ()


CHILD = """
import sys
from pathlib import Path
from splitrig.core.specs import SpecTable
from splitrig.services.telemetry.nvml import NvmlSource
source = NvmlSource(SpecTable(()), drm_root=Path(sys.argv[1]))
print(len(source.probe()), *(f"{n.id} {n.severity}" for n in source.notes))
source.close()
"""


@pytest.mark.parametrize(
    ("scenario", "vendor", "said"),
    [
        (fake_nvml.DRIVER_ABSENT, None, "0 nvml-missing info"),
        (fake_nvml.DRIVER_ABSENT, "0x1002", "0 nvml-missing info"),
        (fake_nvml.DRIVER_ABSENT, "0x10de", "0 nvml-missing warning"),
        (fake_nvml.MIXED, "0x10de", "2"),
    ],
    ids=["absent", "another maker's card", "absent beside a card", "present"],
)
def test_the_library_is_found_or_missed_as_in_real_life(tmp_path, scenario, vendor, said):
    root = Path(__file__).parents[3]
    if vendor is not None:
        device = tmp_path / "drm" / "card1" / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
    env = {"PYTHONPATH": str(root / "gui"), **fake_nvml.environment(tmp_path, scenario)}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "drm")]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == said


@pytest.mark.parametrize(
    ("bits", "limits"),
    [
        (None, None),
        (0, ()),
        (1, (Limit.IDLE,)),
        (4, (Limit.POWER,)),
        (8, (Limit.HARDWARE,)),
        (0x20, (Limit.HEAT,)),
        (0x48, (Limit.HEAT,)),
        (0x88, (Limit.POWER_BRAKE,)),
        (0x24, (Limit.HEAT, Limit.POWER)),
        (0x100, ()),
    ],
)
def test_the_drivers_bits_become_limits(bits, limits):
    assert limits_from(bits) == limits


def test_one_reading_of_eight_cards_takes_milliseconds(source, driver):
    driver(fake_nvml.EIGHT_CARDS)
    source.probe()
    source.sample()
    start = time.perf_counter()
    for _ in range(20):
        source.sample()
    assert (time.perf_counter() - start) / 20 < 0.02


def test_programs_on_a_card_are_read_every_few_seconds(source, driver, monkeypatch):
    driver(fake_nvml.changed(1, process="4711 5120"))
    source.probe()
    samples = source.sample()
    assert samples[A].processes == ()
    assert samples[B].processes == (GpuProcess(pid=4711, vram_bytes=5120 * MIB),)
    driver(fake_nvml.changed(1, process="99 1"))
    assert source.sample()[B].processes == samples[B].processes
    monkeypatch.setattr(nvml, "PROCESSES_EVERY_S", 0.0)
    assert source.sample()[B].processes == (GpuProcess(pid=99, vram_bytes=MIB),)


def test_a_driver_that_does_not_list_programs_leaves_them_unknown(source, driver):
    call = "nvmlDeviceGetComputeRunningProcesses_v3"
    driver(fake_nvml.changed(1, error=f"{call} 3"))
    source.probe()
    assert source.sample()[B].processes is None
    assert source.sample()[A].processes == ()
