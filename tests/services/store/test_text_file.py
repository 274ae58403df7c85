from pathlib import Path

import pytest

from splitrig.core.errors import StoreError
from splitrig.services.store.text_file import save_text


def test_a_text_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    save_text(path, "before, and longer")
    save_text(path, "größe\n大\n")
    assert path.read_bytes() == "größe\n大\n".encode()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"log\.txt could not be written: .+\.") as caught:
        save_text(tmp_path / "none" / "log.txt", "x")
    assert caught.value.hint
