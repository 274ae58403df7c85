"""What is worth a word right before an engine is started from the command line."""

from collections.abc import Iterable

from splitrig.core.config_files import config_notes
from splitrig.core.engine import LaunchRequest
from splitrig.core.environment import environment_note
from splitrig.core.gpu import Note, Rig, Severity, names_among
from splitrig.core.orphan import RunRecord
from splitrig.core.words import listed
from splitrig.services.engines.environment import found_config_files, notes_for_all
from splitrig.services.engines.in_use import engines_on


def before_start(request: LaunchRequest, rig: Rig) -> tuple[Note, ...]:
    """Everything of that kind for one start; blocks for some 20 ms.

    Cards that others use, variables that the engine does not get as they are, and files from which
    it could take options.
    """
    replaced, _ = notes_for_all()
    environment = environment_note(replaced, request.engine)
    return (
        *_in_use(request, rig, engines_on(request.gpu_ids)),
        *([environment] if environment is not None else []),
        *config_notes(found_config_files(), request.engine),
    )


def _in_use(request: LaunchRequest, rig: Rig, records: Iterable[RunRecord]) -> Iterable[Note]:
    """Cards that engines of another SplitRig use."""
    names = names_among(rig.gpus)
    for record in records:
        shared = [gpu_id for gpu_id in request.gpu_ids if gpu_id in record.about.cards]
        cards = listed([names.get(gpu_id, gpu_id) for gpu_id in shared])
        pid = record.engine.pid if record.engine is not None else record.owner.pid
        yield Note(
            id="card-in-use",
            severity=Severity.WARNING,
            message=f"{record.name} of another SplitRig (process {pid}) also uses {cards}.",
            detail="Both share its memory and its speed: choose other cards with --gpus, or stop "
            "the other one.",
            gpu_ids=tuple(shared),
        )
