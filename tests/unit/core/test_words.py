from splitrig.core.words import counted, listed, ordinal


def test_things_are_listed_as_in_a_sentence() -> None:
    assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 101, 111, 112)
    assert " ".join(ordinal(n) for n in numbers) == (
        "1st 2nd 3rd 4th 10th 11th 12th 13th 21st 22nd 101st 111th 112th"
    )


def test_equal_things_are_counted() -> None:
    assert counted([]) == ""
    assert counted(["P40"] * 4) == "4 × P40"
    assert counted(["P40", "K80", "P40"]) == "2 × P40 and K80"
