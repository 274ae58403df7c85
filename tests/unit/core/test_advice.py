from dataclasses import replace

import pytest

from splitrig.core.advice import advise
from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Severity, Vendor
from splitrig.core.link import BusyLinks
from splitrig.core.plan import DevicePlan, HostPlan, Plan
from splitrig.core.units import GIB, MIB

RTX_4090 = GpuInfo(
    id="a", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, pci="0000:01:00.0",
    vram_total_bytes=24 * GIB, architecture="Ada Lovelace", compute_capability="8.9",
    bandwidth_gbps=1008.0, pcie_gen_max=4, pcie_lanes_max=16, power_limit_default_w=450,
    source="test",
)  # fmt: skip
RTX_3080 = replace(
    RTX_4090, id="b", name="NVIDIA GeForce RTX 3080", pci="0000:02:00.0",
    vram_total_bytes=10 * GIB, architecture="Ampere", compute_capability="8.6",
    bandwidth_gbps=760.0, power_limit_default_w=320,
)  # fmt: skip
RX_7900 = replace(
    RTX_4090, id="c", name="AMD Radeon RX 7900 XTX", vendor=Vendor.AMD, pci="0000:03:00.0",
    architecture="RDNA3", compute_capability="gfx1100", bandwidth_gbps=960.0,
    power_limit_default_w=None,
)  # fmt: skip
IGPU = replace(
    RX_7900, id="i", name="AMD Radeon 680M", pci="0000:e4:00.0", vram_total_bytes=GIB // 2,
    architecture=None, bandwidth_gbps=None, integrated=True, pcie_lanes_max=None,
)  # fmt: skip


def idle(gpu, **changes):
    values = {
        "utilization_pct": 2.0, "power_limit_w": gpu.power_limit_default_w,
        "pcie_gen": 1, "pcie_lanes": 16,
    }  # fmt: skip
    return GpuSample(id=gpu.id, **{**values, **changes})


def busy(gpu, **changes):
    return idle(gpu, **{"utilization_pct": 95.0, "pcie_gen": gpu.pcie_gen_max, **changes})


def rig(*gpus, **samples):
    read = {gpu.id: samples.get(gpu.id, idle(gpu)) for gpu in gpus}
    return Rig(time_s=0.0, gpus=gpus, samples=read)


def note(notes, note_id):
    return next(n for n in notes if n.id == note_id)


def ids(notes):
    return {n.id for n in notes}


