"""Shared by the widget tests: the program's look on the test's application."""

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from splitrig.services.store.resources import resource
from splitrig.views.theme import Theme


@pytest.fixture(autouse=True)
def no_widgets_of_others(qapp: QApplication) -> None:
    """Delete what earlier tests closed; without an event loop nobody does, and styling slows."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    """The dark theme, applied."""
    theme = Theme(
        resource("themes", "tokens.json"),
        resource("fonts"),
        resource("icons", "phosphor"),
        dark=True,
    )
    theme.apply(qapp)
    return theme
