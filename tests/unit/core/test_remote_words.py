import pytest

from splitrig.core.remote import (
    Protocol,
    RemoteCard,
    RemoteEndpoint,
    RemoteLink,
    RemoteServer,
    RemoteState,
)
from splitrig.core.remote_cost import LinkCost
from splitrig.core.remote_words import (
    NO_PROTECTION,
    RemoteRow,
    cost_text,
    exposure_warning,
    judged,
    link_text,
    protocol_warning,
    server_rows,
    short_link_text,
)
from splitrig.core.units import GIB

ENDPOINT = RemoteEndpoint("workshop")


def test_this_machine_alone_needs_no_warning() -> None:
    assert exposure_warning("127.0.0.1") == ""
    assert exposure_warning("127.0.0.1", lending=True) == ""


@pytest.mark.parametrize("address", ["192.168.1.7", "100.64.0.1", None])
def test_a_private_network_is_warned_of(address: str | None) -> None:
    assert exposure_warning(address) == f"{NO_PROTECTION} Use it in a network you trust."
    assert "no authentication and no encryption" in NO_PROTECTION


def test_a_public_address_is_warned_of_strongly() -> None:
    used, lent = exposure_warning("8.8.8.8"), exposure_warning("8.8.8.8", lending=True)
    for text in (used, lent):
        assert "a public address of the internet" in text
        assert "VPN or an SSH tunnel" in text
        assert NO_PROTECTION in text
    assert lent.startswith("This machine would lend at 8.8.8.8")
    everywhere = exposure_warning("0.0.0.0", lending=True)
    assert "This machine would lend on every network it has" in everywhere


def test_an_engine_of_another_protocol_is_told_of() -> None:
    server = RemoteServer(endpoint=ENDPOINT, state=RemoteState.FREE, protocol=Protocol(7, 0, 0))
    text = protocol_warning(server, Protocol(4, 0, 3))
    assert "workshop:50052 speaks protocol 7.0.0, this machine's engine 4.0.3" in text
    assert protocol_warning(server, Protocol(7, 1, 0)) == ""
    assert protocol_warning(server, None) == ""
    silent = RemoteServer(endpoint=ENDPOINT, state=RemoteState.SILENT)
    assert protocol_warning(silent, Protocol(4, 0, 3)) == ""


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (RemoteLink(), "– ms · – MB/s there · – MB/s back"),
        (RemoteLink(latency_ms=0.314, up_mb_s=112.4, down_mb_s=9.87),
         "0.31 ms · 112 MB/s there · 9.9 MB/s back"),
        (RemoteLink(latency_ms=10.26, up_mb_s=1234.5, down_mb_s=0.123),
         "10.3 ms · 1,234 MB/s there · 0.12 MB/s back"),
        (RemoteLink(latency_ms=140.4), "140 ms · – MB/s there · – MB/s back"),
    ],
)  # fmt: skip
def test_a_link_is_shown_with_the_digits_that_tell_something(link: RemoteLink, text: str) -> None:
    assert link_text(link) == text


def test_the_cost_is_a_number_per_token() -> None:
    known = LinkCost(card_id="x", token_ms=1.234, load_s=None)
    assert cost_text(known) == "adds ~1.2 ms per token at this link"
    unknown = LinkCost(card_id="x", token_ms=None, load_s=None)
    assert cost_text(unknown) == "its link was not measured"


def test_each_card_is_a_line() -> None:
    link = RemoteLink(latency_ms=1.0)
    card = RemoteCard(endpoint=ENDPOINT, number=0, total_bytes=24 * GIB, free_bytes=20 * GIB)
    server = RemoteServer(
        endpoint=ENDPOINT, state=RemoteState.FREE, cards=(card,), link=link, seen_s=1.0
    )
    assert server_rows(server) == (
        RemoteRow(
            id="rpc-workshop:50052-0",
            name="workshop:50052 · card 0",
            memory="20.0 of 24.0 GiB free",
            link="1.0 ms · – MB/s there · – MB/s back",
            state="free",
            trouble="",
            usable=True,
        ),
    )


def test_a_server_that_never_answered_is_a_line_with_its_reason() -> None:
    off = RemoteServer(
        endpoint=ENDPOINT, state=RemoteState.SILENT, message="It is off.", hint="Switch it on."
    )
    (row,) = server_rows(off)
    assert (row.id, row.memory, row.link) == ("workshop:50052", "–", "–")
    assert (row.state, row.trouble, row.usable) == ("silent", "It is off. Switch it on.", False)


def test_a_server_of_another_protocol_cannot_be_used() -> None:
    card = RemoteCard(endpoint=ENDPOINT, number=0, total_bytes=GIB, free_bytes=GIB)
    server = RemoteServer(
        endpoint=ENDPOINT, state=RemoteState.FREE, protocol=Protocol(5, 0, 0), cards=(card,)
    )
    wrong = judged(server, Protocol(4, 0, 3))
    assert (wrong.state, wrong.usable) == (RemoteState.OTHER_PROTOCOL, False)
    assert wrong.message == "workshop:50052 speaks protocol 5.0.0, this machine's engine 4.0.3."
    assert wrong.hint == "Use the same llama.cpp on both."
    assert wrong.cards == (card,)
    assert judged(server, Protocol(5, 1, 0)) is server
    assert judged(server, None) is server


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (RemoteLink(), ""),
        (RemoteLink(latency_ms=0.4), "0.40 ms"),
        (RemoteLink(latency_ms=0.4, up_mb_s=112.0, down_mb_s=9.87), "0.40 ms · 9.9 MB/s"),
    ],
)
def test_a_link_in_short_has_the_slower_way(link: RemoteLink, text: str) -> None:
    assert short_link_text(link) == text
