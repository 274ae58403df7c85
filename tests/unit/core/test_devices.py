"""Cards and the engine's devices: by identity, in whatever order each side lists them."""

from dataclasses import replace

import pytest

from splitrig.core.devices import MatchedBy, backend_of, match_devices, normal_pci
from splitrig.core.engine import EngineDevice
from splitrig.core.footprint import Backend
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.units import GIB


def card(name: str, pci: str | None, gib: float, *, vendor: Vendor = Vendor.NVIDIA) -> GpuInfo:
    return GpuInfo(
        id=f"GPU-{pci or name}", uuid=f"GPU-{pci}" if pci else None, name=name, vendor=vendor,
        pci=pci, vram_total_bytes=round(gib * GIB), source="nvml",
    )  # fmt: skip


def found(name: str, description: str, gib: float, pci: str | None = None) -> EngineDevice:
    total = round(gib * GIB)
    return EngineDevice(
        name=name, description=description, total_bytes=total, free_bytes=total, pci=pci
    )


BIG = card("NVIDIA GeForce RTX 4090", "0000:01:00.0", 24)
OLD = card("NVIDIA GeForce RTX 3080", "0000:05:00.0", 10)
TWIN_A = card("Tesla P40", "0000:01:00.0", 24)
TWIN_B = card("Tesla P40", "0000:02:00.0", 24)


def test_the_engines_order_reversed_against_the_drivers_still_pairs_each_card() -> None:
    devices = (
        found("CUDA0", "NVIDIA GeForce RTX 3080", 9.6, "0000:05:00.0"),
        found("CUDA1", "NVIDIA GeForce RTX 4090", 23.5, "0000:01:00.0"),
    )
    result = match_devices((BIG, OLD), devices)
    assert [(m.gpu_id, m.device.name, m.by) for m in result.matches] == [
        (BIG.id, "CUDA1", MatchedBy.PCI),
        (OLD.id, "CUDA0", MatchedBy.PCI),
    ]
    assert result.unmatched_gpus == {}
    assert result.unused_devices == {}


def test_equal_cards_are_told_apart_by_their_address() -> None:
    devices = (
        found("CUDA0", "Tesla P40", 24, "0000:02:00.0"),
        found("CUDA1", "Tesla P40", 24, "0000:01:00.0"),
    )
    result = match_devices((TWIN_A, TWIN_B), devices)
    assert [m.device.name for m in result.matches] == ["CUDA1", "CUDA0"]


def test_equal_cards_without_an_address_are_never_paired_by_position() -> None:
    devices = (found("Vulkan0", "Tesla P40", 24), found("Vulkan1", "Tesla P40", 24))
    result = match_devices((TWIN_A, TWIN_B), devices)
    assert result.matches == ()
    assert set(result.unused_devices.values()) == {"it cannot be told apart from an equal card"}
    assert "which of the equal cards" in result.unmatched_gpus[TWIN_A.id]


def test_one_device_for_one_of_two_equal_cards_is_not_guessed() -> None:
    result = match_devices((TWIN_A, TWIN_B), (found("Vulkan0", "Tesla P40", 24),))
    assert result.matches == ()


def test_two_equal_devices_for_one_card_are_not_guessed() -> None:
    devices = (found("Vulkan0", "Tesla P40", 24), found("Vulkan1", "Tesla P40", 24))
    assert match_devices((TWIN_A,), devices).matches == ()


def test_the_order_of_uuids_given_to_cuda_identifies_equal_cards() -> None:
    devices = (found("CUDA0", "Tesla P40", 24), found("CUDA1", "Tesla P40", 24))
    order = (TWIN_B.uuid or "", TWIN_A.uuid or "")
    result = match_devices((TWIN_A, TWIN_B), devices, cuda_order=order)
    assert [(m.device.name, m.by) for m in result.matches] == [
        ("CUDA1", MatchedBy.UUID),
        ("CUDA0", MatchedBy.UUID),
    ]


def test_a_device_beyond_the_order_of_uuids_falls_back_to_its_name() -> None:
    devices = (found("CUDA1", "NVIDIA GeForce RTX 4090", 24),)
    result = match_devices((BIG,), devices, cuda_order=("GPU-other",))
    assert [m.by for m in result.matches] == [MatchedBy.NAME]


