"""The client of Ollama's interface, against servers that misbehave and against the real one."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file
from tests.services.engines.processes import wait_for
from tests.support.ollama_rig import running_ollama
from tests.support.provisioned import OllamaInstall

from splitrig.core.errors import EngineError
from splitrig.services.engines.ollama_api import OllamaApi, PullProgress, holds
from splitrig.services.engines.ollama_http import Call, CallCancelledError

RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"
OVER = threading.Event()


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


@dataclass
class Canned:
    """Answers each path with a status and a body; `None` hangs, `b""` hangs up."""

    url: str
    answers: dict[str, tuple[int, bytes | None]] = field(default_factory=dict)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    @property
    def api(self) -> OllamaApi:
        return OllamaApi(self.url, answer_s=1)


@pytest.fixture
def canned() -> Iterator[Canned]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.asked.append((self.command, self.path, body))
            status, content = server.answers.get(self.path, (404, b"404 page not found"))
            if content is None:
                OVER.wait(10)
            elif content:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_args: object) -> None:
            return

    OVER.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Canned(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield server
        OVER.set()
        http.shutdown()
        thread.join()


def test_recorded_answers_are_read(canned: Canned) -> None:
    for name in ("version", "tags", "ps"):
        canned.answers[f"/api/{name}"] = (200, recorded(f"{name}.json"))
    api = canned.api
    assert api.version() == "0.32.15"
    (model,) = api.models()
    assert (model.name, model.n_bytes) == ("smollm2:latest", 98_362_715)
    assert (model.family, model.parameters, model.quantization) == ("llama", "134.52M", "Q4_1")
    held = holds(api, "smollm2")
    assert held is not None
    assert (held.n_bytes, held.on_cards_bytes, held.n_ctx) == (257_614_151, 257_614_151, 4096)
    assert held.lasts_s is not None
    assert holds(api, "other") is None


@pytest.mark.parametrize(
    ("moment", "low", "high"),
    [
        ("2100-01-01T00:00:00.185231237Z", 1e8, 1e10),
        ("2100-01-01T00:00:00+02:00", 1e8, 1e10),
        ("2020-01-01T00:00:00Z", 0, 0),
    ],
)
def test_the_time_a_model_stays_is_read(
    canned: Canned, moment: str, low: float, high: float
) -> None:
    canned.answers["/api/ps"] = (200, json.dumps({"models": [{"expires_at": moment}]}).encode())
    (model,) = canned.api.running()
    assert model.lasts_s is not None
    assert low <= model.lasts_s <= high


@pytest.mark.parametrize("moment", ["2319-03-07T00:27:38.745036749Z", "", "soon", "2026-99-01T0Z"])
def test_a_model_that_stays_has_no_such_time(canned: Canned, moment: str) -> None:
    canned.answers["/api/ps"] = (200, json.dumps({"models": [{"expires_at": moment}]}).encode())
    assert canned.api.running()[0].lasts_s is None


def test_a_load_says_how_and_forever(canned: Canned) -> None:
    canned.answers["/api/generate"] = (200, recorded("load.json"))
    canned.api.load("m", {"num_ctx": 512})
    canned.api.load("m", keep_alive="5m")
    canned.api.unload("m")
    bodies = [json.loads(body) for _, _, body in canned.asked]
    assert bodies[0] == {
        "model": "m", "stream": False, "keep_alive": -1, "options": {"num_ctx": 512},
    }  # fmt: skip
    assert bodies[1] == {"model": "m", "stream": False, "keep_alive": "5m"}
    assert bodies[2]["keep_alive"] == 0


def test_a_pull_tells_how_far_it_is(canned: Canned) -> None:
    news = [
        {"status": "pulling manifest"},
        {"status": "pulling 6404", "digest": "sha256:64", "total": 10},
        {"status": "pulling 6404", "digest": "sha256:64", "total": 10, "completed": 7},
        {"status": "success"},
    ]
    canned.answers["/api/pull"] = (200, "\n".join(map(json.dumps, news)).encode())
    told: list[PullProgress] = []
    canned.api.pull("m", told.append)
    assert [(n.status, n.done_bytes, n.total_bytes) for n in told] == [
        ("pulling manifest", 0, 0), ("pulling 6404", 0, 10), ("pulling 6404", 7, 10),
        ("success", 0, 0),
    ]  # fmt: skip


def test_an_error_inside_an_answer_that_began_well_is_one(canned: Canned) -> None:
    canned.answers["/api/pull"] = (200, recorded("pull_not_found.ndjson"))
    told: list[PullProgress] = []
    with pytest.raises(EngineError, match="There is no model 'nope' to pull"):
        canned.api.pull("nope", told.append)
    assert [n.status for n in told] == ["pulling manifest"]
    canned.answers["/api/pull"] = (200, b'{"error":"lookup registry.ollama.ai: no such host"}')
    with pytest.raises(EngineError, match="its registry cannot be reached"):
        canned.api.pull("m")
    canned.answers["/api/pull"] = (200, b'{"status":"pulling manifest"}\n')
    with pytest.raises(EngineError, match="in the middle of its answer"):
        canned.api.pull("m")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, recorded("unknown_path.txt"), "(HTTP 404: 404 page not found)"),
        (405, recorded("wrong_method.txt"), "(HTTP 405: 405 method not allowed)"),
        (200, b"<html>", "answers, but not as Ollama does."),
        (200, b"[]", "answers, but not as Ollama does."),
        (200, b"{}", "answers, but not as Ollama does."),
        (200, b"\xff\xfe", "answers, but not as Ollama does."),
        (500, b'{"error":"oops"}', "Ollama could not answer (HTTP 500): oops."),
        (200, b"", "ended in the middle of its answer"),
    ],
)
def test_each_wrong_answer_has_its_sentence(
    canned: Canned, status: int, body: bytes, message: str
) -> None:
    canned.answers["/api/version"] = (status, body)
    with pytest.raises(EngineError) as failed:
        canned.api.version()
    assert message in failed.value.message
    assert not canned.api.alive()


def test_silence_is_told_with_its_length(canned: Canned) -> None:
    canned.answers["/api/version"] = (200, None)
    begun = time.monotonic()
    with pytest.raises(EngineError, match="did not answer within 1 s"):
        canned.api.version()
    assert time.monotonic() - begun < 3


def test_what_speaks_no_http_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        api = OllamaApi(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(EngineError, match="not as Ollama does"):
            api.version()
        thread.join()


def test_an_endless_answer_is_given_up(canned: Canned) -> None:
    canned.answers["/api/tags"] = (200, b"x" * (9 * 2**20))
    with pytest.raises(EngineError, match="not as Ollama does"):
        canned.api.models()


def test_a_closed_port_and_a_name_that_leads_nowhere() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EngineError, match=f"Nothing answers at http://127.0.0.1:{port}"):
        OllamaApi(f"http://127.0.0.1:{port}").version()
    with pytest.raises(EngineError, match="cannot be reached"):
        OllamaApi("http://no-such-host.invalid:1").version()


def test_neither_proxies_nor_ollamas_own_variables_are_asked(
    canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "OLLAMA_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:9:9")
    canned.answers["/api/version"] = (200, recorded("version.json"))
    assert canned.api.version() == "0.32.15"


@pytest.mark.parametrize(
    "run",
    [
        lambda api, call: api.load("m", call=call),
        lambda api, call: api.pull("m", call=call),
    ],
    ids=["load", "pull"],
)
def test_a_call_is_given_up_at_once(canned: Canned, run: Callable[[OllamaApi, Call], None]) -> None:
    canned.answers |= {"/api/generate": (200, None), "/api/pull": (200, None)}
    call = Call()
    ended: list[tuple[Exception, float]] = []

    def ask() -> None:
        try:
            run(canned.api, call)
        except CallCancelledError as error:
            ended.append((error, time.monotonic()))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: canned.asked)
    cancelled_s = time.monotonic()
    call.cancel()
    thread.join(5)
    assert ended
    assert ended[0][1] - cancelled_s < 0.5
    with pytest.raises(CallCancelledError):
        run(canned.api, call)  # nor is anything asked afterwards
    assert len(canned.asked) == 1


@pytest.mark.engine
@pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only")
def test_the_real_server_loads_shows_unloads_and_deletes(
    ollama_install: OllamaInstall, tmp_path: Path
) -> None:
    with running_ollama(ollama_install, tmp_path, model_file()) as ollama:
        api = OllamaApi(ollama.url)
        assert api.version() == ollama_install.version
        shown = api.show("smollm2")
        assert shown["model_info"]["llama.block_count"] == 30
        with pytest.raises(EngineError, match="no model 'nope'; it has smollm2:latest"):
            api.load("nope")
        api.load("smollm2", {"num_ctx": 512})
        held = holds(api, "smollm2")
        assert held is not None
        assert (held.n_ctx, held.on_cards_bytes, held.lasts_s) == (512, 0, None)
        api.keep("smollm2", {"num_ctx": 512}, 99)
        held = holds(api, "smollm2")
        assert held is not None
        assert held.lasts_s is not None
        assert 60 < held.lasts_s < 100
        api.unload("smollm2")
        wait_for(lambda: holds(api, "smollm2") is None)
        with pytest.raises(EngineError, match='"num_ctx" must be of type integer'):
            api.load("smollm2", {"num_ctx": "x"})
        api.delete("smollm2")
        assert api.models() == ()
        with pytest.raises(EngineError, match="no model 'smollm2'; it has none yet"):
            api.delete("smollm2")
