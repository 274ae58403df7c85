import pytest

from splitrig.core.errors import EngineError
from splitrig.core.footprint import Backend
from splitrig.core.remote import (
    Protocol,
    Reach,
    RemoteCard,
    RemoteEndpoint,
    RemoteLink,
    RemoteServer,
    RemoteState,
    engine_use,
    parse_endpoints,
    reach_of,
)
from splitrig.core.units import GIB


def server(text: str, n_cards: int = 1, address: str | None = None) -> RemoteServer:
    endpoint = RemoteEndpoint.parse(text)
    cards = tuple(
        RemoteCard(endpoint=endpoint, number=n, total_bytes=24 * GIB, free_bytes=20 * GIB)
        for n in range(n_cards)
    )
    return RemoteServer(
        endpoint=endpoint, state=RemoteState.FREE, cards=cards, address=address, seen_s=5.0
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.7:50052", "192.168.1.7", 50052),
        (" Workshop:1 ", "workshop", 1),
        ("workshop", "workshop", 50052),
        ("rig-2.local:65535", "rig-2.local", 65535),
        ("a", "a", 50052),
        ("localhost:1", "127.0.0.1", 1),
        ("LocalHost.", "127.0.0.1", 50052),
        ("0.0.0.0:7", "127.0.0.1", 7),
        ("a:00007", "a", 7),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert RemoteEndpoint.parse(text) == RemoteEndpoint(host, port)
    assert str(RemoteEndpoint.parse(text)) == f"{host}:{port}"


@pytest.mark.parametrize(
    "text",
    ["", ":", ":50052", "h:", "h:0", "h:65536", "h:5e4", "h:٥", "h:1:2", "http://h:1", "h /x:1",
     "user@h:1", "-h:1", "h,:1", "1.2.3:1", "1.2.3.400:1", "h" * 300, "h:000001"],
)  # fmt: skip
def test_what_is_no_address_is_one_sentence(text: str) -> None:
    with pytest.raises(EngineError, match="is no address of an RPC server") as raised:
        RemoteEndpoint.parse(text)
    assert "HOST:PORT" in raised.value.hint


@pytest.mark.parametrize("text", ["[::1]:50052", "[fe80::1%eth0]:50052", "::1", "fe80::7", "[::1]"])
def test_an_ipv6_address_is_told_of_as_what_the_engine_cannot_reach(text: str) -> None:
    with pytest.raises(EngineError, match="IPv4 only"):
        RemoteEndpoint.parse(text)


def test_a_port_can_be_demanded() -> None:
    with pytest.raises(EngineError, match="'workshop' is no address"):
        RemoteEndpoint.parse("workshop", default_port=None)


def test_several_addresses_stand_between_commas_and_none_twice() -> None:
    assert [str(e) for e in parse_endpoints("a:1, b")] == ["a:1", "b:50052"]
    with pytest.raises(EngineError, match="a:50052 stands there twice"):
        parse_endpoints("a,A:50052")
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:50052 stands there twice"):
        parse_endpoints("localhost,127.0.0.1:50052")
    with pytest.raises(EngineError, match="'' is no address"):
        parse_endpoints("a,,b")


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.THIS_MACHINE),
        ("127.8.0.1", Reach.THIS_MACHINE),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.31.0.1", Reach.PRIVATE),
        ("192.168.1.7", Reach.PRIVATE),
        ("169.254.3.4", Reach.PRIVATE),
        ("100.101.102.103", Reach.PRIVATE),
        ("172.32.0.1", Reach.PUBLIC),
        ("8.8.8.8", Reach.PUBLIC),
        ("0.0.0.0", Reach.EVERYWHERE),
    ],
)
def test_it_is_known_from_where_an_address_is_reached(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


def test_an_engine_takes_servers_of_its_own_major_version_that_are_not_newer() -> None:
    engine = Protocol(4, 1, 3)
    assert Protocol(4, 0, 9).serves(engine)
    assert Protocol(4, 1, 0).serves(engine)
    assert not Protocol(4, 2, 0).serves(engine)
    assert not Protocol(3, 1, 0).serves(engine)
    assert not Protocol(5, 0, 0).serves(engine)
    assert str(engine) == "4.1.3"


def test_a_card_is_a_device_of_the_plan() -> None:
    endpoint = RemoteEndpoint("workshop")
    card = RemoteCard(endpoint=endpoint, number=1, total_bytes=None, free_bytes=7, pads_rows=True)
    device = card.plan_device()
    assert (device.name, device.id) == ("workshop:50052 · card 1", "rpc-workshop:50052-1")
    assert (device.free_bytes, device.total_bytes, device.overhead_bytes) == (7, None, 0)
    assert device.backend is Backend.RPC_PADDED
    assert device.backend.pads_rows
    assert not device.backend.pipelined
    assert card.plan_device(3).free_bytes == 3
    plain = RemoteCard(endpoint=endpoint, number=0, total_bytes=9, free_bytes=7)
    assert plain.plan_device().backend is Backend.RPC


def test_the_engine_numbers_the_devices_of_all_servers_through() -> None:
    one, two, three = server("a", 2), server("b", 3), server("c")
    chosen = (two.cards[1], one.cards[0], two.cards[2])
    use = engine_use(chosen, (one, two, three))
    assert use.rpc == ("b:50052", "a:50052")
    assert [use.names[card.id] for card in chosen] == ["RPC1", "RPC3", "RPC2"]
    assert len(use.names) == 3
    assert engine_use((), (one,)).rpc == ()
    behind = engine_use(chosen, (one, two, three), first=2)
    assert [behind.names[card.id] for card in chosen] == ["RPC3", "RPC5", "RPC4"]


def test_two_names_of_one_server_are_refused() -> None:
    one, two = server("a", address="10.0.0.1"), server("10.0.0.1", address="10.0.0.1")
    with pytest.raises(EngineError, match=r"a:50052 and 10\.0\.0\.1:50052 are the same server"):
        engine_use((one.cards[0], two.cards[0]), (one, two))
    other_port = server("10.0.0.1:1", address="10.0.0.1")
    assert len(engine_use((one.cards[0], other_port.cards[0]), (one, other_port)).rpc) == 2


def test_cards_of_a_server_that_cannot_be_used_are_refused_with_its_reason() -> None:
    good = server("a")
    gone = RemoteServer(
        endpoint=good.endpoint, state=RemoteState.SILENT, message="a is off.", hint="Switch it on."
    ).after(good)
    assert gone.cards == good.cards
    with pytest.raises(EngineError, match=r"a is off\.") as raised:
        engine_use(gone.cards, (gone,))
    assert raised.value.hint == "Switch it on."
    with pytest.raises(EngineError, match="a:50052 was not looked at yet"):
        engine_use(good.cards, ())


def test_a_failed_look_keeps_what_the_last_good_one_found() -> None:
    good = server("a", 2, "10.0.0.1")
    good = RemoteServer(
        endpoint=good.endpoint, state=good.state, cards=good.cards, address="10.0.0.1",
        protocol=Protocol(4, 0, 3), link=RemoteLink(latency_ms=1.0), seen_s=5.0,
    )  # fmt: skip
    failed = RemoteServer(endpoint=good.endpoint, state=RemoteState.BUSY, message="Busy.")
    after = failed.after(good)
    assert (after.state, after.message) == (RemoteState.BUSY, "Busy.")
    assert (after.cards, after.link, after.protocol) == (good.cards, good.link, good.protocol)
    assert (after.address, after.seen_s) == ("10.0.0.1", 5.0)
    assert not after.usable
    assert good.after(failed) is good
    assert failed.after(None) is failed
    assert failed.after(server("b")) is failed
