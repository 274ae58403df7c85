"""Installing official builds, whole flow: list, fetch, check, unpack, try, use, remove."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.services.engines.release_server import (
    GitHub,
    name,
    runtime_name,
    script,
    tar_gz,
    wheel_archive,
)
from tests.services.net.file_server import serving

from splitrig.core.engine_choice import Choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress, Step
from splitrig.core.errors import (
    ArchiveError,
    BrokenOffError,
    CancelledError,
    EngineError,
    NetError,
    SplitRigError,
    StoreError,
)
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.services.engines import installed as store
from splitrig.services.engines.install import Outcome, install
from splitrig.services.engines.installed import engines_dir, installed
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server
from splitrig.services.engines.releases import Releases

if sys.platform == "win32":
    pytest.skip("the engine package and the scripts here are for Linux", allow_module_level=True)

CARD = GpuInfo(
    id="0", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, compute_capability="8.9",
    source="test",
)  # fmt: skip
LINUX = Machine(os="linux", arch="x64")
NVIDIA = replace(LINUX, cards=(CARD,), cuda=(13, 0))
NO_WAIT = (0.0,) * 3


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        yield GitHub(server)


@pytest.fixture(scope="session")
def real_archive() -> bytes:
    """Some 26 MB: a llama-server that works."""
    return wheel_archive(10068)


def choose(github: GitHub, build: str | None = None, wanted: str | None = None) -> Choice:
    return Releases(github.api).choose(LINUX, build, wanted)


def put(github: GitHub, build: int, *, flavour: str = "cpu", **files: bytes) -> None:
    """Publish a small build."""
    data = tar_gz(build, **(files or {"llama_server": script(build)}))
    github.publish(f"b{build}", {name(build, flavour): data})


def left() -> set[str]:
    """Everything in the folder of engines, except the lock."""
    root = engines_dir()
    paths = root.rglob("*") if root.is_dir() else ()
    return {p.relative_to(root).as_posix() for p in paths} - {".lock", ".downloads"}


def test_the_whole_way_with_a_real_engine(github: GitHub, real_archive: bytes) -> None:
    archive = name(10068, "vulkan")
    github.publish("b10068", {archive: real_archive, name(10068, "cpu"): b"?"})
    card = GpuInfo(id="0", name="Intel Arc A770", vendor=Vendor.INTEL, source="test")
    choice = Releases(github.api).choose(replace(LINUX, cards=(card,)))
    assert choice.asset.id == "b10068-vulkan"
    told: list[Progress] = []

    outcome = install(choice, on_progress=told.append)

    assert outcome.fresh
    engine = outcome.engine
    assert (engine.id, engine.build, engine.flavour) == ("b10068-vulkan", 10068, "vulkan")
    assert engine.path == engines_dir() / "b10068-vulkan" / "llama-server"
    assert engine.checked
    assert engine.files == {archive: choice.asset.sha256}
    assert installed() == (engine,)
    # its libraries are found through the links of the archive
    folder = engine.path.parent
    assert (folder / "libllama.so.0").is_symlink()
    capabilities = LlamaServer(engine.path).capabilities()
    assert "--tensor-split" in capabilities.flags
    two = LlamaServer(engine.path, extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"}).list_devices()
    assert [d.name for d in two] == ["Vulkan0", "Vulkan1"]
    server = find_llama_server()
    assert server.path == engine.path
    assert server.rpc_server == folder / "ggml-rpc-server"
    # told from the first byte to the last, in order, and nothing is left of the way there
    assert list(dict.fromkeys(p.step for p in told)) == [Step.DOWNLOAD, Step.UNPACK, Step.TRY]
    done = [p.done_bytes for p in told]
    assert done == sorted(done)
    assert told[-1].done_bytes == told[-1].total_bytes == len(real_archive)
    assert {n.split("/")[0] for n in left()} == {"b10068-vulkan"}


def test_an_installed_build_is_not_fetched_again(github: GitHub) -> None:
    put(github, 7)
    first = install(choose(github))
    asked = len(github.server.requests)
    again = install(choose(github, "b7"))
    assert (again.engine, again.fresh) == (first.engine, False)
    assert again.devices == first.devices != ()
    assert len(github.server.requests) == asked + 1  # the list alone


def test_versions_lie_side_by_side_and_go_again(github: GitHub) -> None:
    put(github, 7)
    put(github, 8, flavour="vulkan")
    put(github, 9)
    install(choose(github, "b9"))
    install(choose(github, "b7"))
    install(choose(github, "b8", "vulkan"))
    assert [engine.id for engine in installed()] == ["b9-cpu", "b8-vulkan", "b7-cpu"]
    assert find_llama_server().path == engines_dir() / "b9-cpu" / "llama-server"
    assert find_llama_server().capabilities().build == "b9"
    store.remove("b9-cpu")
    assert [engine.id for engine in installed()] == ["b8-vulkan", "b7-cpu"]
    assert find_llama_server().path.parent.name == "b8-vulkan"
    store.remove("b7-cpu")
    store.remove("b8-vulkan")
    assert installed() == ()
    assert left() == set()
    assert "skulk" in str(find_llama_server().path)


def test_the_cuda_libraries_lie_beside_the_engine(github: GitHub) -> None:
    before = 'test -f "$(dirname "$0")/libcudart.so.12" || exit 127'
    github.publish(
        "b7",
        {
            name(7, "cuda-12.8"): tar_gz(
                7, llama_server=script(before=before), LICENSE=b"of the engine"
            ),
            runtime_name(7, "12.8"): tar_gz(7, **{"libcudart.so.12": b"x", "LICENSE": b"of CUDA"}),
        },
    )
    outcome = install(Releases(github.api).choose(NVIDIA))
    folder = outcome.engine.path.parent
    assert {p.name for p in folder.iterdir()} == {
        "llama-server", "libcudart.so.12", "LICENSE", "manifest.json"
    }  # fmt: skip
    assert (folder / "LICENSE").read_bytes() == b"of the engine"
    assert set(outcome.engine.files) == {name(7, "cuda-12.8"), runtime_name(7, "12.8")}


def test_a_cut_connection_costs_no_byte_twice(github: GitHub) -> None:
    put(github, 7, llama_server=script(), weight=os.urandom(500_000))
    choice = choose(github)
    github.server.cuts = [100_000, 150_000]
    install(choice, waits_s=NO_WAIT)
    assert github.sent("b7", choice.asset.name) == choice.asset.size_bytes
    assert installed()


def test_a_download_that_broke_goes_on_the_next_time(github: GitHub) -> None:
    put(github, 7, llama_server=script(), weight=os.urandom(500_000))
    choice = choose(github)
    github.server.cuts = [300_000]
    with pytest.raises(BrokenOffError):
        install(choice, waits_s=())
    assert installed() == ()
    assert left() == {
        f".downloads/{choice.asset.name}.part", f".downloads/{choice.asset.name}.part.json"
    }  # fmt: skip
    told: list[Progress] = []
    install(choice, on_progress=told.append)
    # what was here before counts as done, and not as fetched
    assert told[-1].done_bytes == choice.size_bytes
    assert told[-1].fetched_bytes == choice.size_bytes - 300_000
    assert github.sent("b7", choice.asset.name) == choice.asset.size_bytes
    assert {n.split("/")[0] for n in left()} == {"b7-cpu"}


def fails(choice: Choice, kind: type[SplitRigError], words: str) -> SplitRigError:
    """Installing must end in this sentence and leave nothing."""
    with pytest.raises(kind, match=words) as raised:
        install(choice, waits_s=())
    assert raised.value.hint
    assert installed() == ()
    assert left() == set()
    return raised.value


def test_a_wrong_checksum_leaves_nothing(github: GitHub) -> None:
    put(github, 7)
    choice = choose(github)
    path = github.path("b7", choice.asset.name)
    data = bytearray(github.server.files[path].data)
    data[-1] ^= 1
    github.server.files[path].data = bytes(data)
    fails(choice, NetError, "does not have the checksum")


def test_without_a_checksum_nothing_is_fetched_unless_allowed(github: GitHub) -> None:
    data = tar_gz(7, llama_server=script())
    github.publish("b7", {name(7, "cpu"): data}, digests=False)
    choice = choose(github)
    error = fails(choice, EngineError, f"names no checksum for {name(7, 'cpu')}")
    assert "--without-checksum" in error.hint
    assert github.sent("b7", name(7, "cpu")) == 0
    outcome = install(choice, unchecked=True)
    assert not outcome.engine.checked
    assert len(outcome.engine.files[name(7, "cpu")]) == 64


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("echo 'x: error while loading shared libraries: libcudart.so.13: no' >&2; exit 127",
         "does not run on this machine .*libcudart.so.13"),
        ("echo \"/lib/libc.so.6: version 'GLIBC_2.38' not found\" >&2; exit 127", "GLIBC_2.38"),
        ("kill -ILL $$", "needs processor features this machine lacks"),
        ("echo a shopping list; exit 0", "is no llama-server"),
    ],
)  # fmt: skip
def test_a_build_that_does_not_start_is_removed_with_the_reason(
    github: GitHub, before: str, words: str
) -> None:
    bad = tar_gz(7, llama_server=script(before=before))
    github.publish("b7", {name(7, "cpu"): bad, name(7, "vulkan"): b"?"})
    error = fails(choose(github), EngineError, words)
    assert "Take another kind: vulkan." in error.hint
    assert ".new-" not in error.message


def test_an_archive_without_a_server_is_no_use(github: GitHub) -> None:
    put(github, 7, readme=b"text")
    fails(choose(github), EngineError, "holds no llama-server")


def test_a_hostile_archive_leaves_nothing(github: GitHub, tmp_path: Path) -> None:
    put(github, 7, **{"../../../../../../out": b"x", "llama_server": script()})
    fails(choose(github), ArchiveError, "is not unpacked")
    assert not list(tmp_path.rglob("out"))


def test_a_name_in_the_manifest_of_an_archive_is_not_believed(github: GitHub) -> None:
    hostile = json.dumps({"server": "/bin/sh", "build": 1})
    put(github, 7, **{"manifest.json": hostile.encode(), "llama_server": script()})
    outcome = install(choose(github))
    assert outcome.engine.path == engines_dir() / "b7-cpu" / "llama-server"
    assert installed()[0].build == 7


def test_giving_up_while_fetching_keeps_what_is_here_for_the_next_time(github: GitHub) -> None:
    put(github, 7, llama_server=script(), weight=os.urandom(500_000))
    choice = choose(github)
    github.server.stall_after = 200_000
    cancelled = threading.Event()

    def on_progress(progress: Progress) -> None:
        if progress.done_bytes >= 200_000:
            cancelled.set()

    begin = time.monotonic()
    with pytest.raises(CancelledError):
        install(choice, on_progress=on_progress, cancelled=cancelled.is_set)
    assert time.monotonic() - begin < 10
    assert installed() == ()
    github.server.stall_after = None
    install(choice)
    assert github.sent("b7", choice.asset.name) == choice.asset.size_bytes


def test_giving_up_while_it_is_tried_leaves_no_half_engine(github: GitHub) -> None:
    put(github, 7, llama_server=script(before="exec sleep 30"))
    tried = threading.Event()

    def on_progress(progress: Progress) -> None:
        if progress.step is Step.TRY:
            tried.set()

    with pytest.raises(CancelledError):
        install(choose(github), on_progress=on_progress, cancelled=tried.is_set)
    assert left() == {f".downloads/{name(7, 'cpu')}"}  # checked already; kept for a day
    store.clean(keep_parts_s=0)
    assert left() == set()


def test_what_a_crash_left_is_swept_away(github: GitHub) -> None:
    root = engines_dir()
    for folder in (".new-b7-cpu", ".old-b6-cpu"):
        (root / folder / "deep").mkdir(parents=True)
    (root / ".downloads").mkdir()
    (root / ".downloads" / "old.zip.part").write_text("old")
    (root / ".downloads" / "young.zip.part").write_text("young")
    day = 86_400
    os.utime(root / ".downloads" / "old.zip.part", (time.time() - 2 * day,) * 2)
    store.clean()
    assert left() == {".downloads/young.zip.part"}
    put(github, 7)
    (root / ".new-b7-cpu").mkdir()
    install(choose(github))
    assert installed()


def test_a_damaged_build_is_replaced(github: GitHub) -> None:
    put(github, 7)
    engine = install(choose(github)).engine
    engine.path.unlink()
    assert installed() == ()
    assert store.damaged() == ("b7-cpu",)
    outcome = install(choose(github))
    assert outcome.fresh
    assert outcome.engine.path.is_file()
    assert {n.split("/")[0] for n in left()} == {"b7-cpu"}


def test_room_is_asked_for_before_anything_is_fetched(github: GitHub, small_disk: Path) -> None:
    put(github, 7, llama_server=script(), weight=os.urandom(500_000))
    choice = choose(github)
    with pytest.raises(StoreError, match=r"MiB are needed in .* are free"):
        install(choice, root=small_disk)
    assert github.sent("b7", choice.asset.name) == 0


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    github: GitHub, small_disk: Path
) -> None:
    put(github, 7, llama_server=script(), weight=bytes(3_000_000))
    choice = choose(github)
    for _ in range(2):
        with pytest.raises(StoreError, match="is full"):
            install(choice, root=small_disk)
        assert installed(small_disk) == ()
        assert [p.name for p in (small_disk / ".downloads").iterdir()] == [choice.asset.name]
    assert github.sent("b7", choice.asset.name) == choice.asset.size_bytes


def test_two_programs_do_not_install_at_once(github: GitHub) -> None:
    put(github, 7)
    with store.lock(engines_dir()), pytest.raises(StoreError, match="Another SplitRig"):
        install(choose(github))


def test_a_build_that_runs_is_not_removed(github: GitHub, real_archive: bytes) -> None:
    github.publish("b10068", {name(10068, "cpu"): real_archive})
    engine = install(choose(github)).engine
    rpc = engine.path.with_name("ggml-rpc-server")
    command = [str(rpc), "-H", "127.0.0.1", "-p", "0", "-t", "1"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        assert store.running() == (rpc,)
        with pytest.raises(EngineError, match="b10068-cpu is in use"):
            store.remove(engine.id, in_use=store.running())
        assert installed() == (engine,)
        running.kill()
        running.wait()
    assert store.running() == ()
    store.remove(engine.id, in_use=store.running())
    assert installed() == ()


def test_an_outcome_says_what_it_sees(github: GitHub) -> None:
    put(github, 7)
    outcome: Outcome = install(choose(github))
    assert [(d.name, d.description) for d in outcome.devices] == [("Vulkan0", "A card")]
