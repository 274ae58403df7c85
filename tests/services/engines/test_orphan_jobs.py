"""Orphans looked for and ended off the window's thread."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.engines.crashed import Tree, trees
from tests.services.engines.processes import running

from splitrig.services.engines.orphan_jobs import OrphanJobs, OrphansEnded, OrphansFound
from splitrig.services.mailbox import Mailbox

if sys.platform == "win32":
    pytest.skip("the guard is for Linux; Windows uses a job object", allow_module_level=True)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with trees(tmp_path / "running") as begin:
        yield begin


def test_what_a_crash_left_is_found_and_ended(tree: Tree, tmp_path: Path) -> None:
    crashed = tree("sh", "-c", "sleep 60 & sleep 60 & wait")
    crashed.crash()
    left = crashed.below_the_engine()
    assert running(left)
    mailbox = Mailbox()
    jobs = OrphanJobs(mailbox, records=tmp_path / "running")
    begun = time.monotonic()
    jobs.look()
    assert time.monotonic() - begun < 0.1
    jobs.close()
    (found,) = mailbox.drain()
    assert isinstance(found, OrphansFound)
    assert set(running(left)) <= set(found.orphans[0].pids)
    jobs.end(found.orphans)
    jobs.close()
    (ended,) = mailbox.drain()
    assert isinstance(ended, OrphansEnded)
    assert ended.error is None
    assert ended.freed[0].left == ()
    assert running(left) == []
    jobs.look()
    jobs.close()
    assert mailbox.drain() == []
