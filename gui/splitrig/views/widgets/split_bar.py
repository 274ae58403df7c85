"""The split as a bar: one handle between each two cards, layer ticks, and the fit track."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QMouseEvent, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.core.split import counts_for_split, move_handle, split_for_layers
from splitrig.views.theme import Theme
from splitrig.views.widgets.split_geometry import free_shares, handle_centres, layers_left_of
from splitrig.views.widgets.split_handle import BAR_PX, GRAB_PX, RING_PX, STICK_PX, SplitHandle
from splitrig.views.widgets.split_paint import BarPicture, paint_bar, paint_closed

TOP_PX = RING_PX + STICK_PX
TRACK_TOP_PX = TOP_PX + BAR_PX + 14
HEIGHT_PX = TRACK_TOP_PX + 4 + 18
CLOSED_PX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCard:
    """A card in the bar.

    Attributes:
        number: The number of its chip.
        name: Its short name.
    """

    number: int
    name: str


class SplitBar(QWidget):
    """Shows and changes the shares; it knows layers but no bytes.

    Signals:
        moved: `tuple[float, ...]`, the new shares, with each step of a handle.
        auto_wanted: Double click.
        field_wanted: Enter on a handle: the user wants to type.
        handle_changed: The fit track is now about this handle; ask `current_handle`.
    """

    moved = Signal(object)
    auto_wanted = Signal()
    field_wanted = Signal()
    handle_changed = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._cards: tuple[SplitCard, ...] = ()
        self._shares: tuple[float, ...] = ()
        self._n_slots = 1
        self._fit: tuple[int, int] | None = None
        self._fit_known = False
        self._closed = ""
        self._within = False
        self._layers: tuple[int, ...] = ()
        self._stage = 1
        self._handles: list[SplitHandle] = []
        self._current = 0
        self._undo: tuple[float, ...] = ()
        self._descriptions: tuple[str, ...] = ()
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Split of the layers across the cards")
        theme.changed.connect(self.update)

    @property
    def shares(self) -> tuple[float, ...]:
        """Share per card."""
        return self._shares

    @property
    def counts(self) -> tuple[int, ...]:
        """Layers per card, the output counted."""
        if len(self._layers) == len(self._cards):
            return self._layers
        return counts_for_split(self._shares, self._n_slots) if self._cards else ()

    @property
    def current_handle(self) -> int:
        """Number of the handle that has or had the focus last."""
        return self._current

    @property
    def handles(self) -> tuple[SplitHandle, ...]:
        """The handles from left to right."""
        return tuple(self._handles)

    def set_cards(self, cards: Sequence[SplitCard]) -> None:
        """Say which cards take part, in the order of the split; equal shares until told."""
        if tuple(cards) == self._cards:
            return
        self._cards = tuple(cards)
        self._shares = (1.0,) * len(cards)
        self._undo = ()
        self._fit_known = False
        self._current = 0
        self._make_handles(max(len(cards) - 1, 0))
        self._place()

    def show_split(self, shares: Sequence[float], n_slots: int) -> None:
        """Show these shares of `n_slots` layers (output counted); emits nothing."""
        if (tuple(shares), n_slots) == (self._shares, self._n_slots):
            return
        self._shares, self._n_slots = tuple(shares), max(n_slots, 1)
        self._place()

    def show_fit(self, fit: tuple[int, int] | None) -> None:
        """Say where the current handle may stand with all else unchanged.

        Args:
            fit: Fewest and most layers on the card left of it with which every card has room;
                `None` when there is no such place.
        """
        self._fit, self._fit_known = fit, True
        self.update()

    def describe_handles(self, texts: Sequence[str]) -> None:
        """What a screen reader says of each handle; told when key or mouse is released."""
        self._descriptions = tuple(texts)
        if not any(h.held for h in self._handles):
            self._announce()

    def show_layers(self, layers: Sequence[int]) -> None:
        """Show what an engine makes of the shares that counts the output as no layer.

        Where such an engine's cards have room is told by `show_fit` as well.

        Args:
            layers: Per card; empty for an engine that deals layers out as llama.cpp does.
        """
        if tuple(layers) != self._layers:
            self._layers = tuple(layers)
            self._place()
        if layers:
            self._fit_known = False

    def set_within(self, *, within: bool) -> None:
        """The shares are of every layer, so that no layer is counted."""
        if within != self._within:
            self._within = within
            self.update()

    def set_stage(self, n_cards: int) -> None:
        """So many cards after each other hold the same: only between them there are handles."""
        self._stage = n_cards
        if not self._is_edge(self._current):
            self._current = n_cards - 1
        self._show_handles()

    def close_with(self, reason: str) -> None:
        """Take the handles away because of `reason`; empty gives them back."""
        self._closed = reason
        self.setAccessibleDescription(reason)
        self._show_handles()
        self.setFixedHeight(CLOSED_PX if reason else HEIGHT_PX)
        self.update()

    def sizeHint(self) -> QSize:
        """Bar, fit track and its words."""
        return QSize(400, self.height())

    def _make_handles(self, n: int) -> None:
        for old in self._handles:
            old.hide()
            old.deleteLater()
        self._handles = []
        for index in range(n):
            handle = SplitHandle(self._theme, self)
            left, right = self._cards[index].name, self._cards[index + 1].name
            handle.setAccessibleName(f"Split between {left} and {right}")
            handle.grabbed.connect(self._on_grabbed)
            handle.dragged.connect(self._on_dragged)
            handle.dropped.connect(self._announce)
            handle.stepped.connect(self._on_stepped)
            handle.edge_wanted.connect(self._on_edge)
            handle.undo_wanted.connect(self._on_undo)
            handle.field_wanted.connect(self.field_wanted)
            handle.auto_wanted.connect(self.auto_wanted)
            handle.focused.connect(self._on_focused)
            handle.valueChanged.connect(self._on_value)
            self._handles.append(handle)
        self._show_handles()

    def _show_handles(self) -> None:
        for index, handle in enumerate(self._handles):
            handle.setVisible(not self._closed and self._is_edge(index))

    def _is_edge(self, handle: int) -> bool:
        """A handle stands between two stages."""
        return (handle + 1) % self._stage == 0

    def _place(self) -> None:
        """Put the handles where the shares say, with value and range for assistive tools."""
        counts = self.counts
        for index, centre in enumerate(handle_centres(self._shares, self.width())):
            if index >= len(self._handles):
                break
            handle = self._handles[index]
            handle.blockSignals(True)  # noqa: FBT003 - Qt's own signature
            handle.setRange(0, counts[index] + counts[index + 1])
            handle.setValue(counts[index])
            handle.blockSignals(False)  # noqa: FBT003 - Qt's own signature
            height = BAR_PX + 2 * TOP_PX
            handle.setGeometry(round(centre - GRAB_PX / 2), 0, GRAB_PX, height)
        self.update()

    def _index_of_sender(self) -> int:
        sender = self.sender()
        return next((i for i, h in enumerate(self._handles) if h is sender), self._current)

    def _move_to(self, shares: tuple[float, ...]) -> None:
        if shares != self._shares and sum(shares) > 0:
            if len(self._undo) != len(shares):
                self._undo = self._shares
            self._shares = shares
            self._place()
            self.moved.emit(shares)

    def _move_layers(self, handle: int, delta: int) -> None:
        """Move so many layers over a handle, on each card of the stages beside it."""
        counts = self.counts[:: self._stage]
        moved = move_handle(counts, handle // self._stage, delta)
        if moved != counts:
            self._move_to(split_for_layers([n for n in moved for _ in range(self._stage)]))

    @Slot()
    def _on_grabbed(self) -> None:
        self._undo = self._shares

    @Slot(float, bool)
    def _on_dragged(self, x_px: float, free: bool) -> None:  # noqa: FBT001 - the signal's own
        handle = self._index_of_sender()
        if free and self._stage == 1:
            self._move_to(free_shares(x_px, self.width(), self._shares, handle))
            return
        size, counts = self._stage, self.counts
        stages = [sum(counts[at : at + size]) for at in range(0, len(counts), size)]
        wanted = layers_left_of(x_px, self.width(), stages, handle // size)
        self._move_layers(handle, round((wanted - stages[handle // size]) / size))

    @Slot(int)
    def _on_stepped(self, delta: int) -> None:
        self._move_layers(self._index_of_sender(), delta)

    @Slot(int)
    def _on_value(self, value: int) -> None:
        """Assistive technology has set the slider."""
        handle = self._index_of_sender()
        self._move_layers(handle, value - self.counts[handle])

    @Slot(int)
    def _on_edge(self, side: int) -> None:
        handle = self._index_of_sender()
        counts = self.counts
        least, most = 0, counts[handle] + counts[handle + 1]
        if self._fit_known and self._fit is not None and handle == self._current:
            least, most = self._fit
        self._move_layers(handle, (least if side < 0 else most) - counts[handle])

    @Slot()
    def _on_undo(self) -> None:
        if len(self._undo) == len(self._shares):
            self._move_to(self._undo)

    @Slot()
    def _on_focused(self) -> None:
        handle = self._index_of_sender()
        self._undo = self._shares
        if handle != self._current:
            self._current = handle
            self._fit_known = False
        self.handle_changed.emit(handle)
        self.update()

    @Slot()
    def _announce(self) -> None:
        for handle, text in zip(self._handles, self._descriptions, strict=False):
            if handle.accessibleDescription() != text:
                handle.setAccessibleDescription(text)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click on a card gives the nearest handle the focus; nothing moves."""
        if self._handles and not self._closed:
            centres = handle_centres(self._shares, self.width())
            x = event.position().x()
            free = [index for index in range(len(centres)) if self._is_edge(index)]
            nearest = min(free, key=lambda i: abs(centres[i] - x), default=None)
            if nearest is not None:
                self._handles[nearest].setFocus(Qt.FocusReason.MouseFocusReason)

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        """Back to Auto."""
        if not self._closed:
            self.auto_wanted.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The handle with the focus takes it; without one the page scrolls."""
        focused = next((h for h in self._handles if h.hasFocus()), None)
        if focused is None or self._closed:
            event.ignore()
        else:
            focused.wheelEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The handles keep their shares."""
        super().resizeEvent(event)
        self._place()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Cards, ticks and fit track; the handles paint themselves."""
        picture = BarPicture(
            numbers=tuple(c.number for c in self._cards),
            shares=self._shares,
            counts=self.counts,
            fit=self._fit,
            fit_known=self._fit_known and bool(self._handles),
            current=self._current,
            focused=any(h.hasFocus() for h in self._handles),
            within=self._within,
            blocks_only=bool(self._layers),
            stage=self._stage,
        )
        if self._closed:
            paint_closed(self, self._theme, picture)
        else:
            paint_bar(self, self._theme, picture, QPointF(0, TOP_PX), TRACK_TOP_PX)
