"""The history is bounded, keeps holes as holes, and gives windows without copying."""

import numpy as np
import pytest

from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.history import History, Mark, MarkKind, Metric, Rate
from splitrig.core.units import GIB


def info(gpu_id: str) -> GpuInfo:
    return GpuInfo(id=gpu_id, name=f"Card {gpu_id}", vendor=Vendor.NVIDIA, source="demo")


def reading(time_s: float, **used_gib: float | None) -> Rig:
    samples = {
        gpu_id: GpuSample(
            id=gpu_id,
            vram_used_bytes=None if used is None else int(used * GIB),
            utilization_pct=50.0,
            power_w=None,
            temperature_c=60.0,
        )
        for gpu_id, used in used_gib.items()
    }
    return Rig(time_s=time_s, gpus=tuple(info(i) for i in used_gib), samples=samples)


def test_an_empty_history_has_an_empty_window() -> None:
    window = History(capacity=10).window(60)
    assert len(window) == 0
    assert window.card("a", Metric.VRAM) is None
    assert len(window.rate(Rate.GENERATION)) == 0


def test_readings_come_back_in_order_with_missing_values_as_nan() -> None:
    history = History(capacity=10)
    history.append(reading(1.0, a=1.5), tok_s=33.0)
    history.append(reading(2.0, a=None), prompt_tok_s=900.0)
    window = history.window(60)
    assert window.time_s.tolist() == [1.0, 2.0]
    vram = window.card("a", Metric.VRAM)
    assert vram is not None
    assert vram[0] == pytest.approx(1.5)
    assert np.isnan(vram[1])
    power = window.card("a", Metric.POWER)
    assert power is not None
    assert np.isnan(power).all()
    assert window.rate(Rate.GENERATION)[0] == 33.0
    assert np.isnan(window.rate(Rate.GENERATION)[1])
    assert window.rate(Rate.PROMPT)[1] == 900.0


def test_only_the_last_rows_are_kept_and_memory_does_not_grow() -> None:
    history = History(capacity=50)
    history.append(reading(0.0, a=0, b=0))
    before = history.nbytes
    for second in range(1, 500):
        history.append(reading(float(second), a=second % 24, b=1))
    assert history.nbytes == before
    assert len(history) == 50
    window = history.window(10_000)
    assert window.time_s.tolist() == [float(s) for s in range(450, 500)]
    vram = window.card("a", Metric.VRAM)
    assert vram is not None
    assert vram.tolist() == [float(s % 24) for s in range(450, 500)]


def test_an_hour_of_eight_cards_takes_the_megabyte_the_docstring_names() -> None:
    history = History()
    history.append(reading(0.0, **{f"c{i}": 1.0 for i in range(8)}))
    assert history.nbytes == 3600 * 2 * (8 + 8 + 8 * 16)
    assert history.nbytes < 1.05e6


def test_a_window_reaches_one_row_past_its_edge_and_is_a_view() -> None:
    history = History(capacity=100)
    for second in range(40):
        history.append(reading(float(second), a=second))
    window = history.window(10)
    assert window.time_s[0] == 28.0
    vram = window.card("a", Metric.VRAM)
    assert vram is not None
    assert vram.base is not None
    with pytest.raises(ValueError, match="read-only"):
        vram[0] = 1


def test_a_lost_card_leaves_a_hole_and_others_go_on() -> None:
    history = History(capacity=10)
    history.append(reading(1.0, a=1, b=2))
    rig = reading(2.0, a=1, b=2)
    lost = Rig(
        time_s=2.0, gpus=rig.gpus, samples={**rig.samples, "b": GpuSample(id="b", lost=True)}
    )
    history.append(lost)
    b = history.window(60).card("b", Metric.LOAD)
    assert b is not None
    assert np.isnan(b[-1])
    a = history.window(60).card("a", Metric.LOAD)
    assert a is not None
    assert a[-1] == 50.0


def test_a_card_that_comes_late_has_no_past() -> None:
    history = History(capacity=10)
    history.append(reading(1.0, a=1))
    history.append(reading(2.0, a=1, b=2))
    b = history.window(60).card("b", Metric.VRAM)
    assert b is not None
    assert np.isnan(b[0])
    assert b[1] == 2.0


def test_a_card_that_is_gone_is_forgotten_when_its_last_row_has_left() -> None:
    history = History(capacity=5)
    history.append(reading(0.0, a=1, b=2))
    for second in range(1, 5):
        history.append(reading(float(second), a=1))
    assert history.card_ids == ("a", "b")
    history.append(reading(5.0, a=1))
    assert history.card_ids == ("a",)


def test_cards_that_come_and_go_do_not_pile_up() -> None:
    history = History(capacity=100)
    for second in range(300):
        history.append(reading(float(second), **{f"c{second}": 1.0}))
    assert len(history.card_ids) <= 32


def test_a_reading_that_is_not_newer_is_left_out() -> None:
    history = History(capacity=10)
    history.append(reading(5.0, a=1))
    history.append(reading(5.0, a=2))
    history.append(reading(4.0, a=3))
    assert len(history) == 1


def test_a_long_silence_is_a_hole() -> None:
    history = History(capacity=10)
    history.append(reading(1.0, a=1))
    history.append(reading(600.0, a=1))
    a = history.window(10_000).card("a", Metric.VRAM)
    assert a is not None
    assert np.isnan(a[1])
    assert a[[0, 2]].tolist() == [1.0, 1.0]


def test_marks_are_spans_and_old_ones_are_not_in_the_window() -> None:
    history = History(capacity=100)
    history.begin(MarkKind.LOAD, 1.0)
    history.end(MarkKind.LOAD, 3.0)
    history.begin(MarkKind.ANSWER, 90.0)
    history.end(MarkKind.PROMPT, 91.0)
    for second in range(100):
        history.append(reading(float(second), a=1))
    assert tuple(history.marks()) == (
        Mark(MarkKind.LOAD, 1.0, 3.0),
        Mark(MarkKind.ANSWER, 90.0, None),
    )
    assert history.window(30).marks == (Mark(MarkKind.ANSWER, 90.0, None),)


def test_beginning_again_ends_the_span_before() -> None:
    history = History(capacity=10)
    history.begin(MarkKind.ANSWER, 1.0)
    history.begin(MarkKind.ANSWER, 4.0)
    assert next(iter(history.marks())) == Mark(MarkKind.ANSWER, 1.0, 4.0)


def test_marks_are_bounded() -> None:
    history = History(capacity=10)
    for n in range(5000):
        history.begin(MarkKind.PROMPT, float(n))
    assert sum(1 for _ in history.marks()) <= 401
