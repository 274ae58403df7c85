"""Which cards engines of another SplitRig use, from the records of real processes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.orphan import RunAbout
from splitrig.services.engines.in_use import engines_on
from splitrig.services.engines.records import RecordFile, launch_recorded, read

if sys.platform == "win32":
    pytest.skip("the process is one of Linux", allow_module_level=True)


def test_an_engine_is_found_by_its_cards_while_it_runs(tmp_path: Path) -> None:
    about = RunAbout(kind="llama.cpp", cards=("GPU-1", "GPU-2"))
    process = launch_recorded(
        ["sleep", "60"], {"PATH": "/usr/bin:/bin"}, lambda _: None, about=about, folder=tmp_path
    )
    try:
        (found,) = engines_on(("GPU-2", "GPU-3"), tmp_path)
        assert found.about == about
        assert found.engine is not None
        assert found.engine.pid == process.pid
        assert engines_on(("GPU-3",), tmp_path) == ()
        # of another boot, and of no SplitRig at all
        elsewhere = replace(found, token="1" * 32, place=replace(found.place, boot="other"))
        RecordFile(elsewhere, tmp_path).write(elsewhere)
        (tmp_path / "odd.json").write_text("[]")
        assert engines_on(("GPU-1",), tmp_path) == (found,)
        kept = read(next(tmp_path.glob(f"{found.token}.json")))
    finally:
        process.stop()
        process.close()
    assert kept is not None
    RecordFile(kept, tmp_path).write(kept)  # as a crash leaves it
    assert engines_on(("GPU-1",), tmp_path) == ()


def test_a_lent_processor_is_no_card(tmp_path: Path) -> None:
    about = RunAbout(kind="llama.cpp", cards=("demo-0",))
    process = launch_recorded(
        ["sleep", "60"], {"PATH": "/usr/bin:/bin"}, lambda _: None, about=about, folder=tmp_path
    )
    try:
        assert engines_on(("demo-0",), tmp_path) == ()
    finally:
        process.stop()
        process.close()
    assert engines_on(("GPU-1",), tmp_path / "nowhere") == ()
