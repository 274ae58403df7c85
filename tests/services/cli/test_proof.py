"""When the cards are compared with what an engine says: once each time it became ready."""

from dataclasses import replace

from splitrig.cli.options import detected_rig
from splitrig.cli.proof import Proof
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.ollama import unplanned

READY = EngineStatus(phase=Phase.READY, plan=unplanned(), pid=4711, pids=frozenset({4711}))


def test_it_is_told_once_and_again_after_a_restart() -> None:
    proof = Proof(detected_rig(demo=True), lambda: False)
    assert proof.follow(replace(READY, phase=Phase.LOADING)) is None
    assert proof.follow(READY) == ()
    assert proof.follow(READY) is None
    assert proof.follow(EngineStatus(phase=Phase.STARTING, restart="It crashed.")) is None
    assert proof.follow(READY) == ()
    assert proof.follow(READY) is None


def test_it_waits_until_the_processes_are_counted() -> None:
    proof = Proof(detected_rig(demo=True), lambda: False)
    assert proof.follow(replace(READY, pids=frozenset())) is None
    assert proof.follow(READY) == ()


def test_one_that_has_no_process_is_not_waited_for() -> None:
    proof = Proof(detected_rig(demo=True), lambda: False)
    assert proof.follow(replace(READY, pid=None, pids=frozenset())) == ()
