from splitrig.core.gpu import GpuInfo, GpuSample, Note, Severity, Vendor
from splitrig.services.telemetry.merge import Reading, merge
from splitrig.services.telemetry.pci import link_from_text, normal_pci


def gpu(gpu_id, source="nvml", **values):
    return GpuInfo(id=gpu_id, name="GPU", vendor=Vendor.NVIDIA, source=source, **values)


def reading(*gpus, samples=(), notes=()):
    return Reading(time_s=0.0, gpus=gpus, samples=tuple(samples), notes=notes)


def test_a_card_seen_twice_is_one_card_and_the_first_source_wins():
    first = reading(
        gpu("u", pci="0000:01:00.0", vram_total_bytes=10),
        samples=[GpuSample(id="u", power_w=50.0)],
    )
    second = reading(
        gpu("p", "rocm-smi", pci="0000:01:00.0", vram_total_bytes=11, architecture="X"),
        samples=[GpuSample(id="p", power_w=60.0, fan_pct=30.0)],
    )
    rig = merge([first, second], 5.0)
    (card,) = rig.gpus
    assert (card.id, card.source, card.vram_total_bytes, card.architecture) == (
        "u",
        "nvml",
        10,
        "X",
    )
    assert rig.samples == {"u": GpuSample(id="u", power_w=50.0, fan_pct=30.0)}
    assert rig.time_s == 5.0


def test_a_uuid_is_enough_to_be_the_same():
    rig = merge([reading(gpu("a", uuid="U")), reading(gpu("b", "windows", uuid="U"))], 0.0)
    assert [card.id for card in rig.gpus] == ["a"]


def test_a_reading_only_the_second_source_has_goes_to_the_one_card():
    second = reading(gpu("b", "other", uuid="U"), samples=[GpuSample(id="b", fan_pct=1.0)])
    rig = merge([reading(gpu("a", uuid="U")), second], 0.0)
    assert rig.samples == {"a": GpuSample(id="a", fan_pct=1.0)}


def test_nothing_is_made_up_for_a_lost_card():
    first = reading(gpu("a", pci="0000:01:00.0"), samples=[GpuSample(id="a", lost=True)])
    second = reading(gpu("b", "x", pci="0000:01:00.0"), samples=[GpuSample(id="b", fan_pct=1.0)])
    assert merge([first, second], 0.0).samples["a"] == GpuSample(id="a", lost=True)


def test_cards_of_one_source_are_never_one():
    twins = reading(gpu("a", pci="0000:01:00.0"), gpu("a/1", pci="0000:01:00.0"))
    assert len(merge([twins], 0.0).gpus) == 2


def test_cards_without_address_and_uuid_are_never_one():
    assert len(merge([reading(gpu("a")), reading(gpu("b", "x"))], 0.0).gpus) == 2


def test_the_order_is_that_of_the_slots():
    cards = (gpu("z"), gpu("c", pci="0000:0a:00.0"), gpu("b", pci="0000:02:00.0"))
    assert [card.id for card in merge([reading(*cards)], 0.0).gpus] == ["b", "c", "z"]


def test_notes_are_kept_once_and_demo_is_marked():
    note = Note(id="x", severity=Severity.INFO, message="m")
    rig = merge([reading(notes=(note,)), reading(gpu("demo-0", "demo"), notes=(note,))], 0.0)
    assert rig.notes == (note,)
    assert rig.demo
    assert not merge([reading(gpu("a"))], 0.0).demo


def test_addresses_are_spelled_in_one_way():
    assert normal_pci("00000000:0A:00.0") == "0000:0a:00.0"
    assert normal_pci("65:00.0") == "0000:65:00.0"
    assert normal_pci("10000:E1:00.0") == "10000:e1:00.0"
    assert normal_pci("0000:01:00") is None
    assert normal_pci("N/A") is None


def test_link_speeds_become_generations():
    assert link_from_text("1 (16.0GT/s x16)") == (4, 16)
    assert link_from_text("2.5GT/s x1") == (1, 1)
    assert link_from_text("7.7GT/s x64") == (None, None)
    assert link_from_text("fast") == (None, None)
