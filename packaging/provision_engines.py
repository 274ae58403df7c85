"""Makes the real engines available that the tests start; `./test` runs it with its own Python.

What they are and where is written to a file in that Python's environment, or why an engine cannot
be had here: the tests that need it then skip with exactly that sentence. On CI they fail instead.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bootstrap import SetupError, check_tools
from build_llama_cpp_python import provide_llama_cpp_python
from build_ollama import provide_ollama
from engine_cache import UnavailableError, cache_folder, locked

FOUND = Path(sys.prefix) / "splitrig-test-engines.json"
TOOLS = {"c++": "g++", "cmake": "cmake", "make": "make"}
ENGINES: dict[str, Callable[[Path], dict[str, str]]] = {
    "llama_cpp_python": provide_llama_cpp_python,
    "ollama": provide_ollama,
}


def provide_all(cache: Path) -> dict[str, dict[str, str]]:
    """What each engine is made of, or `{"missing": why}`."""
    try:
        check_tools(TOOLS, "what builds the engines of the tests")
    except SetupError as error:
        return {name: {"missing": str(error)} for name in ENGINES}
    found = {}
    with locked(cache):
        for name, provider in ENGINES.items():
            try:
                found[name] = provider(cache)
            except UnavailableError as error:
                found[name] = {"missing": str(error)}
    return found


def main() -> int:
    """Entry point; 1 on CI when an engine is missing, as nothing may be skipped there."""
    start = time.monotonic()
    if sys.platform.startswith("linux"):
        os.nice(10)
        found = provide_all(cache_folder())
    else:
        reason = "the engines of the tests are built on Linux only"
        found = {name: {"missing": reason} for name in ENGINES}
    FOUND.write_text(json.dumps(found, indent=2), encoding="utf-8")
    for name, engine in found.items():
        print(f"{name}: {engine.get('missing') or engine['version']}")
    print(f"Engines of the tests looked after in {time.monotonic() - start:.1f} s.")
    missing = any("missing" in engine for engine in found.values())
    return 1 if missing and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
