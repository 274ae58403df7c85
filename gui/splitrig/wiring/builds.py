"""Joins the llama.cpp builds of the Settings page with the bridge that lists and gets them."""

from splitrig.bridge.releases import ReleasesBridge
from splitrig.views.settings.builds_section import BuildsSection


def wire_builds(bridge: ReleasesBridge, section: BuildsSection) -> None:
    """Let the section show what the bridge tells, and the bridge do what the section asks.

    Which build is used is a setting: the page stores it and tells the owner.
    """
    section.list_wanted.connect(bridge.refresh)
    section.look_requested.connect(bridge.look)
    section.install_requested.connect(bridge.install)
    section.unchecked_requested.connect(bridge.install_unchecked)
    section.cancel_requested.connect(bridge.cancel)
    section.remove_requested.connect(bridge.remove)
    bridge.listed.connect(section.show_builds)
    bridge.job_changed.connect(section.show_job)
    bridge.offered.connect(section.show_offers)
    bridge.progressed.connect(section.show_progress)
    bridge.installed.connect(section.show_ready)
    bridge.failed.connect(section.show_failure)
