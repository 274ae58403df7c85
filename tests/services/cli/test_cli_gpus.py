import json
import sys
from pathlib import Path

import pytest
from tests.fakes.nvml import fake_nvml
from tests.fakes.rocm_smi import script
from tests.services.cli.run_cli import splitrig

RECORDED = Path(__file__).parents[2] / "recorded" / "telemetry"
CONTRACT = {
    "id", "pci", "vendor", "name", "vram_total_bytes", "vram_used_bytes", "utilization_pct",
    "power_w", "power_limit_w", "temperature_c",
}  # fmt: skip


@pytest.fixture
def gpus(tmp_path):
    """Run `splitrig gpus` beside a fake NVIDIA driver and a rocm-smi of a few lines of Python."""

    def run(*arguments, scenario=fake_nvml.DRIVER_ABSENT, rocm_smi=None):
        env = fake_nvml.environment(tmp_path / "nvml", scenario)
        tools = tmp_path / "tools"
        tools.mkdir()
        if rocm_smi is not None:
            tool = tools / "rocm-smi"
            tool.write_text(f"#!{sys.executable}\nimport time\n{rocm_smi}\n")
            tool.chmod(0o755)
        (tmp_path / "drm").mkdir(exist_ok=True)
        root = ("--sysfs-root", str(tmp_path / "drm"))
        return splitrig("gpus", *root, *arguments, PATH=f"{tools}:/usr/bin:/bin", **env)

    return run


def test_json_keeps_the_contract(gpus):
    run = gpus("--json", scenario=fake_nvml.MIXED)
    assert run.returncode == 0
    found = json.loads(run.stdout)
    first, second = found["gpus"]
    assert set(first) >= CONTRACT
    assert (first["name"], first["vendor"], first["pci"]) == (
        "NVIDIA GeForce RTX 4090", "NVIDIA", "0000:01:00.0",
    )  # fmt: skip
    assert first["vram_total_bytes"] == 24564 * 2**20
    assert first["vram_used_bytes"] == 858 * 2**20
    assert (first["power_w"], first["power_limit_w"]) == (24.15, 450.0)
    assert first["limits"] == ["idle"]
    assert second["temperature_c"] == 38.0
    assert {note["id"] for note in found["notes"]} >= {"vram-mismatch", "bandwidth-mismatch"}
    assert found["demo"] is False


def test_unreported_values_are_null(gpus):
    recorded = RECORDED / "marimo9237_rocm-smi_rx7900xt.json"
    run = gpus("--json", rocm_smi=script(recorded))
    (card,) = json.loads(run.stdout)["gpus"]
    assert set(card) >= CONTRACT
    assert card["name"] == "AMD Radeon RX 7900 XT"
    assert card["power_w"] is card["temperature_c"] is card["pci"] is None


def test_the_table_is_aligned_and_shows_what_limits(gpus):
    run = gpus("--source", "nvml", scenario=fake_nvml.changed(1, load=97, reasons=4, gen=4))
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert lines[0].split() == [
        "Card", "PCI", "VRAM", "GiB", "Load", "%", "Power", "W", "°C", "Fan", "%", "PCIe", "Limit",
    ]  # fmt: skip
    assert "RTX 4090" in lines[1]
    assert "0.8 / 24.0" in lines[1]
    assert lines[2].split()[-2:] == ["power", "limit"]
    assert len({line.index("0000:") for line in lines[1:3]}) == 1
    assert "! 14.0 GiB stay unused" in run.stdout


def test_a_machine_without_cards_is_normal(gpus):
    run = gpus()
    assert run.returncode == 0
    assert run.stdout.startswith("No usable graphics card was found.")
    assert "No NVIDIA driver was found." in run.stdout
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("vendor", "mib", "code", "sentence"),
    [
        ("0x1002", 512, 0, "The only AMD graphics is the processor's own."),
        ("0x1002", 8176, 1, "! An AMD card is built in, but rocm-smi was not found."),
        ("0x10de", None, 1, "! An NVIDIA card is built in, but its driver was not found."),
    ],
)
def test_a_card_nobody_can_read_is_a_warning(gpus, tmp_path, vendor, mib, code, sentence):
    device = tmp_path / "drm" / "card0" / "device"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    if mib is not None:
        (device / "mem_info_vram_total").write_text(f"{mib * 2**20}\n")
    run = gpus()
    assert run.returncode == code
    assert sentence in run.stdout


def test_a_machine_without_cards_is_an_empty_list_in_json(gpus):
    run = gpus("--json")
    assert run.returncode == 0
    assert json.loads(run.stdout)["gpus"] == []


def test_the_demo_rig_is_marked(gpus):
    run = gpus("--source", "demo")
    assert run.returncode == 0
    assert "made up" in run.stdout
    assert "RTX 3080" in run.stdout


def test_a_driver_mismatch_asks_for_a_restart(gpus):
    run = gpus(scenario=fake_nvml.DRIVER_MISMATCH)
    assert run.returncode == 1
    assert "Restart the machine; the cards are then seen again." in run.stdout


def test_a_lost_card_is_told_of_beside_the_others(gpus):
    run = gpus(scenario=fake_nvml.ONE_LOST)
    assert run.returncode == 0
    assert "RTX 4090" in run.stdout
    assert "1 of 2 NVIDIA cards does not answer." in run.stdout


@pytest.mark.parametrize(
    ("rocm_smi", "sentence"),
    [
        ("print('garbage [{')", "rocm-smi printed something else than readings."),
        ("time.sleep(60)", "rocm-smi did not answer within 10 s."),
    ],
    ids=["garbage", "hanging"],
)
def test_a_broken_rocm_smi_is_one_sentence_and_no_traceback(gpus, rocm_smi, sentence):
    run = gpus("--source", "rocm-smi", rocm_smi=rocm_smi)
    assert run.returncode == 1
    assert sentence in run.stdout
    assert run.stderr == ""


def test_a_broken_rocm_smi_does_not_hide_nvidia_cards(gpus):
    run = gpus("--json", scenario=fake_nvml.TWO_EQUAL, rocm_smi="print('garbage')")
    assert run.returncode == 0
    found = json.loads(run.stdout)
    assert len(found["gpus"]) == 2
    assert [note["id"] for note in found["notes"]] == ["rocm-smi-garbage"]


@pytest.mark.parametrize("name", ["sysfs", "amd-smi", "intel", "windows"])
def test_a_source_that_comes_later_says_so(name):
    run = splitrig("gpus", "--source", name)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert "does not work yet" in run.stderr
