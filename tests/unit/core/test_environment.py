import pytest

from splitrig.core.engine import EngineKind
from splitrig.core.environment import (
    STARTED,
    engine_environment,
    environment_note,
    inherited_notes,
)

LLAMA, PYTHON, OLLAMA, VLLM = STARTED
PLAIN = {
    "PATH": "/usr/bin", "HOME": "/home/me", "LANG": "C.UTF-8", "DISPLAY": ":0",
    "HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "HF_HOME": "/data/hf",
    "HF_TOKEN": "sesame", "LD_LIBRARY_PATH": "/opt/cuda/lib64", "CUDA_HOME": "/opt/cuda",
    "CUDA_PATH": "/opt/cuda", "CUDA_VERSION": "12.8", "ROCM_PATH": "/opt/rocm",
    "HIP_PATH": "/opt/rocm", "HSA_PATH": "/opt/rocm", "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "all", "LLAMA_CACHE": "/data/llama", "TORCH_HOME": "/data/torch",
    "VLLM_CACHE_ROOT": "/data/vllm", "GPU_NAME": "mine", "AMD_PATH": "/x", "MYRANK": "1",
}  # fmt: skip
"""As it is on many machines; none of it bends an engine."""


@pytest.mark.parametrize("engine", STARTED)
def test_a_plain_environment_is_passed_on_without_a_word(engine: EngineKind) -> None:
    made = engine_environment(engine, PLAIN)
    assert made.variables == {**PLAIN, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert made.replaced == ()
    assert made.kept == ()


def test_an_inherited_place_of_the_projector_reaches_no_llama_cpp() -> None:
    made = engine_environment(LLAMA, {"MTMD_BACKEND_DEVICE": "CUDA1"})
    assert "MTMD_BACKEND_DEVICE" not in made.variables
    ours = engine_environment(LLAMA, {}, {"MTMD_BACKEND_DEVICE": "CUDA0"})
    assert ours.variables["MTMD_BACKEND_DEVICE"] == "CUDA0"


@pytest.mark.parametrize("engine", STARTED)
@pytest.mark.parametrize(
    "name",
    ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL",
     "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR"],
)  # fmt: skip
def test_an_inherited_choice_of_cards_reaches_no_engine(engine: EngineKind, name: str) -> None:
    made = engine_environment(engine, {name: "1", **PLAIN})
    assert name not in made.variables
    (replaced,) = made.replaced
    assert (replaced.name, replaced.inherited, replaced.new) == (name, "1", None)
    assert "which cards it sees is chosen in SplitRig" in replaced.sentence


