"""`splitrig remote`, `splitrig lend`, and `splitrig serve` on remote cards."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.services.cli.run_cli import environment, splitrig
from tests.services.engines.processes import seconds_until_gone
from tests.services.engines.rpc_servers import rpc_server

from splitrig.cli.remote_cards import choose_remote
from splitrig.core.errors import EngineError
from splitrig.core.footprint import Backend
from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.remote import RemoteEndpoint
from splitrig.core.settings import EngineSettings, Settings
from splitrig.core.units import MIB
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.ports import free_port
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.store.settings import SettingsStore

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)

MODEL = str(demo_model())
FAKE = Path(__file__).parents[1] / "engines" / "fake_llama_server.py"


@contextmanager
def begin(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until it is stopped."""
    program = subprocess.Popen(
        [sys.executable, "-m", "splitrig", *arguments],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def news(program: subprocess.Popen[str], *events: str) -> dict[str, Any]:
    """Its next news of one of these kinds; a failure ends the wait."""
    assert program.stdout is not None
    told = []
    for line in program.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] in (*events, "failed"):
            break
    assert told, program.stderr.read() if program.stderr else ""
    assert told[-1]["event"] in events, told
    return dict(told[-1])


# remote


def test_remote_says_what_a_server_lends_and_what_the_way_costs() -> None:
    with rpc_server(2) as server:
        done = splitrig("remote", server.endpoint, "--json")
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["servers"]
        assert found["endpoint"] == server.endpoint
        assert (found["state"], found["usable"]) == ("free", True)
        assert found["address"] == "127.0.0.1"
        assert f"Starting RPC server v{found['protocol']}\n" in server.lines
        assert found["latency_ms"] > 0
        assert found["up_mb_s"] > 0
        assert found["down_mb_s"] > 0
        assert found["warnings"] == []
        assert [card["number"] for card in found["cards"]] == [0, 1]
        assert all(card["total_bytes"] >= card["free_bytes"] > 0 for card in found["cards"])
        page = splitrig("remote", server.endpoint)
        assert page.returncode == 0
        assert f"protocol {found['protocol']}" in page.stdout
        assert "MB/s there" in page.stdout
        assert "card 1" in page.stdout
        quick = splitrig("remote", "--no-rates", server.endpoint, "--json")
        assert json.loads(quick.stdout)["servers"][0]["up_mb_s"] is None


def test_remote_fails_when_one_server_cannot_be_used() -> None:
    with rpc_server(1) as server:
        done = splitrig("remote", server.endpoint, "127.0.0.1:1", "--json")
    assert done.returncode == 1
    good, bad = json.loads(done.stdout)["servers"]
    assert good["usable"]
    assert (bad["state"], bad["usable"], bad["cards"]) == ("absent", False, [])
    assert bad["message"] == "Nothing answers at 127.0.0.1:1."
    assert bad["hint"]


def test_remote_looks_at_the_servers_of_the_settings() -> None:
    nothing = splitrig("remote")
    assert nothing.returncode == 1
    assert "No server is named, and the settings know none." in nothing.stderr
    with rpc_server(1) as server:
        SettingsStore().save(Settings().with_remote(server.endpoint))
        done = splitrig("remote", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["servers"][0]["endpoint"] == server.endpoint


def test_remote_names_an_address_that_is_none() -> None:
    done = splitrig("remote", "http://workshop", "--json")
    assert done.returncode == 1
    assert "is no address of an RPC server" in json.loads(done.stdout)["error"]["message"]


def test_remote_is_stopped_at_once() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        mute.settimeout(10)
        with begin("remote", f"127.0.0.1:{mute.getsockname()[1]}") as program:
            visitor, _ = mute.accept()
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=5)
            visitor.close()
    assert program.returncode == 1
    assert err == "The look was stopped.\n"


# lend


