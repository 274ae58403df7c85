"""llama.cpp builds in words."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.engine import EngineDevice
from splitrig.core.engine_build import Build, Ready, Source
from splitrig.core.engine_choice import newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress, Step
from splitrig.core.engine_release import parse_releases
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.units import MIB
from splitrig.views.settings.build_wording import (
    choice_text,
    facts_text,
    flavour_text,
    id_text,
    left_text,
    note_text,
    progress_text,
    ready_words,
    steps_of,
    title_text,
)

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases" / "releases.json"
PATH = Path("/opt/llama/llama-server")
CARDS = tuple(
    EngineDevice(name=name, description=card, total_bytes=0, free_bytes=0)
    for name, card in (
        ("CUDA0", "NVIDIA GeForce RTX 4090"), ("CUDA1", "Tesla P40"), ("CUDA2", "Tesla P40")
    )
)  # fmt: skip
FETCHED = Build(
    path=PATH, source=Source.DOWNLOADED, id="b11118-cuda-13.4", flavour="cuda-13.4",
    build="b11118", asked=True, devices=CARDS, checked=True, size_bytes=700 * MIB,
)  # fmt: skip
READY = Ready(id="b11118-cuda-13.4", path=PATH, devices=CARDS, n_cards=3, fresh=True, checked=True)


@pytest.mark.parametrize(
    ("flavour", "text"),
    [
        ("cpu", "CPU"),
        ("cuda-13.4", "CUDA 13.4"),
        ("vulkan", "Vulkan"),
        ("hip-radeon", "HIP"),
        ("rocm-10.0", "ROCm 10.0"),
        ("sycl-fp16", "SYCL FP16"),
        ("openvino-2026.4", "OpenVINO 2026.4"),
        ("opencl-adreno", "OpenCL Adreno"),
        ("metal", "Metal"),
        ("abacus-2", "abacus 2"),
    ],
)
def test_flavours_are_written_as_their_makers_do(flavour: str, text: str) -> None:
    assert flavour_text(flavour) == text
    assert id_text(f"b11118-{flavour}") == f"b11118 · {text}"


def test_every_flavour_of_the_recorded_releases_has_a_name() -> None:
    releases = parse_releases(RECORDED.read_bytes())
    flavours = {asset.flavour for release in releases for asset in release.assets}
    assert len(flavours) > 8
    for flavour in flavours:
        assert not flavour_text(flavour)[0].islower(), flavour


def test_a_download_says_what_it_sees() -> None:
    assert title_text(FETCHED) == "b11118 · CUDA 13.4"
    assert note_text(FETCHED) == "Downloaded · sees RTX 4090 and 2 × Tesla P40"
    assert note_text(replace(FETCHED, checked=False)).startswith(
        "Downloaded, checksum not compared · "
    )
    assert note_text(replace(FETCHED, devices=())) == "Downloaded · sees no card"
    assert note_text(replace(FETCHED, asked=False, devices=None)) == (
        "Downloaded · being asked which cards it sees"
    )
    assert note_text(replace(FETCHED, devices=None)) == (
        "Downloaded · asked for its cards when no engine runs"
    )
    assert note_text(replace(FETCHED, error=EngineError("no"), devices=None)) == "Downloaded"
    assert note_text(replace(FETCHED, damaged=True)) == "Not whole, and can only be removed."


def test_others_are_called_by_what_they_said_and_where_they_are() -> None:
    own = Build(path=PATH, source=Source.CHOSEN, build="b9000", asked=True, devices=CARDS)
    assert title_text(own) == "b9000 · CUDA"
    assert note_text(own) == f"Your file · sees RTX 4090 and 2 × Tesla P40 · {PATH}"
    assert title_text(replace(own, devices=())) == "b9000"
    assert title_text(Build(path=PATH, source=Source.PATH)) == "llama-server"
    assert note_text(replace(own, source=Source.PATH)).startswith("On PATH · ")
    along = replace(own, source=Source.BUNDLED)
    assert note_text(along) == "Came with SplitRig · sees RTX 4090 and 2 × Tesla P40"


def test_what_is_offered_says_how_much_there_is_to_fetch() -> None:
    card = GpuInfo(
        id="0", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, compute_capability="8.9",
        source="test",
    )  # fmt: skip
    machine = Machine(os="linux", arch="x64", glibc=(2, 39), cuda=(13, 4), cards=(card,))
    releases = parse_releases(RECORDED.read_bytes())
    choice = newest_choice(releases, machine)
    assert choice_text(choice) == "b11118 · CUDA 13.4"
    assert facts_text(choice) == "533.0 MiB with the CUDA libraries · published 2026-09-22"
    bare = replace(choice, companions=(), release=replace(choice.release, published=None))
    assert facts_text(bare) == "142.0 MiB"


def progress(step: Step = Step.DOWNLOAD, done: int = 0, total: int = 100 * MIB) -> Progress:
    return Progress(id="b7-cpu", step=step, done_bytes=done, total_bytes=total)


@pytest.mark.parametrize(
    ("done", "bytes_s", "text"),
    [
        (0, None, "0 % · 0 B of 100.0 MiB"),
        (39 * MIB, 4e6, "39 % · 39.0 MiB of 100.0 MiB · 4.0 MB/s · 16 s left"),
        (39 * MIB, 312e3, "39 % · 39.0 MiB of 100.0 MiB · 312 kB/s · 4 min left"),
        (39 * MIB, 0.0, "39 % · 39.0 MiB of 100.0 MiB · the server is silent"),
        (100 * MIB, 4e6, "100 % · 100.0 MiB of 100.0 MiB · 4.0 MB/s · 1 s left"),
    ],
)
def test_a_download_tells_share_bytes_speed_and_time(
    done: int, bytes_s: float | None, text: str
) -> None:
    assert progress_text(progress(done=done), bytes_s) == text


def test_nothing_is_divided_by_an_empty_file() -> None:
    assert progress_text(progress(total=0), None) == "0 % · 0 B of 0 B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (0.2, "1 s"), (89.5, "90 s"), (91, "2 min"), (3541, "1 h 0 min"),
     (3500, "59 min"), (4000, "1 h 7 min"), (100_000, "27 h 47 min")],
)  # fmt: skip
def test_time_left_is_rounded_up(seconds: float, text: str) -> None:
    assert left_text(seconds) == text


def test_the_steps_follow_the_installation() -> None:
    assert [s.state for s in steps_of(None, None)] == ["now", "todo", "todo"]
    half = steps_of(progress(done=50 * MIB), 1e6)
    assert [s.label for s in half] == ["Downloading", "Unpack", "Try it here"]
    assert half[0].progress == 0.5
    assert "1.0 MB/s" in half[0].note
    unpacks = steps_of(progress(Step.UNPACK, 100 * MIB), None)
    assert [(s.label, s.state) for s in unpacks] == [
        ("Downloaded and checked", "done"), ("Unpacking", "now"), ("Try it here", "todo")
    ]  # fmt: skip
    assert unpacks[1].progress is None
    tries = steps_of(progress(Step.TRY, 100 * MIB), None)
    assert [s.state for s in tries] == ["done", "done", "now"]


def test_what_was_installed_says_what_it_sees_and_whether_it_is_used() -> None:
    assert ready_words(READY, used=True) == (
        "success",
        "b11118 · CUDA 13.4 is installed.",
        "It sees RTX 4090 and 2 × Tesla P40. It is used from now on.",
    )
    assert ready_words(replace(READY, fresh=False), used=False)[1:] == (
        "b11118 · CUDA 13.4 was here already.",
        "It sees RTX 4090 and 2 × Tesla P40. Another one is used.",
    )
    unknown = replace(READY, checked=False, devices=(), n_cards=0)
    assert ready_words(unknown, used=None)[::2] == (
        "success", "It runs on the processor. Its checksum was not compared."
    )  # fmt: skip


@pytest.mark.parametrize(("n_cards", "cards"), [(1, "the card"), (2, "the 2 cards")])
def test_one_that_sees_none_of_the_cards_is_a_warning(n_cards: int, cards: str) -> None:
    blind = replace(READY, devices=(), n_cards=n_cards)
    assert ready_words(blind, used=True) == (
        "warning",
        "b11118 · CUDA 13.4 is installed.",
        f"It starts, but does not see {cards}. It is used from now on.",
    )
