"""What a bug report says of this program and this machine."""

import getpass
import platform
from contextlib import suppress
from pathlib import Path

from splitrig import __version__
from splitrig.core.bug_report import ReportFacts
from splitrig.core.gpu import Rig


def report_facts(rig: Rig | None = None) -> ReportFacts:
    """Versions, system and cards, and the names to be taken out of every report.

    Reads no more than files the system keeps in memory; does not block.
    """
    user = ""
    with suppress(OSError, KeyError, ImportError):  # as it says for a user without a name
        user = getpass.getuser()
    return ReportFacts(
        program=f"SplitRig {__version__}",
        system=_system(),
        python=f"Python {platform.python_version()}",
        gpus=rig.gpus if rig is not None else (),
        demo=rig.demo if rig is not None else False,
        home=str(Path.home()),
        user=user,
        host=platform.node().partition(".")[0],
    )


def _system() -> str:
    """`Debian GNU/Linux 12 (bookworm), Linux 6.1.0` or `Windows 11 10.0.22631`."""
    kernel = f"{platform.system()} {platform.release()}"
    if platform.system() == "Windows":
        return f"{kernel} {platform.version()}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return kernel
    return f"{name}, {kernel}" if name else kernel
