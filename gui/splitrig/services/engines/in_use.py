"""Which cards engines of another SplitRig use: read from the records that running engines have."""

import logging
from collections.abc import Collection
from pathlib import Path

from splitrig.core.orphan import RunRecord
from splitrig.services.engines.orphans import remains
from splitrig.services.engines.records import NewerRecordError, place, read, records_dir

log = logging.getLogger(__name__)


def engines_on(cards: Collection[str], folder: Path | None = None) -> tuple[RunRecord, ...]:
    """Engines that run now and were given one of these cards, the oldest first.

    Lent processors (`demo-0`) are no cards. Blocks for some 20 ms for each engine found.

    Args:
        cards: By `GpuInfo.id`.
        folder: Where the records lie instead of `records_dir`.
    """
    wanted = {card for card in cards if not card.startswith("demo-")}
    here = place()
    found = []
    for path in sorted((folder or records_dir()).glob("*.json")):
        try:
            record = read(path)
        except FileNotFoundError:
            continue  # its engine ended meanwhile
        except (OSError, NewerRecordError) as error:
            log.warning("the record %s is left alone: %r", path.name, error)
            continue
        if record is None or record.place != here or wanted.isdisjoint(record.about.cards):
            continue
        if remains(record):
            found.append(record)
    return tuple(sorted(found, key=lambda record: record.begun_s))
