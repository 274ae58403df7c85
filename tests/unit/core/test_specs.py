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
    assert len(TABLE.specs) == len(TEXT.splitlines()) - 1 == 138
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
