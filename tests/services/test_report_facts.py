import platform
from pathlib import Path

from splitrig import __version__
from splitrig.core.bug_report import bug_report
from splitrig.core.gpu import GpuInfo, Rig, Vendor
from splitrig.services.report_facts import report_facts

CARD = GpuInfo(id="demo-0", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, source="demo")


def test_versions_and_cards_are_in_the_report_and_the_user_is_not() -> None:
    facts = report_facts(Rig(time_s=0, gpus=(CARD,), demo=True))
    text = bug_report(facts, {}, ())
    assert text.startswith(f"SplitRig {__version__} · ")
    assert f"Python {platform.python_version()}" in text
    assert platform.release() in text
    assert "NVIDIA GeForce RTX 4090, – GiB, no bus, driver unknown, demo" in text
    assert facts.home == str(Path.home())
    assert facts.user


def test_without_a_rig_there_are_no_cards() -> None:
    assert report_facts().gpus == ()
