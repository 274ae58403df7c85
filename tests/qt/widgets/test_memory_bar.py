"""Memory bars: widths that follow bytes, and words for those who cannot see them."""

from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from splitrig.core.units import GIB
from splitrig.views.theme import Theme
from splitrig.views.widgets.memory_bar import Memory, MemoryBar, segment_edges


def memory(total: float = 10, **parts: float) -> Memory:
    return Memory(
        total_bytes=round(total * GIB),
        parts={kind: round(gib * GIB) for kind, gib in parts.items()},
    )


def test_segments_follow_the_bytes_and_stand_one_pixel_apart() -> None:
    edges = segment_edges(memory(weights=5, kv=2), 200)
    assert edges == [("weights", 0, 99), ("kv", 100, 139)]


def test_a_small_segment_is_at_least_two_pixels_wide() -> None:
    edges = segment_edges(memory(weights=0.001, compute=0.001), 200)
    assert [right - left for _, left, right in edges] == [2, 2]


def test_nothing_is_drawn_beyond_the_end_of_the_card() -> None:
    edges = segment_edges(memory(weights=9, kv=5, others=1), 200)
    assert edges[-1][0] == "kv"
    assert edges[-1][2] == 200


def test_over_and_free() -> None:
    assert memory(weights=12).over_bytes == 2 * GIB
    assert memory(weights=12).free_bytes == 0
    assert memory(weights=4).free_bytes == 6 * GIB


def test_the_description_has_the_numbers(theme: Theme, qtbot: QtBot) -> None:
    bar = MemoryBar(theme)
    qtbot.addWidget(bar)
    bar.set_memory(memory(weights=7, kv=1.5, others=0.2))
    assert bar.accessibleDescription() == (
        "Weights 7.0 GiB, KV cache 1.5 GiB, Others 0.2 GiB, free 1.3 GiB, of 10.0 GiB"
    )
    bar.set_memory(memory(weights=12), names={"weights": "Engine"})
    assert "Engine 12.0 GiB, 2.0 GiB too much" in bar.accessibleDescription()


def test_cards_on_one_scale_are_as_long_as_their_memory(theme: Theme, qtbot: QtBot) -> None:
    bar = MemoryBar(theme)
    qtbot.addWidget(bar)
    bar.resize(480, bar.height())
    bar.set_memory(memory(total=12, weights=6), 24 * GIB)
    image = bar.grab().toImage()
    middle = image.height() // 2
    ratio = image.width() / 480
    fill = theme.colour("surface")
    weights = QColor("#7B75F6")
    assert image.pixelColor(round(60 * ratio), middle) == weights
    assert image.pixelColor(round(180 * ratio), middle) == fill
    assert image.pixelColor(round(119 * ratio), middle) != weights
