import pytest

from splitrig.core.units import GIB, MIB, gib_text, mib_text, number_text, rate_text, size_text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (32768, 0, "32,768"),
        (-2.5, 1, "−2.5"),
        (-0.04, 1, "0.0"),
        (0, 0, "0"),
        (None, 2, "–"),
    ],
)
def test_numbers_have_thousands_a_real_minus_and_a_dash_when_missing(
    value: float | None, decimals: int, text: str
) -> None:
    assert number_text(value, decimals) == text


def test_bytes_in_gib_and_mib() -> None:
    assert gib_text(24 * GIB) == "24.0"
    assert gib_text(None) == "–"
    assert mib_text(int(50.73 * MIB)) == "50.73"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (None, "–"),
        (512, "512 B"),
        (2048, "2.0 KiB"),
        (98_362_432, "93.8 MiB"),
        (3 * GIB, "3.0 GiB"),
    ],
)
def test_sizes_take_the_unit_that_reads_best(n_bytes: int | None, text: str) -> None:
    assert size_text(n_bytes) == text


@pytest.mark.parametrize(
    ("bytes_s", "text"),
    [
        (0, "0 kB/s"),
        (312_400, "312 kB/s"),
        (999_499, "999 kB/s"),
        (999_500, "1.0 MB/s"),
        (84_120_000, "84.1 MB/s"),
        (999_940_000, "999.9 MB/s"),
        (1_250_000_000, "1.2 GB/s"),
    ],
)
def test_speeds_have_the_decimal_units_of_lines(bytes_s: float, text: str) -> None:
    assert rate_text(bytes_s) == text
