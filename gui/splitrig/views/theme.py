"""The look: colours, type, icons and the style sheet, from one file of tokens.

Two grammars, never mixed: colour says which card, pattern and lightness say which kind of
memory.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Any, Literal

from PySide6.QtCore import QObject, QRectF, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontDatabase,
    QIcon,
    QPainter,
    QPalette,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QApplication

from splitrig.views.icons import IconEngine

Kind = Literal["weights", "kv", "compute", "overhead", "others", "free", "over"]
KINDS: tuple[Kind, ...] = ("weights", "kv", "compute", "overhead", "others", "free")
KIND_NAMES: dict[str, str] = {
    "weights": "Weights",
    "kv": "KV cache",
    "compute": "Compute",
    "overhead": "Overhead",
    "others": "Others",
    "free": "Free",
    "over": "Over",
}


@dataclass(frozen=True, slots=True)
class FontSize:
    """A step of the type scale, px."""

    size: int
    line: int


class Theme(QObject):
    """One set of tokens in its dark and light form.

    Signals:
        changed: Dark became light or the other way round; everything painted asks again.
    """

    changed = Signal()

    def __init__(self, tokens: Path, fonts: Path, icons: Path, *, dark: bool = True) -> None:
        super().__init__()
        self._tokens: dict[str, Any] = json.loads(tokens.read_text(encoding="utf-8"))
        self._icon_dir = tokens.parent
        self._icons = icons
        self.dark = dark
        for file in sorted(fonts.iterdir()):
            if file.suffix in {".otf", ".ttf"}:
                QFontDatabase.addApplicationFont(str(file))

    @property
    def _set(self) -> dict[str, Any]:
        chosen: dict[str, Any] = self._tokens["dark" if self.dark else "light"]
        return chosen

    def colour(self, name: str) -> QColor:
        """A colour by its token, such as `surface`, `muted`, `accent`, `danger_ground`."""
        return QColor(self._set["colour"][name])

    def card(self, number: int) -> QColor:
        """The colour of card `number`; from the ninth on they repeat and the number decides."""
        cards = self._set["cards"]
        return QColor(cards[number % len(cards)])

    def card_ink(self, number: int) -> QColor:
        """Black or white, whichever reads better on the card's colour."""
        return readable_ink(self.card(number))

    def card_dashed(self, number: int) -> bool:
        """Lines of cards 4 to 7 are dashed 5-3."""
        return number % 8 >= 4

    def memory(self, kind: Kind, ratio: float = 1.0) -> QBrush:
        """The fill of one kind of memory; patterns are tiles at the screen's pixel ratio."""
        spec = self._set["memory"][kind]
        if spec["pattern"] in {"solid", "empty"}:
            return QBrush(QColor(spec["fill"]))
        key = (spec["pattern"], spec["fill"], spec["ink"], spec["tile"], spec["line"])
        return QBrush(_tile(*key, ratio))

    def memory_edge(self, kind: Kind) -> QColor:
        """The border of an empty segment, else its fill."""
        spec = self._set["memory"][kind]
        return QColor(spec.get("edge", spec["fill"]))

    @property
    def space(self) -> list[int]:
        """Steps of the spacing scale, px: 4 8 12 16 20 24 32."""
        return list(self._tokens["space"])

    def font_size(self, step: str) -> FontSize:
        """A step of the type scale: axis, note, body, answer, value, title, big."""
        return FontSize(*self._tokens["type_px"][step])

    def font(self, step: str = "body", weight: int = 400, *, mono: bool = False) -> QFont:
        """A font with tabular figures."""
        font = QFont("JetBrains Mono" if mono else "Inter")
        if not mono:
            font.setFamilies(["Inter", "Segoe UI", "Noto Sans", "DejaVu Sans"])
        else:
            font.setFamilies(["JetBrains Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace"])
        font.setPixelSize(self.font_size(step).size)
        font.setWeight(QFont.Weight(weight))
        font.setFeature(QFont.Tag("tnum"), 1)
        if mono:
            font.setFeature(QFont.Tag("calt"), 0)  # a log must show `<|` and `->` as they are
        return font

    def icon(self, name: str, colour: str = "text", *, disabled: str = "muted") -> QIcon:
        """A Phosphor icon, such as `play` or `rocket-launch`, in a token's colour.

        Raises:
            FileNotFoundError: No icon of that name is shipped in resources/icons/phosphor.
        """
        file = self._icons / f"{name}.svg"
        if not file.is_file():
            raise FileNotFoundError(file)
        return QIcon(IconEngine(file, self.colour(colour).name(), self.colour(disabled).name()))

    def palette(self) -> QPalette:
        """The Qt palette for Fusion."""
        p = QPalette()
        role = QPalette.ColorRole
        for target, token in {
            role.Window: "window",
            role.Base: "sunken",
            role.AlternateBase: "surface",
            role.Button: "raised",
            role.Text: "text",
            role.WindowText: "text",
            role.ButtonText: "text",
            role.PlaceholderText: "muted",
            role.Highlight: "accent",
            role.Accent: "accent",
            role.HighlightedText: "on_accent",
            role.Link: "accent_text",
            role.Mid: "border",
            role.Dark: "control",
            role.ToolTipBase: "raised",
            role.ToolTipText: "text",
        }.items():
            p.setColor(target, self.colour(token))
        for disabled in (role.Text, role.WindowText, role.ButtonText):
            p.setColor(QPalette.ColorGroup.Disabled, disabled, self.colour("muted"))
        return p

    def apply(self, app: QApplication) -> None:
        """Dress the whole application and tell everyone."""
        app.setStyle("Fusion")
        app.setPalette(self.palette())
        app.setFont(self.font())
        app.setStyleSheet(self.style_sheet())
        self.changed.emit()

    def set_dark(self, *, dark: bool) -> None:
        """Switch between dark and light."""
        if dark != self.dark:
            self.dark = dark
            app = QApplication.instance()
            if isinstance(app, QApplication):
                self.apply(app)

    def style_sheet(self) -> str:
        """The style sheet with this theme's colours filled in."""
        suffix = "dark" if self.dark else "light"
        values = dict(self._set["colour"])
        values["caret_down"] = (self._icon_dir / f"caret-down-{suffix}.svg").as_posix()
        values["caret_up"] = (self._icon_dir / f"caret-up-{suffix}.svg").as_posix()
        return Template((self._icon_dir / "style.qss").read_text(encoding="utf-8")).substitute(
            values
        )


