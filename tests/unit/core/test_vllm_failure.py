"""Every way vLLM was seen to fail ends in its own sentence with a way out."""

import pytest
from tests.unit.core.vllm_recordings import lines_of, read, said

from splitrig.core.engine_log import TroubleKind

RECORDED = {
    "bad_argument": (
        "This vLLM does not know the argument --no-such-thing 1.",
        "Take it out, or install a newer vLLM.",
    ),
    "bad_value": (
        "vLLM does not take --kv-cache-dtype: invalid choice: 'q4_0'.",
        "Choose another value.",
    ),
    "context_too_long": (
        "A context of 9,000 tokens is more than the model allows (512).",
        "Shorten the context.",
    ),
    "engine_died": (
        "A part of vLLM ended under it, so it cannot answer any more.",
        "Launch it again; if the computer's memory ran out, choose a smaller model.",
    ),
    "gguf": (
        "This vLLM does not take GGUF files.",
        "Choose the folder of a Hugging Face model, or llama.cpp for this file.",
    ),
    "heads": (
        "4 attention heads cannot be shared by 3 cards.",
        "Choose another number of cards, or a pipeline.",
    ),
    "killed_engine_core": (
        "A part of vLLM ended under it, so it cannot answer any more.",
        "Launch it again; if the computer's memory ran out, choose a smaller model.",
    ),
    "killed_worker": (
        "A part of vLLM ended under it, so it cannot answer any more.",
        "Launch it again; if the computer's memory ran out, choose a smaller model.",
    ),
    "kv_too_large": (
        "The KV cache was to take 900.0 GiB of the computer's memory; 19.46 GiB are free.",
        "Close other programs, or ask for a smaller KV cache.",
    ),
    "kv_too_small": (
        "A context of 256 tokens needs 0.0 GiB of KV cache; 0.0 GiB are left.",
        "96 tokens fit: shorten the context, or take more cards.",
    ),
    "missing_model": (
        "vLLM finds no model there.",
        "Choose a folder with config.json and .safetensors files; GGUF files are for llama.cpp.",
    ),
    "no_config": (
        "vLLM finds no model there.",
        "Choose a folder with config.json and .safetensors files; GGUF files are for llama.cpp.",
    ),
    "no_weights": (
        "The model's folder has no weights.",
        "Download the model's .safetensors files into it.",
    ),
    "partition": (
        "The stages hold 7 layers together; the model has 6.",
        "Set the split again; a VLLM_PP_LAYER_PARTITION of your own has to add up.",
    ),
    "quantization_refused": (
        "vLLM stopped: Cannot find any of ['zero_point'] in the model's quantization config.",
        "Look at its log, or try another model.",
    ),
    "ray_on_cpu": (
        "This vLLM is built for 'cpu', where it does not use Ray.",
        "Leave the other machines out, or install a vLLM for cards.",
    ),
    "ray_missing": (
        "Several machines need Ray, which is not installed beside vLLM.",
        "Install it into the same environment: pip install ray",
    ),
    "truncated": (
        (
            "A weight file is incomplete or broken: Error while deserializing header: incomplete "
            "metadata, file not fully covered."
        ),
        "Download the model again, or check the files' sizes against the source.",
    ),
    "unknown_architecture": (
        "This vLLM cannot run models of the kind 'NopeForCausalLM'.",
        "A newer vLLM may.",
    ),
    "unknown_model_type": (
        "This vLLM cannot run models of the kind 'nope'.",
        "A newer vLLM, with a newer transformers, may.",
    ),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_failure(name: str) -> None:
    assert said(lines_of(name)) == RECORDED[name]


def test_a_port_that_is_taken_is_named_so_that_another_is_tried() -> None:
    lines = lines_of("port_taken")
    message, _ = said(lines)
    assert message.startswith("Port ")
    assert message.endswith(" is in use by another program.")
    assert message.split()[1].isdigit()
    assert [t.kind for t in read(lines)[1].troubles] == [TroubleKind.PORT_TAKEN]


# What needs cards, as vLLM's source and its users' reports have it.
ERROR = "(Worker_TP1 pid=5) ERROR 02-24 20:21:58 [multiproc_executor.py:492] "
CARD_LINES = {
    ERROR + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a "
    "total capacity of 9.65 GiB of which 1.11 GiB is free. Process 1 has 8.5 GiB in use.": (
        "Out of memory: 2.00 GiB more did not fit on RTX 3080, which had 1.11 GiB free."
    ),
    ERROR + "torch.cuda.OutOfMemoryError: CUDA out of memory.": "Out of memory on RTX 3080.",
    "(EngineCore_DP0 pid=6940) ValueError: Free memory on device cuda:1 (5.77/9.65 GiB) on "
    "startup is less than desired GPU memory utilization (0.9, 8.68 GiB). Decrease GPU memory "
    "utilization or reduce GPU memory used by other processes.": (
        "5.77 of 9.65 GiB are free on RTX 3080; a share of 0.9, 8.68 GiB, was wanted."
    ),
    ERROR + "ValueError: Free memory on device (5.77/9.65 GiB) on startup is less than desired "
    "GPU memory utilization (0.9, 8.68 GiB). Decrease GPU memory utilization.": (
        "5.77 of 9.65 GiB are free on RTX 3080; a share of 0.9, 8.68 GiB, was wanted."
    ),
    "ValueError: No available memory for the cache blocks. Try increasing "
    "`gpu_memory_utilization` when initializing the engine.": (
        "Weights and a full batch fill the share of memory; nothing is left for the KV cache."
    ),
    "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 "
    "GiB KV cache is needed, which is larger than the available KV cache memory (5.97 GiB). "
    "Based on the available memory, the estimated maximum model length is 48896. Try": (
        "A context of 131,072 tokens needs 16.00 GiB of KV cache; 5.97 GiB are left."
    ),
    "  Value error, World size (4) is larger than the number of available GPUs (2) in this node. "
    "[type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]": (
        "4 cards were asked for, and vLLM sees 2."
    ),
    "RuntimeError: Failed to infer device type": "vLLM sees no card it can use.",
    "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your "
    "Tesla T4 GPU has compute capability 7.5. You can use float16 instead.": (
        "Tesla T4 cannot compute in bfloat16."
    ),
    "ValueError: The quantization method fbgemm_fp8 is not supported for the current GPU. "
    "Minimum capability: 80. Current capability: 61.": (
        "These cards are too old for the quantisation of this model."
    ),
    "ValueError: The input size is not aligned with the quantized weight shape. This can be "
    "caused by too large tensor parallel size.": (
        "The quantised rows of this model cannot be shared by so many cards."
    ),
    "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory": (
        "vLLM needs a library that is not installed: libcudart.so.12."
    ),
    "ModuleNotFoundError: No module named 'torch'": (
        "vLLM's environment is incomplete: torch is missing."
    ),
    "RuntimeError: CUDA error: an illegal memory access was encountered": (
        "A card or the link between cards failed under vLLM."
    ),
    "ValueError: Cannot provide a placement group requiring 4 GPUs (placement_group_specs=[]) "
    "within 1800 seconds.": "The Ray cluster has fewer free cards than asked for.",
    "OSError: [Errno 28] No space left on device": "A disk is full.",
    "NotImplementedError: Pipeline parallelism is not supported for this model. Supported models "
    "implement the `SupportsPP` interface.": "vLLM cannot run this model as a pipeline.",
    "RuntimeError: something nobody has seen before": (
        "vLLM stopped: something nobody has seen before."
    ),
}


@pytest.mark.parametrize("line", sorted(CARD_LINES))
def test_a_failure_that_needs_cards(line: str) -> None:
    message, hint = said([line])
    assert message == CARD_LINES[line]
    assert hint.endswith((".", "ray"))
    assert "{" not in message + hint


def test_a_context_that_fits_is_named() -> None:
    line = next(line for line in CARD_LINES if "131072" in line)
    assert said([line])[1] == "48,896 tokens fit: shorten the context, or take more cards."


def test_an_unforeseen_exception_comes_behind_one_that_is_understood() -> None:
    assert said(["RuntimeError: odd", "OSError: [Errno 98] Address already in use"])[0].startswith(
        "Port"
    )


def test_lines_of_a_traceback_are_no_troubles() -> None:
    for line in (
        '  File "/x/vllm/error.py", line 1, in raise_error',
        "    raise ValueError(",
        "RuntimeError: Engine core initialization failed. See root cause above.",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
    ):
        assert read([line])[0] == [], line
