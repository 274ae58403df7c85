"""Ollama as an engine of ours: its server, started for one model on the cards chosen.

Its interface knows no split, so it is steered through its environment (see `core.ollama`); the
model comes from a store of links (see `services.models.ollama_overlay`), and what each
card carries is read from the log of the llama-server below it.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.devices import match_devices
from splitrig.core.engine import EngineDevice, EngineKind, LaunchRequest
from splitrig.core.errors import EngineError, ModelFileError
from splitrig.core.gpu import GpuInfo
from splitrig.core.ollama import (
    Choice,
    OllamaDevice,
    adapted,
    check_request,
    choose_cards,
    follows_ratio,
    full_name,
    lent_cards,
    model_parameters,
    named_device,
    private_name,
    serve_environment,
    shown_command,
    stay_home,
)
from splitrig.services.engines.engine import OnLines, Order
from splitrig.services.engines.ollama_program import OllamaProgram
from splitrig.services.engines.ollama_run import OllamaRun
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.rpc_server import check_lendable, lend_with
from splitrig.services.models.gguf import read_model
from splitrig.services.models.ollama_overlay import cache_folder, make_overlay
from splitrig.services.models.ollama_store import model_of


class Ollama:
    """`ollama serve`, with devices lent by the processor where there is no card."""

    kind = EngineKind.OLLAMA

    def __init__(self, program: OllamaProgram) -> None:
        self.program = program
        self._cards: tuple[OllamaDevice, ...] = ()

    @property
    def build(self) -> str | None:
        """Its version, if it was asked before; never blocks."""
        return self.program.known_version

    def check(self, cancelled: Cancelled = never) -> str:
        """Its version; blocks for some 50 ms the first time.

        Raises:
            EngineError: It does not start or is no Ollama.
        """
        return self.program.version(cancelled)

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """The cards it sees, with PCI addresses where it tells them; blocks for 1 s or some more.

        Raises:
            EngineError: It does not start.
        """
        del model
        if not gpus:
            return ()
        cards = self.program.look_for_cards(cancelled)
        devices = tuple(
            EngineDevice(
                name=card.name,
                description=card.description,
                total_bytes=card.total_bytes,
                free_bytes=card.free_bytes,
                pci=card.pci,
            )
            for card in cards
        )
        matches = match_devices(gpus, devices).matches
        known = {match.device.name: match.gpu_id for match in matches}
        gpu_of = {gpu.id: gpu for gpu in gpus}
        self._cards = tuple(
            replace(
                card,
                uuid=card.uuid or gpu_of[known[card.name]].uuid,
                pci=card.pci or gpu_of[known[card.name]].pci,
            )
            if card.name in known
            else card
            for card in cards
        )
        return devices

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """The command that a start would run, with its variables; empty until it was checked.

        Raises:
            EngineError: It cannot do what is asked.
        """
        version = self.program.known_version
        if version is None:
            return ()
        if names is None:
            count = max(len(request.gpu_ids), 1)
            names = tuple(f"RPC{n}" for n in range(count))
            request = replace(request, rpc=("127.0.0.1:PORT",))
        check_request(request, len(names), version)
        choice = self._choose(names, request, version)
        store = cache_folder() / "…"
        env = serve_environment(request, port=port, store=store, version=version, cards=choice)
        return shown_command(env, self.program.path, sys.platform)

    def open(self, order: Order, on_lines: OnLines, cancelled: Cancelled = never) -> OllamaRun:
        """Make the store with the model, and start the server that lends the processor, if needed.

        Raises:
            EngineError: It cannot do what is asked.
        """
        version = self.program.version(cancelled)
        stay_home(order.request)
        request, names, lender = order.request, order.names, None
        n_cards = len(names) if names is not None else max(len(request.gpu_ids), 1)
        check_request(request, n_cards, version)
        request = replace(request, plan=adapted(request.plan, _n_ctx_train(request.model)))
        left_open = request.plan.split is None and follows_ratio(version)
        if left_open and order.plan is not None and order.plan.split:
            # the shares of the plan, where the request left them to free memory
            request = replace(request, plan=replace(request.plan, split=order.plan.split))
        if names is None or request.rpc:
            self._check_rpc(version, cancelled)
        name = full_name(request.model_name or private_name(request.model.stem))
        store = self._store_for(request, name, version)
        if names is None:
            check_lendable(order.plan)
            llama = self.program.llama_server()
            assert llama is not None  # noqa: S101 - it was asked for RPC
            lender = lend_with(llama, n_cards, on_lines, cancelled)
            names = lender.device_names
            request = replace(request, rpc=(lender.endpoint,), n_threads=request.n_threads or 1)
        choice = self._choose(names, request, version)
        devices = order.plan.devices if order.plan is not None else ()
        shown = zip(choice.names, devices, strict=False)
        return OllamaRun(
            self.program,
            request,
            choice,
            version=version,
            name=name,
            store=store,
            lender=lender,
            addresses=self._addresses(names, choice),
            shown={device_name: device.name for device_name, device in shown},
        )

    def _store_for(self, request: LaunchRequest, name: str, version: str) -> Path:
        """A store with the model alone.

        Raises:
            EngineError: It cannot be made.
        """
        parameters = model_parameters(request, version)
        stored = model_of(request.model, name) if request.model_name else None
        if request.model_name and stored is None:
            raise EngineError(
                f"{request.model} is not the file of Ollama's model '{name}' any more.",
                "Choose the model again.",
            )
        return make_overlay(stored or request.model, name, parameters)

    def _choose(self, names: Sequence[str], request: LaunchRequest, version: str) -> Choice:
        """How Ollama is told to use these devices."""
        if request.rpc:
            return lent_cards(names)
        known = {card.name: card for card in self._cards}
        cards = [known.get(name) or named_device(name) for name in names]
        if request.plan.split_mode == "none" and not follows_ratio(version):
            # it can only be kept from the other cards by not seeing them
            first = choose_cards(cards[:1], self._cards, version, sys.platform)
            hidden = tuple(f"{cards[0].library}{number}" for number in range(1, len(cards)))
            return Choice(env=first.env, names=(*first.names, *hidden))
        return choose_cards(cards, self._cards, version, sys.platform)

    def _addresses(self, names: Sequence[str], choice: Choice) -> dict[str, str]:
        """The engine's names of the chosen cards by their PCI addresses."""
        known = {card.name: card.pci for card in self._cards}
        pairs = zip(names, choice.names, strict=False)
        return {pci: given for name, given in pairs if (pci := known.get(name)) is not None}

    def _check_rpc(self, version: str, cancelled: Cancelled) -> None:
        """Make sure that this Ollama can use cards that are lent.

        Raises:
            EngineError: It cannot.
        """
        llama = self.program.llama_server() if follows_ratio(version) else None
        if llama is None or "--rpc" not in llama.capabilities(cancelled).flags:
            raise EngineError(
                f"Ollama {version} cannot use cards that are lent, as those of the demo rig are: "
                "its engine is built without RPC.",
                "Choose llama.cpp, or this machine's own cards.",
            )


def _n_ctx_train(path: Path) -> int:
    """The longest context the model was trained for, tokens.

    Raises:
        EngineError: The file cannot be read, or is one of several.
    """
    try:
        model = read_model(path)
    except ModelFileError as error:
        raise EngineError(error.message, error.hint) from error
    n_parts = model.metadata.get("split.count")
    if isinstance(n_parts, int) and n_parts > 1:
        raise EngineError(
            f"Ollama loads models of one file; {path.name} has {n_parts} parts.",
            "Join them with llama-gguf-split --merge, or choose llama.cpp.",
        )
    return model.n_ctx_train
