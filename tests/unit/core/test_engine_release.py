"""Reading GitHub's list of llama.cpp releases."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.engine_release import (
    MOST_ASSET_BYTES,
    BuildBackend,
    Release,
    is_build_tag,
    is_version_tag,
    parse_pointer,
    parse_releases,
)
from splitrig.core.errors import EngineError

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases" / "releases.json"


def recorded() -> dict[str, Release]:
    return {release.tag: release for release in parse_releases(RECORDED.read_bytes())}


def one(name: str, **changes: Any) -> bytes:
    """A list of one release b7 with one file."""
    asset = {
        "name": name, "size": 5, "state": "uploaded", "digest": "sha256:" + "aB" * 32,
        "browser_download_url": f"https://github.com/{name}", **changes,
    }  # fmt: skip
    return json.dumps([{"tag_name": "b7", "assets": [asset]}]).encode()


def flavours(release: Release, os: str, arch: str = "x64") -> list[str]:
    return [a.flavour for a in release.assets if (a.os, a.arch) == (os, arch)]


def test_every_recorded_release_is_read_in_its_order() -> None:
    assert list(recorded()) == ["v0.5.0", "b11118", "b10816", "b6000", "b4920"]


def test_a_release_of_today_has_its_builds_and_nothing_else() -> None:
    release = recorded()["b11118"]
    assert release.build == 11118
    assert flavours(release, "linux") == [
        "cuda-12.8", "cuda-13.4", "openvino-2026.4", "rocm-10.0", "sycl-fp16", "sycl-fp32",
        "vulkan", "cpu",
    ]  # fmt: skip
    assert flavours(release, "windows") == [
        "cpu", "cuda-12.4", "cuda-13.4", "openvino-2026.4", "rocm-10.0", "sycl", "vulkan"
    ]  # fmt: skip
    assert flavours(release, "linux", "arm64") == ["cpu", "cuda-13.4", "vulkan"]
    assert flavours(release, "macos", "arm64") == ["metal"]
    assert flavours(release, "macos") == ["cpu"]
    names = {asset.name for asset in release.assets}
    assert not {n for n in names if "android" in n or "snapdragon" in n or "xcframework" in n}
    assert all(asset.sha256 and len(asset.sha256) == 64 for asset in release.assets)


def test_cuda_libraries_go_with_the_build_of_their_system_and_version() -> None:
    release = recorded()["b11118"]
    found = {
        (asset.os, asset.arch, asset.flavour): [c.name for c in release.companions(asset)]
        for asset in release.assets
        if asset.backend in {BuildBackend.CUDA, BuildBackend.VULKAN}
    }
    assert found["linux", "x64", "cuda-12.8"] == [
        "cudart-llama-b11118-bin-ubuntu-cuda-12.8-x64.tar.gz"
    ]
    assert found["windows", "x64", "cuda-13.4"] == ["cudart-llama-bin-win-cuda-13.4-x64.zip"]
    assert found["windows", "arm64", "cuda-13.4"] == ["cudart-llama-bin-win-cuda-13.4-arm64.zip"]
    assert found["windows", "x64", "vulkan"] == []


def test_names_of_older_eras_are_understood() -> None:
    zips = recorded()["b6000"]
    assert flavours(zips, "windows") == ["cpu", "cuda-12.4", "hip-radeon"]
    assert flavours(zips, "linux") == ["vulkan", "cpu"]
    assert all(asset.name.endswith(".zip") for asset in zips.assets)
    older = recorded()["b4920"]
    assert flavours(older, "windows") == ["cpu", "cuda-12.4", "vulkan"]
    cuda = next(asset for asset in older.assets if asset.backend is BuildBackend.CUDA)
    assert [c.name for c in older.companions(cuda)] == ["cudart-llama-bin-win-cu12.4-x64.zip"]
    assert cuda.sha256 is None


def test_what_an_installed_build_is_called() -> None:
    ids = {asset.id for asset in recorded()["b11118"].assets}
    assert {"b11118-cuda-13.4", "b11118-vulkan", "b11118-cpu", "b11118-sycl-fp16"} <= ids


def test_a_version_points_at_a_build() -> None:
    version = recorded()["v0.5.0"]
    assert version.build is None
    assert version.assets == ()
    assert version.pointer_url is not None
    assert version.pointer_url.endswith("/v0.5.0/nightly-tag.txt")
    assert parse_pointer(b"b11146\n") == "b11146"


@pytest.mark.parametrize("text", [b"", b"latest", b"b11146/../..", b"\xff\xfe", b"b" + b"1" * 99])
def test_a_pointer_to_no_build_is_one_sentence(text: bytes) -> None:
    with pytest.raises(EngineError, match="does not say which build"):
        parse_pointer(text)


def test_one_release_alone_is_a_list_of_one() -> None:
    first = json.loads(RECORDED.read_bytes())[1]
    (release,) = parse_releases(json.dumps(first))
    assert release == recorded()["b11118"]


def test_drafts_and_other_tags_are_left_out() -> None:
    entries = [
        {"tag_name": "b7", "assets": [], "draft": True},
        {"tag_name": "master-1a2b3c", "assets": []},
        {"tag_name": "gguf-v0.4.0", "assets": []},
    ]
    assert parse_releases(json.dumps(entries)) == ()


@pytest.mark.parametrize(
    "name",
    [
        "llama-b8-bin-ubuntu-x64.tar.gz",  # of another build
        "llama-b7-bin-ubuntu-x64.tar.xz",
        "llama-b7-bin-ubuntu-riscv64.tar.gz",
        "llama-b7-bin-ubuntu-quantum-x64.tar.gz",
        "llama-b7-bin-ubuntu-cuda-x64.tar.gz",
        "llama-b7-bin-win-cuda-12.4.1.2.3.4-x64.zip",
        "llama-b7-bin-win-hip-x64-gfx1030.zip",
        "llama-b7-bin-310p-openEuler-x86.tar.gz",
        "llama-b7-bin-macos-arm64-kleidiai.tar.gz",
        "../llama-b7-bin-ubuntu-x64.tar.gz",
        "llama-b7-bin-ubuntu-../../x64.tar.gz",
        "LICENSE",
    ],
)
def test_a_file_of_an_unknown_kind_is_left_out(name: str) -> None:
    (release,) = parse_releases(one(name))
    assert release.assets == release.runtimes == ()


def test_a_file_that_is_still_uploaded_is_left_out() -> None:
    (release,) = parse_releases(one("llama-b7-bin-ubuntu-x64.tar.gz", state="starter", size=0))
    assert release.assets == ()


@pytest.mark.parametrize("digest", [None, 7, "", "sha512:" + "a" * 128, "sha256:zz", "a" * 64])
def test_a_checksum_of_another_kind_is_none(digest: object) -> None:
    (release,) = parse_releases(one("llama-b7-bin-ubuntu-x64.tar.gz", digest=digest))
    assert release.assets[0].sha256 is None


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0}, {"size": -1}, {"size": True}, {"size": "5"}, {"size": 5.0}, {"size": None},
        {"size": MOST_ASSET_BYTES + 1}, {"browser_download_url": None},
        {"browser_download_url": "file:///etc/passwd"}, {"browser_download_url": "ftp://h/x"},
        {"browser_download_url": "https:///x"}, {"browser_download_url": "https://h/\n"},
        {"browser_download_url": "https://h/" + "x" * 3000},
        {"browser_download_url": "https://[h/x"},
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_one_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(EngineError, match="cannot be understood") as raised:
        parse_releases(one("llama-b7-bin-ubuntu-x64.tar.gz", **changes))
    assert raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        b"", b"<html>", b"\xff", b"7", b'"b7"', b"null", b"[7]", b"[null]", b"[[]]", b"{}",
        b'{"message": "Not Found"}', b'[{"tag_name": "b7"}]', b'[{"tag_name": 7, "assets": []}]',
        b'[{"tag_name": "b7", "assets": {}}]', b'[{"tag_name": "b7", "assets": [7]}]',
        b'[{"tag_name": "b7", "assets": [{}]}]', b'[{"tag_name": "b7", "assets": [{"name": 7}]}]',
        b'[{"tag_name": "b7", "assets": [], "published_at": 7}]',
        b"[" * 100_000, b"1" * 10_000,
        b'[{"tag_name":"b7","assets":[{"name":"nightly-tag.txt","browser_download_url":7}]}]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_releases_is_one_sentence(text: bytes) -> None:
    with pytest.raises(EngineError, match="cannot be understood"):
        parse_releases(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["tag_name", "assets", "name", "size", "digest", "browser_download_url"]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_read_or_refused_in_one_sentence(value: object) -> None:
    with suppress(EngineError):  # and no other error
        assert all(isinstance(found, Release) for found in parse_releases(json.dumps(value)))


@given(st.text(alphabet="abcdefghilmnoprstuvwx0123456789.-_/\\\n", max_size=80))
def test_no_name_leads_out_of_the_folder(rest: str) -> None:
    (release,) = parse_releases(one(f"llama-b7-bin-{rest}"))
    for asset in release.assets:
        assert not {"/", "\\", "\n"} & set(asset.id + asset.name)


def test_names_of_builds_and_versions() -> None:
    assert is_build_tag("b11118")
    assert is_version_tag("v0.5.0")
    for text in ("11118", "b", "b1234567890", "b1\n", "B1", "v0", "v1.2.3.4.5", "stable", "b1/.."):
        assert not is_build_tag(text)
        assert not is_version_tag(text)
