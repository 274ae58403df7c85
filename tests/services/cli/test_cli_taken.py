"""No engine leaves an option out in silence: what it does not take is refused, for each pair.

Requests, plans and commands are made by the real engines; where one is not there, its row skips.
"""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.fake_vllm import make_environment, make_model
from tests.support.provisioned import llama_cpp_python_install, ollama_built
from tests.support.tiny_models import write_mixture, write_projector

from splitrig.cli import plan as plan_command
from splitrig.cli import serve as serve_command
from splitrig.cli.main import parse
from splitrig.cli.ollama_options import chosen_kind
from splitrig.cli.options import detected_rig
from splitrig.cli.serve_news import News
from splitrig.cli.taken import EXTRA, TABLE, check_options, given
from splitrig.cli.wanted import Surroundings, wanted_request, wanted_settings
from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.settings import EngineSettings
from splitrig.core.units import MIB
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.llama_server import bundled
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model

LLAMA, PYTHON, OLLAMA, ATTACHED, VLLM = EngineKind
MODEL = demo_model()
URL = "http://127.0.0.1:9"
NAMES = [
    name
    for row in TABLE
    for name in row.names
    if name not in ("--help", "-h", "--model", "--engine")
]
ELSEWHERE = {
    "--json": "it is about what is said",
    "--share": "so is this, in test_cli_engine_commands",
    "--rpc": "test_cli_remote has the servers it needs",
    "--local-cards": "test_cli_remote",
    "--ray": "test_cli_ray has the cluster it needs",
    "--ray-start": "test_cli_ray",
}
"""Options whose effect is looked at elsewhere; that they are refused, here."""
PLAN_ONLY = {"--free-mib", "--rig", "--no-overhead"}
SERVE_ONLY = {
    "--attach", "--llama-server", "--ollama", "--vllm", "--ray", "--ray-start", "--rpc",
    "--local-cards", "--port", "--host", "--demo",
}  # fmt: skip
_ALL = {"--json", "--share", "--ctx"}
_SHARED = _ALL | {"--tensor-split", "--split", "--port", "--gpus"}
_GGUF = _SHARED | {
    "--ubatch", "--cache-type-k", "--cache-type-v", "--n-gpu-layers", "--flash-attn",
    "--split-mode", "--demo",
}  # fmt: skip
_KV = {"--kv-unified", "--no-kv-unified"}
TAKEN = {
    LLAMA: _GGUF | _KV | {
        "--batch", "--parallel", "--n-cpu-moe", "--cpu-moe", "--model-draft", "--mmproj",
        "--n-gpu-layers-draft", EXTRA, "--llama-server", "--rpc", "--local-cards", "--host",
    },
    PYTHON: _GGUF | {"--batch", "--host"},
    OLLAMA: _GGUF | _KV | {"--parallel", "--ollama"},
    ATTACHED: _ALL | {"--n-gpu-layers"},
    VLLM: _SHARED | {
        "--parallel", "--tensor-parallel-size", "--pipeline-parallel-size",
        "--gpu-memory-utilization", "--kv-cache-dtype", "--enforce-eager", "--vllm", "--ray",
        "--ray-start", "--host", "--dtype", EXTRA,
    },
}  # fmt: skip
"""What each engine takes; the rest it refuses."""
PLANNED = {LLAMA: PLAN_ONLY, VLLM: PLAN_ONLY - {"--no-overhead"}}
WORDS = {
    "--ctx": ["1024"],
    "--gpus": ["1,0"],
    "--tensor-split": ["5,4"],
    "--split": ["5,4"],
    "--ubatch": ["128"],
    "--batch": ["256"],
    "--parallel": ["4"],
    "--cache-type-k": ["q8_0"],
    "--cache-type-v": ["q8_0"],
    "--n-gpu-layers": ["2"],
    "--flash-attn": ["off"],
    "--split-mode": ["none"],
    "--n-cpu-moe": ["1"],
    "--n-gpu-layers-draft": ["0"],
    "--tensor-parallel-size": ["2"],
    "--pipeline-parallel-size": ["1"],
    "--gpu-memory-utilization": ["0.85"],
    "--kv-cache-dtype": ["fp8"],
    "--dtype": ["float16"],
    "--attach": [URL],
    "--port": ["8999"],
    "--host": ["127.0.0.2"],
    "--rpc": ["127.0.0.1:1"],
    "--ray": ["127.0.0.1"],
    "--ray-start": ["2"],
    "--free-mib": ["9000,8000"],
    EXTRA: ["--seed", "7"],
}
"""What stands behind an option, other than what it is without it."""


@dataclass(frozen=True, slots=True)
class Place:
    """An engine that can be asked for its command.

    Attributes:
        words: What names it and a model for it.
        settings: Where its program is.
        extra_env: What it needs around it.
        rig: The cards; `None` for those of this machine.
    """

    words: tuple[str, ...]
    settings: EngineSettings
    extra_env: dict[str, str]
    rig: Rig | None = None


