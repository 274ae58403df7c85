"""What Ollama is told for a request: cards by identity, knobs, and what it cannot do."""

from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.ollama import (
    Choice,
    OllamaDevice,
    adapted,
    address_url,
    attached_options,
    check_request,
    choose_cards,
    divided_by_itself,
    follows_ratio,
    full_name,
    lent_cards,
    model_parameters,
    named_device,
    not_honoured,
    private_name,
    serve_environment,
    shown_command,
    unplanned,
)
from splitrig.core.plan import PlanRequest

NEW, OLD = "0.32.15", "0.24.0"
PLAN = PlanRequest(split=(3.0, 1.0), n_ctx=8192)
REQUEST = LaunchRequest(model=Path("m.gguf"), model_name="m", plan=PLAN, engine=EngineKind.OLLAMA)


def card(name: str, number: int, **more: object) -> OllamaDevice:
    library = name.rstrip("0123456789")
    known = {"id": str(number), "filter_id": str(number), **more}
    return OllamaDevice(name=name, library=library, description=f"card {number}", **known)


CUDA = (
    card("CUDA0", 0, uuid="GPU-aaaa", folder="cuda_v13"),
    card("CUDA1", 1, uuid="GPU-bbbb", folder="cuda_v13"),
    card("CUDA2", 2, uuid="GPU-cccc", folder="cuda_v13"),
)
VULKAN = (card("Vulkan0", 0), card("Vulkan2", 2))


def environment(request: LaunchRequest, version: str = NEW) -> dict[str, str]:
    return serve_environment(
        request, port=8137, store=Path("store"), version=version, cards=Choice(env={}, names=())
    )


