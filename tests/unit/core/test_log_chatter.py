"""What an idle engine repeats."""

from splitrig.core.log_chatter import Chatter

IDLE = "0.19.088.123 I srv  update_slots: all slots are idle"


def test_an_idle_engine_says_so_once_until_something_happens() -> None:
    chatter = Chatter()
    assert chatter.without(["loaded", IDLE, IDLE]) == ["loaded", IDLE]
    assert chatter.without([IDLE]) == []
    assert chatter.without(["slot launch_slot_", IDLE, IDLE]) == ["slot launch_slot_", IDLE]


def test_lines_that_only_look_alike_stay() -> None:
    line = "the user wrote 'update_slots: all slots are idle' twice"
    assert Chatter().without([line, line]) == [line, line]
