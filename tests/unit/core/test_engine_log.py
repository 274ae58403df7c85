"""The log parser against logs of the real engine and lines seen elsewhere."""

from pathlib import Path

import pytest

from splitrig.core.engine_log import (
    HOST,
    MOST_TROUBLES,
    BufferKind,
    BufferSeen,
    BuildNamed,
    DeviceListed,
    DeviceUsed,
    LayerAssigned,
    LoadLog,
    Mark,
    Passed,
    Trouble,
    TroubleKind,
    add_event,
    endpoint_of,
    read_line,
)
from splitrig.core.units import MIB

RECORDED = Path(__file__).parents[2] / "recorded" / "engine"


def load(name: str) -> LoadLog:
    return read((RECORDED / name).read_text(encoding="utf-8", errors="replace").splitlines())


def read(lines: list[str]) -> LoadLog:
    log = LoadLog()
    for line in lines:
        event = read_line(line)
        if event is not None:
            log = add_event(log, event)
    return log


def mib(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / MIB, 2) for name, size in sizes.items()}


def test_two_devices_of_one_rpc_server_carry_what_the_log_says() -> None:
    log = load("rpc_3_1.log")
    assert mib(log.bytes_on(BufferKind.MODEL)) == {"host": 28.69, "RPC0": 50.73, "RPC1": 41.37}
    assert mib(log.bytes_on(BufferKind.KV)) == {"RPC0": 72.0, "RPC1": 18.0}
    assert mib(log.bytes_on(BufferKind.COMPUTE)) == {"RPC0": 16.38, "RPC1": 16.38, "host": 6.26}
    assert [d.name for d in log.used] == ["RPC0", "RPC1"]
    assert [d.name for d in log.listed] == ["CPU", "RPC0", "RPC1"]
    assert log.build == "571d0d5"
    assert log.troubles == ()
    assert log.layer_counts() == {}


def test_verbose_log_gives_the_layers_with_the_output_counted() -> None:
    assert load("rpc_3_1_layers.log").layer_counts() == {"RPC0": 24, "RPC1": 7}


def test_devices_of_two_rpc_servers_are_told_apart_by_their_address() -> None:
    """RPC3 is printed as the second device of the second server: `RPC1[127.0.0.1:50162]`."""
    log = load("rpc_two_servers.log")
    assert [d.name for d in log.used] == ["RPC3", "RPC0"]
    assert mib(log.bytes_on(BufferKind.MODEL)) == {"host": 28.69, "RPC0": 41.37, "RPC3": 50.73}
    assert mib(log.bytes_on(BufferKind.KV)) == {"RPC0": 18.0, "RPC3": 72.0}


def test_two_software_vulkan_devices_carry_what_the_log_says() -> None:
    log = load("vulkan_3_1.log")
    assert mib(log.bytes_on(BufferKind.MODEL)) == {
        "host": 28.69, "Vulkan0": 50.73, "Vulkan1": 41.37,
    }  # fmt: skip
    assert mib(log.bytes_on(BufferKind.COMPUTE))["Vulkan1"] == 31.79
    assert log.used[0].description == "llvmpipe (LLVM 15.0.6, 256 bits)"
    assert log.used[0].pci is None
    assert log.used[0].free_bytes == 2048 * MIB


@pytest.mark.parametrize(
    ("name", "kind", "subject"),
    [
        ("truncated.log", TroubleKind.MODEL_BROKEN,
         "tensor 'blk.11.ffn_up.weight' data is not within the file bounds"),
        ("text_file.log", TroubleKind.NOT_GGUF, ""),
        ("unknown_architecture.log", TroubleKind.UNKNOWN_ARCHITECTURE, "llamx"),
        ("missing_file.log", TroubleKind.MODEL_MISSING, ""),
        ("port_taken.log", TroubleKind.PORT_TAKEN, "18092"),
        ("invalid_device.log", TroubleKind.BAD_DEVICE, "CUDA0"),
        ("dead_rpc.log", TroubleKind.RPC_UNREACHABLE, "127.0.0.1:50151"),
        ("rpc_version.log", TroubleKind.RPC_VERSION, "7.0.0"),
        ("oom_abort.log", TroubleKind.OUT_OF_MEMORY, "Vulkan0"),
        ("oom_rpc.log", TroubleKind.OUT_OF_MEMORY, "RPC0[127.0.0.1:50152]"),
        ("oom_host.log", TroubleKind.HOST_OUT_OF_MEMORY, ""),
    ],
)  # fmt: skip
def test_the_first_error_line_of_a_failed_start(name: str, kind: TroubleKind, subject: str) -> None:
    first = load(name).troubles[0]
    assert (first.kind, first.subject) == (kind, subject)


def test_a_start_that_works_has_no_error_line() -> None:
    for name in ("rpc_3_1.log", "rpc_3_1_layers.log", "rpc_two_servers.log", "vulkan_3_1.log"):
        assert load(name).troubles == (), name


def test_a_cuda_card_says_its_pci_address() -> None:
    line = (
        "llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 4090) (0000:01:00.0)"
        " - 23306 MiB free"
    )
    assert read_line(line) == DeviceUsed(
        "CUDA0", "NVIDIA GeForce RTX 4090", "0000:01:00.0", 23306 * MIB
    )


