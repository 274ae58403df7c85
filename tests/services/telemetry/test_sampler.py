import itertools
import threading
import time
from collections.abc import Callable

import pytest
from tests.fakes.nvml import fake_nvml
from tests.fakes.rocm_smi import script
from tests.services.telemetry.test_rocm_smi import RX6700

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.history import History, Metric
from splitrig.services import clock
from splitrig.services.mailbox import Mailbox
from splitrig.services.telemetry import reader as reader_module
from splitrig.services.telemetry import sampler as sampler_module
from splitrig.services.telemetry.demo import DemoSource
from splitrig.services.telemetry.nvml import NvmlSource
from splitrig.services.telemetry.rocm_smi import RocmSmiSource
from splitrig.services.telemetry.sampler import Sampler, default_sources, read_rig


class Steered:
    """A source whose every call does what the test says."""

    notes = ()

    def __init__(self, name="steered", interval_s=0.0, pci="0000:09:00.0", limit_s=0.0):
        self.name = name
        self.interval_s = interval_s
        self.limit_s = limit_s
        self.needs_probe = False
        self.probes = 0
        self.closed = threading.Event()
        self.before: Callable[[], object] = lambda: None
        self.gpus = (GpuInfo(id=name, name=name, vendor=Vendor.OTHER, pci=pci, source=name),)

    def probe(self):
        self.probes += 1
        self.before()
        return self.gpus

    def sample(self):
        self.before()
        return {gpu.id: GpuSample(id=gpu.id, power_w=1.0) for gpu in self.gpus}

    def close(self):
        self.closed.set()


@pytest.fixture
def start():
    """Start a sampler over some sources; it is closed at the end."""
    running = []

    def begin(*sources, interval_s=0.05, reprobe_s=0.1):
        box = Mailbox()
        sampler = Sampler(box, sources, interval_s, reprobe_s=reprobe_s)
        running.append(sampler)
        sampler.start()
        return sampler, box

    yield begin
    for sampler in running:
        begun = time.monotonic()
        sampler.close()
        assert time.monotonic() - begun < 1


