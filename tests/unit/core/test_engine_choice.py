"""Which build a machine gets, and why."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from splitrig.core.engine_choice import Choice, choose_asset, newest_choice
from splitrig.core.engine_fit import Machine, Version, machine_cards, why_not
from splitrig.core.engine_release import BuildBackend, Release, parse_releases
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Vendor

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases" / "releases.json"
RELEASES = {release.tag: release for release in parse_releases(RECORDED.read_bytes())}
NOW, WINDOWS_CAPTURE, ZIP_ERA = RELEASES["b11118"], RELEASES["b10816"], RELEASES["b6000"]
NUMBERS = count()


def card(name: str, vendor: Vendor, capability: str | None = None, **rest: bool) -> GpuInfo:
    return GpuInfo(
        id=f"gpu-{next(NUMBERS)}", name=name, vendor=vendor, compute_capability=capability,
        source="test", **rest,
    )  # fmt: skip


RTX_4090 = card("NVIDIA GeForce RTX 4090", Vendor.NVIDIA, "8.9")
RTX_3080 = card("NVIDIA GeForce RTX 3080", Vendor.NVIDIA, "8.6")
RTX_5090 = card("NVIDIA GeForce RTX 5090", Vendor.NVIDIA, "12.0")
RTX_2080 = card("NVIDIA GeForce RTX 2080 Ti", Vendor.NVIDIA, "7.5")
P40S = tuple(card("Tesla P40", Vendor.NVIDIA, "6.1") for _ in range(4))
K80 = card("Tesla K80", Vendor.NVIDIA, "3.7")
RX_7900 = card("AMD Radeon RX 7900 XTX", Vendor.AMD, "gfx1100")
RX_580 = card("AMD Radeon RX 580", Vendor.AMD, "gfx803")
ARC = card("Intel(R) Arc(TM) A770", Vendor.INTEL)
IGPU = card("AMD Radeon Graphics", Vendor.AMD, integrated=True)


def windows(*cards: GpuInfo, cuda: Version | None = None, rocm: Version | None = None) -> Machine:
    return Machine(os="windows", arch="x64", cards=cards, cuda=cuda, rocm=rocm)


def linux(
    *cards: GpuInfo,
    cuda: Version | None = None,
    rocm: Version | None = None,
    glibc: Version | None = (2, 39),
    arch: str = "x64",
) -> Machine:
    return Machine(os="linux", arch=arch, cards=cards, cuda=cuda, rocm=rocm, glibc=glibc)


@pytest.mark.parametrize(
    ("machine", "flavour", "reason"),
    [
        # NVIDIA on Windows: the CUDA of the driver, with its libraries
        (windows(RTX_4090, cuda=(13, 4)), "cuda-13.4",
         "CUDA 13.4 for RTX 4090: the driver offers CUDA 13.4."),
        (windows(RTX_4090, RTX_3080, cuda=(12, 8)), "cuda-12.4",
         "CUDA 12.4 for RTX 4090 and RTX 3080: the driver offers CUDA 12.8, too little for 13.4."),
        # code that is compiled for the card needs no newer driver of the same CUDA …
        (windows(RTX_4090, cuda=(12, 2)), "cuda-12.4", "too little for 13.4"),
        (windows(RTX_5090, cuda=(13, 0)), "cuda-13.4",
         "the driver offers CUDA 13.0 and this build is compiled for the cards"),
        # … code that the driver has to translate does
        (windows(RTX_2080, cuda=(12, 2)), "vulkan",
         "Vulkan for RTX 2080 Ti: the driver offers CUDA 12.2, too little for 12.4."),
        (windows(RTX_2080, RTX_4090, cuda=(13, 2)), "cuda-12.4", "too little for 13.4"),
        (windows(*P40S, cuda=(13, 0)), "cuda-12.4",
         "4 × Tesla P40: CUDA 13.4 leaves out compute capability 6.1 (Tesla P40)."),
        (windows(K80, cuda=(11, 4)), "vulkan", "leaves out compute capability 3.7"),
        (windows(RTX_4090), "cuda-12.4", "whether the driver runs CUDA 13.4 is not known"),
        (windows(RTX_4090, cuda=(11, 8)), "vulkan", "too little for 12.4"),
        # NVIDIA on Linux: CUDA where the system is new enough, Vulkan otherwise
        (linux(RTX_4090, RTX_3080, cuda=(13, 0)), "cuda-12.8", "the driver offers CUDA 13.0"),
        (linux(RTX_4090, cuda=(13, 4)), "cuda-13.4", "the driver offers CUDA 13.4"),
        (linux(*P40S, cuda=(13, 4)), "cuda-12.8", "leaves out compute capability 6.1"),
        (linux(RTX_4090, cuda=(13, 0), glibc=(2, 36)), "vulkan",
         "Vulkan for RTX 4090: CUDA 12.8 needs glibc 2.38 and this system has 2.36."),
        (linux(RTX_4090, cuda=(13, 4), arch="arm64"), "cuda-13.4", "offers CUDA 13.4"),
        # AMD
        (windows(RX_7900), "vulkan", "ROCm 10.0 would have to be installed and no ROCm is here"),
        (windows(RX_7900, rocm=(7, 2)), "vulkan", "have to be installed and ROCm 7.2 is here"),
        (windows(RX_7900, rocm=(10, 1)), "rocm-10.0", "ROCm 10.1 is installed"),
        (linux(RX_7900), "vulkan", "no ROCm is here"),
        (linux(RX_7900, rocm=(10, 0)), "vulkan", "it runs with the driver that is there"),
        # others
        (linux(ARC), "vulkan", "it runs with the cards' own driver"),
        (linux(RTX_4090, RX_7900, cuda=(13, 4)), "vulkan",
         "Vulkan for RTX 4090 and RX 7900 XTX: only Vulkan drives cards of AMD and NVIDIA"),
        (linux(), "cpu", "CPU: no graphics card was found."),
        (windows(), "cpu", "no graphics card"),
        (Machine(os="windows", arch="arm64", cards=(ARC,)), "cpu", "no build for Arc"),
        (Machine(os="macos", arch="arm64"), "metal", "Mac"),
        (Machine(os="macos", arch="x64"), "cpu", "no graphics card"),
    ],
)  # fmt: skip
def test_the_build_of_today_for(machine: Machine, flavour: str, reason: str) -> None:
    choice = choose_asset(NOW, machine)
    assert choice.asset.flavour == flavour
    assert reason in choice.reason
    assert choice.reason.endswith(".")
    assert (choice.asset.os, choice.asset.arch) == (machine.os, machine.arch)
    assert [c.version for c in choice.companions] == (
        [choice.asset.version] if choice.asset.backend is BuildBackend.CUDA else []
    )
    assert choice.asset not in choice.alternatives
    assert choice.size_bytes == sum(f.size_bytes for f in (choice.asset, *choice.companions))


def test_before_september_2026_there_was_no_cuda_for_linux() -> None:
    choice = choose_asset(WINDOWS_CAPTURE, linux(RTX_4090, cuda=(13, 4)))
    assert choice.asset.flavour == "vulkan"
    assert "this release has no CUDA build for this system" in choice.reason


def test_the_old_build_for_amd_on_windows_brings_its_libraries() -> None:
    choice = choose_asset(ZIP_ERA, windows(RX_7900))
    assert choice.asset.flavour == "hip-radeon"
    assert "HIP for RX 7900 XTX" in choice.reason


def test_an_amd_chip_that_no_build_holds_code_for_gets_vulkan() -> None:
    choice = choose_asset(NOW, windows(RX_580, rocm=(10, 0)))
    assert choice.asset.flavour == "vulkan"
    assert "no code for gfx803 (RX 580)" in choice.reason


def test_a_graphics_part_of_the_processor_does_not_decide() -> None:
    assert machine_cards([RTX_4090, IGPU]) == (RTX_4090,)
    assert machine_cards([IGPU]) == (IGPU,)
    assert machine_cards([]) == ()


def test_cuda_without_its_libraries_is_said() -> None:
    bare = replace(NOW, runtimes=())
    choice = choose_asset(bare, windows(RTX_4090, cuda=(13, 4)))
    assert choice.companions == ()
    assert "must be installed" in choice.reason


def test_a_system_too_old_for_every_build_is_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"needs glibc 2\.\d+ and this system has 2\.31"):
        choose_asset(NOW, linux(glibc=(2, 31)))


def test_an_unknown_c_library_is_left_to_the_trial() -> None:
    assert choose_asset(NOW, linux(RTX_4090, cuda=(13, 4), glibc=None)).asset.flavour == "cuda-13.4"


def test_a_system_without_builds_is_named() -> None:
    with pytest.raises(EngineError, match="b11118 has no build for Linux on riscv64"):
        choose_asset(NOW, linux(arch="riscv64"))
    with pytest.raises(EngineError, match=r"v0.5.0 only points at a build"):
        choose_asset(RELEASES["v0.5.0"], linux())


def wanted(flavour: str, machine: Machine) -> Choice:
    return choose_asset(NOW, machine, flavour)


def test_what_is_asked_for_is_taken() -> None:
    assert wanted("cpu", linux(RTX_4090, cuda=(13, 4))).asset.flavour == "cpu"
    assert wanted("cuda-12.4", windows(RTX_4090, cuda=(13, 4))).asset.flavour == "cuda-12.4"
    assert wanted("cuda", windows(RTX_4090, cuda=(12, 8))).asset.flavour == "cuda-12.4"
    assert wanted("rocm", linux(RX_7900, rocm=(10, 0))).reason == "rocm-10.0 was asked for."
    assert wanted("sycl", linux(ARC)).asset.backend is BuildBackend.SYCL
    assert wanted("cuda", windows(RTX_4090, cuda=(13, 4))).companions


def test_what_is_asked_for_and_may_not_run_is_said() -> None:
    choice = wanted("cuda", linux(RTX_4090, cuda=(13, 0), glibc=(2, 36)))
    assert "It may not run: CUDA 12.8 needs glibc 2.38" in choice.reason


def test_what_is_not_offered_is_named_with_what_is() -> None:
    with pytest.raises(EngineError, match="no metal build for Linux on x64") as raised:
        wanted("metal", linux())
    assert "vulkan" in raised.value.hint


def trimmed(tag: str, *flavours: str) -> Release:
    """The release of today under another name with only these builds for Linux."""
    assets = tuple(a for a in NOW.assets if a.os == "linux" and a.flavour in flavours)
    return replace(NOW, tag=tag, assets=assets)


def test_the_newest_release_that_has_the_best_build_is_taken() -> None:
    machine = linux(RTX_4090, cuda=(13, 4))
    uploading = trimmed("b11130", "cpu", "vulkan")
    releases = [RELEASES["v0.5.0"], WINDOWS_CAPTURE, uploading, NOW]
    assert newest_choice(releases, machine).release.tag == "b11118"
    assert newest_choice(releases, machine, "vulkan").release.tag == "b11130"
    assert newest_choice(releases, linux()).release.tag == "b11130"


def test_without_any_build_the_reason_is_told() -> None:
    with pytest.raises(EngineError, match="riscv64"):
        newest_choice([NOW], linux(arch="riscv64"))
    with pytest.raises(EngineError, match="lists no llama"):
        newest_choice([RELEASES["v0.5.0"]], linux())


def test_a_build_that_fits_has_no_reason_against_it() -> None:
    vulkan = next(a for a in NOW.assets if (a.os, a.flavour) == ("linux", "vulkan"))
    assert why_not(vulkan, linux(RTX_4090)) is None
