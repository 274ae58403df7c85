"""`splitrig orphans` and `splitrig doctor` after a crash."""

import json
import sys
from collections.abc import Iterator

import pytest
from tests.services.cli.run_cli import splitrig
from tests.services.engines.crashed import Tree, trees
from tests.services.engines.guarded import sh
from tests.services.engines.processes import running, seconds_until_gone

from splitrig.services.engines.records import records_dir

if sys.platform == "win32":
    pytest.skip("the trees here are shell scripts", allow_module_level=True)


@pytest.fixture
def tree() -> Iterator[Tree]:
    """Programs whose records lie where the command line looks for them."""
    with trees(records_dir()) as begin:
        yield begin


def test_with_nothing_left_there_is_nothing_to_do() -> None:
    run = splitrig("orphans")
    assert (run.returncode, run.stdout) == (0, "No engine of an earlier run is left.\n")
    assert json.loads(splitrig("orphans", "--json").stdout) == {"orphans": []}
    assert json.loads(splitrig("orphans", "--end", "--json").stdout) == {"orphans": [], "ended": []}


def test_what_a_crash_has_left_is_named_and_ended(tree: Tree) -> None:
    crashed = tree(*sh("sleep 60 & sleep 61"))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    left = crashed.below_the_engine()

    listed = json.loads(splitrig("orphans", "--json").stdout)
    (orphan,) = listed["orphans"]
    assert set(orphan["pids"]) == set(left)
    assert orphan["engine"] == "llama.cpp"
    assert orphan["model"] == "m.gguf"
    assert orphan["memory_bytes"] > 0
    assert "ended" not in listed

    told = splitrig("doctor", "--json")
    assert told.returncode == 1
    checks = {check["id"]: check for check in json.loads(told.stdout)["checks"]}
    assert checks["orphan-0"]["state"] == "problem"
    assert checks["orphan-0"]["message"].startswith("An engine of an earlier run (sh, started ")
    assert "splitrig orphans --end" in checks["orphan-0"]["hint"]

    named = splitrig("orphans")
    assert named.returncode == 0
    assert "still holds" in named.stdout
    assert running(left) == left

    ended = splitrig("orphans", "--end")
    assert ended.returncode == 0
    assert ended.stdout.startswith("sh was ended; ")
    assert running(left) == []


def test_ended_is_told_as_json(tree: Tree) -> None:
    crashed = tree(*sh("sleep 60 & sleep 61"))
    crashed.crash()
    seconds_until_gone([crashed.engine])
    run = splitrig("orphans", "--end", "--json")
    assert run.returncode == 0
    (ended,) = json.loads(run.stdout)["ended"]
    assert set(ended["pids"]) == set(crashed.below_the_engine())
    assert ended["left"] == []