def cards() -> Rig:
    """A 4090 and a 3080, as far as a plan looks at them."""
    sizes = {"GPU-0": 24564, "GPU-1": 10240}
    gpus = tuple(
        GpuInfo(id=name, uuid=name, pci=f"0000:0{number}:00.0", vendor=Vendor.NVIDIA,
                name=f"card {number}", vram_total_bytes=mib * MIB, source="test")
        for number, (name, mib) in enumerate(sizes.items(), start=1)
    )  # fmt: skip
    samples = {
        name: GpuSample(id=name, vram_total_bytes=mib * MIB, vram_used_bytes=300 * MIB)
        for name, mib in sizes.items()
    }
    return Rig(time_s=0.0, gpus=gpus, samples=samples)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with experts."""
    assert MODEL is not None
    return write_mixture(tmp_path_factory.mktemp("taken") / "mixture.gguf", MODEL)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that options name."""
    folder = tmp_path_factory.mktemp("files")
    found = {"--model-draft": Path(str(MODEL)), "--rig": folder / "rig.json"}
    found["--rig"].write_text('{"gpus": [{"name": "RTX 4090"}, {"name": "RTX 3080"}]}')
    found["--mmproj"] = write_projector(folder / "mmproj.gguf", 64)
    found["--llama-server"] = folder / "llama-server"
    found["--llama-server"].symlink_to(str(bundled()))
    found["--vllm"] = make_environment(folder / "other-vllm")
    found["--ollama"] = folder / "ollama"
    found["--ollama"].write_text("#!/bin/sh\n")
    return found


