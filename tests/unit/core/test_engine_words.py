from pathlib import Path

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest
from splitrig.core.engine_words import log_name
from splitrig.core.plan import PlanRequest


def test_lines_are_named_after_their_engine_and_its_number() -> None:
    request = LaunchRequest(model=Path("x"), plan=PlanRequest(), engine=EngineKind.VLLM)
    assert log_name(EngineStatus(slot=2, request=request)) == "vLLM 2"
    assert log_name(EngineStatus()) == "llama.cpp 1"
