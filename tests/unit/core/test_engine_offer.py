"""Everything that is offered besides the best build, and why the best one is better."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.engine_choice import choose_asset, newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_offer import MOST_EARLIER, Offers, offers_of
from splitrig.core.engine_release import Asset, BuildBackend, Release, parse_releases
from splitrig.core.gpu import GpuInfo, Vendor

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases" / "releases.json"
RELEASES = parse_releases(RECORDED.read_bytes())
NVIDIA = GpuInfo(
    id="0", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, compute_capability="8.9",
    source="test",
)  # fmt: skip
AMD = GpuInfo(id="1", name="AMD Radeon RX 7900 XTX", vendor=Vendor.AMD, source="test")
LINUX = Machine(os="linux", arch="x64", glibc=(2, 39))


def offers(machine: Machine) -> Offers:
    return offers_of(RELEASES, newest_choice(RELEASES, machine), machine)


def flaws(found: Offers) -> dict[str, str | None]:
    return {offer.choice.asset.flavour: offer.flaw for offer in found.kinds}


def test_the_best_comes_first_then_its_siblings_then_other_releases() -> None:
    found = offers(replace(LINUX, cards=(NVIDIA,), cuda=(13, 4)))
    assert found.best.choice.asset.id == "b11118-cuda-13.4"
    assert found.best.flaw is None
    assert {offer.choice.release.tag for offer in found.kinds} == {"b11118"}
    assert [offer.choice.asset.id for offer in found.builds] == [
        "b10816-vulkan", "b6000-vulkan", "b4920-vulkan"
    ]  # fmt: skip


def test_what_does_not_use_the_cards_comes_last_and_says_so() -> None:
    found = offers(replace(LINUX, cards=(NVIDIA,), cuda=(13, 4)))
    says = flaws(found)
    assert [name for name, flaw in says.items() if flaw is None] == ["cuda-12.8", "vulkan"]
    assert list(says.values())[:2] == [None, None]
    assert says["rocm-10.0"] == "It uses none of the cards: it is for those of AMD."
    assert says["sycl-fp16"] == "It uses none of the cards: it is for those of Intel."
    assert says["cpu"] == "It uses none of the cards."


def test_what_may_not_run_says_why() -> None:
    says = flaws(offers(replace(LINUX, cards=(NVIDIA,), cuda=(12, 2))))
    assert says["cuda-13.4"] == (
        "It may not run: the driver offers CUDA 12.2, too little for 13.4."
    )
    mixed = flaws(offers(replace(LINUX, cards=(NVIDIA, AMD), cuda=(13, 4))))
    assert mixed["cuda-13.4"] is None
    assert mixed["rocm-10.0"] == (
        "It may not run: ROCm 10.0 would have to be installed and no ROCm is here."
    )


def test_another_kind_brings_its_own_libraries() -> None:
    found = offers(replace(LINUX, cards=(NVIDIA,), cuda=(13, 4)))
    kind = next(o for o in found.kinds if o.choice.asset.flavour == "cuda-12.8")
    assert [file.version for file in kind.choice.companions] == [(12, 8)]
    assert kind.choice.reason == "CUDA 12.8 instead of CUDA 13.4."
    assert found.best.choice.asset in kind.choice.alternatives
    assert kind.choice.asset not in kind.choice.alternatives


def test_files_without_a_checksum_are_named() -> None:
    found = offers(LINUX)
    assert found.best.unchecked == ()
    oldest = found.builds[-1]
    assert oldest.choice.release.tag == "b4920"
    assert oldest.unchecked == (oldest.choice.asset.name,)


def release(build: int, os: str = "linux") -> Release:
    asset = Asset(
        name=f"{build}", build=build, os=os, arch="x64", backend=BuildBackend.CPU, flavour="cpu",
        size_bytes=1, url="https://example.org/x",
    )  # fmt: skip
    return Release(tag=f"b{build}", assets=(asset,))


def test_other_releases_are_few_and_have_something_for_this_system() -> None:
    many = [*map(release, range(1, 20)), release(30, "windows"), Release(tag="v0.5.0")]
    found = offers_of(many, choose_asset(many[10], LINUX), LINUX)
    tags = [offer.choice.release.tag for offer in found.builds]
    assert tags == ["b19", "b18", "b17", "b16", "b15", "b14"]
    assert len(tags) == MOST_EARLIER


@pytest.mark.parametrize("machine", [LINUX, replace(LINUX, cards=(AMD,))])
def test_the_offers_of_a_release_are_all_its_builds_for_this_system(machine: Machine) -> None:
    found = offers(machine)
    of_release = [a for a in found.best.choice.release.assets if (a.os, a.arch) == ("linux", "x64")]
    offered = [found.best, *found.kinds]
    assert {offer.choice.asset for offer in offered} == set(of_release)
