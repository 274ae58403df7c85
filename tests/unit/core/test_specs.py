import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.gpu import Vendor
from splitrig.core.specs import SpecTable, hex_digits, parse_specs
from splitrig.core.units import GIB
from splitrig.services.store.resources import resource

TEXT = resource("gpu_specs.csv").read_text(encoding="utf-8")
TABLE = parse_specs(TEXT)


def test_every_row_of_the_table_is_read():
    assert len(TABLE.specs) == len(TEXT.splitlines()) - 1 == 146
    assert {spec.vendor for spec in TABLE.specs} == {Vendor.NVIDIA, Vendor.AMD, Vendor.INTEL}


def test_a_row_carries_its_figures():
    spec = TABLE.by_name("NVIDIA GeForce RTX 4090")
    assert spec is not None
    assert (spec.vram_gib, spec.bandwidth_gbps, spec.bus_bits) == (24, 1008, 384)
    assert (spec.architecture, spec.compute_capability) == ("Ada Lovelace", "8.9")
    assert (spec.pcie_gen, spec.pcie_lanes, spec.bridge, spec.tdp_w) == (4, 16, "no", 450)


@pytest.mark.parametrize("spec", TABLE.specs, ids=lambda s: s.full_name)
def test_each_card_is_found_under_its_own_name(spec):
    assert TABLE.by_name(spec.full_name) is spec
    assert TABLE.by_name(spec.name.lower()) is spec


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("RTX 4090", "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", "GeForce RTX 4090 D"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "GeForce RTX 4070 Ti SUPER"),
        ("Tesla P40", "Tesla P40"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("AMD Radeon RX 7900 XTX", "Radeon RX 7900 XTX"),
        ("AMD Radeon RX 7900 XT", "Radeon RX 7900 XT"),
        ("Intel(R) Arc(TM) B580 Graphics", "Arc B580"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("a toaster", None),
        ("", None),
    ],
)
def test_names_as_drivers_spell_them(name, found):
    spec = TABLE.by_name(name)
    assert (spec and spec.name) == found


@pytest.mark.parametrize(
    ("gib", "found"), [(8, "GeForce RTX 4060 Ti 8GB"), (16, "GeForce RTX 4060 Ti 16GB")]
)
def test_memory_tells_variants_of_one_name_apart(gib, found):
    spec = TABLE.find(name="NVIDIA GeForce RTX 4060 Ti", vram_bytes=round(0.998 * gib * GIB))
    assert spec is not None
    assert spec.name == found


def test_an_ambiguous_name_is_not_guessed_but_a_person_gets_the_common_card():
    assert TABLE.find(name="NVIDIA GeForce RTX 3080") is None
    common = TABLE.by_name("NVIDIA GeForce RTX 3080")
    assert common is not None
    assert common.name == "GeForce RTX 3080 10GB"


def test_a_card_with_doubled_memory_keeps_its_bandwidth():
    spec = TABLE.find(name="NVIDIA GeForce RTX 2080 Ti", vram_bytes=22 * GIB)
    assert spec is not None
    assert spec.bandwidth_gbps == 616


@pytest.mark.parametrize(
    ("device_id", "revision", "found"),
    [
        ("0x73df", "0xc1", "Radeon RX 6700 XT"),
        ("73DF", "c0", "Radeon RX 6750 XT"),
        ("0x738c", "0x1", "Instinct MI100"),
        ("0x747e", "0xc8", "Radeon RX 7800 XT"),
        ("0x747e", "0xff", "Radeon RX 7700 XT"),
        ("0x73df", None, None),
        ("0xffff", None, None),
        ("N/A", "N/A", None),
    ],
)
def test_pci_ids_with_and_without_a_revision(device_id, revision, found):
    spec = TABLE.find(device_id=device_id, revision=revision)
    assert (spec and spec.name) == found


@pytest.mark.parametrize(
    ("name", "device_id", "gib"),
    [
        ("AMD Radeon RX 9060", "7590", 8),
        ("AMD Radeon RX 7700", "747e", 16),
        ("AMD Radeon 8050S", "1586", 64),
        ("AMD Radeon 8050S", "1586", None),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "2206", 16),
    ],
)
def test_a_card_that_is_not_in_the_table_is_not_taken_for_a_sibling(name, device_id, gib):
    vram_bytes = None if gib is None else gib * GIB
    assert TABLE.candidates(name=name, device_id=device_id, vram_bytes=vram_bytes) == ()


