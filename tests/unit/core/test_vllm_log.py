"""The reader of vLLM's log on recordings of the real one, and on lines that need cards."""

import pytest
from tests.unit.core.vllm_recordings import CARDS, lines_of, read

from splitrig.core.engine_log import (
    BufferKind,
    BuildNamed,
    DeviceUsed,
    LogEvent,
    Mark,
    Passed,
    Progressed,
    Trouble,
)
from splitrig.core.units import GIB
from splitrig.core.vllm_log import VllmLog


def kinds(events: list[LogEvent]) -> list[LogEvent]:
    return [event for event in events if isinstance(event, Passed | Progressed | BuildNamed)]


@pytest.mark.parametrize(("name", "n_cards", "tp"), [("tp1", 1, 1), ("tp2", 2, 2), ("pp2", 2, 1)])
def test_a_start_passes_its_marks_in_order(name: str, n_cards: int, tp: int) -> None:
    events, log = read(lines_of(name), n_cards, tp)
    marks = [event.mark for event in events if isinstance(event, Passed)]
    assert marks == [Mark.WEIGHTS, Mark.CONTEXT, Mark.WARMUP, Mark.LOADED]
    assert log.build == "0.32.0"
    assert log.loaded
    assert Progressed(1.0) in events


def test_two_workers_are_told_apart_by_what_they_say_of_themselves() -> None:
    _, log = read(lines_of("tp2"), 2, 2)
    assert {device.name for device in log.used} == {"CUDA0", "CUDA2"}


def test_the_cache_of_all_workers_follows_from_its_tokens() -> None:
    _, log = read(lines_of("pp2"), 2, 1)
    tokens = 1_048_576
    assert log.bytes_on(BufferKind.KV) == {"CUDA0": tokens * 1024, "CUDA2": tokens * 512}
    reader = VllmLog(CARDS)
    for line in lines_of("pp2"):
        reader.read_line(line)
    assert reader.kv_tokens == tokens


def test_a_run_that_goes_well_has_no_trouble_before_it_is_stopped() -> None:
    for name in ("tp1", "tp2", "pp2", "killed_api_server"):
        lines = lines_of(name)
        end = next((n for n, line in enumerate(lines) if "[shutdown]" in line), len(lines))
        events, _ = read(lines[:end])
        assert not [event for event in events if isinstance(event, Trouble)], name


# From here on lines that only cards bring out, as vLLM's source and its users' reports have them.
TP0 = "(Worker_TP0 pid=34322) INFO 05-06 20:59:59 "
TP1 = "(Worker_TP1 pid=34323) INFO 05-06 20:59:59 "
PP1 = "(Worker_PP1 pid=34323) INFO 05-06 20:59:59 "


def test_what_the_weights_take_is_said_once_for_all_cards_of_a_stage() -> None:
    line = TP0 + "[gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.6 seconds"
    _, log = read([line], tp=2)
    size = round(12.66 * GIB)
    assert log.bytes_on(BufferKind.MODEL) == {"CUDA0": size, "CUDA2": size}
    _, log = read([line.replace("_TP0", "_PP0")], tp=1)
    assert log.bytes_on(BufferKind.MODEL) == {"CUDA0": size}


@pytest.mark.parametrize(
    "line",
    [
        (
            "(EngineCore pid=1) INFO 06-02 00:51:40 [model_runner.py:295] "
            "Model loading took 7.64 GiB and 32.969258 seconds"
        ),
        (
            "(EngineCore_0 pid=1) INFO 06-02 00:51:40 [gpu_model_runner.py:1801] "
            "Model loading took 7.6400 GiB and 3.9 seconds"
        ),
        "INFO 03-21 20:15:44 [model_runner.py:1110] Loading model weights took 7.6400 GB",
    ],
)
def test_one_card_may_live_inside_the_engine_core_and_speaks_several_dialects(line: str) -> None:
    _, log = read([line], 1)
    assert log.bytes_on(BufferKind.MODEL) == {"CUDA0": round(7.64 * GIB)}


