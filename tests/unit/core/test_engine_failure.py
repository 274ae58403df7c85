"""One sentence for every way an engine can end."""

from pathlib import Path

import pytest

from splitrig.core.engine import Failure
from splitrig.core.engine_failure import SENTENCES, TAIL_LINES, explain_exit
from splitrig.core.engine_log import (
    BufferKind,
    BufferSeen,
    DeviceUsed,
    LoadLog,
    Trouble,
    TroubleKind,
    add_event,
    read_line,
)
from splitrig.core.units import MIB

RECORDED = Path(__file__).parents[2] / "recorded" / "engine"


def explain(name: str, exit_code: int, names: dict[str, str] | None = None) -> Failure:
    lines = (RECORDED / name).read_text(encoding="utf-8", errors="replace").splitlines()
    log = LoadLog()
    for line in lines:
        event = read_line(line)
        if event is not None:
            log = add_event(log, event)
    return explain_exit(log, exit_code=exit_code, tail=tuple(lines), names=names)


@pytest.mark.parametrize(
    ("name", "exit_code", "message"),
    [
        ("truncated.log", 1, ("The model file is incomplete or broken: tensor "
         "'blk.11.ffn_up.weight' data is not within the file bounds.")),
        ("text_file.log", 1, "The model file is no GGUF file."),
        ("unknown_architecture.log", 1, "The engine does not know models of the kind 'llamx'."),
        ("missing_file.log", 1, "The model file cannot be opened."),
        ("port_taken.log", 1, "Port 18092 is in use by another program."),
        ("invalid_device.log", 1, "The engine has no device CUDA0."),
        ("dead_rpc.log", 1, "Nothing answers at 127.0.0.1:50151, which should lend its devices."),
        ("rpc_version.log", 1, ("A server that lends its devices speaks RPC protocol 7.0.0, which "
         "this engine does not.")),
        ("oom_abort.log", -6, ("Out of memory: 7,084.2 MiB do not fit on RTX 3080, "
         "which had 2,048 MiB free.")),
        ("oom_vulkan.log", -11, ("Out of memory: 879.2 MiB more did not fit on RTX 3080, "
         "which had 2,048 MiB free.")),
        ("oom_rpc.log", -11, ("Out of memory: 7,033.5 MiB more did not fit on RPC0, "
         "which had 24,105 MiB free.")),
        ("oom_host.log", 1, "The computer's memory is too small for the model."),
    ],
)  # fmt: skip
def test_a_recorded_failure_is_one_sentence_with_a_way_out(
    name: str, exit_code: int, message: str
) -> None:
    failure = explain(name, exit_code, {"Vulkan0": "RTX 3080"})
    assert failure.message == message
    assert failure.hint
    assert failure.exit_code == exit_code
    assert 0 < len(failure.log_tail) <= TAIL_LINES


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-4, "processor features that this machine lacks"),
        (0xC000001D, "processor features that this machine lacks"),
        (-1073741795, "processor features that this machine lacks"),
        (-9, "killed (signal 9)"),
        (0xC0000135, "library (DLL)"),
        (-11, "it crashed, signal 11"),
        (0xC0000005, "it crashed, signal 11"),
        (-6, "it aborted, signal 6"),
        (-7, "signal, signal 7"),
        (3, "with exit code 3"),
        (None, "ended before it was ready."),
    ],
)
def test_a_code_without_an_error_line_is_told(code: int | None, words: str) -> None:
    failure = explain_exit(LoadLog(), exit_code=code, tail=())
    assert words in failure.message
    assert failure.hint


def test_a_kill_is_put_down_to_memory_only_where_that_ran_out() -> None:
    plain = explain_exit(LoadLog(), exit_code=-9, tail=())
    assert plain.message == "The engine was killed (signal 9)."
    assert plain.hint
    short = explain_exit(LoadLog(), exit_code=-9, tail=(), out_of_memory=True)
    assert "most likely because the computer's memory ran out" in short.message


def test_the_last_line_is_told_without_its_prefix_and_an_error_before_others() -> None:
    tail = ("0.00.1 x", "0.00.187.100 E srv: some error happened", "0.00.187.101 I all idle", "")
    message = explain_exit(LoadLog(), exit_code=1, tail=tail).message
    assert message.endswith("Last line: srv: some error happened")
    plain = explain_exit(LoadLog(), exit_code=1, tail=("0.00.187.101 I all idle", "")).message
    assert plain.endswith("Last line: all idle")


def test_an_engine_that_ends_after_it_was_ready_is_told_so() -> None:
    failure = explain_exit(LoadLog(), exit_code=0, tail=(), was_ready=True)
    assert failure.message == "The engine ended while it was running with exit code 0."


def test_cuda_numbers_its_devices_and_the_sentence_names_the_card() -> None:
    trouble = Trouble(TroubleKind.OUT_OF_MEMORY, "1", 7000 * MIB)
    log = LoadLog(
        used=(DeviceUsed("CUDA0", "A", None, 0), DeviceUsed("CUDA1", "B", None, 900 * MIB)),
        troubles=(trouble,),
    )
    failure = explain_exit(log, exit_code=1, tail=(), names={"CUDA1": "RTX 3080"})
    assert failure.message == (
        "Out of memory: 7,000.0 MiB more did not fit on RTX 3080, which had 900 MiB free."
    )
    unknown = LoadLog(troubles=(trouble,))
    assert "on device 1." in explain_exit(unknown, exit_code=1, tail=()).message


def test_out_of_memory_without_device_or_size_is_still_a_sentence() -> None:
    log = LoadLog(troubles=(Trouble(TroubleKind.OUT_OF_MEMORY),))
    assert explain_exit(log, exit_code=1, tail=()).message == "Out of memory on a card."


def test_a_buffer_that_fits_but_cannot_run_is_not_called_out_of_memory() -> None:
    text = "pre-allocated tensor (x) in a buffer (Vulkan0) that cannot run the operation (NONE)"
    event = read_line(text)
    assert isinstance(event, Trouble)
    log = LoadLog(
        used=(DeviceUsed("Vulkan0", "A", None, 2048 * MIB),),
        buffers=(BufferSeen("Vulkan0", BufferKind.KV, 10 * MIB),),
        troubles=(event,),
    )
    assert "memory" not in explain_exit(log, exit_code=-6, tail=(text,)).message


@pytest.mark.parametrize("kind", sorted(SENTENCES))
def test_every_kind_of_trouble_has_a_sentence_even_without_a_subject(kind: TroubleKind) -> None:
    failure = explain_exit(LoadLog(troubles=(Trouble(kind),)), exit_code=1, tail=())
    assert failure.message.endswith(".")
    assert "{}" not in failure.message
    assert failure.hint.endswith(".")


def test_no_kind_of_trouble_is_without_words() -> None:
    assert set(SENTENCES) | {TroubleKind.OUT_OF_MEMORY} == set(TroubleKind)
