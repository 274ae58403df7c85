"""The report has what helps and nothing that should stay at home."""

from pathlib import Path

from splitrig.core.bug_report import (
    REPORT_CHARS,
    ReportFacts,
    bug_report,
    line_text,
    log_text,
)
from splitrig.core.engine import Buffers, EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.log_lines import Level, LineReader, LogLine
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.units import GIB, MIB

KEY = "kkkk-SECRET-kkkk"


def device(name: str, layers: int) -> DevicePlan:
    return DevicePlan(
        name=name, id=name, first_layer=0, n_blocks=layers, has_output=False,
        model_bytes=50 * MIB, kv_bytes=72 * MIB, compute_bytes=16 * MIB, overhead_bytes=0,
        free_bytes=GIB,
    )  # fmt: skip


STATUS = EngineStatus(
    phase=Phase.FAILED,
    request=LaunchRequest(model=Path("/home/anna/m/x.gguf"), plan=PlanRequest()),
    plan=Plan(
        devices=(device("RTX 4090", 24), device("RTX 3080", 6)),
        host=HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=0),
        split=(3.0, 1.0),
        fits=True,
    ),
    device_names=("CUDA0", "CUDA1"),
    command=("/home/anna/bin/llama-server", "-m", "/home/anna/my models/x.gguf", "-ts", "3,1"),
    api_key=KEY,
    build="b10068",
    step_seconds={"process": 0.12, "weights": 2.5},
    actual={"CUDA0": Buffers(model_bytes=51 * MIB, kv_bytes=72 * MIB, compute_bytes=16 * MIB)},
    layers={"CUDA0": 24},
    failure=Failure(message="It broke.", hint="Mend it.", exit_code=1),
    mismatches=("RTX 4090 carries 1.0 MiB more than planned.",),
)
FACTS = ReportFacts(
    program="SplitRig 0.1.0",
    system="Linux 6.1",
    python="Python 3.11.2",
    gpus=(
        GpuInfo(
            id="a", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, pci="0000:01:00.0",
            vram_total_bytes=24 * GIB, source="nvml", driver="580.65",
        ),
        GpuInfo(id="b", name="Card", vendor=Vendor.OTHER, source="sysfs"),
    ),
    home="/home/anna",
    user="anna",
    host="tower",
)  # fmt: skip


def report(*raw: str, **more: object) -> str:
    lines = LineReader().read_all(raw)
    return bug_report(FACTS, {"llama.cpp": STATUS}, lines, **more)  # type: ignore[arg-type]


def test_everything_that_helps_is_in_it() -> None:
    text = report("0.00.518.546 E srv: no", "0.00.600.000 I srv: bye")
    assert (
        text
        == """SplitRig 0.1.0 · Linux 6.1 · Python 3.11.2

Cards
- NVIDIA GeForce RTX 4090, 24.0 GiB, 0000:01:00.0, driver 580.65
- Card, – GiB, no bus, driver unknown

Engine llama.cpp: failed, build b10068
- command: ~/bin/llama-server -m "~/my models/x.gguf" -ts 3,1
- failure: It broke. Mend it. (exit code 1)
- start: process 0.1 s, weights 2.5 s
- RTX 4090 as CUDA0, planned / actual: layers 24 / 24; weights 50.00 / 51.00 MiB; \
KV cache 72.00 / 72.00 MiB; compute 16.00 / 16.00 MiB
- RTX 3080 as CUDA1, planned / actual: layers 6 / –; weights 50.00 / – MiB; \
KV cache 72.00 / – MiB; compute 16.00 / – MiB
- RTX 4090 carries 1.0 MiB more than planned.

Log, the last 2 lines
```
0:00.518 E srv: no
0:00.600 I srv: bye
```
"""
    )


def test_nothing_secret_is_in_it() -> None:
    text = report(
        f"0.00.518.546 I srv: the key is {KEY}",
        "0.00.518.546 I load /home/anna/x.gguf on tower for anna@tower",
        "Authorization: Bearer abcdefghijkl",
    )
    assert KEY not in text
    assert "anna" not in text
    assert "tower" not in text
    assert "abcdefghijkl" not in text


def test_the_command_keeps_no_key_even_one_with_a_space() -> None:
    status = EngineStatus(command=("vllm", "serve", "--api-key", "two words", "--port", "1"))
    text = bug_report(FACTS, {"vLLM": status}, ())
    assert "words" not in text
    assert "vllm serve --api-key [removed] --port 1" in text


def test_prompts_of_debug_lines_stay_out() -> None:
    text = report("0.00.1.1 D", "0.00.518.546 D prompt: dear diary", "dear again", "INFO: b")
    assert "dear" not in text
    assert "Log, the last" in text


def test_only_the_end_of_the_log_is_taken() -> None:
    text = report(*(f"line {n}" for n in range(1000)), most_lines=20)
    assert "line 979\n" not in text
    assert "line 980\n" in text
    assert "the last 20 lines" in text


def test_it_fits_into_an_issue() -> None:
    text = report(*("x" * 8000 for _ in range(100)))
    assert len(text) < REPORT_CHARS + 3000
    assert "the last 6 lines" in text


def test_a_line_cannot_end_the_block() -> None:
    assert report("```", "more").count("```") == 2


def test_without_anything_it_says_so() -> None:
    text = bug_report(ReportFacts(), {}, ())
    assert "- none found" in text
    assert "The log is empty." in text


def test_several_engines_are_told_apart() -> None:
    lines = [LogLine(Level.INFO, "a", "llama.cpp 1"), LogLine(Level.ERROR, "b", "ollama", "1:00")]
    assert log_text(lines) == "         I llama.cpp 1  a\n    1:00 E ollama  b"
    assert log_text(lines[:1]) == "         I a"
    assert line_text(lines[0], with_source=True) == "         I llama.cpp 1  a"
    text = bug_report(ReportFacts(demo=True), {"b": STATUS, "a": EngineStatus()}, lines)
    assert text.index("Engine a: stopped") < text.index("Engine b: failed")