def test_an_allocation_refused_by_cuda_names_device_and_size() -> None:
    event = read_line(
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 7000.00 MiB on device 1:"
        " cudaMalloc failed: out of memory"
    )
    assert isinstance(event, Trouble)
    assert (event.kind, event.subject, event.n_bytes) == (
        TroubleKind.OUT_OF_MEMORY, "1", 7000 * MIB,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("CUDA error: out of memory", TroubleKind.OUT_OF_MEMORY),
        ("CUDA error: an illegal memory access was encountered", TroubleKind.DEVICE_LOST),
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
         TroubleKind.OUT_OF_MEMORY),
        ("vk::Queue::submit: ErrorDeviceLost", TroubleKind.DEVICE_LOST),
        ("llama-server: error while loading shared libraries: libcudart.so.12: cannot open",
         TroubleKind.MISSING_LIBRARY),
        ("error: invalid argument: --nonsense", TroubleKind.BAD_ARGUMENT),
        ('error while handling argument "--port": stoi', TroubleKind.BAD_ARGUMENT),
        ("gguf_init_from_reader: failed to read key-value pairs", TroubleKind.MODEL_BROKEN),
        ("llama_model_load: error loading model: missing tensor 'output_norm.weight'",
         TroubleKind.MODEL_REFUSED),
    ],
)  # fmt: skip
def test_error_lines_are_understood(line: str, kind: TroubleKind) -> None:
    event = read_line(line)
    assert isinstance(event, Trouble)
    assert event.kind is kind
    assert event.text == line


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("0.00.160.900 I load_tensors: loading model tensors, this can take", Passed(Mark.WEIGHTS)),
        ("llama_context: constructing llama_context", Passed(Mark.CONTEXT)),
        ("common_init_: warming up the model with an empty run", Passed(Mark.WARMUP)),
        ("0.01.054.937 I srv  llama_server: model loaded", Passed(Mark.LOADED)),
        ("load_tensors: layer   3 assigned to device CUDA1, is_swa = 0", LayerAssigned(3, "CUDA1")),
        ("0.0 I cmn  common_param: common_params_print_info: build 10068 (571d0d5) with GNU 11",
         BuildNamed("b10068")),
        ("  - RPC1    : 127.0.0.1:50151 (24105 MiB, 24105 MiB free)",
         DeviceListed("RPC1", "127.0.0.1:50151")),
        ("llama_memory_recurrent:      CUDA0 RS buffer size =     2.00 MiB",
         BufferSeen("CUDA0", BufferKind.KV, 2 * MIB)),
        ("slot print_timing: id  0 | task 0 |        eval time =     104.63 ms", None),
        ("", None),
    ],
)  # fmt: skip
def test_other_lines_are_understood_or_left_alone(line: str, event: object) -> None:
    assert read_line(line) == event


def test_caches_of_local_and_global_layers_add_up_on_a_device() -> None:
    log = read([
        "using device CUDA0 (A card) (unknown id) - 100 MiB free",
        "llama_kv_cache:      CUDA0 KV buffer size =    10.00 MiB",
        "llama_kv_cache:      CUDA0 KV buffer size =     2.50 MiB",
    ])  # fmt: skip
    assert mib(log.bytes_on(BufferKind.KV)) == {"CUDA0": 12.5}


def test_a_compute_buffer_reserved_again_replaces_the_one_before() -> None:
    line = "sched_reserve:      CUDA0 compute buffer size =  {} MiB"
    log = read([
        "using device CUDA0 (A card) (unknown id) - 100 MiB free",
        line.format("10.00"), line.format("24.00"),
    ])  # fmt: skip
    assert mib(log.bytes_on(BufferKind.COMPUTE)) == {"CUDA0": 24.0}


def test_trial_runs_of_an_automatic_fit_are_forgotten() -> None:
    used = "using device CUDA0 (A card) (unknown id) - 100 MiB free"
    model = "load_tensors:        CUDA0 model buffer size =     {} MiB"
    cache = "llama_kv_cache:      CUDA0 KV buffer size =    {} MiB"
    compute = "sched_reserve:      CUDA0 compute buffer size =  9.00 MiB"
    context = "llama_context: constructing llama_context"
    trial = [used, model.format("0.00"), context, cache.format("0.00"), compute]
    log = read([*trial, used, model.format("50.00"), context, cache.format("7.00")])
    assert mib(log.bytes_on(BufferKind.MODEL)) == {"CUDA0": 50.0}
    assert mib(log.bytes_on(BufferKind.KV)) == {"CUDA0": 7.0}
    assert log.bytes_on(BufferKind.COMPUTE) == {}
    assert [d.name for d in log.used] == ["CUDA0"]


def test_an_rpc_device_beyond_the_list_keeps_its_number() -> None:
    log = LoadLog(used=(DeviceUsed("RPC1", "10.0.0.2:50052", None, 0),))
    assert log.device_of("RPC1[10.0.0.2:50052]") == "RPC1"
    assert log.device_of("RPC5[10.0.0.3:50052]") == HOST


def test_a_printed_buffer_names_its_server() -> None:
    assert endpoint_of("RPC0[127.0.0.1:50151]") == "127.0.0.1:50151"
    assert endpoint_of("RPC12[workshop:50052]") == "workshop:50052"
    assert endpoint_of("CUDA0") is None
    assert endpoint_of("CPU_Mapped") is None


def test_error_lines_are_counted_up_to_a_bound() -> None:
    log = LoadLog()
    for _ in range(MOST_TROUBLES + 5):
        log = add_event(log, Trouble(TroubleKind.DEVICE_LOST))
    assert len(log.troubles) == MOST_TROUBLES
