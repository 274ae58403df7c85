"""An Ollama that runs already: used, and left as it was found."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ollama import Client
from tests.services.engines.conftest import Watch, Watched, model_file
from tests.services.engines.processes import wait_for
from tests.support.ollama_rig import RunningOllama, running_ollama, software_cards
from tests.support.provisioned import OllamaInstall

from splitrig.core.attached import is_unloaded
from splitrig.core.chat import Answer, AnswerPhase, Message, Role
from splitrig.core.engine import Dialect, EngineKind, LaunchRequest, Phase
from splitrig.core.engine_log import Holding
from splitrig.core.errors import EngineError
from splitrig.core.ollama import attached_options, unplanned
from splitrig.core.plan import PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.services.chat.client import ChatClient
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ollama_api import OllamaApi, holds
from splitrig.services.engines.ollama_attached import attached_url
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.rpc_server import lend_with
from splitrig.services.mailbox import Mailbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only"),
]
REQUEST = LaunchRequest(
    model=Path("smollm2"),
    model_name="smollm2",
    plan=PlanRequest(n_ctx=1024),
    engine=EngineKind.OLLAMA_ATTACHED,
)
Attach = Callable[..., Watched]


@pytest.fixture
def ollama(ollama_install: OllamaInstall, tmp_path: Path) -> Iterator[RunningOllama]:
    """A server of the user's, on the processor."""
    with running_ollama(ollama_install, tmp_path, model_file()) as running:
        yield running


@pytest.fixture
def attach(watch: Watch) -> Attach:
    """Use the Ollama at an address."""

    def run(url: str, request: LaunchRequest = REQUEST) -> Watched:
        watched = watch(settings=EngineSettings(ollama_url=url))
        watched.start(request, unplanned())
        return watched

    return run


@pytest.fixture
def lent(ollama_install: OllamaInstall, tmp_path: Path) -> Iterator[RunningOllama]:
    """The same with two cards, lent by the processor."""
    llama = LlamaServer(ollama_install.llama_server, library_dir=ollama_install.llama_server.parent)
    lender = lend_with(llama, 2, lambda lines: None)
    env = {"LLAMA_ARG_RPC": lender.endpoint, "LLAMA_ARG_DEVICE": "RPC0,RPC1"}
    try:
        with running_ollama(ollama_install, tmp_path, model_file(), env) as running:
            yield running
    finally:
        lender.stop()


def test_it_is_loaded_asked_and_left_without_our_model(lent: RunningOllama, attach: Attach) -> None:
    ollama = lent
    watched = attach(ollama.url)
    ready = watched.wait(Phase.READY)
    assert (ready.url, ready.pid, ready.api_key) == (ollama.url, None, None)
    assert (ready.dialect, ready.served_model) == (Dialect.OLLAMA, "smollm2:latest")
    assert ready.device_names == ()
    assert ready.mismatches == ()
    assert ready.log.placed is not None
    assert ready.log.placed.total_bytes == ready.log.placed.on_cards_bytes > 50_000_000
    assert ready.command[:2] == ("curl", f"{ollama.url}/api/generate")
    assert ollama.loaded() == ["smollm2:latest"]
    wait_for(lambda: watched.drain() or "has a context of 1024 tokens" in "".join(watched.lines))
    answer = _ask(ollama.url)
    assert answer.phase is AnswerPhase.FINISHED
    assert answer.stats.tokens == 6
    assert ollama.starts() == 1  # the chat's options are those of the load
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=2.5)
    assert time.monotonic() - begun < 2.5
    wait_for(lambda: not ollama.loaded(), most_s=5)
    assert psutil.pid_exists(ollama.pid)


def _ask(url: str) -> Answer:
    mailbox = Mailbox()
    client = ChatClient(mailbox)
    try:
        client.ask(
            url, None, [Message(Role.USER, "Say hello.")], temperature=0.0, max_tokens=6,
            model="smollm2:latest", dialect=Dialect.OLLAMA, load_options=attached_options(REQUEST),
        )  # fmt: skip
        answers: list[Answer] = []

        def over() -> bool:
            answers.extend(a for a in mailbox.drain() if isinstance(a, Answer))
            return bool(answers) and answers[-1].phase is not AnswerPhase.STREAMING

        wait_for(over, most_s=60)
        return answers[-1]
    finally:
        client.close()


@pytest.mark.parametrize("keep_alive", ["5m", -1])
def test_a_model_that_was_loaded_before_stays_loaded(
    ollama: RunningOllama, attach: Attach, keep_alive: str | int
) -> None:
    ollama.load(options={"num_ctx": 1024}, keep_alive=keep_alive)
    watched = attach(ollama.url)
    assert watched.wait(Phase.READY).log.holding is Holding.BEFORE
    watched.supervisor.close()
    time.sleep(0.3)
    assert ollama.loaded() == ["smollm2:latest"]
    assert ollama.starts() == 1


