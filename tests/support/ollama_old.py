"""An Ollama before 0.30 on cards: the stand-in prints what 0.24.0 was recorded to print.

Such a version has its engine inside; no machine of the tests has two cards for it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "recorded" / "ollama" / "old_0_24.log"
FAKE = Path(__file__).parents[1] / "services" / "engines" / "fake_ollama.py"
USING = "llama_model_load_from_file_impl: using device CUDA{} (a card) ({}) - 8000 MiB free"
PARTS = {"model": (60.0, 32.1), "KV": (45.0, 45.0)}
"""MiB on each card."""


def _load(addresses: Sequence[str]) -> str:
    """The recorded load on the processor, as its llama.cpp tells one of two cards."""
    recorded = RECORDED.read_text()
    after = recorded[recorded.index('"/api/version"', recorded.index("Listening on")) :]
    moved = [USING.format(number, pci) for number, pci in enumerate(addresses)]
    for line in after.splitlines()[1:]:
        kind = next((kind for kind in PARTS if f"CPU {kind} buffer size" in line), "")
        if not kind:
            moved.append(line)
            continue
        for number, mib in enumerate(PARTS[kind]):
            who = line.partition(":")[0]
            moved.append(f"{who}:      CUDA{number} {kind} buffer size = {mib:8.2f} MiB")
    return "\n".join(moved)


def old_ollama(folder: Path, cards: str, addresses: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """A program that stands for 0.24.0, and its variables; its environment goes into `seen`.

    Args:
        folder: Gets the program and its files.
        cards: Lines `inference compute` of the cards it sees.
        addresses: PCI addresses of the two it uses, in its order.
    """
    program = folder / "ollama"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    program.chmod(0o755)
    (folder / "cards").write_text(cards)
    (folder / "load").write_text(_load(addresses))
    env = {
        "FAKE_CARDS": str(folder / "cards"),
        "FAKE_SEEN": str(folder / "seen"),
        "FAKE_LOAD": str(folder / "load"),
        "FAKE_VERSION": "0.24.0",
    }
    return program, env