def readable_ink(ground: QColor) -> QColor:
    """Near-black or white, whichever contrasts more with `ground` (WCAG relative luminance)."""

    def linear(c: float) -> float:
        return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4

    luminance = (
        0.2126 * linear(ground.redF())
        + 0.7152 * linear(ground.greenF())
        + 0.0722 * linear(ground.blueF())
    )
    dark = QColor("#0D0E10")
    return dark if (luminance + 0.05) / 0.054 >= 1.05 / (luminance + 0.05) else QColor("#FFFFFF")


@lru_cache(maxsize=64)
def _tile(pattern: str, fill: str, ink: str, size: int, line: float, ratio: float) -> QPixmap:
    """One square of a hatch, drawn so that its edges meet."""
    pixmap = QPixmap(round(size * ratio), round(size * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(QColor(fill))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if pattern == "dots":
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ink))
        painter.drawEllipse(QRectF((size - line) / 2, (size - line) / 2, line, line))
    elif pattern == "vertical":
        painter.fillRect(QRectF(0, 0, line, size), QColor(ink))
    else:
        painter.setPen(QPen(QColor(ink), line, Qt.PenStyle.SolidLine, Qt.PenCapStyle.SquareCap))
        for shift in (-size, 0, size):
            if pattern == "diagonal":
                painter.drawLine(shift, size, shift + size, 0)
            else:
                painter.drawLine(shift, 0, shift + size, size)
    painter.end()
    return pixmap
