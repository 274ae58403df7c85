"""The window: rail, strip, the notice on top, and one page at a time."""

from collections.abc import Callable

from PySide6.QtCore import QSize, Signal, Slot
from PySide6.QtGui import QCloseEvent, QIcon, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from splitrig.core.errors import SplitRigError
from splitrig.views.rail import Rail
from splitrig.views.theme import Theme
from splitrig.views.widgets.notice import NoticeBar

NARROW_BELOW_PX = 1180
SMALLEST = QSize(1024, 700)


class MainWindow(QMainWindow):
    """Holds the pages; knows nothing of what they do.

    Signals:
        close_requested: The user closes the window; the owner ends the program.
        page_shown: Key of the page that is now in front.
    """

    close_requested = Signal()
    page_shown = Signal(str)

    def __init__(self, theme: Theme, strip: QWidget, icon: QIcon) -> None:
        super().__init__()
        self.setWindowTitle("SplitRig")
        self.setWindowIcon(icon)
        self.setMinimumSize(SMALLEST)
        self.resize(1280, 800)
        self._pages: dict[str, QWidget] = {}
        self.rail = Rail(theme)
        self._stack = QStackedWidget()
        self.notice = NoticeBar(theme)
        self.notice.setObjectName("window_notice")  # the style keeps it off the strip
        self.notice.hide()
        self._notice_action: Callable[[], None] | None = None
        self.notice.action_triggered.connect(self._on_notice_action)
        self.rail.chosen.connect(self.show_page)

        notice_row = QWidget()
        notice_layout = QVBoxLayout(notice_row)
        notice_layout.setContentsMargins(20, 0, 20, 0)
        notice_layout.addWidget(self.notice)
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(0)
        right.addWidget(strip)
        right.addWidget(notice_row)
        right.addWidget(self._stack, 1)
        body = QWidget()
        row = QHBoxLayout(body)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.rail)
        row.addLayout(right, 1)
        self.setCentralWidget(body)

    def add_page(self, key: str, icon: str, label: str, *, at_bottom: bool = False) -> None:
        """Add an empty page; Ctrl and its number open it."""
        page = QWidget()
        room = QVBoxLayout(page)
        room.setContentsMargins(0, 0, 0, 0)
        self._pages[key] = page
        self._stack.addWidget(page)
        self.rail.add(key, icon, label, at_bottom=at_bottom)
        shortcut = QShortcut(QKeySequence(f"Ctrl+{len(self._pages)}"), self)
        shortcut.activated.connect(lambda: self.show_page(key))

    def fill_page(self, key: str, content: QWidget) -> None:
        """Put the content into a page that was added."""
        layout = self._pages[key].layout()
        if layout is not None:
            layout.addWidget(content)

    @property
    def current_page(self) -> str:
        """Key of the page in front."""
        return next(key for key, page in self._pages.items() if page is self._stack.currentWidget())

    @Slot(str)
    def show_page(self, key: str) -> None:
        """Bring a page to the front."""
        self._stack.setCurrentWidget(self._pages[key])
        self.rail.show_current(key)
        self.page_shown.emit(key)

    @Slot(object)
    def show_error(self, error: SplitRigError) -> None:
        """Show an expected failure in the notice bar above the page."""
        self.show_notice("danger", error.message, error.hint)

    def show_notice(
        self,
        severity: str,
        title: str,
        detail: str = "",
        *,
        action: str = "",
        on_action: Callable[[], None] | None = None,
    ) -> None:
        """Show one notice; a new one takes the place of the old one."""
        self._notice_action = on_action
        self.notice.show_notice(severity, title, detail, action=action)

    @Slot()
    def _on_notice_action(self) -> None:
        if self._notice_action is not None:
            self._notice_action()
            self.notice.hide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The rail loses its labels in a small window."""
        self.rail.set_narrow(narrow=event.size().width() < NARROW_BELOW_PX)
        super().resizeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Hide at once; the owner stops the engine and ends the program."""
        event.accept()
        self.close_requested.emit()
