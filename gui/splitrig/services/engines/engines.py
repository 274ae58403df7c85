"""The engines of this machine: one object a kind, and which of its devices is which card."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from splitrig.core.devices import DeviceMap, match_devices
from splitrig.core.engine import EngineDevice, EngineKind, LaunchRequest
from splitrig.core.engine_words import NAMES
from splitrig.core.errors import DevicesUnknownError, EngineError, SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.ollama_model import ServedListing
from splitrig.core.server_options import Options, options_named
from splitrig.core.settings import EngineSettings
from splitrig.services.engines.engine import Engine
from splitrig.services.engines.llama_cpp import LlamaCpp
from splitrig.services.engines.llama_cpp_python import find_llama_cpp_python
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server
from splitrig.services.engines.ollama import Ollama
from splitrig.services.engines.ollama_attached import OllamaAttached, attached_url
from splitrig.services.engines.ollama_program import find_ollama
from splitrig.services.engines.probe import Cancelled, ProbeCancelledError, never
from splitrig.services.engines.vllm import Vllm
from splitrig.services.engines.vllm_program import VllmProgram, find_vllm
from splitrig.services.mailbox import Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesFound:
    """What an engine can see, joined with the cards.

    Attributes:
        kind: Which engine.
        build: The engine's build; `None` when it could not be run.
        device_map: Which device is which card; `None` where that cannot be asked.
        error: Why the engine could not be asked.
        options: What its command line takes; `None` where that cannot be read.
    """

    kind: EngineKind
    build: str | None
    device_map: DeviceMap | None
    error: SplitRigError | None = field(default=None, compare=False)
    options: Options | None = field(default=None, compare=False, repr=False)


class Engines:
    """Finds engines as the settings say, and asks them in the background what they see.

    Posts `DevicesFound` after `discover`. Safe to be used from several threads.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        settings: EngineSettings,
        *,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        """Remember where to look; nothing is run yet.

        Args:
            mailbox: Where news goes.
            settings: Which programs the user chose.
            extra_env: Variables for every engine besides the inherited ones.
        """
        self._mailbox = mailbox
        self._extra_env = dict(extra_env or {})
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._settings = settings
        self._engines: dict[EngineKind, Engine] = {}
        self._device_maps: dict[EngineKind, DeviceMap] = {}
        self._number = 0
        self._n_running = 0
        self._later: dict[EngineKind, tuple[Rig, Path | None]] = {}
        self._threads: list[threading.Thread] = []

    def use(self, settings: EngineSettings) -> None:
        """Look where these settings say from the next start on."""
        with self._lock:
            self._settings = settings
            self._number += 1
            self._engines.clear()
            self._device_maps.clear()

    def get(self, kind: EngineKind) -> Engine:
        """The engine of this kind.

        Raises:
            EngineError: There is none.
        """
        with self._lock:
            engine = self._engines.get(kind)
            if engine is None:
                engine = self._engines[kind] = self._find(kind)
            return engine

    def _find(self, kind: EngineKind) -> Engine:
        match kind:
            case EngineKind.LLAMA_CPP:
                return LlamaCpp(
                    find_llama_server(self._settings.llama_server, extra_env=self._extra_env)
                )
            case EngineKind.LLAMA_CPP_PYTHON:
                return find_llama_cpp_python(self._settings.python, extra_env=self._extra_env)
            case EngineKind.VLLM:
                return Vllm(find_vllm(self._settings.vllm, extra_env=self._extra_env))
            case EngineKind.OLLAMA:
                return Ollama(find_ollama(self._settings.ollama, extra_env=self._extra_env))
            case EngineKind.OLLAMA_ATTACHED:
                return OllamaAttached(attached_url(self._settings.ollama_url))
        raise EngineError(f"{kind} cannot be started yet.", "Choose llama.cpp.")

    def llama_server(self) -> LlamaServer:
        """The llama-server in use.

        Raises:
            EngineError: There is none.
        """
        engine = self.get(EngineKind.LLAMA_CPP)
        assert isinstance(engine, LlamaCpp)  # noqa: S101 - that is what its kind makes
        return engine.server

    def vllm(self) -> VllmProgram:
        """The vLLM in use.

        Raises:
            EngineError: There is none.
        """
        engine = self.get(EngineKind.VLLM)
        assert isinstance(engine, Vllm)  # noqa: S101 - that is what its kind makes
        return engine.program

    def served_models(self) -> ServedListing:
        """The models of the Ollama that runs already; blocks for at most some seconds."""
        url = ""
        try:
            engine = self.get(EngineKind.OLLAMA_ATTACHED)
            assert isinstance(engine, OllamaAttached)  # noqa: S101 - that is what its kind makes
            url = engine.api.url
            return ServedListing(url, engine.api.models())
        except EngineError as error:
            return ServedListing(url, error=error)

    # Which device is which card

    def discover(self, kind: EngineKind, rig: Rig, model: Path | None) -> None:
        """Ask an engine in the background what it sees; the answer comes as `DevicesFound`.

        While an engine runs only its build is asked for; its devices as soon as the last one has
        ended: a card that is full shows itself to nobody else.
        """
        with self._lock:
            put_off = self._n_running > 0
            if put_off:
                self._later[kind] = (rig, model)
        self._spawn_thread(self._check if put_off else self._discover, (kind, rig, model))

    def run_began(self) -> None:
        """An engine starts; from now on nothing is asked in the background, nor to its end."""
        with self._lock:
            self._n_running += 1

    def run_ended(self) -> None:
        """An engine has ended; with the last one, what was put off is asked."""
        with self._lock:
            self._n_running -= 1
            later = dict(self._later) if not self._n_running else {}
            self._later = {} if later else self._later
        for kind, (rig, model) in later.items():
            if not self._closing.is_set():
                self._spawn_thread(self._discover, (kind, rig, model))

    def ask_devices(
        self, kind: EngineKind, rig: Rig, model: Path | None, cancelled: Cancelled = never
    ) -> DeviceMap:
        """Which of an engine's devices is which card; blocks for 0.2 to some seconds.

        Args:
            kind: Which engine.
            rig: The cards.
            model: Any model file; without one the devices may have no PCI address.
            cancelled: Asked meanwhile whether to give up.

        Raises:
            EngineError: There is no engine, or it does not start.
        """
        with self._lock:
            number, engine = self._number, self.get(kind)
        return self._ask(engine, number, rig, model, cancelled)

    def _ask(
        self, engine: Engine, number: int, rig: Rig, model: Path | None, cancelled: Cancelled
    ) -> DeviceMap:
        """Ask this engine; its answer is kept unless another one was chosen meanwhile."""
        devices: tuple[EngineDevice, ...] = ()
        if not rig.demo and rig.gpus:
            devices = engine.list_devices(rig.gpus, model, cancelled)
        if cancelled():
            raise ProbeCancelledError(f"{engine.kind} was not waited for.")
        device_map = match_devices(rig.gpus, devices)
        with self._lock:
            if number == self._number:
                self._device_maps[engine.kind] = device_map
        return device_map

    def prepare(
        self, request: LaunchRequest, rig: Rig, cancelled: Cancelled = never
    ) -> tuple[Engine, tuple[str, ...] | None]:
        """The engine for a start and its devices for the cards; blocks for up to some seconds.

        Both are of the same engine, whatever the settings become meanwhile.

        Returns:
            The engine, and its devices as in `names_for`.

        Raises:
            EngineError: There is none, it does not start, or has no device for one of the cards.
        """
        kind = request.engine
        with self._lock:
            number, engine, known = self._number, self.get(kind), self._device_maps.get(kind)
        engine.check(cancelled)  # a file that is no engine is told of first
        if _must_ask(request, known):
            known = self._ask(engine, number, rig, request.model, cancelled)
        return engine, _names_for(request, known)

    def names_for(self, request: LaunchRequest) -> tuple[str, ...] | None:
        """Engine devices for the cards asked for; `None` when the processor is to be lent.

        Raises:
            DevicesUnknownError: The engine was not asked yet.
            EngineError: The engine has no device for one of the cards.
        """
        with self._lock:
            known = self._device_maps.get(request.engine)
            waits = self._n_running > 0
        if known is None and _on_cards(request):
            when = "when the engine that runs has ended" if waits else "in a moment"
            raise DevicesUnknownError(
                f"{NAMES[request.engine]} has not been asked yet what it calls these cards.",
                f"It is asked {when}, or when you press Start; then its command stands here.",
            )
        return _names_for(request, known)

    def close(self) -> None:
        """Give up what is asked in the background; blocks until it is gone."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _spawn_thread(self, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()]
            thread = threading.Thread(target=target, args=arguments, name="engine discovery")
            self._threads.append(thread)
            thread.start()

    def _put_off(self, number: int, kind: EngineKind, rig: Rig, model: Path | None) -> None:
        """Ask later, as an engine began meanwhile; what was put off since is newer."""
        with self._lock:
            if self._closing.is_set() or number != self._number:
                return
            known = self._later.pop(kind, (rig, model))
            self.discover(kind, *known)

    def _check(self, kind: EngineKind, rig: Rig, model: Path | None) -> None:
        """Whether it is there at all, with the devices it is known to have."""
        del rig, model  # for when they are asked about
        with self._lock:
            number, known = self._number, self._device_maps.get(kind)
        try:
            engine = self.get(kind)
            build = engine.check(self._closing.is_set)
            found = DevicesFound(
                kind=kind, build=build, device_map=known, options=_options_of(engine)
            )
        except ProbeCancelledError:
            return
        except SplitRigError as error:
            found = DevicesFound(kind=kind, build=None, device_map=known, error=error)
        self._post(found, number)

    def _discover(self, kind: EngineKind, rig: Rig, model: Path | None) -> None:
        with self._lock:
            number = self._number

        def too_late() -> bool:
            return self._closing.is_set() or self._n_running > 0 or number != self._number

        try:
            with self._lock:
                engine = self.get(kind)
            build = engine.check(too_late)
            device_map = self._ask(engine, number, rig, model, too_late)
            found = DevicesFound(
                kind=kind, build=build, device_map=device_map, options=_options_of(engine)
            )
        except ProbeCancelledError:
            self._put_off(number, kind, rig, model)
            return
        except SplitRigError as error:
            found = DevicesFound(kind=kind, build=None, device_map=None, error=error)
        self._post(found, number)

    def _post(self, found: DevicesFound, number: int) -> None:
        with self._lock:
            if number == self._number:  # else another engine was chosen meanwhile
                self._mailbox.post(found)


def _options_of(engine: Engine) -> Options | None:
    """What the command line of llama-server or vLLM takes, once it was asked."""
    if isinstance(engine, Vllm):
        said = engine.program.known_capabilities
        return options_named(said.flags) if said is not None else None
    known = engine.server.known_capabilities if isinstance(engine, LlamaCpp) else None
    return known.options if known is not None else None


def _must_ask(request: LaunchRequest, known: DeviceMap | None) -> bool:
    """Cards are wanted that the last look at the engine's devices did not know."""
    if not _on_cards(request):
        return False
    return known is None or any(known.device(gpu_id) is None for gpu_id in request.gpu_ids)


def _on_cards(request: LaunchRequest) -> bool:
    """It is to run on cards of this machine that the request does not name as the engine does."""
    demo = all(gpu_id.startswith("demo-") for gpu_id in request.gpu_ids)
    return not request.devices and bool(request.gpu_ids) and not demo


def _names_for(request: LaunchRequest, known: DeviceMap | None) -> tuple[str, ...] | None:
    if request.devices:
        return request.devices
    if not _on_cards(request):
        return None
    assert known is not None  # noqa: S101 - whoever wants cards asks for them first
    names = []
    for gpu_id in request.gpu_ids:
        device = known.device(gpu_id)
        if device is None:
            why = known.unmatched_gpus.get(gpu_id, "it is not there any more")
            raise EngineError(
                f"The engine cannot use the card {gpu_id}: {why}.",
                "Switch that card off, or choose another engine.",
            )
        names.append(device.name)
    return tuple(names)
