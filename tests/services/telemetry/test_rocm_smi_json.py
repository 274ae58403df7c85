import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from splitrig.core.gpu import Vendor
from splitrig.core.specs import parse_specs
from splitrig.services.store.resources import resource
from splitrig.services.telemetry.rocm_smi_json import parse_rocm_smi

RECORDED = Path(__file__).parents[2] / "recorded" / "telemetry"
SPECS = parse_specs(resource("gpu_specs.csv").read_text(encoding="utf-8"))


def parse(text):
    return parse_rocm_smi(text, SPECS)


def recorded(name):
    cards = parse((RECORDED / name).read_text(encoding="utf-8"))
    assert cards is not None
    assert [i.id for i in cards.infos] == [s.id for s in cards.samples]
    assert all(i.vendor is Vendor.AMD and i.source == "rocm-smi" for i in cards.infos)
    return cards


# name → (infos, samples), each as a tuple of the fields that differ; None means not reported.
INFO = ("id", "name", "pci", "vram_total_bytes", "compute_capability", "bandwidth_gbps",
        "integrated", "driver")  # fmt: skip
SAMPLE = ("vram_used_bytes", "utilization_pct", "power_w", "power_limit_w", "temperature_c",
          "fan_pct", "clock_sm_mhz", "clock_memory_mhz", "pcie_gen", "pcie_lanes")  # fmt: skip