TAKEN = (
    "[gpu_worker.py:1034] Free memory on device (22.9/23.65 GiB) on startup. Desired GPU memory "
    "utilization is (0.92, 21.76 GiB). Actual usage is 13.0 GiB for consumed memory (weights + "
    "non-torch), 1.19 GiB for peak activation, and 0.62 GiB for CUDAGraph memory. Replace "
    "gpu_memory_utilization config with `--kv-cache-memory=1` (6.8 GiB) to fit into requested "
    "memory. Current kv cache memory in use is 6.95 GiB."
)


def test_every_worker_says_at_the_end_what_a_batch_and_its_graphs_take() -> None:
    weights = TP0 + "[gpu_model_runner.py:1] Model loading took 12.66 GiB memory and 3 seconds"
    _, log = read([weights, TP0 + TAKEN, TP1 + TAKEN.replace("1.19", "1.00")], tp=2)
    assert log.bytes_on(BufferKind.COMPUTE) == {
        "CUDA0": round(1.19 * GIB) + round(0.62 * GIB),
        "CUDA2": round(1.00 * GIB) + round(0.62 * GIB),
    }


def test_older_versions_say_it_all_in_one_line() -> None:
    line = (
        "(VllmWorker rank=1 pid=77) INFO 03-21 20:15:45 [worker.py:267] model weights take "
        "12.55GiB; non_torch_memory takes 0.16GiB; PyTorch activation peak memory takes 2.38GiB; "
        "the rest of the memory reserved for KV Cache is 56.18GiB."
    )
    _, log = read([line, line.replace("rank=1 pid=77", "rank=0 pid=76")], tp=2)
    for kind, gib in (
        (BufferKind.MODEL, 12.55),
        (BufferKind.KV, 56.18),
        (BufferKind.COMPUTE, 2.38),
    ):
        size = round(gib * GIB)
        assert log.bytes_on(kind) == {"CUDA0": size, "CUDA2": size}


def test_the_second_stage_is_the_second_card() -> None:
    lines = [PP1.replace("PP1", "PP0") + TAKEN, PP1 + TAKEN.replace("13.0", "4.0")]
    for order in (lines, lines[::-1]):
        _, log = read(order, tp=1)
        assert set(log.bytes_on(BufferKind.COMPUTE)) == {"CUDA0", "CUDA2"}
        # and tells its weights only here
        assert log.bytes_on(BufferKind.MODEL) == {"CUDA0": 13 * GIB, "CUDA2": 4 * GIB}


def test_what_was_held_back_is_told_at_the_end() -> None:
    _, log = read([PP1 + TAKEN, "INFO:     Application startup complete."], tp=1)
    assert set(log.bytes_on(BufferKind.COMPUTE)) == {"CUDA2"}
    assert log.loaded


def test_progress_follows_the_weight_files() -> None:
    line = "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]"
    assert read([line])[0] == [Progressed(5 / 9)]


def test_a_worker_beyond_the_cards_of_this_machine_is_left_out() -> None:
    line = (
        "(RayWorkerWrapper pid=9, ip=10.0.0.2) INFO 05-06 20:59:59 [parallel_state.py:1906] "
        "world_size=4 rank=3 local_rank=1 distributed_init_method=tcp://10.0.0.1:1 backend=nccl"
    )
    assert read([line])[0] == []
    first = line.replace("rank=3 local_rank=1", "rank=0 local_rank=0")
    assert read([first])[0] == [DeviceUsed("CUDA0", "RTX 4090", None, 0)]


@pytest.mark.parametrize("line", ["", "(", "(Worker_TP9 pid=1) ", "\x00\x1b[0m", "took GiB" * 500])
def test_other_lines_say_nothing(line: str) -> None:
    assert read([line])[0] == []
