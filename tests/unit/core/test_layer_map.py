import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.layer_map import HOST, cumulative_edges, layer_counts, layer_devices


@pytest.mark.parametrize(
    ("split", "n_layer", "n_gpu_layers", "counts"),
    [
        # as llama-server b10068 reports them for SmolLM2 (30 blocks and the output)
        ((3, 1), 30, -1, (24, 7)),
        ((1, 1), 30, -1, (16, 15)),
        ((1, 3), 30, -1, (8, 23)),
        ((1, 0), 30, -1, (31, 0)),
        # five equal cards under 64 blocks, as in a published log: 13/13/13/13/12 and the output
        ((1, 1, 1, 1, 1), 64, -1, (13, 13, 13, 13, 13)),
        ((1, 1), 30, 10, (5, 5)),
        ((1, 1), 30, 0, (0, 0)),
        ((1, 1), 30, 99, (16, 15)),
    ],
)
def test_layers_lie_as_the_engine_lays_them(
    split: tuple[float, ...], n_layer: int, n_gpu_layers: int, counts: tuple[int, ...]
) -> None:
    assert layer_counts(layer_devices(split, n_layer, n_gpu_layers), len(split)) == counts


def test_the_output_layer_is_offloaded_first_and_the_first_blocks_last() -> None:
    assert layer_devices((1,), 3, 2) == (HOST, HOST, 0, 0)


def test_edges_are_rounded_to_32_bits_at_every_step() -> None:
    # 1/6 itself rounds to 0.16666667163; the sum 0.60000002384 makes it the float below
    assert cumulative_edges((0.1, 0.2, 0.3)) == [0.1666666567325592, 0.5, 1.0]


@given(
    st.lists(st.floats(0, 2**40, width=32), min_size=1, max_size=16).filter(
        lambda s: sum(s) > 1e-3
    ),
    st.integers(1, 200),
    st.integers(-1, 250),
)
def test_every_layer_has_one_place_and_cards_follow_each_other(
    split: list[float], n_layer: int, n_gpu_layers: int
) -> None:
    devices = layer_devices(split, n_layer, n_gpu_layers)
    wanted = n_layer + 1 if n_gpu_layers < 0 else min(n_gpu_layers, n_layer + 1)
    assert len(devices) == n_layer + 1
    assert sum(d != HOST for d in devices) == wanted
    assert list(devices) == sorted(devices)
    assert all(d < len(split) for d in devices)
