"""Ray clusters as values: addresses of heads, and the cards of the other machines."""

import pytest

from splitrig.core.errors import EngineError
from splitrig.core.ray import FarCard, RayNode, RayState, far_cards, is_far, parse_head, settled
from splitrig.core.vllm import Cluster

OWN = ("192.168.1.5", "10.0.0.1")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.1.5", "192.168.1.5", 6379),
        (" 10.0.0.1:7000 ", "10.0.0.1", 7000),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
    ],
)
def test_a_head_on_this_machine(text: str, host: str, port: int) -> None:
    assert parse_head(text, OWN) == Cluster(host_ip=host, port=port)


@pytest.mark.parametrize(
    "text",
    ["", ":6379", "workshop", "192.168.1", "192.168.1.5:", "192.168.1.5:0", "192.168.1.5:65536",
     "192.168.1.5:x", "192.168.1.5:٦٣", "http://192.168.1.5", "[::1]:6379", "::1"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse_head(text, OWN)
    assert caught.value.message == f"'{text}' is no IPv4 address of Ray's head."
    assert caught.value.hint == "Write one of this machine, such as 192.168.1.5:6379."


def test_a_head_on_another_machine() -> None:
    with pytest.raises(EngineError) as caught:
        parse_head("192.168.1.9:6379", OWN)
    assert caught.value.message == (
        "192.168.1.9 is not this machine, whose addresses are 192.168.1.5, 10.0.0.1 and 127.0.0.1."
    )
    assert "Ray's head has to run where vLLM is started" in caught.value.hint


def test_the_address_that_ray_has_is_taken() -> None:
    cluster = Cluster(host_ip="127.0.0.1", port=6379)
    here = RayState((RayNode("10.0.0.1", 2),), n_free=2, here="10.0.0.1")
    assert settled(cluster, here).host_ip == "10.0.0.1"
    assert settled(cluster, RayState((), 0)) == cluster


def test_cards_of_the_other_machines() -> None:
    nodes = (RayNode("10.0.0.1", 2), RayNode("10.0.0.9", 2), RayNode("10.0.0.3", 0))
    state = RayState((*nodes, RayNode("10.0.0.7", 1)), n_free=5)
    found = far_cards(state, "10.0.0.1")
    assert [card.id for card in found] == ["ray-10.0.0.9-0", "ray-10.0.0.9-1", "ray-10.0.0.7-0"]
    assert found[2] == FarCard("ray-10.0.0.7-0", "10.0.0.7 · card 0")
    assert all(is_far(card.id) for card in found)
    assert not is_far("GPU-1")
    assert state.n_cards == 5
