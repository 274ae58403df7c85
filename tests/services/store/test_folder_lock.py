"""Two programs never change the same folder at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.services.cli.run_cli import environment

from splitrig.core.errors import StoreError
from splitrig.services.store.lock import FolderLock

HOLD = """
import sys
from pathlib import Path
from splitrig.services.store.lock import FolderLock
with FolderLock(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_program_is_told_that_it_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match="It is busy"), FolderLock(path, "It is busy."):
            pass
        other.kill()  # the system lets go of what a dead program held
        other.wait()
        with FolderLock(path, "It is busy."):
            pass


def test_it_can_be_taken_again_and_again(tmp_path: Path) -> None:
    for _ in range(3):
        with FolderLock(tmp_path / ".lock", "busy"):
            pass
    with FolderLock(tmp_path / ".lock", "busy"), pytest.raises(StoreError):
        FolderLock(tmp_path / ".lock", "busy").__enter__()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        FolderLock(tmp_path / "file" / ".lock", "busy").__enter__()
