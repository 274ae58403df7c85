"""Asking GitHub for the releases of llama.cpp."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.services.engines.release_server import PATH, GitHub, name, script, tar_gz
from tests.services.net.file_server import Served, serving

from splitrig.core.engine_fit import Machine
from splitrig.core.errors import CancelledError, EngineError, NetError, StatusError
from splitrig.services.engines.releases import API, Releases

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases"
LINUX = Machine(os="linux", arch="x64", glibc=(2, 39))


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        found = GitHub(server)
        for build in (7, 9, 8):
            found.publish(f"b{build}", {name(build, "cpu"): b"archive"})
        yield found


def test_the_newest_come_first(github: GitHub) -> None:
    assert [release.tag for release in Releases(github.api).newest()] == ["b9", "b8", "b7"]
    (_, headers), *_ = github.server.requests
    assert headers["Accept"] == "application/vnd.github+json"


def test_without_a_name_the_newest_is_chosen(github: GitHub) -> None:
    assert Releases(github.api).choose(LINUX).asset.id == "b9-cpu"
    assert Releases(github.api).choose(LINUX, "b7").asset.id == "b7-cpu"


def test_a_version_and_the_stable_one_lead_to_their_build(github: GitHub) -> None:
    github.publish("v0.5.0", {"nightly-tag.txt": b"b8\n"})
    releases = Releases(github.api)
    assert releases.choose(LINUX, "v0.5.0").asset.id == "b8-cpu"
    assert releases.choose(LINUX, "stable").asset.id == "b8-cpu"
    assert releases.choose(LINUX).asset.id == "b9-cpu"


def test_a_version_that_points_nowhere_is_one_sentence(github: GitHub) -> None:
    github.publish("v0.5.0", {"nightly-tag.txt": b"<html>"})
    github.publish("v0.6.0", {"nightly-tag.txt": b"b404"})
    github.publish("v0.7.0", {})
    with pytest.raises(EngineError, match="does not say which build"):
        Releases(github.api).find("v0.5.0")
    with pytest.raises(NetError, match=r"There is no llama\.cpp release b404"):
        Releases(github.api).find("v0.6.0")
    with pytest.raises(EngineError, match=r"v0\.7\.0 only points at a build"):
        Releases(github.api).choose(LINUX, "v0.7.0")


@pytest.mark.parametrize("build", ["b404", "v9.9.9"])
def test_a_release_that_does_not_exist_is_named(github: GitHub, build: str) -> None:
    with pytest.raises(NetError, match=f"There is no llama.cpp release {build}") as raised:
        Releases(github.api).find(build)
    assert "available" in raised.value.hint


@pytest.mark.parametrize("build", ["", "latest", "../../users", "b7/assets", "b7?x", "7"])
def test_a_name_that_is_none_asks_nobody(github: GitHub, build: str) -> None:
    github.server.requests.clear()
    with pytest.raises(EngineError, match=r"is no llama\.cpp build"):
        Releases(github.api).find(build)
    assert github.server.requests == []


def test_githubs_limit_says_until_when(github: GitHub) -> None:
    reset = int(time.time()) + 1800
    github.server.files[PATH + "?per_page=30"] = Served(
        (RECORDED / "rate_limit.json").read_bytes(),
        status=403,
        headers={
            "X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset),
        },
    )  # fmt: skip
    with pytest.raises(NetError, match="it allows 60 an hour") as raised:
        Releases(github.api).newest()
    assert datetime.fromtimestamp(reset).astimezone().strftime("%H:%M") in raised.value.hint


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "60"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 30},
        {"Retry-After": "9" * 30},
    ],
)
def test_githubs_other_limits(github: GitHub, headers: dict[str, str]) -> None:
    github.server.files[PATH + "/tags/b7"] = Served(b"{}", status=429, headers=headers)
    with pytest.raises(NetError, match="no more questions"):
        Releases(github.api).find("b7")


def test_a_403_of_another_kind_is_told_as_it_is(github: GitHub) -> None:
    github.server.files[PATH + "?per_page=30"] = Served(b"{}", status=403)
    with pytest.raises(StatusError, match=r"127\.0\.0\.1 answered 403 Forbidden"):
        Releases(github.api).newest()


def test_an_answer_that_is_no_list_is_one_sentence(github: GitHub) -> None:
    github.server.files[PATH + "?per_page=30"] = Served(b"<html>Sign in to this network</html>")
    with pytest.raises(EngineError, match="cannot be understood"):
        Releases(github.api).newest()


def test_the_recorded_list_of_today(github: GitHub) -> None:
    text = (RECORDED / "releases.json").read_text(encoding="utf-8")
    moved = text.replace("https://github.com", github.server.url)
    github.server.files[PATH + "?per_page=30"] = Served(moved.encode())
    newest = Releases(github.api).newest()
    assert [r.tag for r in newest] == ["b11118", "b10816", "b6000", "b4920", "v0.5.0"]
    assert Releases(github.api).choose(LINUX).asset.name == "llama-b11118-bin-ubuntu-x64.tar.gz"


def test_files_on_another_server_are_left_out(github: GitHub) -> None:
    text = (RECORDED / "releases.json").read_bytes()  # whose files are on github.com
    github.server.files[PATH + "?per_page=30"] = Served(text)
    assert all(r.assets == r.runtimes == () for r in Releases(github.api).newest())
    with pytest.raises(EngineError, match="has no build for Linux on x64"):
        Releases(github.api).choose(LINUX)


def test_the_official_address_is_encrypted() -> None:
    assert API.startswith("https://api.github.com/repos/ggml-org/llama.cpp/")


def test_it_can_be_given_up(github: GitHub) -> None:
    github.server.stall_after = 10
    with pytest.raises(CancelledError):
        Releases(github.api, cancelled=lambda: bool(github.server.requests)).newest()


def test_what_the_tests_publish_has_the_shape_of_the_recorded(github: GitHub) -> None:
    recorded = json.loads((RECORDED / "releases.json").read_bytes())[1]
    github.publish("b10", {name(10, "cpu"): tar_gz(10, llama_server=script(10))})
    ours = github.releases[0]
    assert set(ours) <= set(recorded)
    assert set(ours["assets"][0]) <= set(recorded["assets"][0])
