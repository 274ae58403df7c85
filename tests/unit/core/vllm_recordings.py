"""What the real vLLM printed, read with the reader under test."""

from pathlib import Path

from splitrig.core.engine_failure import explain_exit
from splitrig.core.engine_log import LoadLog, LogEvent, add_event
from splitrig.core.vllm_log import VllmLog, VllmWorker

RECORDED = Path(__file__).parents[2] / "recorded/vllm"
CARDS = (
    VllmWorker(device="CUDA0", shown="RTX 4090", kv_token_bytes=1024),
    VllmWorker(device="CUDA2", shown="RTX 3080", kv_token_bytes=512),
)


def lines_of(name: str) -> list[str]:
    """The lines of a recording, without their times."""
    # bytes: a bar of progress begins with a carriage return, which is no end of a line here
    text = (RECORDED / f"{name}.log").read_bytes().decode()
    return [line.split("\t", 1)[1] for line in text.split("\n")[:-1]]


def read(lines: list[str], n_cards: int = 2, tp: int = 1) -> tuple[list[LogEvent], LoadLog]:
    """Events and what they add up to."""
    reader, log, events = VllmLog(CARDS[:n_cards], tp), LoadLog(), []
    for line in lines:
        event = reader.read_line(line)
        if event is not None:
            events.append(event)
            log = add_event(log, event)
    return events, log


def said(lines: list[str], n_cards: int = 2) -> tuple[str, str]:
    """Message and hint for a log that ends."""
    failure = explain_exit(read(lines, n_cards)[1], exit_code=1, tail=tuple(lines))
    return failure.message, failure.hint
