"""Where a model lies that an Ollama holds for us, and what cannot be known of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.attached import far_host, is_unloaded, placement_notes
from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_log import Held, Holding, LoadLog, Placed, add_event
from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.ollama import unplanned
from splitrig.core.ollama_log import held_line, placement_line, read_ollama_line
from splitrig.core.plan import PlanRequest
from splitrig.core.units import GIB
from splitrig.core.verify import verify

NAMES = ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3080", "NVIDIA GeForce RTX 3060")
TOLD = "Ollama tells of 6.0 GiB on cards in all, not of each."


def rig(*used_gib: float | None) -> Rig:
    gpus = tuple(
        GpuInfo(id=str(n), name=NAMES[n], vendor=Vendor.NVIDIA, source="nvml")
        for n in range(len(used_gib))
    )
    samples = {
        str(n): GpuSample(id=str(n), vram_used_bytes=None if used is None else round(used * GIB))
        for n, used in enumerate(used_gib)
    }
    return Rig(time_s=1.0, gpus=gpus, samples=samples)


def loaded(how: Holding = Holding.OURS, on_cards: int = 6 * GIB) -> EngineStatus:
    log = add_event(LoadLog(), Placed(total_bytes=6 * GIB, on_cards_bytes=on_cards))
    return EngineStatus(
        phase=Phase.READY,
        request=LaunchRequest(
            model=Path("m"), model_name="m", plan=PlanRequest(), engine=EngineKind.OLLAMA_ATTACHED
        ),
        plan=unplanned(),
        url="http://127.0.0.1:11434",
        log=add_event(log, Held(how)),
    )


def said(status: EngineStatus, before: Rig | None, after: Rig) -> tuple[str, str]:
    (note,) = placement_notes(status, before, after)
    assert note.id == "placed"
    return note.message, note.detail


def test_the_cards_that_grew_are_named_with_how_much() -> None:
    before, after = rig(0.5, 0.5, 2), rig(4.5, 2.4, 2.01)
    words = "Came onto the cards while it loaded: RTX 4090 4.0 GiB and RTX 3080 1.9 GiB."
    assert said(loaded(), before, after) == (words, TOLD)
    assert [n.message for n in verify(loaded(), before, after)] == [words]


@pytest.mark.parametrize(
    ("status", "before", "after", "words"),
    [
        (loaded(Holding.BEFORE), rig(1), rig(7), "It was loaded before Start"),
        (loaded(Holding.AGAIN), rig(1), rig(7), "Ollama has loaded it again"),
        (loaded(), None, rig(7), "do not report their memory"),
        (loaded(), rig(None), rig(None), "do not report their memory"),
        (loaded(), rig(7), rig(7.5), "Only 512.0 MiB were seen to come onto the cards."),
        (loaded(on_cards=0), rig(1), rig(1), "no memory on cards"),
        (replace(loaded(), url="http://rig.lan:11434"), rig(1), rig(1), "the Ollama at rig.lan"),
    ],
)
def test_what_cannot_be_known_is_said(
    status: EngineStatus, before: Rig | None, after: Rig, words: str
) -> None:
    assert words in said(status, before, after)[0]


def test_other_engines_and_one_that_is_unloaded_have_no_such_note() -> None:
    before, after = rig(1), rig(7)
    gone = loaded(Holding.GONE)
    assert is_unloaded(gone)
    assert gone.log.placed is None
    assert placement_notes(gone, before, after) == ()
    assert not is_unloaded(loaded())
    assert not is_unloaded(replace(gone, phase=Phase.STOPPED))
    other = replace(loaded(), request=LaunchRequest(model=Path("m"), plan=PlanRequest()))
    assert placement_notes(other, before, after) == ()
    assert far_host(replace(other, url="http://rig.lan")) == ""
    assert far_host(loaded()) == ""


def test_what_it_holds_is_read_back_from_our_own_lines() -> None:
    for how in Holding:
        assert read_ollama_line(held_line("qwen2.5:7b", how)) == Held(how)
    assert read_ollama_line(placement_line("m", 3, 2)) == Placed(total_bytes=3, on_cards_bytes=2)
