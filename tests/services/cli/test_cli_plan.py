import json
from pathlib import Path

import pytest
from tests.services.cli.run_cli import splitrig

from splitrig.core.units import MIB
from splitrig.services.models.demo import demo_model

MODEL = str(demo_model())


def test_the_json_has_the_keys_scripts_rely_on() -> None:
    done = splitrig(
        "plan", "--model", MODEL, "--free-mib", "24000,10000", "--tensor-split", "3,1", "--json",
        "--no-overhead",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    first, second = plan["devices"]
    assert (first["layers"], second["layers"]) == (24, 7)
    assert first["kv_bytes"] == 72 * MIB
    assert second["kv_bytes"] == 18 * MIB
    for device in plan["devices"]:
        assert device["overhead_bytes"] == 0
        used = sum(device[key] for key in ("model_bytes", "kv_bytes", "compute_bytes"))
        assert used + device["free_bytes"] in (24000 * MIB, 10000 * MIB)
    assert plan["fits"] is True
    assert set(plan["host"]) == {"model_bytes", "kv_bytes", "compute_bytes"}
    assert plan["speed"] == {"expected_tok_s": None, "ceiling_tok_s": None}
    assert plan["notes"]


def test_a_rig_file_names_cards_of_the_table(tmp_path: Path) -> None:
    rig = tmp_path / "rig.json"
    rig.write_text(
        '{"gpus": [{"name": "NVIDIA GeForce RTX 4090", "free_mib": 23000}, {"name": "RTX 3080"}]}'
    )
    done = splitrig("plan", "--model", MODEL, "--rig", str(rig), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [d["name"] for d in plan["devices"]] == [
        "GeForce RTX 4090",
        "GeForce RTX 3080 10GB",
    ]
    assert plan["split"] == [23000 * MIB, 10240 * MIB]
    assert 0 < plan["speed"]["expected_tok_s"] < plan["speed"]["ceiling_tok_s"]


def test_the_text_says_whether_it_fits_and_where() -> None:
    done = splitrig("plan", "--model", MODEL, "--free-mib", "24000,100", "--tensor-split", "1,1")
    assert done.returncode == 0
    assert "Does not fit: card 1 is" in done.stdout


def test_layers_left_out_stay_on_the_host() -> None:
    done = splitrig(
        "plan", "--model", MODEL, "--free-mib", "9000", "--n-gpu-layers", "11", "--json"
    )
    plan = json.loads(done.stdout)
    assert plan["devices"][0]["layers"] == 11
    assert plan["host"]["kv_bytes"] == 20 * 3 * MIB


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tensor-split", "0,0"], "gives no card any layer"),
        (["--tensor-split", "3"], "the second is missing"),
        (["--tensor-split", "3,x"], "'x' is not a number"),
        (["--free-mib", "a,b"], "no list of free MiB"),
        (["--ctx", "many"], "not a whole number"),
        (["--cache-type-k", "q9"], "invalid choice"),
    ],
)
def test_wrong_options_are_one_sentence(arguments: list[str], words: str) -> None:
    rest = [] if arguments[0] == "--free-mib" else ["--free-mib", "24000,10000"]
    done = splitrig("plan", "--model", MODEL, *rest, *arguments)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "is no rig file"),
        ('{"gpus": [{"name": "RTX 9999"}]}', "'RTX 9999' is not in the table"),
        ('{"gpus": [{"free_mib": 3}]}', "is no rig file"),
    ],
)
def test_a_wrong_rig_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    rig = tmp_path / "rig.json"
    rig.write_text(text)
    done = splitrig("plan", "--model", MODEL, "--rig", str(rig))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_model_is_one_sentence_in_json_too(tmp_path: Path) -> None:
    broken = tmp_path / "x.gguf"
    broken.write_text("hello")
    done = splitrig("plan", "--model", str(broken), "--free-mib", "9000", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert "is not a GGUF file" in error["message"]
    assert error["hint"]


def test_a_physical_batch_is_never_larger_than_the_batch() -> None:
    wide = ("--free-mib", "24000,24000", "--json")
    by_batch = json.loads(splitrig("plan", "--model", MODEL, *wide, "--batch", "64").stdout)
    by_ubatch = json.loads(splitrig("plan", "--model", MODEL, *wide, "--ubatch", "64").stdout)
    assert by_batch["devices"] == by_ubatch["devices"]
