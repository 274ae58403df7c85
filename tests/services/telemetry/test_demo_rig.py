import itertools
import threading

import pytest

from splitrig.core.advice import advise
from splitrig.core.gpu import Limit, Rig
from splitrig.core.units import GIB
from splitrig.services.telemetry.demo import DemoSource


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(clock):
    return DemoSource(clock)


def run(source, clock, seconds, step_s=1.0):
    samples = []
    for _ in range(round(seconds / step_s)):
        clock.now_s += step_s
        samples.append(source.sample())
    return samples


def test_the_rig_is_a_4090_and_a_3080(source):
    first, second = source.probe()
    assert (first.id, first.short_name, first.vram_total_bytes) == ("demo-0", "RTX 4090", 24 * GIB)
    assert (second.id, second.short_name, second.vram_total_bytes) == (
        "demo-1", "RTX 3080", 10 * GIB,
    )  # fmt: skip
    assert {first.source, second.source} == {"demo"}


def test_its_readings_stay_plausible_whatever_the_engine_does(source, clock):
    gpus = {gpu.id: gpu for gpu in source.probe()}
    for n, load in enumerate([{}, {"demo-0": 15 * GIB, "demo-1": 9 * GIB}, {"demo-1": 99 * GIB}]):
        source.set_engine_load(load, busy=("demo-0", "demo-1") if n % 2 else ())
        for samples in run(source, clock, 60):
            for gpu_id, sample in samples.items():
                assert sample.power_limit_w == gpus[gpu_id].power_limit_default_w
                assert 0 <= sample.utilization_pct <= 100
                assert 5 <= sample.power_w <= sample.power_limit_w
                assert 30 <= sample.temperature_c <= 83
                assert 0 <= sample.fan_pct <= 100
                assert 0 < sample.vram_used_bytes <= sample.vram_total_bytes


def test_the_same_moment_reads_the_same(clock):
    assert DemoSource(clock).sample() == DemoSource(clock).sample()


def test_memory_follows_the_engine_to_the_byte(source):
    before = source.sample()
    source.set_engine_load({"demo-0": 5 * GIB, "demo-1": 12345}, busy=())
    after = source.sample()
    assert after["demo-0"].vram_used_bytes - before["demo-0"].vram_used_bytes == 5 * GIB
    assert after["demo-1"].vram_used_bytes - before["demo-1"].vram_used_bytes == 12345
    source.set_engine_load({}, busy=())
    assert source.sample()["demo-0"].vram_used_bytes == before["demo-0"].vram_used_bytes


def test_load_watts_and_heat_follow_an_answer_and_fall_after_it(source, clock):
    idle = source.sample()["demo-0"]
    assert idle.limits == (Limit.IDLE,)
    source.set_engine_load({"demo-0": GIB, "demo-1": GIB}, busy=("demo-0", "demo-1"))
    early, *_, late = (s["demo-0"] for s in run(source, clock, 60))
    assert early.utilization_pct > 40
    assert late.power_w > 180 > early.power_w - 40
    assert late.temperature_c >= idle.temperature_c + 14
    assert late.limits == ()
    assert late.pcie_gen == 4
    source.set_engine_load({"demo-0": GIB, "demo-1": GIB}, busy=())
    calm = run(source, clock, 120)[-1]["demo-0"]
    assert calm.utilization_pct < 5
    assert calm.power_w < 40
    assert calm.limits == (Limit.IDLE,)


def test_only_cards_with_layers_work(source, clock):
    source.set_engine_load({"demo-0": GIB}, busy=("demo-0", "demo-1"))
    samples = run(source, clock, 5)[-1]
    assert samples["demo-0"].utilization_pct > 40
    assert samples["demo-1"].utilization_pct < 5


def test_no_curve_jumps(source, clock):
    source.set_engine_load({"demo-0": GIB, "demo-1": GIB}, busy=("demo-0", "demo-1"))
    samples = run(source, clock, 30, step_s=0.25)
    for earlier, later in itertools.pairwise(samples):
        for gpu_id in earlier:
            assert abs(later[gpu_id].temperature_c - earlier[gpu_id].temperature_c) <= 2
            assert abs(later[gpu_id].power_w - earlier[gpu_id].power_w) <= 45


def test_every_kind_of_mismatch_can_be_seen_on_it(source):
    gpus = source.probe()
    notes = advise(Rig(time_s=0.0, gpus=gpus, samples=source.sample()))
    assert {n.id for n in notes} == {
        "vram-mismatch", "bandwidth-mismatch", "architecture-mismatch", "narrow-link",
    }  # fmt: skip
    assert "4 of its 16 PCIe lanes" in next(n for n in notes if n.id == "narrow-link").message


def test_it_is_read_and_set_from_several_threads(source):
    done = threading.Event()

    def read():
        while not done.is_set():
            source.sample()

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(300):
        source.set_engine_load({"demo-0": n}, busy=("demo-0", "demo-1") if n % 2 else ())
    done.set()
    reader.join()
    assert source.sample()["demo-0"].vram_used_bytes % 1024 == 299
