"""The icons: there, in the colour asked for, sharp at any pixel ratio."""

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QIcon, QImage

from splitrig.services.store.resources import resource
from splitrig.views.theme import Theme

NAMES = sorted(p.stem for p in resource("icons", "phosphor").glob("*.svg"))
VIEWS = Path(__file__).parents[2] / "gui" / "splitrig"


def colours(image: QImage) -> set[str]:
    """Colours of the pixels that are wholly covered."""
    found = set()
    for y in range(image.height()):
        for x in range(image.width()):
            pixel = image.pixelColor(x, y)
            if pixel.alpha() == 255:
                found.add(pixel.name())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_icon_is_drawn_in_its_colour(theme: Theme, name: str) -> None:
    icon = theme.icon(name, "danger")
    image = icon.pixmap(QSize(64, 64)).toImage()
    assert colours(image) == {QColor(theme.colour("danger")).name()}
    disabled = icon.pixmap(QSize(64, 64), QIcon.Mode.Disabled).toImage()
    assert colours(disabled) == {QColor(theme.colour("muted")).name()}


def test_a_screen_of_twice_the_pixels_gets_twice_the_pixels(theme: Theme) -> None:
    pixmap = theme.icon("cpu").pixmap(QSize(16, 16), 2.0)
    assert pixmap.size() == QSize(32, 32)
    assert pixmap.devicePixelRatio() == 2.0


def test_what_is_left_of_a_wide_place_is_the_gap_before_a_word(theme: Theme) -> None:
    image = theme.icon("stop").pixmap(QSize(20, 16)).toImage()
    assert all(image.pixelColor(x, y).alpha() == 0 for x in range(16, 20) for y in range(16))


def test_an_icon_that_is_not_shipped_is_an_error(theme: Theme) -> None:
    with pytest.raises(FileNotFoundError, match="unicorn"):
        theme.icon("unicorn")


def test_no_icon_is_shipped_that_nothing_uses() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in VIEWS.rglob("*.py"))
    used = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', source)) | {"caret-double-left"}
    assert set(NAMES) <= used