TWIN = replace(RTX_4090, id="a2", pci="0000:05:00.0")
CLEAN = {
    "no card": rig(),
    "one card": rig(RTX_4090),
    "two equal cards at idle": rig(RTX_4090, TWIN),
    "two equal cards at work": rig(RTX_4090, TWIN, a=busy(RTX_4090), a2=busy(TWIN)),
    "a desktop drawn at low clocks": rig(RTX_4090, a=idle(RTX_4090, utilization_pct=30.0)),
    "a card beside a processor's graphics": rig(RTX_4090, IGPU),
    "amdgpu at idle, lanes parked": rig(RX_7900, c=idle(RX_7900, pcie_lanes=1)),
    "equal cards, one with ECC": rig(
        RTX_4090, replace(TWIN, vram_total_bytes=24 * GIB - 400 * MIB)
    ),
    "nothing reported": rig(
        *(GpuInfo(id=i, name="GPU", vendor=Vendor.OTHER, source="test") for i in "xy"),
        x=GpuSample(id="x"), y=GpuSample(id="y"),
    ),
    "never read": Rig(time_s=0.0, gpus=(RTX_4090, TWIN)),
    "a notebook, whose limit floats": rig(
        replace(RTX_4090, name="NVIDIA GeForce RTX 4090 Laptop GPU"),
        a=idle(RTX_4090, power_limit_w=115),
    ),
    "a limit rounded down": rig(RTX_4090, a=idle(RTX_4090, power_limit_w=449.6)),
    "a limit above the default": rig(RTX_4090, a=idle(RTX_4090, power_limit_w=500)),
    "a mismatched card that is lost": rig(
        RTX_4090, RTX_3080, b=GpuSample(id="b", lost=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("clean", CLEAN.values(), ids=CLEAN.keys())
def test_a_rig_without_faults_gets_no_note(clean):
    assert advise(clean) == ()


def test_different_memory_tells_what_an_even_split_strands():
    found = note(advise(rig(RTX_4090, RTX_3080)), "vram-mismatch")
    assert found.message == "14.0 GiB stay unused when every card gets the same share"
    assert "20.0 of 34.0 GiB" in found.detail
    assert "24 : 10" in found.detail
    assert found.gpu_ids == ("a", "b")
    assert found.severity is Severity.WARNING


def test_different_bandwidth_tells_who_sets_the_pace_and_what_it_costs():
    found = note(advise(rig(RTX_4090, RTX_3080)), "bandwidth-mismatch")
    assert found.message.startswith("760 GB/s on the RTX 3080 against 1,008 GB/s")
    assert "the slower card sets the pace" in found.message
    # 2 / (1/1008 + 1/760) = 866.6; 1008 / 760 = 1.326
    assert "1.33 times" in found.detail
    assert "867 GB/s, 14 % below" in found.detail


def test_different_generations_name_the_one_that_holds_back():
    found = note(advise(rig(RTX_4090, RTX_3080)), "architecture-mismatch")
    assert found.message == "2 chip generations: Ada Lovelace (RTX 4090) and Ampere (RTX 3080)"
    assert "8.6" in found.detail
    assert found.detail.index("RTX 3080") < found.detail.index("RTX 4090")


def test_generations_without_compute_capability_still_count():
    older = replace(RX_7900, id="d", name="AMD Radeon RX 6800", architecture="RDNA2")
    assert "architecture-mismatch" in ids(advise(rig(RX_7900, older)))


def test_two_makers_are_told_apart_from_two_generations():
    notes = advise(rig(RTX_4090, RX_7900))
    assert ids(notes) == {"vendor-mismatch"}
    assert "NVIDIA (RTX 4090) and AMD (RX 7900 XTX)" in notes[0].message


def test_close_bandwidths_are_not_called_a_mismatch():
    twin = replace(TWIN, bandwidth_gbps=936.0)
    assert advise(rig(RTX_4090, twin)) == ()


@pytest.mark.parametrize("sample", [idle(RTX_3080), busy(RTX_3080)], ids=["idle", "busy"])
def test_missing_lanes_are_told_at_idle_and_under_load(sample):
    notes = advise(rig(RTX_3080, b=replace(sample, pcie_lanes=4)))
    assert ids(notes) == {"narrow-link"}
    assert notes[0].message == "RTX 3080 runs on 4 of its 16 PCIe lanes"
    # 10 GiB / (1.969 GB/s × 4) and × 16
    assert "at least 1.4 s instead of 0.3 s" in notes[0].detail
    assert notes[0].severity is Severity.WARNING


def test_half_the_lanes_are_worth_a_word_but_no_warning():
    (found,) = advise(rig(RTX_3080, b=idle(RTX_3080, pcie_lanes=8)))
    assert (found.id, found.severity) == ("narrow-link", Severity.INFO)


def test_lanes_of_an_amd_card_count_under_load():
    (found,) = advise(rig(RX_7900, c=busy(RX_7900, pcie_lanes=4)))
    assert found.id == "narrow-link"


def test_an_older_slot_is_told_under_load_only():
    (found,) = advise(rig(RTX_4090, a=busy(RTX_4090, pcie_gen=3)))
    assert found.id == "slow-link"
    assert found.message == "RTX 4090 runs at PCIe 3.0 under load; it can do 4.0"
    assert advise(rig(RTX_4090, a=idle(RTX_4090, pcie_gen=3))) == ()


def seen(*samples, every_s=1.0):
    """Links after readings of the 4090 and the 7900, one every second."""
    links = BusyLinks()
    for number, sample in enumerate(samples):
        links.add(Rig(time_s=number * every_s, gpus=(), samples={sample.id: sample}))
    return links


SLOW = busy(RTX_4090, pcie_gen=3)


def test_an_older_slot_stays_told_between_two_answers():
    for now in (SLOW, idle(RTX_4090), busy(RTX_4090, utilization_pct=49.0, pcie_gen=1)):
        (found,) = advise(rig(RTX_4090, a=now), links=seen(SLOW, now))
        assert (found.id, found.message.split()[5]) == ("slow-link", "3.0")


def test_a_link_that_is_just_waking_up_is_no_older_slot():
    waking = busy(RTX_4090, pcie_gen=1)
    assert advise(rig(RTX_4090, a=waking), links=seen(busy(RTX_4090), waking)) == ()


def test_what_was_seen_long_ago_does_not_count():
    last = idle(RTX_4090)
    assert advise(rig(RTX_4090, a=last), links=seen(SLOW, last, every_s=599.0)) != ()
    assert advise(rig(RTX_4090, a=last), links=seen(SLOW, last, every_s=601.0)) == ()


def test_lanes_of_an_amd_card_stay_told_between_two_answers():
    parked = idle(RX_7900, pcie_lanes=1)
    links = seen(busy(RX_7900, pcie_lanes=4), parked)
    (found,) = advise(rig(RX_7900, c=parked), links=links)
    assert found.message == "RX 7900 XTX runs on 4 of its 16 PCIe lanes"


def test_a_lowered_power_limit_names_both_numbers_and_the_command():
    (found,) = advise(rig(RTX_4090, a=idle(RTX_4090, power_limit_w=220)))
    assert found.id == "power-cap"
    assert found.message == "RTX 4090 is held at 220 W; its default is 450 W"
    assert "51 % less power" in found.detail
    assert "nvidia-smi -i 0000:01:00.0 -pl 450" in found.detail


def test_equal_names_are_told_apart_by_address():
    notes = advise(rig(RTX_4090, TWIN, a2=idle(TWIN, pcie_lanes=4)))
    assert notes[0].message.startswith("RTX 4090 at 0000:05:00.0 runs on 4")


def device(gpu_id, free_bytes, *, n_blocks=32, model_bytes=8 * GIB, name="card"):
    return DevicePlan(
        name=name, id=gpu_id, first_layer=0, n_blocks=n_blocks, has_output=False,
        model_bytes=model_bytes, kv_bytes=0, compute_bytes=0, overhead_bytes=0,
        free_bytes=free_bytes,
    )  # fmt: skip


def plan(*devices):
    host = HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=0)
    fits = all(d.free_bytes >= 0 for d in devices)
    return Plan(devices=devices, host=host, split=(1.0,) * len(devices), fits=fits)


def test_too_little_memory_says_how_many_layers_go_where():
    notes = advise(
        rig(RTX_4090, RTX_3080),
        plan(device("a", 6 * GIB), device("b", round(-1.9 * GIB))),
    )
    assert notes[0].id == "low-vram"
    assert notes[0].severity is Severity.DANGER
    assert notes[0].message == "RTX 3080 is 1.9 GiB over"
    # 8 GiB on 32 layers: 0.25 GiB each; 1.9 GiB and the margin of 0.25
    assert notes[0].detail == "Move 9 layers to the RTX 4090."


@pytest.mark.parametrize("free_gib", [-1.9, -0.01, 0.1, 0.2])
def test_following_the_advice_leads_to_no_other_one(free_gib):
    cards = rig(RTX_4090, TWIN)
    first, second = device("a", 6 * GIB), device("a2", round(free_gib * GIB))
    (found,) = advise(cards, plan(first, second))
    n_layers = int(found.detail.partition("Move ")[2].split()[0])
    moved = n_layers * GIB // 4  # 8 GiB on 32 layers
    first = device("a", first.free_bytes - moved, n_blocks=32 + n_layers)
    second = device("a2", second.free_bytes + moved, n_blocks=32 - n_layers)
    assert advise(cards, plan(first, second)) == ()


def test_a_model_too_large_for_all_cards_is_told_so():
    notes = advise(rig(RTX_4090, TWIN), plan(device("a", -GIB), device("a2", -GIB)))
    assert [n.id for n in notes] == ["low-vram", "low-vram"]
    assert "shorter context" in notes[0].detail


def test_a_thin_margin_is_a_warning():
    notes = advise(rig(RTX_4090, TWIN), plan(device("a", 100 * MIB), device("a2", 6 * GIB)))
    (found,) = notes
    assert found.message == "100 MiB stay free on RTX 4090 at 0000:01:00.0"
    assert found.severity is Severity.WARNING
    assert "Move 1 layer to" in found.detail


def test_what_is_missing_is_never_called_nothing():
    notes = advise(rig(RTX_4090), plan(device("a", -1)))
    assert notes[0].message == "RTX 4090 is 0.1 GiB over"


def test_a_plan_on_one_card_needs_no_word_on_the_mix():
    assert advise(rig(RTX_4090, RTX_3080), plan(device("a", 6 * GIB))) == ()


def test_a_plan_on_the_engines_own_devices_compares_all_cards():
    notes = advise(rig(RTX_4090, RTX_3080), plan(device("RPC0", GIB), device("RPC1", GIB)))
    assert ids(notes) >= {"vram-mismatch", "bandwidth-mismatch"}


def test_a_card_without_layers_may_be_full():
    assert advise(rig(RTX_4090), plan(device("a", -GIB, n_blocks=0, model_bytes=0))) == ()


def test_the_gravest_stands_first():
    notes = advise(
        rig(RTX_4090, RTX_3080, b=idle(RTX_3080, pcie_lanes=8)),
        plan(device("a", 6 * GIB), device("b", -GIB)),
    )
    assert notes[0].severity is Severity.DANGER
    assert notes[-1].severity is Severity.INFO