def test_lend_runs_until_it_is_stopped() -> None:
    with begin("lend", "--devices", "CPU", "--port", "0", "--threads", "1", "--json") as program:
        told = news(program, "listening")
        assert told["endpoint"].startswith("127.0.0.1:")
        assert (told["client"], told["warning"]) == (None, "")
        assert [device["name"] for device in told["devices"]] == ["CPU"]
        found = json.loads(splitrig("remote", told["endpoint"], "--json").stdout)["servers"][0]
        assert found["usable"]
        assert found["protocol"] == told["protocol"]
        below = [p.pid for p in psutil.Process(program.pid).children(recursive=True)]
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=10)
    assert program.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    assert err == ""
    seconds_until_gone(below)


def test_lend_killed_by_force_leaves_nothing() -> None:
    with begin("lend", "--devices", "CPU", "--port", "0", "--json") as program:
        news(program, "listening")
        below = [p.pid for p in psutil.Process(program.pid).children(recursive=True)]
        assert len(below) >= 2
        program.kill()
        program.wait()
        seconds_until_gone(below)


def test_lend_tells_people_who_uses_it() -> None:
    with begin("lend", "--devices", "CPU,CPU", "--port", "0") as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(5)]
        assert lines[0] == "Starting …\n"
        endpoint = lines[1].split()[2].rstrip(",")
        assert lines[1].startswith(f"Lending at {endpoint}, protocol ")
        assert lines[2] == lines[3]
        assert lines[2].startswith("  CPU: ")
        assert lines[4] == "Ctrl-C stops it.\n"
        host, _, port = endpoint.rpartition(":")
        with socket.create_connection((host, int(port))):
            assert program.stdout.readline().startswith("In use by ")
        assert "Free again.\n" in iter(program.stdout.readline, "")
        program.send_signal(signal.SIGTERM)
        out, _ = program.communicate(timeout=10)
    assert program.returncode == 0
    assert out.endswith("Stopped.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "The engine sees no card to lend."),
        (("--devices", "CUDA9", "--port", "0"), "has no device CUDA9 to lend"),
        (("--devices", "CPU", "--host", "0.0.0.0"), "could use and crash this one"),
        (("--devices", "CPU", "--host", "workshop", "--on-network"), "is no IPv4 address"),
        (("--devices", "CPU", "--llama-server", "/nowhere"), "There is no llama-server at"),
    ],
)
def test_lend_fails_with_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = splitrig("lend", *arguments, "--json")
    assert done.returncode == 1
    failed = json.loads(done.stdout.splitlines()[-1])
    assert failed["event"] == "failed"
    assert words in failed["message"]
    assert failed["hint"]
    assert "Traceback" not in done.stderr


def test_lend_warns_where_others_can_reach_it() -> None:
    port = str(free_port())
    arguments = ("--devices", "CPU", "--host", "0.0.0.0", "--on-network", "--port", port)
    with begin("lend", *arguments, "--json") as program:
        told = news(program, "listening")
    assert "no authentication and no encryption" in told["warning"]
    assert "on every network it has" in told["warning"]


# serve


@pytest.mark.engine
def test_serve_uses_the_cards_of_two_servers_and_says_what_the_links_cost() -> None:
    with rpc_server(1) as one, rpc_server(2) as two:
        rpc = f"{one.endpoint},{two.endpoint}"
        arguments = ("--model", MODEL, "--rpc", rpc, "--tensor-split", "2,1,1", "--json")
        with begin("serve", *arguments) as program:
            remote = news(program, "remote")
            assert [server["endpoint"] for server in remote["servers"]] == rpc.split(",")
            assert [cost["token_ms"] > 0 for cost in remote["costs"]] == [True] * 3
            ready = news(program, "ready")
            assert [d["device"] for d in ready["devices"]] == ["RPC0", "RPC1", "RPC2"]
            assert [d["name"] for d in ready["devices"]] == [
                f"{one.endpoint} · card 0", f"{two.endpoint} · card 0", f"{two.endpoint} · card 1",
            ]  # fmt: skip
            assert ready["mismatches"] == []
            for device in ready["devices"]:
                planned, actual = device["planned"], device["actual"]
                assert abs(planned["model_bytes"] - actual["model_bytes"]) < 0.01 * MIB
                assert planned["kv_bytes"] == actual["kv_bytes"]
            # others see that the servers are busy, and do them no harm
            busy = json.loads(splitrig("remote", one.endpoint, "--json").stdout)["servers"][0]
            assert not busy["usable"]
            assert busy["state"] in ("busy", "silent")
            second = splitrig("serve", *arguments)
            failed = json.loads(second.stdout.splitlines()[-1])
            assert second.returncode == 1
            assert failed["message"].startswith(one.endpoint)
            assert failed["hint"]
            program.send_signal(signal.SIGINT)
            program.communicate(timeout=10)
            assert program.returncode == 0
        assert (one.process.poll(), two.process.poll()) == (None, None)


