"""Files beside a model: a projector that lets it see, and a small model that drafts for it."""

from pathlib import Path

from splitrig.core.companion import PROJECTOR, Projector, draft_obstacle
from splitrig.core.errors import ModelFileError
from splitrig.core.model import Model
from splitrig.services.models.gguf import read_header, read_model

MOST_FOUND = 8


def read_draft(path: Path, model: Model) -> Model:
    """Read a model that is to draft for another; blocks for some 50 ms.

    Raises:
        ModelFileError: It cannot be read, or cannot draft for that model.
    """
    draft = read_model(path)
    if why := draft_obstacle(model, draft):
        raise ModelFileError(why, "Choose a small model of the same family.")
    return draft


def read_projector(path: Path) -> Projector:
    """Read a projector; blocks for some 50 ms.

    Raises:
        ModelFileError: It cannot be read, or is none.
    """
    header = read_header(path)
    if header.metadata.get("general.architecture") != PROJECTOR:
        raise ModelFileError(
            f"{path.name} is no projector.", "Its file usually begins with 'mmproj'."
        )
    return Projector(path=path, n_bytes=sum(tensor.n_bytes for tensor in header.tensors))


def find_projectors(model: Path) -> tuple[Path, ...]:
    """Files beside a model that are projectors by their names; those that cannot be seen are not.

    Blocks for as long as its folder takes to be listed.
    """
    try:
        files = sorted(model.parent.iterdir())
        found = [f for f in files if "mmproj" in f.name.lower() and f.suffix.lower() == ".gguf"]
        return tuple(f for f in found if f != model and f.is_file())[:MOST_FOUND]
    except OSError:
        return ()
