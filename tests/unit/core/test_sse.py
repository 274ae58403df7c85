"""The event parser gives the same events however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core import sse
from splitrig.core.errors import ChatError
from splitrig.core.sse import EventParser, ServerEvent


def parse(*chunks: bytes) -> list[ServerEvent]:
    parser = EventParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return found + parser.close()


def data(*chunks: bytes) -> list[str]:
    return [event.data for event in parse(*chunks)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(end: bytes) -> None:
    assert data(b"data: a" + end + end + b"data: b" + end + end) == ["a", "b"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_bytes_one_by_one_give_the_same_events(end: bytes) -> None:
    stream = end.join([b": hi", b"data: gr\xc3\xbc\xc3\x9fe", b"data: 2", b"", b"data:3", b"", b""])
    assert data(*(bytes([b]) for b in stream)) == data(stream) == ["grüße\n2", "3"]


def test_comments_ids_and_unknown_fields_are_skipped() -> None:
    assert parse(b": ping\nid: 4\nretry: 9\nevent: note\ndata\ndata: x\n\n") == [
        ServerEvent("\nx", "note")
    ]


def test_an_event_without_data_is_none() -> None:
    assert data(b"event: ping\n\n\n\ndata: a\n\n") == ["a"]


def test_only_one_space_after_the_colon_is_taken() -> None:
    assert data(b"data:  a \n\n") == [" a "]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert data(b"data: a\xffb\n\ndata: \xe2\x82") == ["a\ufffdb", "\ufffd"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert data(b"\xef\xbb", b"\xbfdata: a\n\n") == ["a"]


def test_an_unfinished_last_event_is_taken_when_the_stream_ends() -> None:
    assert data(b"data: a\n\ndata: b") == ["a", "b"]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert data(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_CHARS", 100)
    parser = EventParser()
    for _ in range(7):
        parser.feed(b"data: xxxxxxxx")
    with pytest.raises(ChatError):
        parser.feed(b"data: xxxxxxxx")


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_CHARS", 100)
    with pytest.raises(ChatError):
        EventParser().feed(b"data: xxxxxxxx\n" * 20)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_cutting_gives_the_same_events(texts: list[str], cuts: list[int]) -> None:
    stream = "".join(f"data: {text}\n\n" for text in texts).encode()
    chunks, at, turn = [], 0, 0
    while at < len(stream):
        chunks.append(stream[at : at + cuts[turn % len(cuts)]])
        at += len(chunks[-1])
        turn += 1
    assert data(*chunks) == texts
