"""A pytest plugin that makes every import of Qt fail, as if it were not installed."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

BLOCKED = {"PySide6", "shiboken6", "pyqtgraph"}


class _Blocker:
    """An import hook that refuses Qt."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in BLOCKED:
            message = f"{name} is blocked: core, services and cli must work without Qt"
            raise ModuleNotFoundError(message, name=name)
        return None


sys.meta_path.insert(0, _Blocker())
