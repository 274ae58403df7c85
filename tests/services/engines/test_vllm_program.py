"""Finding a vLLM and asking it what it can do, without starting it."""

import os
import shutil
from pathlib import Path

import pytest
from tests.support.fake_vllm import RECORDED, make_environment, script

from splitrig.core.errors import EngineError
from splitrig.core.vllm import VllmOptions
from splitrig.services.engines import vllm_program
from splitrig.services.engines.vllm_program import find_vllm


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env", version="0.32.0+cu129")


def test_a_chosen_environment(environment: Path) -> None:
    for chosen in (environment, environment / "bin", environment / "bin/vllm"):
        program = find_vllm(chosen)
        assert program.command == (str(environment / "bin/vllm"),)
        assert program.python == environment / "bin/python"


def test_a_python_without_the_script_runs_the_module(environment: Path) -> None:
    (environment / "bin/vllm").unlink()
    program = find_vllm(environment)
    python = str(environment / "bin/python")
    assert program.command == (python, "-m", "vllm.entrypoints.cli.main")
    assert find_vllm(environment / "bin/python").command == program.command


def test_a_project_folder_with_an_environment_in_it(environment: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.move(environment, project / ".venv")
    assert find_vllm(project).command == (str(project / ".venv/bin/vllm"),)


def test_the_one_on_path(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{environment / 'bin'}:{os.environ['PATH']}")
    assert find_vllm().command == (str(environment / "bin/vllm"),)


def test_the_first_line_of_a_script_names_its_python(environment: Path, tmp_path: Path) -> None:
    installed = tmp_path / "elsewhere/vllm"
    installed.parent.mkdir()
    installed.write_text(f"#!{environment / 'bin/python'}\nprint()\n")
    assert find_vllm(installed).python == environment / "bin/python"


def test_what_it_says_of_itself(environment: Path) -> None:
    program = find_vllm(environment)
    assert program.known_capabilities is None
    known = program.capabilities()
    assert program.known_capabilities is known
    assert (known.version, known.torch, known.ray) == ("0.32.0+cu129", "2.13.0", None)
    assert known.flags == frozenset((RECORDED / "flags.txt").read_text().split())
    assert not known.on_cpu


def test_one_built_for_the_processor(tmp_path: Path) -> None:
    assert find_vllm(make_environment(tmp_path / "e", version="0.32.0+cpu")).capabilities().on_cpu


def test_a_source_that_is_laid_out_in_another_way_tells_no_options(environment: Path) -> None:
    (environment / "site/vllm/engine/arg_utils.py").write_text('FLAGS = ["--something"]\n')
    assert find_vllm(environment).capabilities().flags == frozenset()


def test_options_are_also_the_fields_of_its_classes(environment: Path) -> None:
    folder = environment / "site/vllm/entrypoints/openai"
    folder.mkdir(parents=True)
    (folder / "cli_args.py").write_text(
        "class FrontendArgs:\n    some_new_option: int = 1\n    def no(self): pass\n"
    )
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken/cli_args.py").write_text("def (:\n")
    assert "--some-new-option" in find_vllm(environment).capabilities().flags


def sentence(chosen: Path | None) -> str:
    with pytest.raises(EngineError) as caught:
        find_vllm(chosen).capabilities()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def test_what_is_no_vllm(environment: Path, tmp_path: Path) -> None:
    assert sentence(tmp_path / "nowhere").startswith("There is no vLLM at")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert sentence(empty).endswith("is no Python environment: it has no bin/python.")
    shutil.rmtree(environment / "site/vllm")
    assert sentence(environment).startswith("There is no vLLM in the environment of")
    script(environment / "bin/python", "echo it broke; exit 1")
    assert sentence(environment).endswith("could not be asked about vLLM: it broke.")
    lonely = tmp_path / "bin/vllm"
    lonely.parent.mkdir()
    script(lonely, "true")
    assert sentence(lonely).endswith("does not say which Python runs it.")


def test_none_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sentence(None) == "No vLLM was found."


def test_windows_is_told_of_wsl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_program, "_on_windows", lambda: True)
    with pytest.raises(EngineError) as caught:
        find_vllm()
    assert caught.value.message == "vLLM does not run on Windows itself."
    assert "WSL2" in caught.value.hint


def test_the_environment_of_a_child(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    program = find_vllm(environment, extra_env={"MINE": "1"})
    env = program.environment(VllmOptions(), ("CUDA1",), "key")
    assert env["CUDA_VISIBLE_DEVICES"] == "1"
    assert env["VLLM_API_KEY"] == "key"
    assert env["MINE"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in program.environment(VllmOptions())