def test_cuda_and_vulkan_of_one_card_are_one_card_and_cuda_is_taken() -> None:
    devices = (
        found("Vulkan0", "NVIDIA GeForce RTX 4090", 24, "0000:01:00.0"),
        found("CUDA0", "NVIDIA GeForce RTX 4090", 23.5, "0000:01:00.0"),
    )
    result = match_devices((BIG,), devices)
    assert [m.device.name for m in result.matches] == ["CUDA0"]
    assert result.unused_devices == {"Vulkan0": "the same card as CUDA0"}


def test_two_vulkan_drivers_of_one_card_are_one_card() -> None:
    radeon = card("AMD Radeon RX 7900 XTX", "0000:03:00.0", 24, vendor=Vendor.AMD)
    devices = (
        found("Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", 24, "0000:03:00.0"),
        found("Vulkan1", "AMD Radeon RX 7900 XTX", 24, "0000:03:00.0"),
    )
    result = match_devices((radeon,), devices)
    assert [m.device.name for m in result.matches] == ["Vulkan0"]
    assert result.unused_devices == {"Vulkan1": "the same card as Vulkan0"}


def test_a_device_without_address_of_a_card_already_found_is_that_card() -> None:
    devices = (
        found("CUDA0", "NVIDIA GeForce RTX 4090", 23.5, "0000:01:00.0"),
        found("Vulkan0", "NVIDIA GeForce RTX 4090", 24),
    )
    result = match_devices((BIG,), devices)
    assert result.unused_devices == {"Vulkan0": "the same card as CUDA0"}


def test_software_devices_and_other_machines_are_left_out_with_the_reason() -> None:
    devices = (
        found("Vulkan0", "llvmpipe (LLVM 15.0.6, 256 bits)", 2),
        found("RPC0", "192.168.1.5:50052", 24),
    )
    result = match_devices((BIG,), devices)
    assert result.matches == ()
    assert result.unused_devices == {
        "Vulkan0": "software on the processor, not a card",
        "RPC0": "not a card of this machine",
    }
    assert "sees no card at all" in result.unmatched_gpus[BIG.id]


def test_a_unique_name_and_memory_is_the_last_resort_and_says_so() -> None:
    devices = (
        found("Vulkan0", "NVIDIA GeForce RTX 3080", 10),
        found("Vulkan1", "NVIDIA GeForce RTX 4090", 24),
    )
    result = match_devices((BIG, OLD), devices)
    assert [(m.device.name, m.by) for m in result.matches] == [
        ("Vulkan1", MatchedBy.NAME),
        ("Vulkan0", MatchedBy.NAME),
    ]


def test_the_same_name_with_other_memory_is_another_card() -> None:
    small = card("NVIDIA GeForce RTX 3080", "0000:05:00.0", 10)
    result = match_devices((small,), (found("Vulkan0", "NVIDIA GeForce RTX 3080", 12),))
    assert result.matches == ()
    assert result.unused_devices == {"Vulkan0": "no known card has its name and memory"}


def test_a_card_whose_memory_is_not_reported_can_match_by_name() -> None:
    unknown = replace(OLD, vram_total_bytes=None)
    assert match_devices((unknown,), (found("Vulkan0", OLD.name, 10),)).device(OLD.id) is not None


def test_a_device_at_an_address_without_a_known_card_is_told() -> None:
    devices = (found("CUDA0", "NVIDIA GeForce RTX 4090", 24, "0000:09:00.0"),)
    result = match_devices((BIG,), devices)
    assert result.unused_devices == {"CUDA0": "no card at 0000:09:00.0 is known"}
    assert result.device(BIG.id) is None


def test_a_card_the_engine_does_not_see_has_a_reason() -> None:
    devices = (found("CUDA0", "NVIDIA GeForce RTX 4090", 24, "0000:01:00.0"),)
    result = match_devices((BIG, OLD), devices)
    assert list(result.unmatched_gpus) == [OLD.id]
    assert "does not see this card" in result.unmatched_gpus[OLD.id]


def test_no_cards_and_no_devices_are_a_normal_outcome() -> None:
    result = match_devices((), ())
    assert result.matches == ()
    assert result.unmatched_gpus == {}


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("0000:0A:00.1", "0000:0a:00.1"),
        ("01:00.0", "0000:01:00.0"),
        ("01:00", "0000:01:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("unknown id", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_of_every_tool_become_one_form(address: str | None, normal: str | None) -> None:
    assert normal_pci(address) == normal


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("CUDA3", Backend.CUDA),
        ("ROCm0", Backend.ROCM),
        ("Vulkan1", Backend.VULKAN),
        ("RPC0", Backend.RPC),
    ],
)
def test_a_device_name_tells_the_backend(name: str, backend: Backend) -> None:
    assert backend_of(name) is backend
