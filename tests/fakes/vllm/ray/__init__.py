"""Stands in for Ray: answers as a recorded cluster of one machine does, with other numbers.

`FAKE_RAY` has cards and address of every machine, such as `2@127.0.0.1,2@10.0.0.2`, and after a
slash how many are free; with `fails` connecting fails. It may name a file that says so instead,
which may change while the cluster runs.
"""

import copy
import json
import os
from pathlib import Path
from typing import Any

_RECORDED = json.loads(Path(os.environ["FAKE_RAY_RECORDED"]).read_text(encoding="utf-8"))
_ASKED = os.environ.get("FAKE_RAY", "2@127.0.0.1")
if Path(_ASKED).is_file():
    _ASKED = Path(_ASKED).read_text(encoding="utf-8").strip()


def init(**options: Any) -> None:
    """Connect."""
    if _ASKED == "fails":
        raise ConnectionError(f"Could not connect to {options['address']}.\nMore words.")


def nodes() -> list[Any]:
    """The machines."""
    found = []
    for machine in _ASKED.partition("/")[0].split(","):
        cards, _, address = machine.partition("@")
        node = copy.deepcopy(_RECORDED["nodes"][0])
        node |= {"NodeManagerAddress": address, "NodeName": address, "NodeID": address}
        node["Resources"] |= {"GPU": float(cards), "accelerator_type:G": 1.0}
        found.append(node)
    return found


class _Context:
    """What knows of the process that asks."""

    def get_node_id(self) -> str:
        """The machine it runs on, which is the one at the loopback address."""
        own = [node["NodeID"] for node in nodes() if node["NodeManagerAddress"] == "127.0.0.1"]
        return own[0] if own else ""


def get_runtime_context() -> _Context:
    """Knows that."""
    return _Context()


def available_resources() -> dict[str, float]:
    """What nobody has taken."""
    free = _ASKED.partition("/")[2]
    total = sum(node["Resources"]["GPU"] for node in nodes())
    return {**_RECORDED["available"], "GPU": float(free) if free else total}


def shutdown() -> None:
    """Disconnect."""
