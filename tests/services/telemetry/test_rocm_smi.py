import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from splitrig.core.gpu import Severity
from splitrig.services.telemetry.rocm_smi import ARGUMENTS, RocmSmiSource
from splitrig.services.telemetry.source import SourceFailedError
from splitrig.services.telemetry.tool import MOST_BYTES, Ending, Tool

RECORDED = Path(__file__).parents[2] / "recorded" / "telemetry"
MI100 = RECORDED / "rocm-smi_telegraf_mi100_rocm602.json"
RX6700 = RECORDED / "rocm-smi_telegraf_rx6700xt_rocm612.json"


def printing(path):
    return f"print(open({str(path)!r}).read())"


@pytest.fixture
def make_source(specs, make_tool, tmp_path):
    made = []

    def make(body, **values):
        values = {"interval_s": 5.0, "timeout_s": 5.0, "drm_root": tmp_path / "drm", **values}
        source = RocmSmiSource(specs, command=make_tool(body), **values)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def amd_card(root):
    (root / "card0" / "device").mkdir(parents=True)
    (root / "card0" / "device" / "vendor").write_text("0x1002\n")


def test_cards_and_readings_come_from_one_run(make_source, tmp_path):
    count = tmp_path / "count"
    source = make_source(f"open({str(count)!r}, 'a').write('x')\n{printing(MI100)}")
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


def test_an_old_reading_is_read_anew(make_source, tmp_path):
    output = tmp_path / "output.json"
    output.write_text(RX6700.read_text())
    source = make_source(printing(output), interval_s=0.01)
    source.probe()
    output.write_text(RX6700.read_text().replace('"GPU use (%)": "0"', '"GPU use (%)": "88"'))
    time.sleep(0.02)
    assert source.sample()["0000:07:00.0"].utilization_pct == 88.0


def test_other_cards_than_before_ask_for_a_probe(make_source, tmp_path):
    output = tmp_path / "output.json"
    output.write_text(RX6700.read_text())
    source = make_source(printing(output), interval_s=0.01)
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
    assert len(make_source(f"{printing(RX6700)}\nsys.exit(1)").probe()) == 1


@pytest.mark.parametrize("output", ["", "{}"])
def test_a_tool_without_cards_is_a_normal_state(make_source, output):
    source = make_source(f"print({output!r})")
    assert source.probe() == ()
    assert [(n.id, n.severity) for n in source.notes] == [("rocm-smi-empty", Severity.INFO)]


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


def test_a_tool_that_cannot_be_started_is_told(specs, tmp_path):
    broken = tmp_path / "rocm-smi"
    broken.write_text("no program")
    with pytest.raises(SourceFailedError, match="cannot be started"):
        RocmSmiSource(specs, command=broken).probe()


def test_the_tool_is_found_on_the_path(specs, make_tool, tmp_path, monkeypatch):
    make_tool(printing(RX6700))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert RocmSmiSource(specs).probe()[0].name == "AMD Radeon RX 6700 XT"


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
