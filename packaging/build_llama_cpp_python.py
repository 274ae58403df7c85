"""Builds llama-cpp-python for the tests, on a llama.cpp that was built once from its own source.

The package compiles all of llama.cpp whenever it is installed. Here its source is compiled once
into libraries that any Python can use (`LLAMA_CPP_LIB_PATH`), and the package itself goes into an
environment of its own, without libraries. The two must come from the same source.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from engine_cache import ROOT, UnavailableError, key_of, provide, run_logged, said_by

PINS = ROOT / "requirements" / "llama-cpp-python.txt"
PACKAGE = "llama-cpp-python"
JOBS = "-j2"
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    # Everything lies in one folder that is moved when it is complete.
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DGGML_RPC=ON",
    "-DGGML_NATIVE=OFF",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)
TARGETS = ("llama", "mtmd", "llama-server", "ggml-rpc-server")
NEEDED = ("libllama.so", "libggml.so", "libggml-rpc.so", "llama-server", "ggml-rpc-server")


def pins() -> tuple[str, str, str]:
    """Version of the package, its own pin, and the pins of everything it needs."""
    entries = re.split(r"\n(?=\S)", PINS.read_text(encoding="utf-8"))
    own = [entry for entry in entries if entry.startswith(f"{PACKAGE}==")]
    version = own[0].split("==")[1].split()[0]
    return version, own[0] + "\n", "\n".join(e for e in entries if e not in own) + "\n"


def provide_llama_cpp_python(cache: Path) -> dict[str, str]:
    """Paths of the environment's Python, of the libraries and of the two servers beside them.

    Raises:
        UnavailableError: It cannot be built here.
    """
    version, own_pin, _ = pins()
    python = f"{sys.version} {sys.base_prefix}"
    environment = provide(
        cache / f"{PACKAGE}-{version}-{key_of(PINS.read_text(encoding='utf-8'), python)}",
        make_environment,
    )
    compiler = said_by(["c++", "--version"])
    if compiler is None:
        raise UnavailableError(
            f"llama.cpp of {PACKAGE} {version} could not be built because there is no C++ compiler"
        )
    libraries = provide(
        cache / f"llama.cpp-of-{PACKAGE}-{version}-{key_of(own_pin, *OPTIONS, compiler)}",
        lambda folder, log: build_libraries(folder, log, next((environment / "source").iterdir())),
    )
    return {
        "version": version,
        "python": str(environment / "bin" / "python"),
        "library_dir": str(libraries),
        "llama_server": str(libraries / "llama-server"),
        "rpc_server": str(libraries / "ggml-rpc-server"),
    }


def make_environment(folder: Path, log: Path) -> None:
    """An environment with the package, without libraries, and the source it came from.

    Only `bin/python -m …` of it is of use: the folder is moved when it is complete, which the
    scripts beside it do not survive.
    """
    version, own_pin, other_pins = pins()
    print(f"Installing {PACKAGE} {version} into an environment for the tests …", flush=True)
    failure = f"{PACKAGE} {version} could not be installed for the tests"
    run_logged([sys.executable, "-m", "venv", str(folder)], failure, log=log)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = [*pip, "install", "--no-deps", "--no-build-isolation"]
    own, others = folder / "own.txt", folder / "others.txt"
    own.write_text(own_pin, encoding="utf-8")
    others.write_text(other_pins, encoding="utf-8")
    run_logged(
        [*install, "--require-hashes", "--only-binary", ":all:", "-r", str(others)],
        failure,
        log=log,
    )
    source = folder / "source"
    download = [*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary", PACKAGE]
    run_logged([*download, "--require-hashes", "-r", str(own), "-d", str(source)], failure, log=log)
    without_libraries = {**os.environ, "CMAKE_ARGS": "-DLLAMA_BUILD=OFF"}
    archive = next(source.iterdir())
    run_logged([*install, str(archive)], failure, log=log, env=without_libraries)


def build_libraries(folder: Path, log: Path, source: Path) -> None:
    """Compile llama.cpp of the package's source; the folder then holds programs and libraries."""
    version = pins()[0]
    print(f"Building llama.cpp of {PACKAGE} {version} (8 minutes, once) …", flush=True)
    failure = f"llama.cpp of {PACKAGE} {version} could not be built"
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        run_logged(["tar", "-xzf", str(source), "-C", scratch], failure, log=log)
        tree = next(Path(scratch).glob("*/vendor/llama.cpp"))
        build = Path(scratch) / "build"
        configure = ["cmake", "-S", str(tree), "-B", str(build), *OPTIONS]
        run_logged(configure, failure, log=log)
        compile_ = ["cmake", "--build", str(build), JOBS, "--target", *TARGETS]
        run_logged(compile_, failure, log=log)
        shutil.copytree(build / "bin", folder, symlinks=True, dirs_exist_ok=True)
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise UnavailableError(f"{failure}: {', '.join(missing)} did not come out of it")
