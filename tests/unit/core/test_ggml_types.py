import gguf
import pytest

from splitrig.core.ggml_types import BY_NAME, BY_NUMBER, CACHE_TYPES, device_bytes, row_bytes


def test_every_type_of_the_reference_package_is_known_with_its_size() -> None:
    for kind, (block, n_bytes) in gguf.GGML_QUANT_SIZES.items():
        ours = BY_NUMBER[int(kind)]
        if kind.name == "Q8_1":
            # never in a file; the package has the layout from before ggml halved its scales
            assert (ours.block, ours.block_bytes, n_bytes) == (32, 36, 40)
            continue
        assert (ours.name, ours.block, ours.block_bytes) == (kind.name.lower(), block, n_bytes)


def test_every_cache_type_is_a_type() -> None:
    assert set(CACHE_TYPES) <= set(BY_NAME)


@pytest.mark.parametrize(
    ("kind", "n", "n_bytes"),
    [("f16", 3, 6), ("q8_0", 64, 68), ("q4_0", 33, 36), ("q4_k", 256, 144)],
)
def test_a_row_takes_whole_blocks(kind: str, n: int, n_bytes: int) -> None:
    assert row_bytes(kind, n) == n_bytes


def test_only_quantised_rows_that_are_no_multiple_of_512_get_room() -> None:
    assert device_bytes("f16", 576, 1152) == 1152
    assert device_bytes("q8_0", 512, 544) == 640
    assert device_bytes("q8_0", 576, 612) == 1152  # 612 and a row of 448 elements, in steps of 128
