"""What `splitrig serve` needs to know of Ollama: its models by name, and one that runs already."""

import argparse
from pathlib import Path

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.ollama import full_name, unplanned
from splitrig.core.plan import Plan, PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.core.units import number_text, size_text
from splitrig.services.models.ollama_store import find_model, store_folders


def add_ollama_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--ollama", type=Path, metavar="FILE", help="the ollama to use")
    parser.add_argument(
        "--attach",
        nargs="?",
        const="",
        metavar="URL",
        help="use the Ollama that runs already, there or at the usual address",
    )


def chosen_kind(options: argparse.Namespace) -> EngineKind:
    """Which engine the options mean.

    Raises:
        EngineError: They do not go together.
    """
    kind = EngineKind(options.engine)
    if options.attach is None:
        return kind
    if kind is not EngineKind.OLLAMA:
        raise EngineError(
            f"--attach is for an Ollama that runs already, not for {kind}.", "Add --engine ollama."
        )
    return EngineKind.OLLAMA_ATTACHED


def chosen_settings(options: argparse.Namespace, settings: EngineSettings) -> EngineSettings:
    """The settings with what the options say instead."""
    chosen = {"ollama": options.ollama, "ollama_url": options.attach or None}
    return settings.model_copy(update={k: v for k, v in chosen.items() if v is not None})


def chosen_model(kind: EngineKind, model: Path) -> tuple[Path, str]:
    """The model's file, and its name where it is one of Ollama's.

    Raises:
        ModelFileError: Ollama has no model of that name.
    """
    if kind is EngineKind.OLLAMA_ATTACHED:
        return model, full_name(model.as_posix())
    if kind is not EngineKind.OLLAMA or model.exists() or model.suffix.lower() == ".gguf":
        return model, ""
    stored = find_model(model.as_posix(), store_folders())
    return stored.path, stored.name


def attached_request(
    model: Path, name: str, plan: PlanRequest, host: str
) -> tuple[LaunchRequest, Plan]:
    """A request to an Ollama that runs already, with nothing planned."""
    request = LaunchRequest(
        model=model, plan=plan, host=host, engine=EngineKind.OLLAMA_ATTACHED, model_name=name
    )
    return request, unplanned()


def placement_json(status: EngineStatus) -> dict[str, object]:
    """What an Ollama that ran before holds, as far as it says."""
    placed = status.log.placed
    if placed is None:
        return {}
    held = {"total_bytes": placed.total_bytes, "on_cards_bytes": placed.on_cards_bytes}
    return {"model": status.served_model, "held": held}


def placement_text(status: EngineStatus) -> str:
    """The same in words; empty where it says nothing."""
    placed = status.log.placed
    if placed is None:
        return ""
    share = placed.on_cards_bytes / placed.total_bytes * 100 if placed.total_bytes else 0
    return (
        f"  {status.served_model} takes {size_text(placed.total_bytes)}, "
        f"{number_text(share)} % of it on the cards"
    )
