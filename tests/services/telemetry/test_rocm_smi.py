import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.fakes.rocm_smi import script
from tests.services.cli.run_cli import environment
from tests.services.engines.processes import seconds_until_gone, wait_for

from splitrig.core.gpu import Severity
from splitrig.services.telemetry.rocm_smi import ARGUMENTS, RocmSmiSource
from splitrig.services.telemetry.rocm_smi_json import parse_rocm_smi
from splitrig.services.telemetry.source import SourceFailedError
from splitrig.services.telemetry.tool import MOST_BYTES, Ending, Tool

RECORDED = Path(__file__).parents[2] / "recorded" / "telemetry"
MI100 = RECORDED / "rocm-smi_telegraf_mi100_rocm602.json"
RX6700 = RECORDED / "rocm-smi_telegraf_rx6700xt_rocm612.json"
VEGA = RECORDED / "rocm-smi_telegraf_vega-10-XT.json"
VEGA_ID = "GPU-02150e7d042a1124"


@pytest.fixture
def make_source(specs, make_tool, tmp_path):
    made = []

    def make(body, **values):
        values = {"timeout_s": 5.0, "drm_root": tmp_path / "drm", **values}
        source = RocmSmiSource(specs, command=make_tool(body), **values)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def amd_card(root, mib=8176):
    """A card of AMD as the kernel lists it; by default with the memory of a real one."""
    device = root / "card0" / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    if mib is not None:
        (device / "mem_info_vram_total").write_text(f"{mib * 2**20}\n")


def test_cards_and_readings_come_from_one_run(make_source, tmp_path):
    count = tmp_path / "count"
    source = make_source(f"open({str(count)!r}, 'a').write('x')\n{script(MI100)}")
    gpus = source.probe()
    assert [gpu.pci for gpu in gpus] == [f"0000:{b}:00.0" for b in ("83", "a3", "c3", "e3")]
    samples = source.sample()
    assert [samples[gpu.id].power_w for gpu in gpus] == [36.0, 44.0, 43.0, 39.0]
    assert count.read_text() == "x"
    assert source.notes == ()
    assert not source.needs_probe


def test_the_tool_is_asked_for_json_of_everything_it_has(make_source, tmp_path):
    asked = tmp_path / "asked"
    make_source(f"open({str(asked)!r}, 'w').write(' '.join(sys.argv[1:]))").probe()
    assert asked.read_text().split() == list(ARGUMENTS)
    assert asked.read_text().endswith("--json")


@pytest.mark.parametrize("name", sorted(p.name for p in RECORDED.glob("*rocm-smi*.json")))
def test_everything_that_is_read_is_also_asked_for(make_source, specs, name):
    whole = parse_rocm_smi((RECORDED / name).read_text(), specs)
    source = make_source(script(RECORDED / name))
    assert source.probe() == whole.infos
    assert tuple(source.sample().values()) == whole.samples


def test_an_old_reading_is_read_anew(make_source, tmp_path):
    output = tmp_path / "output.json"
    output.write_text(RX6700.read_text())
    source = make_source(script(output), run_every_s=0.01)
    source.probe()
    output.write_text(RX6700.read_text().replace('"GPU use (%)": "0"', '"GPU use (%)": "88"'))
    time.sleep(0.02)
    assert source.sample()["0000:07:00.0"].utilization_pct == 88.0


def test_other_cards_than_before_ask_for_a_probe(make_source, tmp_path):
    output = tmp_path / "output.json"
    output.write_text(RX6700.read_text())
    source = make_source(script(output), run_every_s=0.01)
    source.probe()
    output.write_text(MI100.read_text())
    time.sleep(0.02)
    assert source.sample() == {}
    assert source.needs_probe
    assert len(source.probe()) == 4


