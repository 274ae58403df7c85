import pytest

from splitrig.core.engine import EngineDevice
from splitrig.core.lending import (
    PAUSE_S,
    LendPhase,
    LendRequest,
    LendStatus,
    LendTrouble,
    LendTroubleSeen,
    Visits,
    address_problem,
    explain_end,
    heard,
    state_text,
    trouble_in,
)
from splitrig.core.remote import Protocol
from splitrig.core.units import MIB

# standard output of ggml-rpc-server b10068 with `-d CPU,CPU`
BANNER = """ggml_vulkan: No devices found.
Starting RPC server v4.0.3
  endpoint       : 127.0.0.1:45991
  local cache    : n/a
Devices:
  CPU: AMD EPYC (24105 MiB, 24105 MiB free)
  CPU: AMD EPYC (24105 MiB, 20000 MiB free)
  transport      : TCP
Accepted client connection
Client connection closed
"""


def test_the_server_says_what_it_speaks_and_lends() -> None:
    status = LendStatus(phase=LendPhase.STARTING)
    for line in BANNER.splitlines():
        status = heard(status, line)
    assert status.protocol == Protocol(4, 0, 3)
    assert status.devices == (
        EngineDevice(name="CPU", description="AMD EPYC", total_bytes=24105 * MIB,
                     free_bytes=24105 * MIB),
        EngineDevice(name="CPU", description="AMD EPYC", total_bytes=24105 * MIB,
                     free_bytes=20000 * MIB),
    )  # fmt: skip


def test_devices_listed_after_an_error_are_not_lent_ones() -> None:
    line = "  CPU: AMD EPYC (24105 MiB, 24105 MiB free)"
    assert heard(LendStatus(), line).devices == ()


def test_our_own_look_is_no_client() -> None:
    visits = Visits()
    for line in BANNER.splitlines():
        visits = visits.after(line, 10.0)
    assert (visits.n_begun, visits.n_ended, visits.n_clients) == (1, 1, 0)
    assert not visits.in_use(10.1)


def test_an_engine_that_comes_and_goes_is_one_use() -> None:
    visits = Visits(n_begun=1, n_ended=1, last_end_s=1.0)
    visits = visits.after("Accepted client connection", 20.0)
    assert visits.in_use(30.0)
    visits = visits.after("Client connection closed", 30.0)
    assert visits.n_clients == 1
    assert visits.in_use(30.0 + PAUSE_S / 2)
    assert not visits.in_use(30.0 + PAUSE_S)
    again = visits.after("Accepted client connection, free_mem=7", 30.1)
    assert again.in_use(40.0)


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("error: unknown device: CUDA7", LendTroubleSeen(LendTrouble.UNKNOWN_DEVICE, "CUDA7")),
        ("No devices found", LendTroubleSeen(LendTrouble.NO_DEVICE)),
        ("Failed to create server socket", LendTroubleSeen(LendTrouble.NOT_BOUND)),
        ("error: unknown argument: -c", LendTroubleSeen(LendTrouble.BAD_ARGUMENT, "-c")),
        ("Invalid parameters", LendTroubleSeen(LendTrouble.BAD_ARGUMENT)),
        ("ggml_vulkan: No devices found.", None),
        ("Devices:", None),
    ],
)
def test_error_lines_are_understood(line: str, trouble: LendTroubleSeen | None) -> None:
    assert trouble_in(line) == trouble


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (LendTroubleSeen(LendTrouble.UNKNOWN_DEVICE, "CUDA7"), 1, "no device CUDA7 to lend"),
        (LendTroubleSeen(LendTrouble.NO_DEVICE), 1, "no device to lend"),
        (LendTroubleSeen(LendTrouble.NOT_BOUND), 0, "h:1 cannot be listened on"),
        (LendTroubleSeen(LendTrouble.BAD_ARGUMENT, "-c"), 0, "does not take the argument -c."),
        (None, -11, "ended by signal 11"),
        (None, 3, "ended with exit code 3"),
        (None, None, "The server that lends the cards ended."),
    ],
)
def test_each_end_is_one_sentence_with_a_way_out(
    trouble: LendTroubleSeen | None, code: int | None, words: str
) -> None:
    failure = explain_end(trouble, exit_code=code, tail=("last",), endpoint="h:1")
    assert words in failure.message
    assert failure.hint
    assert (failure.exit_code, failure.log_tail) == (code, ("last",))


def test_only_this_machine_is_lent_to_unless_more_is_meant() -> None:
    assert address_problem(LendRequest()) is None
    problem = address_problem(LendRequest(host="192.168.1.7"))
    assert problem is not None
    assert "could use and crash this one" in problem[0]
    assert address_problem(LendRequest(host="0.0.0.0")) is not None
    assert address_problem(LendRequest(host="192.168.1.7", on_network=True)) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (LendStatus(), "not lent"),
        (LendStatus(phase=LendPhase.STARTING), "starting …"),
        (LendStatus(phase=LendPhase.LISTENING, endpoint="10.0.0.2:1"), "listening at 10.0.0.2:1"),
        (LendStatus(phase=LendPhase.SERVING, endpoint="10.0.0.2:1", client="10.0.0.3"),
         "in use by 10.0.0.3, at 10.0.0.2:1"),
        (LendStatus(phase=LendPhase.SERVING, endpoint="10.0.0.2:1"),
         "in use by an engine, at 10.0.0.2:1"),
        (LendStatus(phase=LendPhase.FAILED), "ended"),
    ],
)  # fmt: skip
def test_the_state_is_a_few_words(status: LendStatus, text: str) -> None:
    assert state_text(status) == text