def wait_for(sampler, condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if sampler.latest is not None and condition(sampler.latest):
            return sampler.latest
        time.sleep(0.01)
    pytest.fail(f"never came: {sampler.latest}")


def note_ids(rig):
    return {note.id for note in rig.notes}


def test_a_rig_comes_at_every_interval(start):
    sampler, box = start(DemoSource(), interval_s=0.1)
    time.sleep(1.05)
    rigs = box.drain()
    assert all(isinstance(rig, Rig) for rig in rigs)
    assert 6 <= len(rigs) <= 12
    assert rigs[-1].demo
    assert set(rigs[-1].samples) == {"demo-0", "demo-1"}
    assert rigs[0].time_s < rigs[-1].time_s <= clock.now_s()
    assert sampler.latest is not None


def test_cards_of_all_sources_stand_in_one_rig(start, driver, specs, make_tool):
    driver(fake_nvml.MIXED)
    amd = RocmSmiSource(specs, command=make_tool(script(RX6700)))
    sampler, _ = start(NvmlSource(specs), amd)
    rig = wait_for(sampler, lambda r: len(r.gpus) == 3 and len(r.samples) == 3)
    assert [gpu.pci for gpu in rig.gpus] == ["0000:01:00.0", "0000:02:00.0", "0000:07:00.0"]
    assert rig.notes == ()


def test_a_hanging_source_delays_nobody_and_is_told_of(start, monkeypatch):
    monkeypatch.setattr(reader_module, "SILENT_S", 0.3)
    release = threading.Event()
    hanging = Steered("stuck")
    hanging.before = lambda: release.wait(20)
    sampler, box = start(hanging, DemoSource(), interval_s=0.1)
    wait_for(sampler, lambda r: "stuck-silent" in note_ids(r))
    times = [rig.time_s for rig in box.drain()]
    assert max(b - a for a, b in itertools.pairwise(times)) < 0.6
    begun = time.monotonic()
    sampler.close()
    assert time.monotonic() - begun < 1
    release.set()


def test_a_source_that_falls_silent_keeps_its_cards_without_readings(start, monkeypatch):
    monkeypatch.setattr(reader_module, "SILENT_S", 0.3)
    release, stuck = threading.Event(), Steered()
    sampler, _ = start(stuck)
    wait_for(sampler, lambda r: "steered" in r.samples)
    stuck.before = lambda: release.wait(20)
    rig = wait_for(sampler, lambda r: not r.samples)
    assert [gpu.id for gpu in rig.gpus] == ["steered"]
    release.set()
    wait_for(sampler, lambda r: "steered" in r.samples and not r.notes)


def test_slow_answers_at_a_slow_pace_are_no_silence(start, monkeypatch):
    monkeypatch.setattr(reader_module, "SILENT_S", 0.6)
    monkeypatch.setattr(sampler_module, "_PATIENCE_S", 0.1)
    slow = Steered()
    # The last reading is 0.6 s old when the next one is asked for, and that takes 0.3 s more.
    slow.before = lambda: time.sleep(0.3)
    _, box = start(slow, interval_s=0.9)
    time.sleep(3.5)
    rigs = box.drain()
    assert len(rigs) >= 3
    assert {note_id for rig in rigs for note_id in note_ids(rig)} == set()


def test_a_source_may_take_as_long_as_it_lets_itself(start, monkeypatch):
    monkeypatch.setattr(reader_module, "SILENT_S", 0.2)
    release, slow = threading.Event(), Steered(interval_s=0.05, limit_s=0.5)
    sampler, _ = start(slow)
    wait_for(sampler, lambda r: r.samples)
    slow.before = lambda: release.wait(20)
    asked_s = time.monotonic()
    rig = wait_for(sampler, lambda r: not r.samples)
    assert time.monotonic() - asked_s > 0.6
    assert [note.message for note in rig.notes] == ["steered has not answered for more than 0.7 s"]
    release.set()


def broken():
    raise TelemetryError("The tool broke.", "Mend it.")


def test_one_failed_run_does_not_blank_the_cards_of_an_expensive_source(start):
    source = Steered(interval_s=0.2, limit_s=0.3)
    sampler, box = start(source, reprobe_s=60.0)
    wait_for(sampler, lambda r: r.samples)
    box.drain()
    source.before = broken
    rig = wait_for(sampler, lambda r: r.notes)
    assert [note.message for note in rig.notes] == ["The tool broke"]
    source.before = lambda: None
    # The next run mends it: no new look for cards is waited for.
    wait_for(sampler, lambda r: not r.notes, 2.0)
    assert source.probes == 1
    assert all(rig.samples for rig in box.drain())


def test_a_rocm_smi_that_hangs_once_blanks_nothing(start, specs, make_tool, tmp_path):
    runs = str(tmp_path / "runs")
    hang = f"open({runs!r}, 'a').write('x')\nif len(open({runs!r}).read()) == 2: time.sleep(60)\n"
    tool = make_tool(hang + script(RX6700))
    source = RocmSmiSource(
        specs, command=tool, run_every_s=1.0, timeout_s=1.5, drm_root=tmp_path / "drm"
    )
    source.interval_s = 0.3
    sampler, box = start(source)
    wait_for(sampler, lambda r: r.samples)
    box.drain()
    wait_for(sampler, lambda r: "rocm-smi-hangs" in note_ids(r))
    wait_for(sampler, lambda r: not r.notes)
    assert all(rig.samples for rig in box.drain())


def test_readings_are_not_kept_for_ever(start):
    source = Steered(interval_s=0.1, limit_s=0.3)
    sampler, _ = start(source)
    wait_for(sampler, lambda r: r.samples)
    source.before = broken
    begun_s = time.monotonic()
    rig = wait_for(sampler, lambda r: not r.samples)
    assert time.monotonic() - begun_s > 0.4  # 3 × 0.1 + 0.3, and the last reading was some old
    assert [gpu.id for gpu in rig.gpus] == ["steered"]


def test_a_cheap_source_that_fails_shows_no_old_readings(start):
    source = Steered()
    sampler, _ = start(source)
    wait_for(sampler, lambda r: r.samples)
    source.before = broken
    assert wait_for(sampler, lambda r: r.notes).samples == {}


def test_a_night_of_sleep_is_a_hole_in_the_history(start, monkeypatch):
    sampler, box = start(DemoSource(), interval_s=0.05)
    wait_for(sampler, lambda r: True)
    real = time.clock_gettime
    asleep_s = 8 * 3600.0
    monkeypatch.setattr(
        time, "clock_gettime", lambda c: real(c) + asleep_s * (c == time.CLOCK_BOOTTIME)
    )
    before_s = sampler.latest.time_s
    wait_for(sampler, lambda r: r.time_s > before_s + asleep_s)
    history = History()
    for rig in box.drain():
        history.append(rig)
    load = history.window(1e6).card("demo-0", Metric.LOAD)
    assert load is not None
    assert [bool(hole) for hole in load != load].count(True) == 1


def test_no_empty_rig_is_shown_before_every_source_has_answered(start):
    release = threading.Event()
    slow = Steered(interval_s=5.0)
    slow.before = lambda: release.wait(20)
    empty = Steered("empty")
    empty.gpus = ()
    sampler, box = start(slow, empty)
    time.sleep(0.4)
    assert box.drain() == []
    assert sampler.latest is None
    release.set()
    assert wait_for(sampler, lambda r: True).gpus


def test_a_machine_without_cards_is_told_so_at_once(start):
    empty = Steered()
    empty.gpus = ()
    sampler, _ = start(empty)
    assert wait_for(sampler, lambda r: True, 1.0).gpus == ()


def test_an_expected_failure_becomes_a_note_and_is_tried_again(start):
    source = Steered()

    def fail():
        raise TelemetryError("The tool broke.", "Mend it.")

    source.before = fail
    sampler, _ = start(source)
    rig = wait_for(sampler, lambda r: r.notes)
    (note,) = rig.notes
    assert (note.id, note.message, note.detail) == ("steered-failed", "The tool broke", "Mend it.")
    source.before = lambda: None
    assert wait_for(sampler, lambda r: r.samples).notes == ()


def test_a_bug_in_a_source_becomes_a_note_and_is_logged(start, caplog):
    source = Steered()
    source.before = lambda: 1 / 0
    sampler, _ = start(source)
    assert note_ids(wait_for(sampler, lambda r: r.notes)) == {"steered-failed"}
    assert "ZeroDivisionError" in caplog.text
    source.before = lambda: None
    wait_for(sampler, lambda r: r.samples)


def test_a_settled_source_is_probed_once_and_refresh_probes_again(start):
    source = Steered()
    sampler, _ = start(source)
    time.sleep(0.5)
    assert source.probes == 1
    sampler.refresh()
    deadline = time.monotonic() + 2
    while source.probes < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.probes == 2


def test_an_unsettled_source_is_probed_at_its_pace_not_at_every_reading(start):
    source = Steered()
    source.needs_probe = True
    start(source, interval_s=0.02, reprobe_s=0.2)
    time.sleep(1.0)
    assert 3 <= source.probes <= 7


def test_an_expensive_source_is_read_at_its_own_pace(start):
    source, reads = Steered(interval_s=0.3), []
    source.before = lambda: reads.append(time.monotonic())
    _, box = start(source, interval_s=0.05)
    time.sleep(1.0)
    assert len(box.drain()) >= 8
    assert 3 <= len(reads) <= 7  # one probe and a reading every 0.3 s


def test_the_driver_may_fail_and_come_back_while_running(start, driver, specs):
    sampler, _ = start(NvmlSource(specs))
    wait_for(sampler, lambda r: len(r.samples) == 2)
    driver(fake_nvml.DRIVER_MISMATCH)
    rig = wait_for(sampler, lambda r: "nvml-mismatch" in note_ids(r))
    assert len(rig.gpus) == 2
    assert rig.samples == {}
    driver(fake_nvml.MIXED)
    wait_for(sampler, lambda r: len(r.samples) == 2 and not r.notes)


def test_cards_come_and_go_while_running(start, driver, specs):
    sampler, _ = start(NvmlSource(specs))
    wait_for(sampler, lambda r: len(r.samples) == 2)
    driver(fake_nvml.ONE_LOST)
    rig = wait_for(sampler, lambda r: "card-lost" in note_ids(r))
    assert sum(sample.lost for sample in rig.samples.values()) == 1
    driver(fake_nvml.EIGHT_CARDS)
    wait_for(sampler, lambda r: len(r.gpus) == 8 and not r.notes)


def test_closing_takes_less_than_a_second_while_a_driver_hangs(driver, specs):
    driver("slow_ms 3000\n" + fake_nvml.MIXED)
    sampler = Sampler(Mailbox(), [NvmlSource(specs)], 0.05)
    sampler.start()
    time.sleep(0.2)
    begun = time.monotonic()
    sampler.close()
    assert time.monotonic() - begun < 1
    driver(fake_nvml.MIXED)
    for thread in threading.enumerate():
        if thread.name.startswith("telemetry"):
            thread.join(10)


class MeetingEvent(threading.Event):
    """Ends the sampler at the very moment at which a wake-up is taken back."""

    sampler = None

    def clear(self):
        if self.sampler is not None:
            self.sampler._stopping.set()
            self.set()
        super().clear()


def test_a_request_to_end_is_never_lost_between_two_ticks():
    sampler = Sampler(Mailbox(), [DemoSource()], interval_s=30.0)
    sampler._wake = wake = MeetingEvent()
    sampler.start()
    wait_for(sampler, lambda r: True)
    time.sleep(0.1)  # until it waits for the next tick
    wake.sampler = sampler
    sampler.refresh()
    sampler._thread.join(3)
    ended = not sampler._thread.is_alive()
    wake.sampler = None
    sampler.close()
    assert ended


def test_a_sampler_that_was_never_started_closes():
    Sampler(Mailbox(), [DemoSource()]).close()


def test_one_reading_for_the_command_line(driver, specs):
    rig = read_rig([NvmlSource(specs)])
    assert len(rig.gpus) == len(rig.samples) == 2


def test_one_reading_waits_no_longer_than_told():
    release, stuck = threading.Event(), Steered()
    stuck.before = lambda: release.wait(20)
    begun = time.monotonic()
    rig = read_rig([stuck, DemoSource()], timeout_s=0.3)
    release.set()
    assert time.monotonic() - begun < 2
    assert {gpu.id for gpu in rig.gpus} == {"demo-0", "demo-1"}
    assert note_ids(rig) == {"steered-silent"}
    assert set(rig.samples) == {"demo-0", "demo-1"}


def test_the_sources_of_this_machine():
    assert [s.name for s in default_sources()] == ["nvml", "rocm-smi"]
    assert [s.name for s in default_sources(demo=True)] == ["demo"]
    for name in ("nvml", "rocm-smi", "demo"):
        assert [s.name for s in default_sources(only=name)] == [name]
    with pytest.raises(TelemetryError, match="does not work yet"):
        default_sources(only="intel")
