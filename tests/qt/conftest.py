"""Shared by the widget tests: the program's look on the test's application."""

import pytest
from PySide6.QtWidgets import QApplication

from splitrig.services.store.resources import resource
from splitrig.views.theme import Theme


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    """The dark theme, applied."""
    theme = Theme(resource("themes", "tokens.json"), resource("fonts"), dark=True)
    theme.apply(qapp)
    return theme