@pytest.fixture(scope="module")
def place_of(
    mixture: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[EngineKind], Place]:
    """Each engine, or a skip where it is not there."""
    found: dict[EngineKind, Place] = {}

    def make(kind: EngineKind) -> Place:
        gguf = ("--model", str(mixture))
        if kind is LLAMA:
            return Place(gguf, EngineSettings(), {})
        if kind is PYTHON:
            install = llama_cpp_python_install()
            settings = EngineSettings(python=install.python)
            return Place(("--engine", kind, *gguf), settings, install.environment)
        if kind is OLLAMA:
            settings = EngineSettings(ollama=ollama_built().program)
            return Place(("--engine", kind, *gguf), settings, {})
        if kind is ATTACHED:
            words = ("--engine", "ollama", "--attach", URL, "--model", "smollm2")
            return Place(words, EngineSettings(), {})
        folder = tmp_path_factory.mktemp("vllm")
        settings = EngineSettings(vllm=make_environment(folder / "env"))
        env = {"FAKE_CARDS": "23.2/23.99,9.56/10"}
        model = str(make_model(folder / "Llama-8B"))
        return Place(("--engine", "vllm", "--model", model), settings, env, cards())

    def place(kind: EngineKind) -> Place:
        if kind not in found:
            found[kind] = make(kind)
        return found[kind]

    return place


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """What `parse` does to the streams of a program is not done to those of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splitrig.cli.main.prepare_output", lambda: None)
        yield


def words_for(name: str, files: dict[str, Path]) -> list[str]:
    """An option as it is given."""
    return [name, *([str(files[name])] if name in files else WORDS.get(name, []))]


def beside(name: str, kind: EngineKind) -> list[str]:
    """What has to stand beside an option so that it means something."""
    if name == "--gpus":
        return [] if kind is VLLM else ["--demo"]
    if name == "--no-kv-unified":
        return ["--parallel", "4", "--kv-unified"]
    if name == "--kv-unified":
        return ["--parallel", "4"]
    return ["--model-draft", str(MODEL)] if name == "--n-gpu-layers-draft" else []


def refusal(options: argparse.Namespace, kind: EngineKind | None = None) -> EngineError | None:
    """What is said instead of leaving an option out; `None` where all are taken."""
    try:
        check_options(options, kind or chosen_kind(options))
    except EngineError as error:
        return error
    except SplitRigError:  # it lacks what has to stand beside it
        return None
    return None


def effect(
    options: argparse.Namespace, place: Place, engines_of: dict[str, Engines]
) -> tuple[object, ...]:
    """Everything that a start would follow: its engine, program, plan and command.

    Raises:
        SplitRigError: The options are refused.
    """
    kind = chosen_kind(options)
    check_options(options, kind)
    settings = wanted_settings(options, place.settings)
    if "--ollama" in options.given:
        return kind, settings  # the other one is no program at all
    known = repr(settings)
    if known not in engines_of:
        engines_of[known] = Engines(Mailbox(), settings, extra_env=place.extra_env)
    engines = engines_of[known]
    with ExitStack() as helpers, contextlib.redirect_stdout(io.StringIO()):
        about = Surroundings(
            engines=engines,
            rig=place.rig or detected_rig(demo=options.demo),
            stopped=[],
            helpers=helpers,
            news=News(as_json=True),
        )
        request, plan = wanted_request(options, kind, about)
    if kind is not ATTACHED:
        engines.get(kind).check()
    command = engines.get(kind).preview(request, engines.names_for(request), request.port or 8137)
    assert command
    return kind, settings, plan, command


def test_the_table_has_every_option_and_no_other() -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    for module in (plan_command, serve_command):
        module.add_parser(commands)
    declared = {
        name
        for command in commands.choices.values()
        for action in command._actions
        for name in action.option_strings
    }
    assert {name for row in TABLE for name in row.names} == declared | {EXTRA}
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.engine
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", EngineKind, ids=str)
def test_each_option_of_serve_is_taken_or_refused(
    kind: EngineKind, place_of: Callable[[EngineKind], Place], files: dict[str, Path]
) -> None:
    place = place_of(kind)
    base = ["serve", *place.words]
    engines: dict[str, Engines] = {}
    taken, refused = set(), set()
    for name in NAMES:
        if name in PLAN_ONLY or (name == "--attach" and kind in (OLLAMA, ATTACHED)):
            continue
        if (kind, name) == (PYTHON, "--no-kv-unified"):
            continue  # that is what it does
        alone = [*base, *beside(name, kind)]
        options = parse([*alone, *words_for(name, files)])
        if (error := refusal(parse([*base, *words_for(name, files)]))) is not None:
            assert error.message.startswith(f"{name} is " if name != EXTRA else "What stands"), name
            assert error.hint.endswith("."), name
            refused.add(name)
            continue
        if name not in ELSEWHERE:
            without = effect(parse(alone), place, engines)
            assert effect(options, place, engines) != without, f"{name} changes nothing of {kind}"
        taken.add(name)
    assert taken == TAKEN[kind]
    assert taken | refused >= set(NAMES) - PLAN_ONLY - {"--attach", "--no-kv-unified"}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", [LLAMA, VLLM])
def test_each_option_of_plan_is_taken_or_refused(
    kind: EngineKind, mixture: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    model = make_model(tmp_path / "Llama-8B") if kind is VLLM else mixture
    base = ["plan", "--model", str(model), "--json"]
    cards = ["--free-mib", "23000,23000"]

    def said(words: list[str]) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert plan_command.run(parse(words)) == 0
        return out.getvalue()

    taken = set()
    for name in NAMES:
        if name in SERVE_ONLY | {"--gpus", EXTRA, *ELSEWHERE}:
            continue
        with_cards = [
            *base,
            *([] if name in ("--free-mib", "--rig") else cards),
            *beside(name, kind),
        ]
        words = [*with_cards, *words_for(name, files)]
        if (error := refusal(parse([*base, *words_for(name, files)]), kind)) is not None:
            assert error.message.startswith(f"{name} is not taken by")
            continue
        # vLLM's figures follow its share of memory, not every knob
        assert kind is VLLM or said(words) != said([*base, *cards, *beside(name, kind)]), name
        taken.add(name)
    assert taken == TAKEN[kind] - SERVE_ONLY - {"--gpus", EXTRA, *ELSEWHERE} | PLANNED[kind]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["serve", "--model", "x", "--split=3,1"], ("--model", "--split")),
        (["plan", "--ray", "1", "--parallel=4", "--parallel", "5"], ("--ray", "--parallel")),
        (["serve", "--tensor-par", "2", "--no-kv"], ("--tensor-parallel-size", "--no-kv-unified")),
        (["gpus", "--sysfs-root", "x"], ()),
    ],
)
def test_what_was_given_is_known_by_its_whole_name(
    words: list[str], options: tuple[str, ...]
) -> None:
    assert given(words) == options


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--parallel", "1"], PYTHON),
        (["--no-kv-unified"], PYTHON),
        (["--n-gpu-layers", "-1"], VLLM),
        (["--split-mode", "layer"], VLLM),
        (["--n-cpu-moe", "0"], OLLAMA),
        (["--host", "127.0.0.1"], ATTACHED),
    ],
)
def test_what_an_engine_does_anyway_is_not_refused(words: list[str], kind: EngineKind) -> None:
    check_options(parse(["serve", "--model", "x", *words]), kind)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "3,1", "--split-mode", "none"], "--split-mode none puts the whole model on"),
        (["--n-gpu-layers-draft", "3"], "--n-gpu-layers-draft goes with --model-draft."),
        (["--split", "-1,1"], "A share of -1 is not possible."),
        (["--tensor-split", "-inf,1"], "A share of -inf is not possible."),
        (["--split", "nan,1"], "'nan' is not a number."),
        (["--split", ","], "The split is empty."),
        (["--split", "-m"], "'-m' is not a number."),
    ],
)
def test_what_means_nothing_is_told_before_any_file_is_read(words: list[str], message: str) -> None:
    with pytest.raises(SplitRigError) as caught:
        check_options(parse(["serve", "--model", "x", *words]), LLAMA)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["--rpc=127.0.0.1:1", "--local-cards"])
@pytest.mark.parametrize("kind", [PYTHON, OLLAMA, ATTACHED, VLLM])
def test_cards_of_other_machines_are_refused_with_what_to_do_instead(
    kind: EngineKind, name: str
) -> None:
    error = refusal(parse(["serve", "--model", "x", name]), kind)
    assert error is not None
    if kind is VLLM:
        assert error.hint.startswith("Use --ray ADDRESS instead")
    else:
        assert error.hint.startswith("Take --engine llama.cpp with --rpc")