SINGLE = {
    "beszel414_rocm-smi_7900xtx.json": (
        ("rocm-card0", "AMD GPU", None, 25753026560, None, None, False, None),
        (794341376, 0.0, 19.0, None, 49.0, None, None, None, None, None),
    ),
    "beszel_gputest_rocm-smi_680m_igpu.json": (
        ("rocm-34756", "AMD Radeon 680M", None, 536870912, "gfx1035", None, True, None),
        (445550592, 0.0, 28.159, None, 49.0, None, None, None, None, None),
    ),
    "marimo9237_rocm-smi_rx7900xt.json": (
        ("rocm-26967", "AMD Radeon RX 7900 XT", None, 21458059264, "gfx1100", 800.0, False, None),
        (27856896, 0.0, None, None, None, None, None, None, None, None),
    ),
    "rocm-smi_telegraf_rx6700xt_rocm430.json": (
        ("0000:07:00.0", "AMD GPU 0x73df", "0000:07:00.0", 12868124672, None, None, False, "6.3.6"),
        (1622728704, 0.0, 6.0, 211.0, 45.0, None, 500, 96, 4, 16),
    ),
    "rocm-smi_telegraf_rx6700xt_rocm571.json": (
        ("0000:07:00.0", "AMD Radeon RX 6700/6700 XT / 6800M", "0000:07:00.0", 12868124672, None,
         None, False, "6.3.6"),
        (1564491776, 0.0, 6.0, 211.0, 45.0, None, 500, 96, 4, 16),
    ),
    "rocm-smi_telegraf_rx6700xt_rocm612.json": (
        ("0000:07:00.0", "AMD Radeon RX 6700 XT", "0000:07:00.0", 12868124672, "gfx1031", 384.0,
         False, "6.3.6"),
        (1572745216, 0.0, 6.0, 211.0, 45.0, None, 0, 96, 4, 16),
    ),
    "rocm-smi_telegraf_vega-10-XT.json": (
        ("GPU-02150e7d042a1124", "AMD GPU 0x6861", "0000:04:00.0", 17163091968, None, None, False,
         "5.9.25"),
        (17776640, 0.0, 15.0, 170.0, 39.0, 13.0, 1269, 167, 3, 16),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_a_recorded_card_is_read_completely(name):
    cards = recorded(name)
    (info,), (sample,) = cards.infos, cards.samples
    expected_info, expected_sample = SINGLE[name]
    assert tuple(getattr(info, field) for field in INFO) == expected_info
    assert tuple(getattr(sample, field) for field in SAMPLE) == expected_sample
    assert sample.vram_total_bytes == info.vram_total_bytes


def test_four_recorded_mi100_are_told_apart():
    cards = recorded("rocm-smi_telegraf_mi100_rocm602.json")
    assert [i.pci for i in cards.infos] == [f"0000:{bus}:00.0" for bus in ("83", "a3", "c3", "e3")]
    assert [i.id for i in cards.infos] == [
        "GPU-79ccd55167a2124a", "GPU-04edfb117a17a07d", "GPU-d4a9ec48d03d261d",
        "GPU-1b9dd972253c3736",
    ]  # fmt: skip
    assert {i.name for i in cards.infos} == {"AMD Instinct MI100"}
    assert {(i.bandwidth_gbps, i.architecture) for i in cards.infos} == {(1229.0, "CDNA1")}
    assert [s.power_w for s in cards.samples] == [36.0, 44.0, 43.0, 39.0]
    assert [s.temperature_c for s in cards.samples] == [53.0, 55.0, 54.0, 51.0]
    assert {(s.power_limit_w, s.clock_memory_mhz) for s in cards.samples} == {(290.0, 1200)}


def test_every_recorded_json_has_its_expectation():
    files = {path.name for path in RECORDED.glob("*.json") if "rocm-smi" in path.name}
    assert files == {*SINGLE, "rocm-smi_telegraf_mi100_rocm602.json"}


def test_a_table_for_people_is_not_read():
    assert parse((RECORDED / "rocm5849_rocm-smi_concise_2gpu_rocm711.txt").read_text()) is None


def box(**values):
    return json.dumps({"card0": values})


def one(**values):
    cards = parse(box(**values))
    assert cards is not None
    return cards.infos[0], cards.samples[0]


@pytest.mark.parametrize(
    ("name", "device_id", "gib"),
    [("AMD Radeon RX 9060", "0x7590", 8), ("Navi 32 [Radeon RX 7700]", "0x747e", 16),
     ("AMD Radeon 8050S", "0x1586", 64)],
)  # fmt: skip
def test_a_card_without_a_row_keeps_its_own_name(name, device_id, gib):
    total = str(gib * 2**30)
    card, _ = one(**{"Card Series": name, "Device ID": device_id, "VRAM Total Memory (B)": total})
    assert card.name in (name, "AMD Radeon RX 7700")
    assert (card.bandwidth_gbps, card.architecture) == (None, None)


@pytest.mark.parametrize("key", ["GPU ID", "Device ID"])
@pytest.mark.parametrize(
    ("device_id", "integrated"),
    [("0x164e", True), ("0x1638", True), ("0x15BF", True), ("0x1586", True), ("0x73df", False)],
)
def test_before_gfx_versions_a_processors_graphics_is_known_by_its_id(key, device_id, integrated):
    card, _ = one(**{key: device_id})
    assert card.integrated is integrated


def test_warnings_before_the_json_are_skipped():
    noise = "WARNING: AMD GPU [0] is {in} a low-power state.\n[]{}\n"
    cards = parse(noise + box(**{"GPU use (%)": "7"}) + "\ntrailing [noise")
    assert cards is not None
    assert cards.samples[0].utilization_pct == 7.0


def test_both_power_labels_can_stand_in_one_box():
    text = json.dumps({
        "card0": {"Average Graphics Package Power (W)": "N/A",
                  "Current Socket Graphics Package Power (W)": "141.0"},
        "card1": {"Average Graphics Package Power (W)": "N/A (Secondary die)"},
        "card2": {"Average Graphics Package Power (W)": "88.5"},
    })  # fmt: skip
    cards = parse(text)
    assert cards is not None
    assert [s.power_w for s in cards.samples] == [141.0, None, 88.5]


def test_how_busy_the_memory_is_is_not_how_full_it_is():
    info, sample = one(**{"GPU memory use (%)": "93", "GPU Memory Allocated (VRAM%)": "12"})
    assert (info.vram_total_bytes, sample.vram_used_bytes) == (None, None)
    assert sample.utilization_pct is None


def test_junction_stands_in_for_a_missing_edge():
    _, sample = one(**{
        "Temperature (Sensor edge) (C)": "N/A",
        "Temperature (Sensor junction) (C)": "61.0",
        "Temperature (Sensor memory) (C)": "70.0",
    })  # fmt: skip
    assert sample.temperature_c == 61.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GPU use (%)", "-1"), ("GPU use (%)", "101"), ("GPU use (%)", "nan"),
        ("GPU use (%)", "N/A"), ("GPU use (%)", ""), ("GPU use (%)", None),
        ("GPU use (%)", ["7"]), ("GPU use (%)", True), ("GPU use (%)", "1e3"),
        ("Average Graphics Package Power (W)", "inf"),
        ("Average Graphics Package Power (W)", "9" * 400),
        ("VRAM Total Memory (B)", "-5"), ("VRAM Total Memory (B)", "24 GB"),
        ("VRAM Total Memory (B)", "0"), ("PCI Bus", "somewhere"), ("Unique ID", "0x0"),
        ("pcie clock level", "1 (999GT/s x999)"),
    ],
)  # fmt: skip
def test_nonsense_is_not_reported(key, value):
    plain_info, plain_sample = one()
    info, sample = one(**{key: value})
    assert (info, sample) == (plain_info, plain_sample)


