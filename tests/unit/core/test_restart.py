from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.engine_log import TroubleKind
from splitrig.core.restart import (
    LASTING,
    Ending,
    RestartPolicy,
    decide,
    policy_of,
)
from splitrig.core.settings import EngineSettings

ON = RestartPolicy(enabled=True)
CRASH = Ending(exit_code=-11, ready_s=30)


def test_it_is_off_unless_the_user_wants_it() -> None:
    assert not policy_of(EngineSettings()).enabled
    off = decide(policy_of(EngineSettings()), CRASH)
    assert (off.restart, off.sentence) == (False, "")
    wanted = policy_of(EngineSettings(restart_on_crash=True, restart_tries=3))
    assert (wanted.enabled, wanted.most_tries) == (True, 3)
    assert decide(wanted, CRASH).restart


def test_a_crash_is_followed_by_a_restart_that_waits_ever_longer() -> None:
    tries, delays, said = 0, [], []
    while (decision := decide(ON, CRASH, tries)).restart:
        tries = decision.tries
        delays.append(decision.delay_s)
        said.append(decision.sentence)
    assert delays == [2, 4, 8, 16, 32]
    assert said[0] == "It crashed; starting again in 2 s (1st of 5)."
    assert said[1] == "It crashed; starting again in 4 s (2nd of 5)."
    assert decision.sentence == "It crashed after 5 restarts in a row; it is not started again."
    once = decide(RestartPolicy(enabled=True, most_tries=1), CRASH, 1)
    assert once.sentence == "It crashed after a restart; it is not started again."


def test_five_minutes_of_work_are_a_new_beginning() -> None:
    for tries in (0, 4, 5):
        decision = decide(ON, Ending(exit_code=-11, ready_s=300), tries)
        assert (decision.restart, decision.tries, decision.delay_s) == (True, 1, 2)
    assert not decide(ON, Ending(exit_code=-11, ready_s=299), 5).restart


@pytest.mark.parametrize("tries", [0, 1])
def test_one_that_the_user_stopped_stays_stopped(tries: int) -> None:
    decision = decide(ON, Ending(exit_code=-9, ready_s=30, asked=True), tries)
    assert (decision.restart, decision.sentence) == (False, "")


@pytest.mark.parametrize("code", [0, -15, -2])
def test_one_that_somebody_else_asked_to_end_stays_ended(code: int) -> None:
    decision = decide(ON, Ending(exit_code=code, ready_s=30))
    assert not decision.restart
    assert "asked to end from outside" in decision.sentence


@pytest.mark.parametrize("kind", list(TroubleKind))
def test_a_start_that_fails_is_no_crash(kind: TroubleKind) -> None:
    assert not decide(ON, Ending(exit_code=1, causes={kind})).restart


@pytest.mark.parametrize("kind", sorted(LASTING))
def test_what_a_restart_cannot_mend_ends_the_restarts(kind: TroubleKind) -> None:
    decision = decide(ON, Ending(exit_code=1, causes={kind}), 1)
    assert not decision.restart
    assert decision.sentence == (
        "It is not started again: the next start would fail in the same way."
    )


@pytest.mark.parametrize("code", [127, -4, 0xC000001D, 0xC0000135, -1073741515])
def test_an_engine_that_cannot_run_at_all_is_not_tried_again(code: int) -> None:
    assert not decide(ON, Ending(exit_code=code), 1).restart


def test_a_load_that_was_killed_is_tried_again_unless_memory_ran_out() -> None:
    assert decide(ON, Ending(exit_code=-9), 1).restart
    assert not decide(ON, Ending(exit_code=-9, out_of_memory=True), 1).restart
    assert decide(ON, Ending(exit_code=-9, out_of_memory=True, ready_s=30)).restart


@pytest.mark.parametrize(
    "kind",
    [TroubleKind.PORT_TAKEN, TroubleKind.RPC_UNREACHABLE, TroubleKind.RPC_LOST,
     TroubleKind.DEVICE_LOST],
)  # fmt: skip
def test_what_may_pass_is_tried_again_during_the_restarts(kind: TroubleKind) -> None:
    decision = decide(ON, Ending(exit_code=1, causes={kind}), 1)
    assert decision.restart
    assert decision.sentence == "The start failed; starting again in 4 s (2nd of 5)."


@pytest.mark.parametrize(
    "ending",
    [
        Ending(exit_code=-9, ready_s=30),
        Ending(exit_code=1, causes={TroubleKind.OUT_OF_MEMORY}, ready_s=30),
        Ending(exit_code=None, ready_s=30),
        Ending(exit_code=1, ready_s=0),
    ],
    ids=["killed for memory", "out of memory at work", "helper gone", "at once"],
)  # fmt: skip
def test_one_that_had_worked_is_started_again(ending: Ending) -> None:
    assert decide(ON, ending).restart


@given(
    codes=st.lists(st.sampled_from([1, -6, -11, None]), max_size=40),
    ready=st.floats(0, 299),
    most=st.integers(1, 20),
)
def test_restarts_in_a_row_always_end(codes: list[int | None], ready: float, most: int) -> None:
    policy = RestartPolicy(enabled=True, most_tries=most)
    tries, delays = 0, []
    for code in codes:
        decision = decide(policy, Ending(exit_code=code, ready_s=ready), tries)
        if not decision.restart:
            break
        tries = decision.tries
        delays.append(decision.delay_s)
    assert len(delays) <= most
    assert all(first <= second <= policy.longest_delay_s for first, second in pairwise(delays))
