import pytest

from splitrig.core.gpu import GpuSample
from splitrig.services.telemetry import amdgpu_sysfs as sysfs

HWMON = "hwmon/hwmon4"


@pytest.fixture
def vega(sysfs_tree):
    return sysfs_tree("vega56") / "card0" / "device"


@pytest.mark.parametrize(
    ("name", "pci", "expected"),
    [
        ("vega56", "0000:0b:00.0",
         {"vram_total_bytes": 8573157376, "vram_used_bytes": 16613376, "utilization_pct": 0.0,
          "power_w": 8.0, "temperature_c": 38.0}),
        ("strixpoint", "0000:c1:00.0",
         {"vram_total_bytes": 536870912, "vram_used_bytes": 514580480, "utilization_pct": 3.0,
          "power_w": 9.087, "temperature_c": 38.0}),
    ],
)  # fmt: skip
def test_a_recorded_card_is_found_and_read(sysfs_tree, name, pci, expected):
    devices = sysfs.devices_by_pci(sysfs_tree(name))
    assert list(devices) == [pci]
    assert sysfs.read_sample("a", devices[pci]) == GpuSample(id="a", **expected)
    assert sysfs.vram_total_bytes(devices[pci]) == expected["vram_total_bytes"]
    assert not sysfs.is_suspended(devices[pci])


def test_cards_of_other_makers_are_left_out(vega):
    (vega / "vendor").write_text("0x10de\n")
    assert sysfs.devices_by_pci(vega.parents[1]) == {}


def test_without_uevent_the_link_tells_the_address(sysfs_tree, tmp_path):
    card = sysfs_tree("vega56") / "card0"
    (card / "device" / "uevent").unlink()
    folder = tmp_path / "0000:0c:00.0"
    (card / "device").rename(folder)
    (card / "device").symlink_to(folder)
    assert list(sysfs.devices_by_pci(card.parent)) == ["0000:0c:00.0"]


def test_absent_and_refused_files_are_not_reported(vega):
    (vega / HWMON / "power1_average").unlink()
    (vega / HWMON / "temp1_input").unlink()
    # Reading a folder fails as a file does that the kernel refuses.
    for name in ("mem_info_vram_used", "gpu_busy_percent"):
        (vega / name).unlink()
        (vega / name).mkdir()
    assert sysfs.read_sample("a", vega) == GpuSample(id="a", vram_total_bytes=8573157376)


def test_power_now_stands_in_for_average_power(vega):
    (vega / HWMON / "power1_average").rename(vega / HWMON / "power1_input")
    assert sysfs.read_sample("a", vega).power_w == 8.0


def test_padding_is_no_part_of_a_number(vega):
    (vega / "gpu_busy_percent").write_bytes(b"97\n\0\0\0")
    assert sysfs.read_sample("a", vega).utilization_pct == 97.0


@pytest.mark.parametrize(
    ("file", "text", "field"),
    [
        ("gpu_busy_percent", "101", "utilization_pct"),
        ("gpu_busy_percent", "-1", "utilization_pct"),
        ("gpu_busy_percent", "", "utilization_pct"),
        ("mem_info_vram_used", "8573157377", "vram_used_bytes"),
        ("mem_info_vram_used", "many", "vram_used_bytes"),
        (f"{HWMON}/power1_average", "9" * 40, "power_w"),
        (f"{HWMON}/power1_average", "6000000000", "power_w"),
        (f"{HWMON}/temp1_input", "-273150", "temperature_c"),
        (f"{HWMON}/temp1_input", "\N{SUPERSCRIPT TWO}", "temperature_c"),
    ],
)
def test_nonsense_is_not_reported(vega, file, text, field):
    (vega / file).write_text(text)
    assert getattr(sysfs.read_sample("a", vega), field) is None


def test_a_card_below_zero_is_read(vega):
    (vega / HWMON / "temp1_input").write_text("-5000\n")
    assert sysfs.read_sample("a", vega).temperature_c == -5.0


def test_a_sleeping_card_is_known_as_such(vega):
    (vega / "power" / "runtime_status").write_text("suspended\n")
    assert sysfs.is_suspended(vega)
