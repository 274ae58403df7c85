"""How much of a model is read, by the engine itself or by one below it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import model_file, planned
from tests.services.engines.processes import wait_for

from splitrig.services.engines.load_progress import LoadProgress

pytestmark = pytest.mark.skipif(
    not hasattr(psutil.Process().memory_info(), "shared"), reason="the system does not report it"
)
READS = """
import mmap, sys
sys.stdin.readline()
with open(sys.argv[1], "rb") as file:
    model = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sum(model[at] for at in range(0, len(model), 4096))
    print("read", flush=True)
    sys.stdin.readline()
"""
HAS_READ_BELOW = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]])
"""


@pytest.fixture(params=["itself", "below"])
def reader(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Reads the model when it gets a line, and ends with the next one."""
    model: Path = model_file()
    script = [READS, str(model)] if request.param == "itself" else [
        HAS_READ_BELOW, str(model), READS
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", *script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if request.param == "below":
        wait_for(psutil.Process(process.pid).children)
    yield process
    process.communicate("\n\n", timeout=10)


def test_what_is_mapped_of_the_model_is_the_progress(reader: subprocess.Popen[str]) -> None:
    _, plan = planned(1.0)
    progress = LoadProgress(reader.pid, plan)
    assert progress.share("process") is None
    before = progress.share("weights")
    assert before is not None
    assert before < 0.2
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "read\n"
    after = progress.share("weights")
    assert after is not None
    assert after > 0.7


def test_a_process_that_is_none_has_no_progress() -> None:
    _, plan = planned(1.0)
    assert LoadProgress(None, plan).share("weights") is None
    assert LoadProgress(psutil.Process().pid, None).share("weights") is None
