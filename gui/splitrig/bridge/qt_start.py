"""Import this before anything else that is large: it makes what is imported after Qt cheap.

PySide reads the source text of every module that is imported after it and looks for its own name
there (`shibokensupport.feature`), for the sake of `from __feature__ import …`, which nothing here
uses. That slows the start and keeps some 20 MB of source text in `linecache` (6.11.3).
"""

import sys
from typing import Any

import PySide6.QtCore  # noqa: F401 - brings the search that is switched off here


def skip_feature_search() -> bool:
    """Let PySide take every module for one that asks for no features.

    Returns:
        False where this PySide does it in another way; then nothing is changed.
    """
    feature: Any = sys.modules.get("shibokensupport.feature")
    if not hasattr(feature, "_mod_uses_pyside"):
        return False
    feature._mod_uses_pyside = lambda _module: False  # noqa: SLF001 - there is no public switch
    return True


SKIPPED = skip_feature_search()
