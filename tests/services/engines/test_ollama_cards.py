"""Which of Ollama's cards is which, on rigs this machine lacks."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file
from tests.support.ollama_store import add_model

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_log import BufferKind, BufferSeen, DeviceUsed, LoadLog, add_event
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Rig, Vendor
from splitrig.core.ollama_model import OllamaModel
from splitrig.core.plan import PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB, MIB
from splitrig.services.engines.engine import Order
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.ollama_program import find_ollama
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.ollama_store import find_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
FAKE = Path(__file__).with_name("fake_ollama.py")
LINE = (
    'time=x level=INFO source=types.go:32 msg="inference compute" id={n} filter_id={n} '
    'library={library} compute=8.6 name={library}{n} description="{name}" libdirs=ollama,{folder} '
    'driver=13.0 pci_id={pci} type=discrete total="{gib}.0 GiB" available="{gib}.0 GiB"'
)
LAST = 'time=x level=INFO msg="vram-based default context" total_vram="64 GiB"'


def line(n: int, name: str, gib: int, pci: str, library: str = "CUDA") -> str:
    folder = {"CUDA": "cuda_v13", "ROCm": "rocm", "Vulkan": "vulkan"}[library]
    return LINE.format(n=n, name=name, gib=gib, pci=pci, library=library, folder=folder)


def card(
    uuid: str | None, name: str, gib: int, pci: str, vendor: Vendor = Vendor.NVIDIA
) -> GpuInfo:
    return GpuInfo(
        id=uuid or pci, name=name, vendor=vendor, pci=pci, uuid=uuid,
        vram_total_bytes=gib * GIB, source="nvml",
    )  # fmt: skip


BIG = card("GPU-bbbb", "NVIDIA GeForce RTX 4090", 24, "0000:41:00.0")
OLD = card("GPU-aaaa", "NVIDIA GeForce RTX 3080", 10, "0000:01:00.0")
RED = card(None, "AMD Radeon RX 7900 XTX", 24, "0000:c1:00.0", Vendor.AMD)
RIG = Rig(time_s=0.0, gpus=(OLD, BIG, RED))
LINES = (
    line(1, "NVIDIA GeForce RTX 4090", 24, "0000:41:00.0"),  # told by free memory
    line(0, "NVIDIA GeForce RTX 3080", 10, "0000:01:00.0"),
    line(0, "AMD Radeon RX 7900 XTX", 24, "0000:c1:00.0", "ROCm"),
)
MakeEngines = Callable[..., Engines]
RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"


@pytest.fixture
def stored(tmp_path: Path) -> OllamaModel:
    """A model of a store."""
    return find_model(add_model(tmp_path / "store", model_file(), "m"), [tmp_path / "store"])


@pytest.fixture
def engines(tmp_path: Path) -> MakeEngines:
    """Engines with an Ollama that sees the cards of these lines."""

    def make(*lines: str, version: str = "0.32.15") -> Engines:
        program, cards = tmp_path / "ollama", tmp_path / "cards"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
        program.chmod(0o755)
        cards.write_text("\n".join(lines))
        env = {
            "FAKE_CARDS": str(cards), "FAKE_SEEN": str(tmp_path / "seen"), "FAKE_VERSION": version,
        }  # fmt: skip
        return Engines(Mailbox(), EngineSettings(ollama=program), extra_env=env)

    return make


def request_for(*gpus: GpuInfo, stored: OllamaModel | None = None) -> LaunchRequest:
    return LaunchRequest(
        model=stored.path if stored is not None else model_file(),
        model_name=stored.name if stored is not None else "",
        gpu_ids=tuple(gpu.id for gpu in gpus),
        plan=PlanRequest(split=(3.0, 1.0)),
        engine=EngineKind.OLLAMA,
    )


def shown(engines: Engines, *gpus: GpuInfo, stored: OllamaModel | None = None) -> list[str]:
    """The command a start would run."""
    request = request_for(*gpus, stored=stored)
    engine = engines.get(EngineKind.OLLAMA)
    engine.check()
    return list(engine.preview(request, engines.names_for(request), 8137))


def test_cards_are_told_apart_by_address_and_named_by_uuid(
    engines: MakeEngines, tmp_path: Path
) -> None:
    made = engines(*LINES, LAST)
    device_map = made.ask_devices(EngineKind.OLLAMA, RIG, None)
    assert {m.gpu_id: m.device.name for m in device_map.matches} == {
        OLD.id: "CUDA0", BIG.id: "CUDA1", RED.id: "ROCm0",
    }  # fmt: skip
    command = shown(made, BIG, OLD)
    assert "CUDA_VISIBLE_DEVICES=GPU-bbbb,GPU-aaaa" in command
    assert "OLLAMA_LLM_LIBRARY=cuda_v13" in command
    assert "LLAMA_ARG_TENSOR_SPLIT=3,1" in command
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert seen["OLLAMA_HOST"].startswith("127.0.0.1:")


def test_an_amd_card_without_uuid_goes_by_its_number(engines: MakeEngines) -> None:
    made = engines(*LINES, LAST)
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    command = shown(made, RED)
    assert "ROCR_VISIBLE_DEVICES=0" in command
    assert "OLLAMA_LLM_LIBRARY=rocm" in command


def test_cards_of_two_makes_are_refused_together(engines: MakeEngines) -> None:
    made = engines(*LINES, LAST)
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    with pytest.raises(EngineError, match="RTX 4090 has CUDA, AMD Radeon RX 7900 XTX has ROCm"):
        shown(made, BIG, RED)


def test_old_versions_show_their_cards_and_refuse_the_ratio(
    engines: MakeEngines, stored: OllamaModel
) -> None:
    made = engines(*LINES, version="0.24.0")
    begun = time.monotonic()
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    assert time.monotonic() - begun < 10  # without a line after the last card
    with pytest.raises(EngineError, match=r"Ollama 0\.24\.0 divides a model by itself"):
        shown(made, BIG, OLD, stored=stored)
    assert "CUDA_VISIBLE_DEVICES=GPU-bbbb" in shown(made, BIG, stored=stored)
    with pytest.raises(EngineError, match="does not read the chat template"):
        shown(made, BIG)


def test_what_an_old_version_estimates_is_not_counted_beside_what_it_takes(
    engines: MakeEngines, stored: OllamaModel
) -> None:
    made = engines(*LINES, version="0.24.0")
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    order = Order(request=request_for(BIG, stored=stored), names=("CUDA1",), plan=None)
    run = made.get(EngineKind.OLLAMA).open(order, lambda lines: None)
    log = LoadLog()
    for told in (RECORDED / "old_0_24.log").read_text().splitlines():
        if (event := run.read_line(told)) is not None:
            log = add_event(log, event)
    assert log.build == "0.24.0"
    assert log.bytes_on(BufferKind.MODEL) == {"host": round(92.1 * MIB)}
    assert log.bytes_on(BufferKind.KV) == {"host": 90 * MIB}
    own = 'time=x level=INFO msg="starting runner" cmd="/usr/bin/ollama runner --ollama-engine"'
    assert run.read_line(own) is None
    told = 'time=x level=INFO source=device.go:245 msg="model weights" device=CUDA0 size="1.0 GiB"'
    event = run.read_line(told)
    assert event is not None
    assert add_event(LoadLog(), event).bytes_on(BufferKind.MODEL) == {"CUDA0": GIB}
    run.close()


def test_a_card_that_llama_server_counts_otherwise_is_told_by_its_address(
    engines: MakeEngines,
) -> None:
    """The split was meant for CUDA0 = 4090; whatever carries it is named by the card it is."""
    made = engines(*LINES, LAST)
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    engine = made.get(EngineKind.OLLAMA)
    request = request_for(BIG, OLD)
    order = Order(request=request, names=made.names_for(request), plan=None)
    run = engine.open(order, lambda lines: None)
    assert run.device_names == ("CUDA0", "CUDA1")
    using = "llama_prepare_model_devices: using device {} (x) ({}) - 1000 MiB free"
    right = run.read_line(using.format("CUDA0", "0000:41:00.0"))
    assert right == DeviceUsed("CUDA0", "x", "0000:41:00.0", 1000 * MIB)
    swapped = run.read_line(using.format("CUDA0", "0000:01:00.0"))
    assert swapped == DeviceUsed("CUDA1", "x", "0000:01:00.0", 1000 * MIB)
    buffer = run.read_line("load_tensors:        CUDA0 model buffer size =    50.73 MiB")
    assert buffer == BufferSeen("CUDA1", BufferKind.MODEL, round(50.73 * MIB))
    stranger = run.read_line(using.format("CUDA2", "0000:99:00.0"))
    assert stranger == DeviceUsed("CUDA2 at 0000:99:00.0", "x", "0000:99:00.0", 1000 * MIB)
    run.close()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.32.15", ("CUDA_VISIBLE_DEVICES=GPU-bbbb,GPU-aaaa", "LLAMA_ARG_SPLIT_MODE=none")),
        ("0.24.0", ("CUDA_VISIBLE_DEVICES=GPU-bbbb",)),
    ],
)
def test_everything_on_the_first_card_is_said_as_the_version_takes_it(
    engines: MakeEngines, stored: OllamaModel, version: str, words: tuple[str, ...]
) -> None:
    made = engines(*LINES, LAST, version=version)
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    request = request_for(BIG, OLD, stored=stored)
    request = replace(request, plan=replace(request.plan, split_mode="none"))
    engine = made.get(EngineKind.OLLAMA)
    engine.check()
    command = engine.preview(request, made.names_for(request), 8137)
    assert set(words) <= set(command)
    assert not any(word.startswith("LLAMA_ARG_TENSOR_SPLIT") for word in command)
    run = engine.open(
        Order(request=request, names=made.names_for(request), plan=None), lambda lines: None
    )
    assert run.device_names == ("CUDA0", "CUDA1")


def test_it_is_not_opened_to_the_network(engines: MakeEngines) -> None:
    made = engines(*LINES, LAST)
    made.ask_devices(EngineKind.OLLAMA, RIG, None)
    request = replace(request_for(BIG), host="0.0.0.0")
    with pytest.raises(EngineError, match="Ollama knows no key"):
        made.get(EngineKind.OLLAMA).open(
            Order(request=request, names=("CUDA1",), plan=None), lambda lines: None
        )


def test_it_is_found_on_path_and_told_when_it_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ollama"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ollama().path == program
    program.unlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("splitrig.services.engines.ollama_program.USUAL", ("/nowhere/ollama",))
    with pytest.raises(EngineError, match="Ollama is not installed here") as failed:
        find_ollama()
    assert "ollama.com" in failed.value.hint
    with pytest.raises(EngineError, match="There is no ollama at"):
        find_ollama(tmp_path / "none")
