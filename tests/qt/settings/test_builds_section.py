"""The section by itself, in states that no small build leads to."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from splitrig.core.engine_build import Build, Job, JobKind, Ready, Source
from splitrig.core.engine_choice import newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_offer import Offers, offers_of
from splitrig.core.engine_release import parse_releases
from splitrig.core.errors import EngineError, NetError
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.settings import Settings
from splitrig.views.settings.build_rows import PATIENCE_MS, WAITING
from splitrig.views.settings.builds_section import BuildsSection
from splitrig.views.settings.page import SettingsPage
from splitrig.views.theme import Theme

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases" / "releases.json"
CARDS = tuple(
    GpuInfo(
        id=name, name=f"NVIDIA GeForce {name}", vendor=Vendor.NVIDIA,
        compute_capability=capability, source="test",
    )
    for name, capability in (("RTX 4090", "8.9"), ("RTX 3080", "8.6"))
)  # fmt: skip
ID = "b11118-cuda-13.4"
READY = Ready(id=ID, path=Path("/a"), devices=(), n_cards=2, fresh=True, checked=True)
FETCHED = Build(path=Path("/a"), source=Source.DOWNLOADED, id=ID, build="b11118", used=True)
LOOK, INSTALL = Job(kind=JobKind.LOOK), Job(kind=JobKind.INSTALL, id=ID)


def offers() -> Offers:
    releases = parse_releases(RECORDED.read_bytes())
    machine = Machine(os="linux", arch="x64", glibc=(2, 39), cards=CARDS, cuda=(13, 4))
    return offers_of(releases, newest_choice(releases, machine), machine)


@pytest.fixture
def section(theme: Theme, qtbot: QtBot) -> BuildsSection:
    """The section in a window."""
    made = BuildsSection(theme)
    qtbot.addWidget(made)
    made.resize(760, 700)
    made.show()
    qtbot.waitExposed(made)
    return made


def texts(section: BuildsSection) -> list[str]:
    return [label.text() for label in section.findChildren(QLabel) if label.isVisible()]


def press(section: BuildsSection) -> None:
    """Press the button of the notice."""
    QTest.mouseClick(section.notice._action, Qt.MouseButton.LeftButton)


def test_only_a_list_that_takes_long_is_waited_for(section: BuildsSection, qtbot: QtBot) -> None:
    assert WAITING not in texts(section)
    qtbot.waitUntil(lambda: WAITING in texts(section), timeout=PATIENCE_MS * 20)
    section.show_builds((FETCHED,))
    assert WAITING not in texts(section)


def test_the_list_is_wanted_whenever_the_section_comes_into_view(section: BuildsSection) -> None:
    wanted: list[bool] = []
    section.list_wanted.connect(lambda: wanted.append(True))
    section.hide()
    section.show()
    assert wanted == [True]


def test_the_best_build_stands_open_with_its_reason_and_the_rest_is_folded(
    section: BuildsSection,
) -> None:
    section.show_offers(offers())
    words = texts(section)
    assert "b11118 · CUDA 13.4" in words
    assert any("for RTX 4090 and RTX 3080: the driver offers CUDA 13.4." in w for w in words)
    assert section.offers.kinds.head.text() == "Other kinds of b11118 (7)"
    assert section.offers.builds.head.text() == "Other builds (3)"
    assert "ROCm 10.0" not in words
    QTest.mouseClick(section.offers.kinds.head, Qt.MouseButton.LeftButton)
    words = texts(section)
    assert "ROCm 10.0" in words
    assert any("It uses none of the cards: it is for those of AMD." in w for w in words)
    # one primary button
    assert [row.download.property("kind") for row in section.offers.rows[:2]] == ["primary", None]
    assert section.look.property("kind") == ""


def test_new_offers_take_the_place_of_old_ones(section: BuildsSection, qtbot: QtBot) -> None:
    section.show_offers(offers())
    section.show_offers(offers())
    assert len(section.offers.rows) == 11
    qtbot.waitUntil(lambda: texts(section).count("b11118 · CUDA 13.4") == 1)


def test_a_build_that_does_not_see_the_cards_leads_to_the_other_kinds(
    section: BuildsSection,
) -> None:
    section.show_offers(offers())
    section.show_job(INSTALL)
    section.show_job(None)
    section.show_ready(READY)
    assert section.notice.severity == "warning"
    assert "does not see the 2 cards" in section.notice.detail
    press(section)
    assert section.offers.kinds.content.isVisible()
    assert section.notice.isHidden()


def test_a_notice_that_was_put_away_stays_away(section: BuildsSection) -> None:
    section.show_ready(READY)
    section.show_builds((FETCHED,))
    assert "It is used from now on." in section.notice.detail
    section.notice._close.click()
    section.show_builds((FETCHED,))
    assert section.notice.isHidden()


def test_an_error_of_a_look_can_be_tried_again(section: BuildsSection) -> None:
    asked: list[bool] = []
    section.look_requested.connect(lambda: asked.append(True))
    section.show_job(LOOK)
    assert section.cancel.isVisible()
    assert not section.look.isVisible()
    section.show_job(None)
    section.show_failure(LOOK, NetError("It broke off.", "Try again.", details="raw"))
    assert section.notice.title == "It broke off."
    press(section)
    assert asked == [True]


def test_what_cannot_be_removed_any_more_is_told_all_the_same(section: BuildsSection) -> None:
    section.show_builds(())
    job = Job(kind=JobKind.REMOVE, id="b1-cpu")
    section.show_failure(job, EngineError("'b1-cpu' is no downloaded engine.", "None is here."))
    assert section.notice.title == "'b1-cpu' is no downloaded engine."


def test_the_field_of_the_settings_and_the_radio_buttons_are_one_choice(
    theme: Theme, qtbot: QtBot, tmp_path: Path
) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    page.show()
    told: list[Path | None] = []
    page.changed.connect(lambda settings: told.append(settings.engine.llama_server))
    page.builds.show_builds((FETCHED,))
    row = page.builds.rows.rows[0]
    QTest.mouseClick(row.radio, Qt.MouseButton.LeftButton)
    field = page._files["engine", "llama_server"]
    assert field._edit.text() == str(FETCHED.path)
    QTest.mouseClick(row.radio, Qt.MouseButton.LeftButton)  # again: nothing changes
    QTest.mouseClick(page.builds.rows.automatic.radio, Qt.MouseButton.LeftButton)
    assert field._edit.text() == ""
    assert told == [FETCHED.path, None]


def test_the_page_brings_the_section_into_view(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    page.resize(900, 300)
    page.show()
    qtbot.waitExposed(page)
    page.activateWindow()
    page.show_builds()
    bar = page._scroll.verticalScrollBar()
    qtbot.waitUntil(lambda: 0 < bar.value() == min(page.builds.y(), bar.maximum()))
    assert page.builds.look.hasFocus()


def test_what_comes_below_is_scrolled_into_view(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    page.resize(900, 420)
    page.show()
    qtbot.waitExposed(page)
    page.builds.show_offers(offers())
    view = page._scroll.viewport()

    def bottom() -> int:
        fold = page.builds.offers.builds
        return fold.mapTo(view, fold.rect().bottomLeft()).y()

    qtbot.waitUntil(lambda: bottom() <= view.height())
