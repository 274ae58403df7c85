"""Ollama as our own server: the split arrives, the chat answers, and nothing is left behind."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import Watch, Watched, model_file, planned
from tests.services.engines.processes import running, seconds_until_gone, wait_for
from tests.support.ollama_rig import set_parameters, software_cards
from tests.support.ollama_store import add_model
from tests.support.provisioned import OllamaInstall

from splitrig.core.chat import Answer, AnswerPhase, Message, Role
from splitrig.core.engine import Dialect, EngineKind, EngineStatus, Phase
from splitrig.core.footprint import Backend
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB, MIB
from splitrig.services.chat.client import ChatClient
from splitrig.services.engines.ollama_program import OllamaProgram
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model
from splitrig.services.models.ollama_store import find_model

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only"),
]
CARRIED = [(24, 50.73, 72), (7, 41.37, 18)]
STORY = [Message(Role.USER, "Tell me a very long story about the sea, with many chapters.")]
HELLO = [Message(Role.USER, "Say hello in one short sentence.")]


def rows(status: EngineStatus) -> list[tuple[int, float, float]]:
    """Layers, MiB of weights and MiB of KV cache per device, in the order of the split."""
    result = []
    for name in status.device_names:
        has = status.actual[name]
        result.append(
            (status.layers[name], round((has.model_bytes or 0) / MIB, 2),
             round((has.kv_bytes or 0) / MIB, 2))
        )  # fmt: skip
    return result


def below_me() -> list[int]:
    return [p.pid for p in psutil.Process().children(recursive=True)]


def named(name: str) -> psutil.Process:
    """The process of this name below the test."""
    below = psutil.Process().children(recursive=True)
    return next(p for p in below if p.name().startswith(name))


def ask(
    status: EngineStatus,
    messages: list[Message],
    tokens: int,
    on_text: Callable[[], None] | None,
    *,
    first: bool = False,
) -> Answer:
    """One question as the window would put it."""
    mailbox = Mailbox()
    client = ChatClient(mailbox)
    assert status.url is not None
    told = on_text is None
    try:
        client.ask(
            status.url, status.api_key, messages, temperature=0.0, max_tokens=tokens,
            model=status.served_model, dialect=status.dialect, first=first,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            for answer in mailbox.drain():
                assert isinstance(answer, Answer)
                if answer.text and not told and on_text is not None:
                    told = True
                    on_text()
                if answer.phase is not AnswerPhase.STREAMING:
                    return answer
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        client.close()


@pytest.fixture
def start(watch: Watch, ollama_install: OllamaInstall) -> Callable[..., Watched]:
    """Start a model on lent cards, or with `vulkan` on two software ones."""

    def run(
        *shares: float,
        vulkan: tuple[str, ...] = (),
        model: Path | None = None,
        name: str = "",
        plan: PlanRequest | None = None,
        program: Path | None = None,
        extra_env: dict[str, str] | None = None,
        occupied: list[socket.socket] | None = None,
    ) -> Watched:
        extra = {**(software_cards(ollama_install) if vulkan else {}), **(extra_env or {})}
        settings = EngineSettings(ollama=program or ollama_install.program)
        watched = watch(extra_env=extra, settings=settings, start_timeout_s=150)
        backend = Backend.VULKAN if vulkan else Backend.RPC
        request, planned_for = planned(*shares, backend=backend, names=vulkan)
        if plan is not None:
            devices = [
                PlanDevice(name=d.name, id=d.id, free_bytes=8 * GIB, backend=backend)
                for d in planned_for.devices
            ]
            planned_for = make_plan(read_model(model_file()), devices, plan)
        request = replace(
            request,
            engine=EngineKind.OLLAMA,
            model=model or request.model,
            model_name=name,
            plan=plan or request.plan,
        )
        if occupied is not None:
            taken = socket.socket()
            taken.bind(("127.0.0.1", watched.supervisor._preferred_port))
            taken.listen()
            occupied.append(taken)
        watched.start(request, planned_for)
        return watched

    return run


Start = Callable[..., Watched]


def test_a_ratio_arrives_on_two_vulkan_cards_and_stop_leaves_nothing(start: Start) -> None:
    watched = start(3.0, 1.0, vulkan=("Vulkan0", "Vulkan1"))
    ready = watched.wait(Phase.READY, most_s=150)
    assert rows(ready) == CARRIED
    assert ready.mismatches == ()
    assert ready.build == "0.32.15"
    assert list(ready.step_seconds) == ["process", "weights", "context", "warmup"]
    assert (ready.dialect, ready.api_key) == (Dialect.OLLAMA, None)
    assert ready.pid == named("ollama").pid
    assert "LLAMA_ARG_TENSOR_SPLIT=3,1" in ready.command
    below = below_me()
    assert len(below) >= 3  # guard, server, llama-server
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=2.5)
    assert time.monotonic() - begun < 2.5
    assert running(below) == []


def test_cards_in_the_other_order_carry_the_split_in_that_order(start: Start) -> None:
    watched = start(3.0, 1.0, vulkan=("Vulkan1", "Vulkan0"))
    ready = watched.wait(Phase.READY, most_s=150)
    assert ready.device_names == ("Vulkan1", "Vulkan0")
    assert rows(ready) == CARRIED
    assert ready.mismatches == ()


@pytest.mark.parametrize(
    ("shares", "carried"),
    [((3.0, 1.0), CARRIED), ((1.0, 3.0), [(8, 16.91, 24), (23, 75.19, 66)])],
)
def test_the_demo_rig_lends_its_cards_to_ollama_too(
    start: Start, shares: tuple[float, ...], carried: list[tuple[int, float, float]]
) -> None:
    watched = start(*shares)
    ready = watched.wait(Phase.READY)
    assert rows(ready) == carried
    assert ready.mismatches == ()
    watched.supervisor.close()
    assert below_me() == []


def test_an_answer_streams_with_the_servers_own_figures_and_nothing_is_loaded_twice(
    start: Start,
) -> None:
    watched = start(3.0, 1.0)
    ready = watched.wait(Phase.READY)
    assert ready.served_model == "splitrig/SmolLM2-135M-Instruct.Q4_1:latest"
    for first in (True, False):
        answer = ask(ready, HELLO, 12, None, first=first)
        assert (answer.stats.prompt_tok_s is not None) == first
        assert answer.phase is AnswerPhase.FINISHED, answer.error
        assert answer.stats.tokens == 12
        assert answer.stats.finish_reason == "length"
        assert answer.stats.prompt_tokens == 37  # with the chat template of the file itself
        assert answer.stats.tok_s is not None
        assert answer.stats.first_token_s is not None
        assert answer.stats.load_s is not None
        assert answer.stats.load_s < 1
        assert answer.text
        if first:
            rate = answer.stats.prompt_tok_s
    watched.drain()
    (told, *_) = re.findall(
        r"prompt eval time.* ([\d.]+) tokens per second", "\n".join(watched.lines)
    )
    assert rate == pytest.approx(float(told), rel=0.01)  # nothing of it was cached
    assert sum("starting llama-server" in line for line in watched.lines) == 1


def test_two_types_of_cache_and_requests_side_by_side_arrive(start: Start) -> None:
    knobs = PlanRequest(split=(1.0, 1.0), n_ctx=8192, n_parallel=2, cache_type_k="q8_0")
    watched = start(1.0, 1.0, plan=knobs)
    ready = watched.wait(Phase.READY)
    assert ready.mismatches == ()
    assert rows(ready) == [(16, 33.82, 73.5), (15, 58.28, 64.31)]
    assert ask(ready, HELLO, 3, None).stats.tokens == 3


def test_everything_can_lie_on_the_first_card(start: Start) -> None:
    watched = start(3.0, 1.0, plan=PlanRequest(split=(3.0, 1.0), split_mode="none"))
    ready = watched.wait(Phase.READY)
    assert ready.mismatches == ()
    assert rows(ready) == [(31, 92.1, 90), (0, 0, 0)]


def test_layers_that_stay_off_the_cards_do(start: Start) -> None:
    watched = start(3.0, 1.0, plan=PlanRequest(split=(3.0, 1.0), n_gpu_layers=10))
    ready = watched.wait(Phase.READY)
    assert ready.mismatches == ()
    assert sum(layers for layers, _, _ in rows(ready)) == 10


def test_a_model_of_the_users_store_is_served_under_its_name_and_the_store_is_not_touched(
    start: Start, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    name = add_model(store, model_file(), "smollm2")
    set_parameters(store, name, {"num_ctx": 256, "num_gpu": 3, "stop": ["never"]})
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*")}
    model = find_model("smollm2", [store])
    watched = start(3.0, 1.0, model=model.path, name=model.name)
    ready = watched.wait(Phase.READY)
    assert ready.served_model == "smollm2:latest"
    assert rows(ready) == CARRIED  # its own num_ctx and num_gpu give way to the plan
    assert ask(ready, HELLO, 3, None).stats.tokens == 3
    watched.supervisor.close()
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} == before


def test_a_ratio_that_something_bends_is_told(start: Start) -> None:
    watched = start(3.0, 1.0, extra_env={"LLAMA_ARG_TENSOR_SPLIT": "1,1"})
    ready = watched.wait(Phase.READY)
    assert ready.mismatches[0] == "Ollama did not honour the ratio 3 : 1."
    assert "card 0 (RPC0) carries 33.82 MiB of weights, planned were 50.73." in ready.mismatches


def test_stop_while_it_loads_leaves_nothing(start: Start) -> None:
    watched = start(3.0, 1.0, vulkan=("Vulkan0", "Vulkan1"))
    wait_for(lambda: watched.supervisor.status.step == "warmup", most_s=60)
    below = below_me()
    assert len(below) >= 3
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=2.5)
    watched.supervisor.close()
    assert time.monotonic() - begun < 2.5
    assert running(below) == []


def test_a_server_killed_by_force_takes_its_engine_along_and_is_told(start: Start) -> None:
    watched = start(3.0, 1.0)
    ready = watched.wait(Phase.READY)
    below = below_me()
    assert ready.pid is not None
    os.kill(ready.pid, signal.SIGKILL)
    failed = watched.wait(Phase.FAILED, most_s=3)
    assert failed.failure is not None
    assert "was killed" in failed.failure.message
    assert seconds_until_gone(below) < 2


def test_an_engine_killed_in_mid_answer_keeps_the_text_and_the_next_question_is_answered(
    start: Start,
) -> None:
    watched = start(3.0, 1.0)
    ready = watched.wait(Phase.READY)
    broken = ask(ready, STORY, 500, lambda: named("llama-server").kill())
    assert broken.phase is AnswerPhase.FAILED
    assert broken.text
    assert broken.error is not None
    assert "broke off" in broken.error.message
    again = ask(ready, HELLO, 4, None)
    assert again.stats.tokens == 4
    assert again.stats.load_s is not None
    assert again.stats.load_s > 0.2
    assert watched.supervisor.status.phase is Phase.READY
    assert rows(watched.supervisor.status) == CARRIED


def test_a_conversation_longer_than_the_context_is_told_in_tokens(start: Start) -> None:
    watched = start(1.0, 1.0, plan=PlanRequest(split=(1.0, 1.0), n_ctx=512))
    ready = watched.wait(Phase.READY)
    answer = ask(ready, [Message(Role.USER, "word " * 2000)], 4, None)
    assert answer.error is not None
    assert answer.error.message == "The conversation has 2,031 tokens; the context holds 512."


def test_too_much_for_a_card_of_two_gib_is_one_sentence_and_a_clean_state(
    start: Start, ollama_install: OllamaInstall, tmp_path: Path
) -> None:
    """The memory of its processes is limited, or the computer's would be filled first."""
    limited = tmp_path / "ollama"
    limited.write_text(f'#!/bin/sh\nulimit -v 6000000\nexec "{ollama_install.program}" "$@"\n')
    limited.chmod(0o755)
    knobs = PlanRequest(split=(3.0, 1.0), n_ctx=8192 * 32, n_parallel=32)
    cards = ("Vulkan0", "Vulkan1")
    watched = start(3.0, 1.0, vulkan=cards, plan=knobs, program=limited)
    failed = watched.wait(Phase.FAILED, most_s=150)
    assert failed.failure is not None
    # with so little address space the driver's own line, which names the card, may be missing
    assert re.fullmatch(
        r"Out of memory: 768\.0 MiB more did not fit on "
        r"(card 0, which had 2,048 MiB free|a card)\.",
        failed.failure.message,
    )
    assert "Shorten the context" in failed.failure.hint
    assert below_me() == []
    watched = start(3.0, 1.0)
    watched.wait(Phase.READY)


