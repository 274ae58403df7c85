"""What can be fetched: the build for this machine with the reason, and the others folded away."""

from collections.abc import Collection, Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from splitrig.core.engine_offer import Offer, Offers
from splitrig.core.units import size_text
from splitrig.views.settings.build_wording import (
    choice_text,
    facts_text,
    flavour_text,
    size_words,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.fold import Fold
from splitrig.views.widgets.texts import IconButton, line, text_label

HERE = "on this machine"


class OfferRow(QWidget):
    """One build: what it is, why or why not, its size, and the button that fetches it.

    Signals:
        wanted: `Offer`.

    Attributes:
        download: Fetches it; gone when it is here already.
    """

    wanted = Signal(object)

    def __init__(
        self, theme: Theme, offer: Offer, title: str, note: str, *, primary: bool = False
    ) -> None:
        super().__init__()
        self.offer = offer
        self._badge = Badge(theme)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(text_label(theme, title, "value" if primary else "body", 500))
        head.addWidget(self._badge)
        head.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addLayout(head)
        label = text_label(theme, note, "note", role="muted")
        label.setWordWrap(True)
        words.addWidget(label)
        self.download = IconButton(
            theme, "download-simple", "Download", kind="primary" if primary else "",
            small=not primary,
        )  # fmt: skip
        size = size_text(offer.choice.size_bytes)
        self.download.setAccessibleName(f"Download {choice_text(offer.choice)}, {size}")
        self.download.setAccessibleDescription(note)
        self.download.clicked.connect(self._on_clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 6, 0, 6)
        row.setSpacing(12)
        row.addLayout(words, 1)
        row.addWidget(self.download, 0, Qt.AlignmentFlag.AlignVCenter)
        self._tag = "for this machine" if primary else ""
        self.show_here(here=False)

    def show_here(self, *, here: bool) -> None:
        """Whether it is on this machine already."""
        self.download.setVisible(not here)
        if here:
            self._badge.set_badge(HERE, "success", "check")
        else:
            self._badge.set_badge(self._tag, "accent")
        self._badge.setVisible(here or bool(self._tag))

    @Slot()
    def _on_clicked(self) -> None:
        self.wanted.emit(self.offer)


class OffersView(QWidget):
    """The best build, other kinds of its release, and other releases.

    Signals:
        wanted: `Offer` the user wants.

    Attributes:
        rows: All of them, the best one first.
        kinds: Other kinds, folded away.
        builds: Other releases, folded away.
    """

    wanted = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._here: frozenset[str] = frozenset()
        self.rows: list[OfferRow] = []
        self._best = QVBoxLayout()
        self.kinds, self.builds = Fold(theme), Fold(theme)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._best)
        layout.addWidget(self.kinds)
        layout.addWidget(self.builds)

    def show_offers(self, offers: Offers) -> None:
        """Show these instead."""
        self.rows = []
        for column in (self._best, self.kinds.column, self.builds.column):
            while (item := column.takeAt(0)) is not None:
                widget = item.widget()
                if widget is not None:
                    widget.hide()
                    widget.deleteLater()
        best = offers.best.choice
        note = f"{best.reason}\n{facts_text(best)}"
        self._add(self._best, OfferRow(self._theme, offers.best, choice_text(best), note,
                                       primary=True))  # fmt: skip
        self._fill(self.kinds, f"Other kinds of {best.release.tag}", offers.kinds)
        self._fill(self.builds, "Other builds", offers.builds)
        self.show_here(self._here)
        self._order_tabs()

    def show_here(self, ids: Collection[str]) -> None:
        """Take the ids of the builds that are on this machine."""
        self._here = frozenset(ids)
        for row in self.rows:
            row.show_here(here=row.offer.choice.asset.id in self._here)

    def _fill(self, fold: Fold, title: str, offers: Sequence[Offer]) -> None:
        fold.set_title(f"{title} ({len(offers)})")
        fold.set_open(open_=False)
        fold.setVisible(bool(offers))
        for offer in offers:
            choice = offer.choice
            same = fold is self.kinds
            name = flavour_text(choice.asset.flavour) if same else choice_text(choice)
            fold.column.addWidget(line())
            facts = size_words(choice) if same else facts_text(choice)
            note = f"{facts} · {offer.flaw}" if offer.flaw else facts
            self._add(fold.column, OfferRow(self._theme, offer, name, note))

    def _add(self, column: QVBoxLayout, row: OfferRow) -> None:
        row.wanted.connect(self.wanted)
        column.addWidget(row)
        self.rows.append(row)

    def _order_tabs(self) -> None:
        best, *rest = self.rows
        folded = {fold: [row for row in rest if fold.isAncestorOf(row)]
                  for fold in (self.kinds, self.builds)}  # fmt: skip
        last: QWidget = best.download
        for fold, rows in folded.items():
            for widget in (fold.head, *(row.download for row in rows)):
                QWidget.setTabOrder(last, widget)
                last = widget
