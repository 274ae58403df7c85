from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.model import Model, Tensor
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.remote import RemoteCard, RemoteEndpoint, RemoteLink
from splitrig.core.remote_cost import (
    HEADER_BYTES,
    LOAD_ROUND_TRIPS,
    ODD_ROUND_TRIPS,
    LinkCost,
    link_costs,
)
from splitrig.core.units import GIB

WIDTH, VOCABULARY, CONTEXT = 4096, 32000, 1000
LINK = RemoteLink(latency_ms=1.0, up_mb_s=100.0, down_mb_s=50.0)
REQUEST = PlanRequest(split=(1, 1, 1), n_ctx=CONTEXT)


def model(width: int = WIDTH) -> Model:
    rows = 1024
    size = width * rows * 18 // 32
    tensors = [Tensor("token_embd.weight", (width, rows), "q4_0", size)]
    tensors += [Tensor(f"blk.{n}.ffn_up.weight", (width, rows), "q4_0", size) for n in range(5)]
    tensors += [Tensor(f"blk.{n}.attn_norm.weight", (width,), "f32", 4 * width) for n in range(5)]
    tensors.append(Tensor("output.weight", (width, rows), "q4_0", size))
    return Model(
        path=Path("m.gguf"), name="m", architecture="llama", quantization="Q4_0",
        file_bytes=0, n_layer=5, n_ctx_train=8192, n_embd=WIDTH, n_vocab=VOCABULARY,
        n_ff=WIDTH, n_head=(32,) * 5, n_head_kv=(8,) * 5, head_k=128, head_v=128,
        tensors=tuple(tensors),
    )  # fmt: skip


def card(text: str, number: int = 0, link: RemoteLink = LINK) -> RemoteCard:
    return RemoteCard(
        endpoint=RemoteEndpoint.parse(text), number=number, total_bytes=None,
        free_bytes=8 * GIB, link=link,
    )  # fmt: skip


def costs(
    cards: list[RemoteCard | None], request: PlanRequest = REQUEST, width: int = WIDTH
) -> list[LinkCost]:
    """Costs of a plan on these cards; `None` is one of this machine."""
    devices = [
        c.plan_device() if c else PlanDevice(name="own", id="own", free_bytes=8 * GIB)
        for c in cards
    ]
    plan = make_plan(model(width), devices, request)
    known = {c.id: c for c in cards if c}
    return list(link_costs(model(width), plan, request, known))


def ms(up_bytes: float, down_bytes: float, link: RemoteLink = LINK) -> float:
    assert link.latency_ms is not None
    assert link.up_mb_s is not None
    assert link.down_mb_s is not None
    return link.latency_ms + up_bytes / link.up_mb_s / 1e3 + down_bytes / link.down_mb_s / 1e3


INPUTS = HEADER_BYTES + 2 * CONTEXT


def test_each_remote_card_costs_a_round_trip_and_what_passes() -> None:
    first, last = costs([card("a"), None, card("b")])
    assert first.card_id == "rpc-a:50052-0"
    assert first.token_ms == pytest.approx(ms(INPUTS + 4 * WIDTH, 4 * WIDTH))
    # the last one sends the whole distribution of the next token
    assert last.token_ms == pytest.approx(ms(INPUTS + 4 * WIDTH, 4 * VOCABULARY))


def test_between_two_cards_of_one_server_the_activations_stay_there() -> None:
    first, second, other = costs([card("a", 0), card("a", 1), card("b")])
    assert first.token_ms == pytest.approx(ms(INPUTS + 4 * WIDTH, 0))
    assert second.token_ms == pytest.approx(ms(INPUTS, 4 * WIDTH))
    assert other.token_ms == pytest.approx(ms(INPUTS + 4 * WIDTH, 4 * VOCABULARY))


def test_a_card_without_a_layer_costs_nothing_and_is_no_neighbour() -> None:
    found = costs([card("a", 0), card("b"), card("a", 1)], replace(REQUEST, split=(1, 0, 1)))
    assert [cost.card_id for cost in found] == ["rpc-a:50052-0", "rpc-a:50052-1"]
    assert found[0].token_ms == pytest.approx(ms(INPUTS + 4 * WIDTH, 0))


def test_the_mask_of_a_long_context_passes_with_every_token() -> None:
    short = costs([card("a"), None, None])[0].token_ms
    long = costs([card("a"), None, None], replace(REQUEST, n_ctx=101_000))[0].token_ms
    plain = costs([card("a"), None, None], replace(REQUEST, flash_attention=False))[0].token_ms
    assert short is not None
    assert long is not None
    assert plain is not None
    assert long - short == pytest.approx(2 * 100_000 / 100e3)
    assert plain - short == pytest.approx(2 * CONTEXT / 100e3)
    trained = costs([card("a"), None, None], replace(REQUEST, n_ctx=0))[0].token_ms
    assert trained == pytest.approx(ms(HEADER_BYTES + 2 * 8192 + 4 * WIDTH, 4 * WIDTH))


def test_a_link_that_was_not_measured_has_no_figure() -> None:
    unknown = costs([card("a", link=RemoteLink()), None, None])[0]
    assert (unknown.token_ms, unknown.load_s) == (None, None)
    slow = costs([card("a", link=RemoteLink(latency_ms=2.0)), None, None])[0]
    assert (slow.token_ms, slow.load_s) == (2.0, None)


def test_the_load_takes_the_weights_and_some_waits() -> None:
    request = replace(REQUEST, split=(3, 0, 0))
    plan = make_plan(model(), [card("a").plan_device()], replace(request, split=(1,)))
    cost = costs([card("a"), None, None], request)[0]
    waits = LOAD_ROUND_TRIPS * 1e-3
    assert cost.load_s == pytest.approx(plan.devices[0].model_bytes / 100e6 + waits)


def test_rows_of_an_odd_width_are_asked_for_one_by_one() -> None:
    whole = costs([card("a"), None, None], replace(REQUEST, split=(1, 0, 0)), 4096)[0].load_s
    odd = costs([card("a"), None, None], replace(REQUEST, split=(1, 0, 0)), 4096 - 32)[0].load_s
    half = costs([card("a"), None, None], replace(REQUEST, split=(1, 1, 0)), 4096 - 32)[0].load_s
    assert whole is not None
    assert odd is not None
    assert half is not None
    smaller = 6 * 32 * 1024 * 18 / 32 + 5 * 4 * 32
    assert odd - whole == pytest.approx(6 * ODD_ROUND_TRIPS * 1e-3 - smaller / 100e6, abs=1e-4)
    assert half < odd - 2 * ODD_ROUND_TRIPS * 1e-3


def test_divided_layers_wait_for_the_link_more_often_than_is_known() -> None:
    found = costs([card("a"), None], replace(REQUEST, split=(1, 1), split_mode="tensor"))
    assert found == [LinkCost(card_id="rpc-a:50052-0", token_ms=None, load_s=None, each_layer=True)]