@pytest.mark.parametrize(
    ("version", "follows"),
    [
        ("0.29.9", False),
        ("v0.12.1-rc2", False),
        ("0.30.0-rc0", True),
        ("0.32.15", True),
        ("1.0.0", True),
        ("0.0.0", True),
        ("unknown", True),
    ],
)
def test_versions_that_give_a_ratio_on(version: str, follows: bool) -> None:
    assert follows_ratio(version) is follows


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" 'localhost' ", "http://localhost:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("[::]:1234", "http://[::1]:1234"),
        ("::1", "http://[::1]:11434"),
        ("http://rig.lan", "http://rig.lan:80"),
        ("https://rig.lan/ollama/", "https://rig.lan:443/ollama"),
        ("http://10.0.0.7:11434/", "http://10.0.0.7:11434"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(text: str, url: str) -> None:
    assert address_url(text) == url


@pytest.mark.parametrize("text", ["127.0.0.1:99999", "ftp://x", "a b", "http://[::1", "x:port"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(EngineError, match="is no address of an Ollama"):
        address_url(text)


def test_cuda_cards_are_named_by_uuid_in_the_order_of_the_split() -> None:
    choice = choose_cards((CUDA[2], CUDA[0]), CUDA, NEW, "linux")
    assert choice.env == {
        "CUDA_VISIBLE_DEVICES": "GPU-cccc,GPU-aaaa",
        "OLLAMA_LLM_LIBRARY": "cuda_v13",
    }
    assert choice.names == ("CUDA0", "CUDA1")  # as llama-server counts what it sees


def test_numbers_are_taken_for_all_cards_when_one_has_no_uuid() -> None:
    cards = (CUDA[1], replace(CUDA[0], uuid=None))
    env = choose_cards(cards, CUDA, NEW, "linux").env
    assert env["CUDA_VISIBLE_DEVICES"] == "1,0"


def test_rocm_cards_are_named_by_the_runtimes_uuid_and_on_windows_by_number() -> None:
    cards = (
        card("ROCm1", 1, uuid="GPU-16de4f2f4f6b9f29", folder="rocm"),
        card("ROCm0", 0, uuid="GPU-f0aa503cdcdcab4a", folder="rocm"),
    )
    choice = choose_cards(cards, cards, NEW, "linux")
    assert choice.env["ROCR_VISIBLE_DEVICES"] == "GPU-16de4f2f4f6b9f29,GPU-f0aa503cdcdcab4a"
    assert choice.names == ("ROCm0", "ROCm1")
    assert choose_cards(cards, cards, NEW, "win32").env["HIP_VISIBLE_DEVICES"] == "1,0"


def test_vulkan_cards_are_named_to_llama_server() -> None:
    choice = choose_cards(VULKAN[::-1], VULKAN, NEW, "linux")
    assert choice.env == {"LLAMA_ARG_DEVICE": "Vulkan2,Vulkan0"}
    assert choice.names == ("Vulkan2", "Vulkan0")


def test_the_only_vulkan_card_is_counted_anew() -> None:
    """Ollama shows llama-server this card alone, whatever its number was."""
    choice = choose_cards(VULKAN[1:], VULKAN[1:], NEW, "linux")
    assert (choice.env, choice.names) == ({}, ("Vulkan0",))


def test_old_versions_make_vulkan_cards_visible_by_number() -> None:
    choice = choose_cards(VULKAN[::-1], VULKAN, OLD, "linux")
    assert choice.env == {"GGML_VK_VISIBLE_DEVICES": "2,0"}
    assert choice.names == ("Vulkan0", "Vulkan1")


def test_cards_of_two_drivers_are_refused_by_name() -> None:
    with pytest.raises(EngineError, match="card 0 has CUDA, card 2 has Vulkan") as refused:
        choose_cards((CUDA[0], VULKAN[1]), (*CUDA, *VULKAN), NEW, "linux")
    assert "llama.cpp" in refused.value.hint


def test_lent_cards_leave_the_real_ones_alone() -> None:
    lent = lent_cards(("RPC0", "RPC1"))
    assert lent.env["LLAMA_ARG_DEVICE"] == "RPC0,RPC1"
    assert lent.env["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in lent_cards(("CUDA0", "RPC0")).env


def test_a_name_alone_is_enough_for_a_device() -> None:
    device = named_device("Vulkan12")
    assert (device.library, device.id) == ("Vulkan", "12")


def test_the_environment_makes_the_ratio_and_the_knobs_hold() -> None:
    env = environment(replace(REQUEST, n_threads=3, rpc=("127.0.0.1:7",)))
    assert env["OLLAMA_HOST"] == "127.0.0.1:8137"
    assert env["OLLAMA_MODELS"] == "store"
    assert env["OLLAMA_SCHED_SPREAD"] == "1"
    assert env["LLAMA_ARG_TENSOR_SPLIT"] == "3,1"
    assert env["LLAMA_ARG_FIT"] == "off"
    assert env["LLAMA_ARG_N_GPU_LAYERS"] == "999"
    assert env["LLAMA_ARG_RPC"] == "127.0.0.1:7"
    assert env["LLAMA_ARG_THREADS"] == "3"
    assert env["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert env["OLLAMA_KEEP_ALIVE"] == "-1"
    assert env["OLLAMA_NO_CLOUD"] == "1"
    assert env["LLAMA_ARG_CORS_ORIGINS"] == env["OLLAMA_ORIGINS"] == "http://127.0.0.1:8137"
    assert "OLLAMA_KV_CACHE_TYPE" not in env


def test_each_request_gets_its_part_of_the_context() -> None:
    env = environment(replace(REQUEST, plan=replace(PLAN, n_parallel=4)))
    assert (env["OLLAMA_NUM_PARALLEL"], env["OLLAMA_CONTEXT_LENGTH"]) == ("4", "2048")


def test_one_cache_type_is_ollamas_own_and_two_are_llama_servers() -> None:
    both = replace(PLAN, cache_type_k="q8_0", cache_type_v="q8_0")
    assert environment(replace(REQUEST, plan=both))["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
    two = environment(replace(REQUEST, plan=replace(PLAN, cache_type_k="q8_0")))
    assert (two["LLAMA_ARG_CACHE_TYPE_K"], two["LLAMA_ARG_CACHE_TYPE_V"]) == ("q8_0", "f16")
    assert "OLLAMA_KV_CACHE_TYPE" not in two


def test_old_versions_get_nothing_meant_for_llama_server() -> None:
    env = environment(REQUEST, OLD)
    assert not [name for name in env if name.startswith("LLAMA_ARG_")]
    some = replace(REQUEST, plan=replace(PLAN, n_gpu_layers=20), n_threads=2)
    assert model_parameters(some, OLD) == {
        "num_ctx": 8192, "num_batch": 512, "num_gpu": 20, "num_thread": 2,
    }  # fmt: skip
    assert model_parameters(some, NEW) == {"num_ctx": 8192, "num_batch": 512}


def test_only_an_ollama_that_ran_before_needs_options_in_every_chat() -> None:
    attached = replace(REQUEST, engine=EngineKind.OLLAMA_ATTACHED)
    assert attached_options(attached) == {"num_ctx": 8192}
    less = replace(attached, plan=replace(PLAN, n_ctx=0, n_gpu_layers=5))
    assert attached_options(less) == {"num_gpu": 5}
    assert attached_options(REQUEST) == {}
    assert attached_options(None) == {}


def test_the_knobs_are_made_ollamas() -> None:
    plan = adapted(replace(PLAN, n_ctx=0, n_parallel=2), 4096)
    assert plan.n_ctx == 8192  # what the model was trained for, for each request
    assert plan.n_batch == plan.n_ubatch == 512
    assert adapted(replace(PLAN, n_ctx=8191, n_parallel=2), 8192).n_ctx == 8190
    assert adapted(PLAN, 0).n_ctx == 8192  # a file that does not say is taken at our word


def test_a_context_longer_than_the_training_is_refused_with_both_numbers() -> None:
    with pytest.raises(EngineError, match="4,096 tokens the model was trained for; 8,192"):
        adapted(PLAN, 4096)


def test_old_versions_refuse_a_ratio_and_say_what_holds() -> None:
    with pytest.raises(EngineError, match=r"0\.24\.0 divides a model by itself.*3 : 1") as refused:
        check_request(REQUEST, 2, OLD)
    assert "0.30" in refused.value.hint
    check_request(REQUEST, 2, NEW)
    check_request(REQUEST, 1, OLD)
    check_request(replace(REQUEST, plan=replace(PLAN, split=None)), 2, OLD)
    check_request(replace(REQUEST, plan=replace(PLAN, split_mode="none")), 2, OLD)


def test_old_versions_need_a_template_that_a_bare_file_does_not_give_them() -> None:
    bare = replace(REQUEST, model_name="", plan=replace(PLAN, split=None))
    with pytest.raises(EngineError, match=r"does not read the chat template .* m\.gguf"):
        check_request(bare, 1, OLD)
    check_request(bare, 1, NEW)


@pytest.mark.parametrize(
    ("keys", "values", "words"),
    [("q8_0", "f16", "one type for keys and values"), ("q5_1", "q5_1", "no KV cache of q5_1")],
)
def test_old_versions_refuse_cache_types_they_lack(keys: str, values: str, words: str) -> None:
    plan = replace(PLAN, split=None, cache_type_k=keys, cache_type_v=values)
    with pytest.raises(EngineError, match=words):
        check_request(replace(REQUEST, plan=plan), 2, OLD)
    check_request(replace(REQUEST, plan=plan), 2, NEW)


def test_names_of_models_and_of_files_that_are_none() -> None:
    assert full_name("smollm2") == "smollm2:latest"
    assert full_name("hf.co/a/b:Q4_K_M") == "hf.co/a/b:Q4_K_M"
    assert full_name("localhost:5000/a/b") == "localhost:5000/a/b:latest"
    assert private_name("My model (v2).Q4_K_M") == "splitrig/My-model-v2-.Q4_K_M"
    assert private_name("…") == "splitrig/model"
    assert len(private_name("x" * 500)) < 80


def test_the_command_can_be_pasted() -> None:
    command = shown_command({"A": "1"}, Path("/opt/ollama"), "linux")
    assert command == ("env", "A=1", "/opt/ollama", "serve")
    assert shown_command({}, Path("ollama.exe"), "win32") == ("ollama.exe", "serve")


def test_what_was_not_honoured_is_said_with_the_reason() -> None:
    assert not_honoured((3.0, 1.0)) == "Ollama did not honour the ratio 3 : 1."
    assert divided_by_itself(OLD).startswith("Ollama 0.24.0 has divided the model by itself;")
    assert unplanned().devices == ()
    assert unplanned().fits
