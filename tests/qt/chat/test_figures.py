"""The figures under an answer."""

from splitrig.core.chat import AnswerStats
from splitrig.views.chat.figures import figures


def first_token(stats: AnswerStats) -> str:
    return next(" ".join(f) for f in figures(stats, running=False) if f[0] == "first token")


def test_time_spent_loading_is_told_of_where_it_matters() -> None:
    assert first_token(AnswerStats(first_token_s=0.31)) == "first token 0.31 s"
    assert first_token(AnswerStats(first_token_s=0.31, load_s=0.02)) == "first token 0.31 s"
    assert first_token(AnswerStats(first_token_s=6.31, load_s=4.16)) == (
        "first token 6.31 s (4.2 s of it loading)"
    )