def test_more_used_than_there_is_is_no_reading():
    info, sample = one(**{"VRAM Total Memory (B)": "100", "VRAM Total Used Memory (B)": "101"})
    assert (info.vram_total_bytes, sample.vram_used_bytes) == (100, None)


def test_partitions_of_one_card_keep_memory_of_their_own():
    half = {"PCI Bus": "0000:05:00.0", "VRAM Total Memory (B)": "1000"}
    cards = parse(json.dumps({"card0": half, "card1": half}))
    assert cards is not None
    assert [i.id for i in cards.infos] == ["0000:05:00.0", "0000:05:00.0/1"]


def test_the_system_box_is_no_card():
    cards = parse('{"system": {"Driver version": "6.3.6"}}')
    assert cards is not None
    assert cards.infos == ()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", "[" * 100_000, '{"a": ' * 50_000])
def test_what_is_no_output_of_rocm_smi_is_refused(text):
    assert parse(text) is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.sampled_from(sorted(
    {key for path in RECORDED.glob("*.json") for item in json.loads(path.read_text()).values()
     for key in item}
)) | st.text()  # fmt: skip
BOXES = st.dictionaries(KEYS, SCALARS | st.lists(SCALARS), max_size=12)
OUTPUT = st.dictionaries(
    st.from_regex(r"card\d{1,3}", fullmatch=True) | st.sampled_from(["system"]) | st.text(),
    BOXES | SCALARS,
    max_size=5,
)


def assert_sane(cards):
    assert len({i.id for i in cards.infos}) == len(cards.infos)
    for info, sample in zip(cards.infos, cards.samples, strict=True):
        assert info.id == sample.id
        assert info.name
        assert info.name.isprintable()
        assert info.id.isprintable()
        for value, most in (
            (sample.utilization_pct, 100), (sample.power_w, 5000), (sample.fan_pct, 200),
            (sample.clock_sm_mhz, 20000), (sample.pcie_lanes, 32), (sample.pcie_gen, 6),
        ):  # fmt: skip
            assert value is None or 0 <= value <= most
        if sample.vram_used_bytes is not None and sample.vram_total_bytes is not None:
            assert 0 <= sample.vram_used_bytes <= sample.vram_total_bytes


@given(st.text())
def test_any_text_is_survived(text):
    cards = parse(text)
    if cards is not None:
        assert_sane(cards)


@given(st.text(max_size=40), OUTPUT, st.text(max_size=40))
@example("", {"card0": {"Card Series": "\ud800"}}, "")
def test_any_json_with_noise_around_it_is_survived(before, output, after):
    cards = parse(before + json.dumps(output) + after)
    if cards is not None:
        assert_sane(cards)


@given(
    st.text(alphabet=st.characters(exclude_characters="{[")),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 100),
)
def test_good_numbers_come_through_exactly(noise, total, used, load):
    values = {
        "VRAM Total Memory (B)": str(total),
        "VRAM Total Used Memory (B)": str(used),
        "GPU use (%)": str(load),
    }
    cards = parse(noise + json.dumps({"card3": values}))
    assert cards is not None
    (sample,) = cards.samples
    assert sample.vram_total_bytes == (total or None)
    assert sample.vram_used_bytes == (used if used <= total or not total else None)
    assert sample.utilization_pct == load
