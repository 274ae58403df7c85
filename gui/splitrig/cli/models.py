"""`splitrig models`: the models that can be named instead of a file: Ollama's."""

import argparse
import json
from dataclasses import dataclass

from splitrig.cli.options import stored_settings
from splitrig.cli.table import table
from splitrig.core.engine import EngineKind
from splitrig.core.errors import SplitRigError
from splitrig.core.ollama_model import ServedListing, StoreListing
from splitrig.core.units import MISSING, size_text
from splitrig.services.engines.engines import Engines
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.ollama_store import list_models, store_folders

ENGINES = (EngineKind.OLLAMA.value, EngineKind.OLLAMA_ATTACHED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A model by its name; `None` where it is not told.

    Attributes:
        n_bytes: Size of its files, bytes.
        path: Its GGUF file, if that is on this machine.
    """

    name: str
    n_bytes: int
    parameters: str | None = None
    quantization: str | None = None
    path: str | None = None

    def as_json(self, engine: str) -> dict[str, object]:
        return {
            "name": self.name,
            "engine": engine,
            "size_bytes": self.n_bytes,
            "parameters": self.parameters,
            "quantization": self.quantization,
            "path": self.path,
        }


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("models", help="list Ollama's models, which --model takes by name")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="ollama: those on this machine's disk; ollama-attached: those of an Ollama that runs",
    )
    parser.add_argument(
        "--attach", metavar="URL", help="where that one runs, instead of the usual address"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print them; 0 also when there is none.

    Raises:
        SplitRigError: The Ollama that runs could not be asked, or the options do not go together.
    """
    notes: tuple[str, ...] = ()
    attached = options.engine == EngineKind.OLLAMA_ATTACHED
    if options.attach is not None and not attached:
        raise SplitRigError(
            "--attach is for an Ollama that runs already.", "Add --engine ollama-attached."
        )
    if attached:
        served = _served(options.attach)
        rows, where = _served_rows(served), f"The Ollama at {served.url}"
    else:
        stored = list_models(store_folders())
        rows, notes, where = _stored_rows(stored), stored.notes, "Ollama on this machine"
    if options.json:
        models = [row.as_json(options.engine) for row in rows]
        print(json.dumps({"models": models, "notes": list(notes)}, indent=2))
        return 0
    print(_text(rows) if rows else f"{where} has no model yet. 'ollama pull NAME' gets one.")
    for note in notes:
        print(note)
    return 0


def _served(url: str | None) -> ServedListing:
    """What the Ollama that runs has.

    Raises:
        SplitRigError: It could not be asked.
    """
    settings = stored_settings().engine
    if url is not None:
        settings = settings.model_copy(update={"ollama_url": url})
    listing = Engines(Mailbox(), settings).served_models()
    if listing.error is not None:
        raise listing.error
    return listing


def _served_rows(listing: ServedListing) -> list[_Row]:
    return [
        _Row(
            name=model.name,
            n_bytes=model.n_bytes,
            parameters=model.parameters or None,
            quantization=model.quantization or None,
        )
        for model in listing.models
    ]


def _stored_rows(listing: StoreListing) -> list[_Row]:
    return [_Row(name=m.name, n_bytes=m.n_bytes, path=str(m.path)) for m in listing.models]


def _text(rows: list[_Row]) -> str:
    cells = [
        (
            row.name,
            size_text(row.n_bytes),
            row.parameters or MISSING,
            row.quantization or MISSING,
        )
        for row in rows
    ]
    return table(("Model", "Size", "Parameters", "Quantisation"), cells)
