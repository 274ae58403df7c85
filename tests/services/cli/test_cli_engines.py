"""`splitrig engines`, as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.nvml import fake_nvml
from tests.services.cli.run_cli import environment, splitrig
from tests.services.engines.release_server import PATH, GitHub, name, runtime_name, script, tar_gz
from tests.services.net.file_server import Served, serving

from splitrig.core.settings import EngineSettings, Settings
from splitrig.services.engines.installed import engines_dir, installed
from splitrig.services.store.settings import SettingsStore

if sys.platform == "win32":
    pytest.skip("the engine package and the scripts here are for Linux", allow_module_level=True)


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        found = GitHub(server)
        for build in (7, 8):
            found.publish(
                f"b{build}",
                {
                    name(build, "cpu"): tar_gz(build, llama_server=script(build)),
                    name(build, "vulkan"): tar_gz(build, llama_server=script(build), extra=b"x"),
                },
            )
        yield found


def engines(*arguments: str, github: GitHub | None = None) -> subprocess.CompletedProcess[str]:
    url = () if github is None else ("--releases-url", github.api)
    return splitrig("engines", *arguments, *url)


def test_the_list_shows_build_cards_path_and_which_is_used() -> None:
    done = engines("list")
    assert done.returncode == 0
    assert re.search(r"^\*\s+bundled\s+\w+\s+none\s+/.*llama-server$", done.stdout, re.MULTILINE)
    assert engines().stdout == done.stdout
    said = json.loads(engines("--json").stdout)
    (engine,) = said["engines"]
    assert set(engine) == {
        "id", "source", "path", "build", "chosen", "used", "devices", "error"
    }  # fmt: skip
    assert (engine["source"], engine["used"], engine["error"]) == ("bundled", True, None)
    assert json.loads(engines("list", "--json").stdout) == said


def test_what_is_available_and_why(github: GitHub) -> None:
    done = engines("available", github=github)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^b8\s+2026-09-22\s+cpu\s+\d+ B$", done.stdout, re.MULTILINE)
    assert "CPU: no graphics card was found." in done.stdout
    assert "Others for Linux on x64: vulkan." in done.stdout
    said = json.loads(engines("available", "--json", github=github).stdout)
    assert said["choice"]["id"] == "b8-cpu"
    assert said["choice"]["alternatives"] == ["vulkan"]
    assert said["machine"]["os"] == "linux"
    assert [release["build"] for release in said["releases"]] == ["b8", "b7"]
    assert [a["flavour"] for a in said["releases"][0]["assets"]] == ["cpu", "vulkan"]


def test_the_detected_cards_decide(github: GitHub, tmp_path: Path) -> None:
    github.publish("b9", {
        name(9, "cpu"): b"1", name(9, "vulkan"): b"12", name(9, "cuda-12.8"): b"123",
        runtime_name(9, "12.8"): b"1234",
    })  # fmt: skip
    env = fake_nvml.environment(tmp_path, fake_nvml.MIXED)
    done = splitrig("engines", "available", "--json", "--releases-url", github.api, **env)
    said = json.loads(done.stdout)
    assert said["machine"]["cards"] == ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3080"]
    assert said["machine"]["cuda"] == [13, 0]
    choice = said["choice"]
    if said["machine"]["glibc"] is None or said["machine"]["glibc"] >= [2, 38]:
        assert (choice["id"], choice["size_bytes"]) == ("b9-cuda-12.8", 7)
        assert choice["files"] == [name(9, "cuda-12.8"), runtime_name(9, "12.8")]
    else:
        assert (choice["id"], choice["size_bytes"]) == ("b9-vulkan", 2)
        assert "CUDA 12.8 needs glibc 2.38" in choice["reason"]
    assert "RTX 4090 and RTX 3080" in choice["reason"]


def test_install_list_and_remove(github: GitHub) -> None:
    done = engines("install", github=github)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "b8-cpu is installed; cards it sees: Vulkan0 A card.\nIt is used from now on.\n"
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "b8-cpu: CPU: no graphics card was found."
    assert lines[1].startswith(f"{name(8, 'cpu')}: 0 % of ")
    assert lines[-2:] == [f"{name(8, 'cpu')}: unpacking", "b8-cpu: trying it"]
    assert "\r" not in done.stderr

    second = engines("install", "b7", "--backend", "vulkan", "--json", github=github)
    said = json.loads(second.stdout)
    assert said["installed"]["id"] == "b7-vulkan"
    assert (said["fresh"], said["used"]) == (True, False)
    assert said["installed"]["path"] == str(engines_dir() / "b7-vulkan" / "llama-server")
    assert said["choice"]["reason"] == "vulkan was asked for."
    assert said["devices"][0]["name"] == "Vulkan0"

    again = engines("install", "b7", "--backend", "vulkan", github=github)
    assert "b7-vulkan was installed already" in again.stdout
    assert "Another one is used" in again.stdout

    listed = json.loads(engines("--json").stdout)["engines"]
    assert [(e["id"], e["build"], e["used"]) for e in listed][:2] == [
        ("b8-cpu", "b8", True), ("b7-vulkan", "b7", False)
    ]  # fmt: skip
    assert "installed" in engines("available", github=github).stdout

    assert engines("remove", "b8-cpu").stdout == "b8-cpu was removed.\n"
    assert json.loads(engines("remove", "b7-vulkan", "--json").stdout) == {"removed": "b7-vulkan"}
    assert installed() == ()


def test_the_engine_chosen_in_the_settings_is_not_removed(github: GitHub) -> None:
    assert engines("install", github=github).returncode == 0
    path = installed()[0].path
    SettingsStore().save(Settings(engine=EngineSettings(llama_server=path)))
    done = engines("remove", "b8-cpu")
    assert done.returncode == 1
    assert "b8-cpu is the engine chosen in Settings." in done.stderr
    assert installed()


def used_now() -> str:
    said = json.loads(engines("--json").stdout)["engines"]
    return next(engine["id"] or engine["source"] for engine in said if engine["used"])


def test_any_engine_that_is_listed_can_be_used(github: GitHub) -> None:
    for build in ("b8", "b7"):
        assert engines("install", build, github=github).returncode == 0
    assert used_now() == "b8-cpu"
    assert "'splitrig engines use ENGINE' chooses another." in engines().stdout
    done = engines("use", "b7-cpu")
    assert done.stdout == "b7-cpu is used from now on; cards it sees: Vulkan0 A card.\n"
    assert used_now() == "b7-cpu"
    path = installed()[1].path
    assert SettingsStore().load().engine.llama_server == path
    said = json.loads(engines("use", "bundled", "--json").stdout)["used"]
    assert (said["source"], said["chosen"], said["used"]) == ("bundled", True, True)
    assert used_now() == "bundled"
    assert engines("use", "auto").returncode == 0
    assert SettingsStore().load().engine.llama_server is None
    assert used_now() == "b8-cpu"


def test_an_engine_that_cannot_be_used_changes_nothing(github: GitHub, tmp_path: Path) -> None:
    for build in ("b7", "b8"):
        assert engines("install", build, github=github).returncode == 0
    said = failure(engines("use", "b9-cpu"))
    assert "There is no llama-server 'b9-cpu' here. Listed: b8-cpu, b7-cpu and bundled" in said
    newest, older = installed()
    older.path.unlink()
    assert "b7-cpu is damaged. Remove it with" in failure(engines("use", "b7-cpu"))
    newest.path.write_text("#!/bin/sh\nexit 3\n")
    assert "is no llama-server" in failure(engines("use", "b8-cpu"))
    assert SettingsStore().load() == Settings()
    settings = tmp_path / "xdg-config" / "splitrig" / "settings.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("= =")
    assert "is not valid TOML" in failure(engines("use", "bundled"))
    assert settings.read_text() == "= ="


def test_a_damaged_one_is_named(github: GitHub) -> None:
    assert engines("install", github=github).returncode == 0
    installed()[0].path.unlink()
    done = engines("list")
    assert "b8-cpu is damaged: 'splitrig engines remove b8-cpu' removes it." in done.stdout
    assert json.loads(engines("--json").stdout)["damaged"] == ["b8-cpu"]
    assert engines("remove", "b8-cpu").returncode == 0


def failure(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_failures_are_one_sentence(github: GitHub) -> None:
    assert "is no downloaded engine" in failure(engines("remove", "b1-cpu"))
    assert "There is no llama.cpp release b404" in failure(
        engines("install", "b404", github=github)
    )
    assert "is no llama.cpp build" in failure(engines("install", "latest", github=github))
    assert "no metal build" in failure(engines("install", "--backend", "metal", github=github))
    assert "not be encrypted" in failure(
        splitrig("engines", "available", "--releases-url", "http://192.0.2.1/releases")
    )
    assert "invalid choice" in failure(engines("frobnicate"), 2)
    done = engines("install", "b404", "--json", github=github)
    assert json.loads(done.stdout)["error"]["message"] in done.stderr


def test_offline_is_one_sentence() -> None:
    done = splitrig("engines", "install", "--releases-url", "https://nowhere.invalid/releases")
    assert "nowhere.invalid was not found: this machine seems to be offline." in failure(done)


def test_githubs_limit_is_one_sentence(github: GitHub) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 60)}
    github.server.files[PATH + "?per_page=30"] = Served(b"{}", status=403, headers=headers)
    assert "it allows 60 an hour" in failure(engines("install", github=github))


def test_without_a_checksum_it_must_be_allowed(github: GitHub) -> None:
    github.publish("b9", {name(9, "cpu"): tar_gz(9, llama_server=script(9))}, digests=False)
    assert "names no checksum" in failure(engines("install", "b9", github=github))
    done = engines("install", "b9", "--without-checksum", github=github)
    assert "Its checksum could not be compared." in done.stdout
    assert not installed()[0].checked


def test_a_build_that_sees_none_of_the_cards_is_said(github: GitHub, tmp_path: Path) -> None:
    blind = script(9).replace(b'; echo "  Vulkan0: A card (8192 MiB, 8000 MiB free)"', b"")
    github.publish("b9", {name(9, "vulkan"): tar_gz(9, llama_server=blind)})
    env = fake_nvml.environment(tmp_path, fake_nvml.MIXED)
    done = splitrig("engines", "install", "b9", "--releases-url", github.api, **env)
    assert done.returncode == 0
    assert "cards it sees: none" in done.stdout
    assert "sees none of the 2 cards" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_the_next_time_goes_on(github: GitHub, how: signal.Signals) -> None:
    archive = tar_gz(9, llama_server=script(9), weight=os.urandom(400_000))
    github.publish("b9", {name(9, "cpu"): archive})
    listing = len(github.server.files[PATH + "?per_page=30"].data)
    github.server.stall_after = max(200_000, listing)
    command = [sys.executable, "-m", "splitrig", "engines", "install", "--releases-url", github.api]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        part = engines_dir() / ".downloads" / f"{name(9, 'cpu')}.part"
        deadline = time.monotonic() + 60
        while github.sent("b9", name(9, "cpu")) == 0 or not part.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        running.send_signal(how)
        _, error = running.communicate(timeout=20)
    assert running.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in error
    assert installed() == ()
    github.server.stall_after = None
    here = part.stat().st_size
    done = engines("install", github=github)
    assert done.returncode == 0, done.stderr
    assert [engine.id for engine in installed()] == ["b9-cpu"]
    assert github.sent("b9", name(9, "cpu")) == len(archive) + 200_000 - here
    if how is signal.SIGINT:
        assert here == 200_000
        assert "kept for a day" in error