def test_a_model_that_ollama_lets_go_is_told_and_so_is_its_return(
    lent: RunningOllama, attach: Attach
) -> None:
    """By another client here; the end of its time looks the same."""
    watched = attach(lent.url)
    assert watched.wait(Phase.READY).log.holding is Holding.OURS
    lent.load(keep_alive=0)
    wait_for(lambda: watched.supervisor.status.log.holding is Holding.GONE)
    gone = watched.supervisor.status
    assert gone.phase is Phase.READY
    assert is_unloaded(gone)
    assert gone.log.placed is None
    assert _ask(lent.url).stats.tokens == 6  # the next question loads it again
    wait_for(lambda: watched.supervisor.status.log.holding is Holding.AGAIN)
    assert watched.supervisor.status.log.placed is not None
    lent.load(keep_alive=0)
    wait_for(lambda: watched.supervisor.status.log.holding is Holding.GONE)
    starts = lent.starts()
    watched.supervisor.close()
    assert lent.starts() == starts  # to unload it, it is not loaded


def test_a_model_it_lacks_is_told_with_those_it_has(ollama: RunningOllama, attach: Attach) -> None:
    failed = attach(ollama.url, replace(REQUEST, model_name="nope")).wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == "Ollama has no model 'nope'; it has smollm2:latest."
    assert "ollama pull nope" in failed.failure.hint


def test_the_ollama_package_sees_and_does_the_same(ollama: RunningOllama) -> None:
    """Our own client against the official one, which cannot be imported everywhere."""
    with Client(host=ollama.url, trust_env=False) as client:
        _hold_against(OllamaApi(ollama.url), client)


def _hold_against(api: OllamaApi, client: Client) -> None:
    (listed,), (ours,) = client.list().models, api.models()
    assert listed.details is not None
    assert (ours.name, ours.n_bytes) == (listed.model, listed.size)
    assert (ours.family, ours.parameters, ours.quantization) == (
        listed.details.family, listed.details.parameter_size, listed.details.quantization_level
    )  # fmt: skip
    api.load(ours.name, {"num_ctx": 512})
    (loaded,), (held,) = client.ps().models, api.running()
    assert (held.name, held.n_bytes, held.on_cards_bytes, held.n_ctx) == (
        loaded.model, loaded.size, loaded.size_vram, loaded.context_length
    )  # fmt: skip
    client.generate(ours.name, keep_alive=0)
    wait_for(lambda: not api.running())
    client.generate(ours.name, keep_alive=-1)
    assert holds(api, ours.name) is not None
    api.unload(ours.name)
    wait_for(lambda: not client.ps().models)


def test_a_file_cannot_be_given_to_it(ollama: RunningOllama, attach: Attach) -> None:
    failed = attach(ollama.url, replace(REQUEST, model_name="")).wait(Phase.FAILED)
    assert failed.failure is not None
    assert "cannot be given the file smollm2" in failed.failure.message


def test_a_server_that_goes_away_is_noticed(ollama: RunningOllama, attach: Attach) -> None:
    watched = attach(ollama.url)
    watched.wait(Phase.READY)
    os.killpg(ollama.pid, signal.SIGKILL)
    failed = watched.wait(Phase.FAILED, most_s=8)
    assert failed.failure is not None
    assert failed.failure.message == f"The Ollama at {ollama.url} does not answer any more."


def test_stop_while_it_loads_makes_the_server_give_up(
    ollama_install: OllamaInstall, tmp_path: Path, attach: Attach
) -> None:
    """On software cards without Mesa's cache the first run of the model takes half a minute."""
    slow = {**software_cards(ollama_install), "MESA_SHADER_CACHE_DISABLE": "true"}
    with running_ollama(ollama_install, tmp_path, model_file(), slow) as ollama:
        watched = attach(ollama.url)
        wait_for(ollama.starts, most_s=20)
        time.sleep(0.5)
        begun = time.monotonic()
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED, most_s=3)
        assert time.monotonic() - begun < 2.5
        wait_for(lambda: not psutil.Process(ollama.pid).children(), most_s=10)
        assert ollama.loaded() == []
        assert psutil.pid_exists(ollama.pid)


def test_an_address_where_nobody_is_is_told(attach: Attach) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    failed = attach(url).wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == f"Nothing answers at {url}: no Ollama is running there."


def test_the_address_comes_from_the_settings_then_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert attached_url() == "http://127.0.0.1:11434"
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:8888")
    assert attached_url() == "http://127.0.0.1:8888"
    assert attached_url("rig.lan") == "http://rig.lan:11434"
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:99999")
    engines = Engines(Mailbox(), EngineSettings())
    with pytest.raises(EngineError, match="is no address of an Ollama"):
        engines.get(EngineKind.OLLAMA_ATTACHED)
