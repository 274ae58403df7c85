import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from tests.services.cli.run_cli import environment, splitrig

from splitrig.core.settings import EngineSettings, Settings
from splitrig.core.units import MIB
from splitrig.services.models.demo import demo_model
from splitrig.services.store.settings import SettingsStore

MODEL = str(demo_model())


@pytest.mark.engine
def test_check_shows_two_devices_carrying_three_to_one_as_planned() -> None:
    done = splitrig("check", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    rows = [
        (d["layers"], round(d["actual"]["model_bytes"] / MIB, 2), d["actual"]["kv_bytes"] / MIB)
        for d in result["devices"]
    ]
    assert rows == [(24, 50.73, 72), (7, 41.37, 18)]
    for device in result["devices"]:
        assert abs(device["planned"]["model_bytes"] - device["actual"]["model_bytes"]) < 0.01 * MIB
        assert device["planned"]["kv_bytes"] == device["actual"]["kv_bytes"]
    assert result["tok_s"] > 0
    assert result["answer"]
    assert result["notes"] == []


@pytest.mark.engine
def test_check_prints_a_page_for_people() -> None:
    done = splitrig("check")
    assert done.returncode == 0, done.stderr
    assert "50.73 / 50.73" in done.stdout
    assert "The devices carry what was planned." in done.stdout


@pytest.mark.engine
def test_serve_tells_ready_answers_and_ends_clean_on_ctrl_c() -> None:
    serve = subprocess.Popen(
        [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", "--json",
         "--tensor-split", "1,1"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serve.stdout is not None
    assert serve.stderr is not None
    events = []
    for line in serve.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] in ("ready", "failed"):
            break
    ready = events[-1]
    assert ready["event"] == "ready", (events, serve.stderr.read())
    assert [d["layers"] for d in ready["devices"]] == [16, 15]
    assert ready["mismatches"] == []
    assert not any(ready["api_key"] in part for part in ready["command"])
    assert ready["served_model"] == Path(MODEL).stem
    assert "share" not in ready
    request = urllib.request.Request(
        f"{ready['url']}/v1/models", headers={"Authorization": f"Bearer {ready['api_key']}"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200
    below = psutil.Process(serve.pid).children(recursive=True)
    assert any("llama-server" in p.name() for p in below)
    serve.send_signal(signal.SIGINT)
    rest = serve.stdout.read()
    assert serve.wait(10) == 0
    assert json.loads(rest.strip().splitlines()[-1])["event"] == "stopped"
    assert not [p for p in below if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    serve.stdout.close()
    serve.stderr.close()


@pytest.mark.engine
def test_serve_tells_what_is_known_of_a_tensor_split_and_its_draft() -> None:
    serve = subprocess.Popen(
        [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", "--json",
         "--tensor-split", "3,1", "--split-mode", "tensor", "--model-draft", MODEL,
         "--", "--alias", "mine"],
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serve.stdout is not None
    ready = next(e for e in map(json.loads, serve.stdout) if e["event"] in ("ready", "failed"))
    assert ready["event"] == "ready"
    assert [d["share"] for d in ready["devices"]] == [0.75, 0.25]
    assert [d["actual"]["model_bytes"] for d in ready["devices"]] == [None, None]
    assert ready["mismatches"] == []
    assert "The most on any one card is 155.20 MiB of weights, planned 155.20" in ready["notes"][0]
    assert ready["command"][-2:] == ["--alias", "mine"]
    serve.send_signal(signal.SIGINT)
    serve.stdout.read()
    assert serve.wait(10) == 0
    serve.stdout.close()


@pytest.mark.engine
def test_serve_killed_by_force_leaves_nothing() -> None:
    serve = subprocess.Popen(
        [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", "--json"],
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serve.stdout is not None
    for line in serve.stdout:
        if json.loads(line)["event"] == "ready":
            break
    below = psutil.Process(serve.pid).children(recursive=True)
    assert len(below) >= 4
    serve.kill()
    serve.wait()
    _, left = psutil.wait_procs(below, timeout=2)
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]
    serve.stdout.close()


@pytest.mark.engine
@pytest.mark.parametrize("as_json", [True, False])
def test_serve_says_why_an_engine_is_started_again(*, as_json: bool) -> None:
    SettingsStore().save(Settings(engine=EngineSettings(restart_on_crash=True)))
    more = ["--json"] if as_json else []
    serve = subprocess.Popen(
        [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", *more],
        env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serve.stdout is not None
    said: list[str] = []
    n_ready = 0
    for line in serve.stdout:
        said.append(line)
        if line.startswith(("Ready at", '{"event": "ready"')):
            n_ready += 1
            if n_ready == 2:
                break
            below = psutil.Process(serve.pid).children(recursive=True)
            next(p for p in below if p.name() == "llama-server").kill()
    serve.send_signal(signal.SIGINT)
    serve.stdout.read()
    assert serve.wait(10) == 0
    serve.stdout.close()
    why = "starting again in 2 s (1st of 5)."
    if as_json:
        starts = [e for e in map(json.loads, said) if e["event"] == "starting"]
        assert ["restart" in start for start in starts] == [False, True]
        assert "signal 9" in starts[1]["restart"]
        assert starts[1]["restart"].endswith(why)
    else:
        assert sum(why in line for line in said) == 1


def last_event(*arguments: str) -> dict[str, str]:
    """The last line of a serve that must fail, with exit code 1."""
    done = splitrig("serve", "--demo", "--json", *arguments)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    return dict(line.get("error", line))


@pytest.mark.engine
def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        event = last_event("--model", MODEL, "--port", str(port))
    assert str(port) in event["message"]
    assert event["hint"]


def test_a_missing_engine_is_one_sentence(tmp_path: Path) -> None:
    event = last_event("--model", MODEL, "--llama-server", str(tmp_path / "none"))
    assert "There is no llama-server at" in event["message"]
    assert event["hint"]


def test_a_binary_that_is_no_engine_is_one_sentence() -> None:
    event = last_event("--model", MODEL, "--llama-server", "/bin/true")
    assert "is no llama-server" in event["message"]


def test_a_truncated_model_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(Path(MODEL).read_bytes()[:30_000_000])
    event = last_event("--model", str(path))
    assert "is incomplete: 28.6 MiB of 93.8 MiB" in event["message"]


def test_a_split_of_nothing_is_one_sentence() -> None:
    event = last_event("--model", MODEL, "--tensor-split", "0,0")
    assert "gives no card any layer" in event["message"]


@pytest.mark.engine
def test_a_log_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file in the way")
    done = splitrig(
        "serve", "--demo", "--json", "--model", MODEL, XDG_STATE_HOME=str(tmp_path / "blocked")
    )
    assert done.returncode == 1
    event = json.loads(done.stdout.strip().splitlines()[-1])
    assert "log cannot be written" in event["message"]


def test_doctor_says_what_works_and_how_to_mend_the_rest() -> None:
    done = splitrig("doctor", "--json")
    checks = {c["id"]: c for c in json.loads(done.stdout)["checks"]}
    assert checks["engine"]["state"] == "ok"
    assert checks["demo-model"]["state"] == "ok"
    assert done.returncode == 0, done.stdout
    assert all(c["hint"] for c in checks.values() if c["state"] == "problem")


def test_doctor_names_a_settings_folder_it_cannot_write(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = splitrig("doctor", "--json", XDG_CONFIG_HOME=str(blocked))
    checks = {c["id"]: c for c in json.loads(done.stdout)["checks"]}
    assert checks["folder-settings"]["state"] == "problem"
    assert done.returncode == 1


def test_output_into_a_closed_pipe_ends_quietly() -> None:
    command = [sys.executable, "-m", "splitrig", "doctor"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
        process.wait()
    assert b"Traceback" not in error


@pytest.mark.engine
def test_serve_prints_lines_to_copy_on_wish() -> None:
    command = [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", "--share"]
    with subprocess.Popen(
        [*command, "--json"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as serve:
        assert serve.stdout is not None
        ready = next(e for e in map(json.loads, serve.stdout) if e["event"] in ("ready", "failed"))
        share = ready["share"]
        assert set(share) == {"curl", "python", "environment"}
        answer = subprocess.run(
            share["curl"], shell=True, capture_output=True, text=True, check=True, timeout=60
        )
        assert json.loads(answer.stdout)["choices"][0]["message"]["content"]
        serve.send_signal(signal.SIGINT)
        serve.communicate(timeout=10)
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        lines = []
        for line in serve.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        serve.send_signal(signal.SIGINT)
        serve.communicate(timeout=10)
    text = "".join(lines)
    address, key = lines[3].removeprefix("Ready at ").strip().split(" with the key ")
    assert f"Model name: {Path(MODEL).stem}\n" in text
    assert f"curl {address}/v1/chat/completions" in text
    assert f"export OPENAI_API_KEY={key}" in text
    assert f'api_key="{key}"' in text


@pytest.mark.engine
def test_what_was_inherited_and_does_not_reach_the_engine_is_told(tmp_path: Path) -> None:
    config = tmp_path / "xdg-config" / "llama.cpp" / "config.ini"
    config.parent.mkdir(parents=True)
    config.touch()
    inherited = {"CUDA_VISIBLE_DEVICES": "1", "LLAMA_ARG_CTX_SIZE": "99"}
    command = [sys.executable, "-m", "splitrig", "serve", "--model", MODEL, "--demo", "--json"]
    with subprocess.Popen(
        command, env=environment(**inherited), stdout=subprocess.PIPE, text=True
    ) as serve:
        assert serve.stdout is not None
        before = next(e for e in map(json.loads, serve.stdout) if e["event"] in ("before", "ready"))
        serve.send_signal(signal.SIGINT)
        serve.communicate(timeout=10)
    notes = {note["id"]: note for note in before["notes"]}
    assert set(notes) == {"environment-replaced", "config-file-hidden"}
    assert (
        "CUDA_VISIBLE_DEVICES and LLAMA_ARG_CTX_SIZE are set"
        in (notes["environment-replaced"]["message"])
    )
    done = splitrig("check", **inherited)
    assert (
        "LLAMA_ARG_CTX_SIZE=99 was set in your environment; SplitRig does not pass" in done.stdout
    )
    assert f"{config} holds options for llama.cpp; SplitRig hides it" in done.stdout
    assert done.returncode == 0