def test_a_port_somebody_was_faster_to_take_is_another_one(start: Start) -> None:
    occupied: list[socket.socket] = []
    watched = start(1.0, 1.0, occupied=occupied)
    try:
        ready = watched.wait(Phase.READY)
        assert ready.url is not None
        assert not ready.url.endswith(f":{occupied[0].getsockname()[1]}")
    finally:
        occupied[0].close()


def test_a_context_beyond_the_training_is_refused_before_anything_runs(start: Start) -> None:
    watched = start(1.0, 1.0, plan=PlanRequest(split=(1.0, 1.0), n_ctx=16384))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "8,192 tokens the model was trained for" in failed.failure.message


def test_a_file_that_is_no_ollama_is_told(start: Start) -> None:
    failed = start(1.0, 1.0, program=Path("/bin/true")).wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == "/bin/true is no ollama."


def test_ollama_tells_its_cards_and_leaves_nothing_in_the_users_folder(
    ollama_install: OllamaInstall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "nonsense nonsense")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    program = OllamaProgram(ollama_install.program, extra_env=software_cards(ollama_install))
    assert program.version() == "0.32.15"
    cards = program.look_for_cards()
    assert [card.name for card in cards] == ["Vulkan0", "Vulkan1"]
    assert {(card.library, card.pci) for card in cards} == {("Vulkan", None)}
    assert all("llvmpipe" in card.description for card in cards)
    assert not (tmp_path / "home").exists()
    assert below_me() == []


def test_looking_for_cards_is_given_up_at_once(ollama_install: OllamaInstall) -> None:
    program = OllamaProgram(ollama_install.program)
    begun = time.monotonic()
    program.look_for_cards(lambda: time.monotonic() - begun > 0.1)
    assert time.monotonic() - begun < 2.5
    assert below_me() == []