@pytest.mark.engine
def test_serve_tells_of_a_server_that_ends_under_it() -> None:
    with rpc_server(1) as one:
        with begin("serve", "--model", MODEL, "--rpc", one.endpoint, "--json") as program:
            ready = news(program, "ready")
            os.kill(one.process.pid, signal.SIGKILL)
            out, _ = program.communicate(timeout=20)
        failed = json.loads(out.splitlines()[-1])
        assert program.returncode == 1
        assert failed["event"] == "failed"
        assert "lends its" in failed["message"]
        assert failed["hint"]
        assert not psutil.pid_exists(ready["pid"])


def test_cards_of_this_machine_are_not_taken_for_granted() -> None:
    alone = splitrig("serve", "--model", MODEL, "--local-cards", "--json")
    assert json.loads(alone.stdout)["message"] == "--local-cards goes with --rpc."
    with rpc_server(1) as one:
        none = splitrig("serve", "--model", MODEL, "--local-cards", "--rpc", one.endpoint, "--json")
        assert none.returncode == 1
        assert "no card of its own" in json.loads(none.stdout)["message"]


def fake_engine(folder: Path) -> Path:
    path = folder / "llama-server"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    path.chmod(0o755)
    return path


def test_cards_here_stand_before_cards_there(tmp_path: Path) -> None:
    """The server is real; the engine with a card of its own is a stand-in that lists both."""
    gpu = GpuInfo(
        id="GPU-1", uuid="GPU-1", pci="0000:01:00.0", vendor=Vendor.NVIDIA,
        name="NVIDIA GeForce RTX 4090", vram_total_bytes=24564 * MIB, source="nvml",
    )  # fmt: skip
    sample = GpuSample(id="GPU-1", vram_total_bytes=24564 * MIB, vram_used_bytes=564 * MIB)
    rig = Rig(time_s=0.0, gpus=(gpu,), samples={"GPU-1": sample})
    with rpc_server(2) as server:
        devices = (
            "  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 24000 MiB free)\n"
            f"  RPC0: {server.endpoint} (100 MiB, 100 MiB free)\n"
            f"  RPC1: {server.endpoint} (100 MiB, 100 MiB free)\n"
        )
        env = {"FAKE_DEVICES": devices, "FAKE_SEEN": str(tmp_path / "seen"), "FAKE_MODE": "dies"}
        engines = Engines(
            Mailbox(), EngineSettings(llama_server=fake_engine(tmp_path)), extra_env=env
        )
        endpoints = [RemoteEndpoint.parse(server.endpoint)]
        chosen = choose_remote(engines, endpoints, lambda: False, local=(rig, Path(MODEL)))
        assert chosen.names == ("CUDA0", "RPC0", "RPC1")
        assert chosen.rpc == (server.endpoint,)
        assert [device.name for device in chosen.devices] == [
            "RTX 4090", f"{server.endpoint} · card 0", f"{server.endpoint} · card 1",
        ]  # fmt: skip
        assert [d.backend for d in chosen.devices] == [Backend.CUDA, Backend.RPC, Backend.RPC]
        assert chosen.devices[0].free_bytes == 24000 * MIB
        assert list(chosen.cards) == [chosen.devices[1].id, chosen.devices[2].id]
        alone = choose_remote(engines, endpoints, lambda: False)
        assert alone.names == ("RPC0", "RPC1")
        with pytest.raises(EngineError, match="no card of its own"):
            choose_remote(engines, endpoints, lambda: False, local=(Rig(time_s=0), Path(MODEL)))
        engines.close()
