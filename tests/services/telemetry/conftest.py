"""Fake drivers and tools for the telemetry tests."""

import ctypes
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest
from tests.fakes.nvml import fake_nvml

from splitrig.core.specs import SpecTable, parse_specs
from splitrig.services.store.resources import resource

RECORDED = Path(__file__).parents[2] / "recorded" / "telemetry"


@pytest.fixture(scope="session")
def specs() -> SpecTable:
    return parse_specs(resource("gpu_specs.csv").read_text(encoding="utf-8"))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Load the fake NVML into this process; the returned function changes the rig it shows."""
    path = tmp_path / fake_nvml.SCENARIO
    monkeypatch.setenv(fake_nvml.VARIABLE, str(path))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(fake_nvml.build())))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def show(scenario: str) -> None:
        fake_nvml.write(path, scenario)

    show(fake_nvml.MIXED)
    return show


@pytest.fixture
def make_tool(tmp_path: Path) -> Callable[[str], Path]:
    """Make a rocm-smi of a few lines of Python."""

    def make(body: str) -> Path:
        path = tmp_path / "rocm-smi"
        path.write_text(f"#!{sys.executable}\nimport sys, time, os\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def sysfs_tree(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a recorded /sys/class/drm, so that its files may be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(RECORDED / "sysfs" / name, tmp_path / "drm"))

    return copy