BROKEN = {
    "garbage": ("print('Segmentation [fault] {')", "rocm-smi-garbage", "something else"),
    "binary": ("os.write(1, bytes(range(256)))", "rocm-smi-garbage", "something else"),
    "a failing exit": ("sys.exit(3)", "rocm-smi-failed", "ended with code 3"),
    "a hang": ("time.sleep(60)", "rocm-smi-hangs", "did not answer within 0.3 s"),
    "a hang that ignores signals": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "rocm-smi-hangs", "0.3 s",
    ),
    "silence": ("", "rocm-smi-empty", "printed nothing"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "note_id", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_tool_ends_as_one_clear_sentence(make_source, tmp_path, body, note_id, words):
    amd_card(tmp_path / "drm")
    timeout_s = 0.3 if "sleep" in body else 5.0
    source = make_source(body, timeout_s=timeout_s)
    start = time.monotonic()
    with pytest.raises(SourceFailedError) as caught:
        source.probe()
    assert time.monotonic() - start < 5
    note = caught.value.note
    assert (note.id, note.severity) == (note_id, Severity.WARNING)
    assert words in note.message
    assert note.detail
    assert source.needs_probe


def test_readings_printed_before_a_failing_exit_count(make_source):
    assert len(make_source(f"{script(RX6700)}\nsys.exit(1)").probe()) == 1


NO_CARD = ["", "{}", '{"system": {"Driver version": "6.3.6"}}']


@pytest.mark.parametrize("output", NO_CARD)
@pytest.mark.parametrize("mib", [None, 512], ids=["none", "a processor's graphics"])
def test_a_tool_without_cards_is_a_normal_state(make_source, tmp_path, output, mib):
    if mib is not None:
        amd_card(tmp_path / "drm", mib)
    source = make_source(f"print({output!r})")
    assert source.probe() == ()
    assert [(n.id, n.severity) for n in source.notes] == [("rocm-smi-empty", Severity.INFO)]


@pytest.mark.parametrize("output", NO_CARD)
def test_a_tool_that_misses_a_card_is_told_of(make_source, tmp_path, output):
    amd_card(tmp_path / "drm")
    with pytest.raises(SourceFailedError, match=r"printed (nothing|something else)|lists no card"):
        make_source(f"print({output!r})").probe()


def test_a_missing_tool_is_a_normal_state(specs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    source = RocmSmiSource(specs, drm_root=tmp_path / "drm")
    assert source.probe() == ()
    assert source.sample() == {}
    assert [(n.id, n.severity) for n in source.notes] == [("rocm-smi-missing", Severity.INFO)]
    amd_card(tmp_path / "drm")
    source.probe()
    assert source.notes[0].severity is Severity.WARNING
    assert "Install it" in source.notes[0].detail


@pytest.mark.parametrize("mib", [512, 4095, None])
def test_nobody_misses_a_tool_for_a_processors_graphics(specs, tmp_path, monkeypatch, mib):
    monkeypatch.setenv("PATH", str(tmp_path))
    amd_card(tmp_path / "drm", mib)
    source = RocmSmiSource(specs, drm_root=tmp_path / "drm")
    assert source.probe() == ()
    (note,) = source.notes
    assert (note.id, note.severity) == ("rocm-smi-missing", Severity.INFO)
    assert note.message == "The only AMD graphics is the processor's own"


def test_a_tool_that_cannot_be_started_is_told(specs, tmp_path):
    broken = tmp_path / "rocm-smi"
    broken.write_text("no program")
    with pytest.raises(SourceFailedError, match="cannot be started"):
        RocmSmiSource(specs, command=broken).probe()


def test_the_tool_is_found_on_the_path(specs, make_tool, tmp_path, monkeypatch):
    make_tool(script(RX6700))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert RocmSmiSource(specs).probe()[0].name == "AMD Radeon RX 6700 XT"


def make_due(source):
    """Let the time until the next run pass."""
    source._started_s -= source._run_every_s


@pytest.fixture
def vega(make_source, sysfs_tree, tmp_path):
    """A Vega in a rig whose files and whose rocm-smi tell of it; `runs` counts rocm-smi's."""
    tree, recorded = sysfs_tree("vega56"), tmp_path / "output.json"
    recorded.write_text(VEGA.read_text().replace("0000:04:00.0", "0000:0B:00.0"))
    counter = tmp_path / "runs"

    class Rig:
        drm_root, output = tree, recorded
        device = tree / "card0" / "device"
        hwmon = device / "hwmon" / "hwmon4"
        body = f"open({str(counter)!r}, 'a').write('x')\n{script(recorded)}"
        breaking = (
            f"open({str(counter)!r}, 'a').write('x')\n"
            f"if len(open({str(counter)!r}).read()) > 1: sys.exit(3)\n{script(recorded)}"
        )

        def source(self, body=body):
            source = make_source(body, drm_root=tree)
            (info,) = source.probe()
            assert info.id == VEGA_ID
            return source

        def fall_asleep(self):
            (self.device / "power" / "runtime_status").write_text("suspended\n")

        @property
        def runs(self):
            return len(counter.read_text())

    return Rig()


def test_between_two_runs_the_files_are_read(vega):
    source = vega.source()
    (vega.device / "gpu_busy_percent").write_text("42\n")
    (vega.device / "mem_info_vram_used").write_text(f"{2**30}\n")
    (vega.hwmon / "power1_average").write_text("151000000\n")
    (vega.hwmon / "temp1_input").write_text("61000\n")
    now = source.sample()[VEGA_ID]
    assert (now.utilization_pct, now.vram_used_bytes) == (42.0, 2**30)
    assert (now.power_w, now.temperature_c) == (151.0, 61.0)
    # What the files do not tell stays as the run told it.
    assert (now.fan_pct, now.power_limit_w, now.clock_sm_mhz) == (13.0, 170.0, 1269)
    (vega.hwmon / "temp1_input").write_text("62000\n")
    assert source.sample()[VEGA_ID].temperature_c == 62.0
    assert vega.runs == 1
    assert source.interval_s == 1.0


def test_a_file_that_is_refused_keeps_the_last_reading(vega):
    source = vega.source()
    source.sample()
    (vega.hwmon / "temp1_input").unlink()
    (vega.device / "gpu_busy_percent").unlink()
    now = source.sample()[VEGA_ID]
    assert (now.temperature_c, now.utilization_pct) == (38.0, 0.0)


def test_a_sleeping_card_is_left_alone(vega):
    source = vega.source()
    before = source.sample()
    vega.fall_asleep()
    (vega.hwmon / "temp1_input").write_text("25000\n")
    make_due(source)
    assert source.sample() == before
    assert vega.runs == 1
    (vega.device / "power" / "runtime_status").write_text("active\n")
    assert source.sample()[VEGA_ID].temperature_c == 25.0
    assert vega.runs == 2


def test_one_card_awake_is_enough_for_a_run(vega, make_source):
    second = json.loads(RX6700.read_text())["card0"]
    vega.output.write_text(json.dumps({**json.loads(vega.output.read_text()), "card1": second}))
    vega.fall_asleep()
    source = make_source(vega.body, drm_root=vega.drm_root)
    assert len(source.probe()) == 2
    make_due(source)
    source.sample()
    assert vega.runs == 2


def test_a_link_read_at_idle_is_not_shown_under_load(vega):
    source = vega.source()
    assert (source.sample()[VEGA_ID].pcie_gen, source.sample()[VEGA_ID].pcie_lanes) == (3, 16)
    (vega.device / "gpu_busy_percent").write_text("95\n")
    now = source.sample()[VEGA_ID]
    assert (now.pcie_gen, now.pcie_lanes, now.clock_sm_mhz) == (None, None, None)
    assert now.fan_pct == 13.0


def test_a_link_read_under_load_stays(vega):
    idle = vega.output.read_text()
    vega.output.write_text(idle.replace('"GPU use (%)": "0"', '"GPU use (%)": "90"'))
    source = vega.source()
    for load in (95, 3, 95):
        (vega.device / "gpu_busy_percent").write_text(f"{load}\n")
        assert source.sample()[VEGA_ID].pcie_gen == 3


def test_the_files_of_a_partitioned_card_are_not_taken_for_one_partition(
    make_source, sysfs_tree, tmp_path
):
    box = {"PCI Bus": "0000:0B:00.0", "VRAM Total Memory (B)": "1000", "GPU use (%)": "1"}
    output = tmp_path / "output.json"
    output.write_text(json.dumps({"card0": box, "card1": box}))
    source = make_source(script(output), drm_root=sysfs_tree("vega56"))
    source.probe()
    assert [s.vram_total_bytes for s in source.sample().values()] == [1000, 1000]


def test_while_runs_fail_the_files_go_on_for_a_while(vega):
    source = vega.source(vega.breaking)
    make_due(source)
    with pytest.raises(SourceFailedError, match="code 3"):
        source.sample()
    (vega.hwmon / "temp1_input").write_text("71000\n")
    assert source.sample()[VEGA_ID].temperature_c == 71.0
    assert [note.id for note in source.notes] == ["rocm-smi-failed"]
    assert not source.needs_probe
    assert vega.runs == 2


def test_runs_that_keep_failing_end_the_readings(vega):
    source = vega.source(vega.breaking)
    make_due(source)
    with pytest.raises(SourceFailedError):
        source.sample()
    source._done_s -= 3 * 30 + 5
    with pytest.raises(SourceFailedError, match="code 3"):
        source.sample()
    assert vega.runs == 2


def test_closing_ends_a_run_in_progress(make_source):
    source = make_source("time.sleep(60)", timeout_s=30.0)
    failures = []

    def probe():
        try:
            source.probe()
        except SourceFailedError as error:
            failures.append(error.note.id)

    thread = threading.Thread(target=probe)
    thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    source.close()
    thread.join(2)
    assert time.monotonic() - start < 1
    assert failures == ["rocm-smi-stopped"]


def test_children_of_a_hanging_tool_end_with_it(make_tool, tmp_path):
    pid_file = tmp_path / "pid"
    body = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    run = Tool([str(make_tool(body))], 1.0).run()
    assert run.ending is Ending.TIMED_OUT
    deadline = time.monotonic() + 2
    while psutil.pid_exists(pid := int(pid_file.read_text())) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.02)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_output_without_end_is_cut_off(make_tool):
    run = Tool([str(make_tool("while True: os.write(1, b'x' * 65536)"))], 20.0).run()
    assert run.ending is Ending.TOO_MUCH
    assert len(run.output) <= MOST_BYTES + 65536


def test_a_stopped_tool_does_not_start_again(make_tool):
    tool = Tool([str(make_tool("print(1)"))], 5.0)
    tool.stop()
    assert tool.run().ending is Ending.STOPPED


def test_a_crash_is_not_a_machine_without_cards(make_source):
    source = make_source("import signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(SourceFailedError, match="ended with code -11"):
        source.probe()


def test_a_hanging_tool_does_not_outlive_a_program_killed_by_force(make_tool):
    tool = make_tool("import subprocess; subprocess.Popen(['setsid', 'sleep', '4321']).wait()")
    program = f"from splitrig.services.telemetry.tool import Tool\nTool([{str(tool)!r}], 60).run()"
    with subprocess.Popen([sys.executable, "-c", program], env=environment()) as started:
        me = psutil.Process(started.pid)
        wait_for(lambda: len(me.children(recursive=True)) >= 3)
        below = [p.pid for p in me.children(recursive=True)]
        started.kill()
        started.wait()
    seconds_until_gone(below)