@pytest.mark.parametrize("spec", TABLE.specs, ids=lambda s: s.full_name)
def test_each_card_is_found_under_its_name_with_each_of_its_ids(spec):
    for device_id, revision in spec.pci_ids:
        assert spec in TABLE.candidates(
            name=spec.full_name, device_id=device_id, revision=revision,
            vram_bytes=round(spec.vram_gib * GIB),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "device_id", "revision", "gib", "found"),
    [
        (None, "747e", None, 16, "Radeon RX 7800 XT"),
        ("AMD Radeon Graphics", "744c", None, 24, "Radeon RX 7900 XTX"),
        ("AMD Radeon Graphics", "744c", None, 8, None),
        ("Radeon RX 7700 XT / 7800 XT", "747e", None, 16, "Radeon RX 7800 XT"),
        ("Radeon RX 6800/6800 XT / 6900 XT", "73bf", "c1", 16, "Radeon RX 6800 XT"),
        ("Radeon RX 6800/6800 XT / 6900 XT", None, None, 16, None),
        ("AMD Instinct MI60 / MI50", "66a1", None, 32, "Instinct MI50 32GB"),
        ("AMD Instinct MI250X / MI250", "7408", "00", 64, "Instinct MI250X (per GCD)"),
    ],
)
def test_the_id_decides_where_the_name_does_not_and_memory_must_fit(
    name, device_id, revision, gib, found
):
    vram_bytes = round(0.998 * gib * GIB)
    spec = TABLE.find(name=name, device_id=device_id, revision=revision, vram_bytes=vram_bytes)
    assert (spec and spec.name) == found


@pytest.mark.parametrize(
    ("name", "device_id", "gib", "found"),
    [
        ("NVIDIA GeForce RTX 4060 Ti", "2803", 8, "GeForce RTX 4060 Ti 8GB"),
        ("NVIDIA GeForce RTX 3060", "2ff0", 12, "GeForce RTX 3060 12GB"),  # an id not listed
        ("NVIDIA GeForce RTX 2080 Ti", "1e07", 22, "GeForce RTX 2080 Ti"),
        ("NVIDIA A100 80GB PCIe", "20b5", 80, "A100 PCIe 80GB"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "2757", 16, None),
        ("NVIDIA GeForce GTX 1060 6GB", "1b83", 6, "GeForce GTX 1060 6GB"),
        ("NVIDIA GeForce GTX 1080 Ti", "1b06", 11, "GeForce GTX 1080 Ti"),
        ("NVIDIA GeForce GTX 1660 Ti with Max-Q Design", "2191", 6, None),
    ],
)
def test_names_and_ids_of_nvidia_cards(name, device_id, gib, found):
    spec = TABLE.find(name=name, device_id=device_id, vram_bytes=round(0.998 * gib * GIB))
    assert (spec and spec.name) == found


@pytest.mark.parametrize(
    ("name", "gbps"),
    [("GTX 1060 6GB", 192), ("GTX 1070", 256), ("GTX 1070 Ti", 256), ("GTX 1080", 320),
     ("GTX 1650", 128), ("GTX 1660", 192), ("GTX 1660 SUPER", 336), ("GTX 1660 Ti", 288)],
)  # fmt: skip
def test_cards_of_the_ten_and_sixteen_series(name, gbps):
    spec = TABLE.find(name=f"NVIDIA GeForce {name}")
    assert spec is not None
    assert (spec.bandwidth_gbps, spec.pcie_gen, spec.pcie_lanes) == (gbps, 3, 16)


@pytest.mark.parametrize(
    ("text", "digits"),
    [("0x1", "01"), ("C1", "c1"), (" 0x0 ", "00"), ("", None), ("0x", None), ("red", None)],
)
def test_hex_is_normalised(text, digits):
    assert hex_digits(text, 2) == digits


@pytest.mark.parametrize("text", ["vendor,name\nNVIDIA,x\n", TEXT + "NVIDIA,broken\n"])
def test_a_damaged_table_is_refused(text):
    with pytest.raises(ValueError, match="table of cards"):
        parse_specs(text)


@given(st.text(), st.text(), st.text(), st.integers(0, 2**50))
def test_no_name_or_id_breaks_the_search(name, device_id, revision, vram_bytes):
    found = TABLE.candidates(
        name=name, device_id=device_id, revision=revision, vram_bytes=vram_bytes
    )
    assert isinstance(found, tuple)
    assert SpecTable(()).find(name=name) is None