def test_the_order_of_the_bus_replaces_any_other() -> None:
    for value in ("FASTEST_FIRST", ""):
        made = engine_environment(LLAMA, {"CUDA_DEVICE_ORDER": value})
        assert made.variables == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        assert made.replaced[0].new == "PCI_BUS_ID"
    same = engine_environment(LLAMA, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert same.replaced == ()


def test_what_is_set_here_goes_over_everything_and_is_told() -> None:
    inherited = {"GGML_VK_VISIBLE_DEVICES": "1", "GGML_CUDA_P2P": "1", "PATH": "/bin"}
    ours = {"GGML_VK_VISIBLE_DEVICES": "0,0", "GGML_CUDA_P2P": "0", "PATH": "/opt", "OWN": "x"}
    made = engine_environment(LLAMA, inherited, ours)
    assert made.variables == {**ours, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert {(r.name, r.inherited, r.new) for r in made.replaced} == {
        ("GGML_VK_VISIBLE_DEVICES", "1", "0,0"),
        ("GGML_CUDA_P2P", "1", "0"),
    }
    assert made.kept == ()
    assert made.replaced[1].sentence == (
        "GGML_VK_VISIBLE_DEVICES=1 was set in your environment; SplitRig replaces it by 0,0 for "
        "llama.cpp: which cards it sees is chosen in SplitRig."
    )


@pytest.mark.parametrize(
    ("name", "engines"),
    [
        ("LLAMA_ARG_TENSOR_SPLIT", {LLAMA, PYTHON, OLLAMA}),
        ("LLAMA_API_KEY", {LLAMA, PYTHON, OLLAMA}),
        ("LLAMA_LOG_COLORS", {LLAMA, PYTHON, OLLAMA}),
        ("GGML_VK_VISIBLE_DEVICES", {LLAMA, PYTHON, OLLAMA}),
        ("GGML_CUDA_ENABLE_UNIFIED_MEMORY", {LLAMA, PYTHON, OLLAMA}),
        ("GGML_VK_PREFER_HOST_MEMORY", {LLAMA, PYTHON, OLLAMA}),
        ("__VK_LAYER_NV_optimus", {LLAMA, PYTHON, OLLAMA}),
        ("DRI_PRIME", {LLAMA, PYTHON, OLLAMA}),
        ("OLLAMA_HOST", {OLLAMA}),
        ("OLLAMA_SCHED_SPREAD", {OLLAMA}),
        ("OLLAMA_SOMETHING_NEW", {OLLAMA}),
        ("VLLM_PP_LAYER_PARTITION", {VLLM}),
        ("VLLM_API_KEY", {VLLM}),
        ("VLLM_LOGGING_LEVEL", {VLLM}),
        ("VLLM_SERVER_DEV_MODE", {VLLM}),
        ("WORLD_SIZE", {VLLM}),
        ("PYTHONHOME", {VLLM}),
        ("MODEL", {PYTHON}),
        ("HOST", {PYTHON}),
        ("CACHE", {PYTHON}),
        ("n_gpu_layers", {PYTHON}),
        ("Tensor_Split", {PYTHON}),
        ("CONFIG_FILE", {PYTHON}),
        ("api_key", {PYTHON}),
    ],
)
def test_settings_of_an_engine_do_not_reach_it(name: str, engines: set[EngineKind]) -> None:
    bent = {engine for engine in STARTED if engine_environment(engine, {name: "1"}).replaced}
    assert bent == engines
    for engine in engines:
        assert name not in engine_environment(engine, {name: "1"}).variables


@pytest.mark.parametrize(
    ("name", "engines"),
    [
        ("GGML_CUDA_P2P", {LLAMA, PYTHON, OLLAMA}),
        ("GGML_CUDA_FORCE_MMQ", {LLAMA, PYTHON, OLLAMA}),
        ("GGML_VK_DISABLE_COOPMAT", {LLAMA, PYTHON, OLLAMA}),
        ("VK_ICD_FILENAMES", {LLAMA, PYTHON, OLLAMA}),
        ("HSA_OVERRIDE_GFX_VERSION", set(STARTED)),
        ("LD_PRELOAD", set(STARTED)),
        ("OMP_NUM_THREADS", set(STARTED)),
        ("OLLAMA_MODELS", {OLLAMA}),
        ("VLLM_ATTENTION_BACKEND", {VLLM}),
        ("NCCL_P2P_DISABLE", {VLLM}),
        ("PYTHONPATH", {PYTHON, VLLM}),
    ],
)
def test_other_knobs_stay_and_are_shown(name: str, engines: set[EngineKind]) -> None:
    shown = {engine for engine in STARTED if engine_environment(engine, {name: "1"}).kept}
    assert shown == engines
    for engine in STARTED:
        assert engine_environment(engine, {name: "1"}).variables[name] == "1"


def test_no_secret_is_shown_and_none_is_in_the_text_of_the_value() -> None:
    inherited = {"LLAMA_API_KEY": "sesame", "OLLAMA_HOST": "http://me:sesame@host"}
    made = engine_environment(OLLAMA, inherited, {"LLAMA_API_KEY": "a new sesame"})
    assert made.variables["LLAMA_API_KEY"] == "a new sesame"
    told = [*made.replaced, *(note.sentence for note in made.replaced), made]
    assert "sesame" not in repr(told)


def test_notes_for_all_engines_name_each_variable_once() -> None:
    inherited = {
        "CUDA_VISIBLE_DEVICES": "1", "OLLAMA_HOST": "0.0.0.0", "LLAMA_ARG_CTX_SIZE": "8",
        "GGML_CUDA_P2P": "1", "LD_PRELOAD": "/x.so",
    }  # fmt: skip
    replaced, kept = inherited_notes({**PLAIN, **inherited})
    assert [note.name for note in replaced] == [
        "CUDA_VISIBLE_DEVICES", "LLAMA_ARG_CTX_SIZE", "OLLAMA_HOST",
    ]  # fmt: skip
    assert replaced[0].sentence == (
        "CUDA_VISIBLE_DEVICES=1 was set in your environment; SplitRig does not pass it on to the "
        "engine: which cards it sees is chosen in SplitRig."
    )
    assert "pass it on to llama.cpp, llama-cpp-python and Ollama:" in replaced[1].sentence
    assert "pass it on to Ollama:" in replaced[2].sentence
    assert [note.name for note in kept] == ["GGML_CUDA_P2P", "LD_PRELOAD"]
    assert kept[0].sentence == (
        "GGML_CUDA_P2P=1 is set in your environment and stays for llama.cpp, llama-cpp-python and "
        "Ollama: cards copy straight to each other; on some boards that corrupts text."
    )


def test_one_note_names_what_an_engine_does_not_get() -> None:
    inherited = {"CUDA_VISIBLE_DEVICES": "1", "LLAMA_ARG_CTX_SIZE": "99", "HOME": "/x"}
    replaced, _ = inherited_notes(inherited)
    note = environment_note(replaced, LLAMA)
    assert note is not None
    assert "CUDA_VISIBLE_DEVICES" in note.message
    assert "LLAMA_ARG_CTX_SIZE" in note.message
    assert "are set in your environment" in note.message
    assert environment_note((), LLAMA) is None


def test_a_setting_of_the_python_server_in_other_letters_does_not_stand_beside_ours() -> None:
    made = engine_environment(PYTHON, {"api_key": "theirs", "MODELS_DIR": "/x"}, {"API_KEY": "o"})
    assert made.variables == {"API_KEY": "o", "MODELS_DIR": "/x", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert [note.name for note in made.replaced] == ["api_key"]
