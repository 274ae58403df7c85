"""Records the real vLLM on the processor, into tests/recorded/vllm.

Run as `python -m tests.support.record_vllm [NAME…]` in the root of the checkout, with `gui` in
PYTHONPATH, after `packaging/build_vllm_cpu.py`. Takes some 20 minutes. Writes `NAME.log`
(seconds, a tab, the line) and `NAME.json` (what was run and what came of it), with the paths of
this machine taken out.
"""

import json
import re
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from tests.support.ray_machines import two_machines
from tests.support.vllm_server import RealServer, vllm_cpu, with_ray

from splitrig.core.vllm import Cluster
from splitrig.services.engines.ray_cluster import RayHead
from splitrig.services.engines.vllm_program import find_vllm

RECORDED = Path(__file__).parents[1] / "recorded/vllm"
CACHE = vllm_cpu()
TINY = CACHE / "tiny"
WORK = CACHE / "work"
BASE = ["--max-model-len", "256", "--dtype", "bfloat16", "--enforce-eager"]
BASE += ["--served-model-name", "tiny"]
TWO = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}
CHAT = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 8,
    "temperature": 0,
}
STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}


def redact(text: str) -> str:
    """Take this machine's paths out."""
    text = text.replace(str(TINY), "/models/tiny").replace(str(WORK), "/models")
    text = text.replace(str(CACHE / "with-ray"), "/opt/vllm")
    text = text.replace(str(CACHE / "env"), "/opt/vllm").replace(str(CACHE), "/models")
    text = text.replace(str(Path.home()), "/home/user")
    return re.sub(r"(/\S*)?/lib/python3\.(\d+)/(?!site-packages)", r"/usr/lib/python3.\2/", text)


def save(name: str, server: RealServer, told: dict[str, object]) -> None:
    """Write one recording."""
    lines = (f"{at:.3f}\t{redact(line)}\n" for at, line in server.lines)
    (RECORDED / f"{name}.log").write_text("".join(lines), encoding="utf-8", newline="\n")
    command = [redact(part) for part in ["vllm", *server.command[1:]]]
    facts = {"command": command, "env": server.extra_env, **told}
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (RECORDED / f"{name}.json").write_text(redact(text) + "\n", encoding="utf-8")
    print(f"{name}: {server.elapsed_s():.0f} s, {told}"[:300], flush=True)


def start(arguments: list[str], env: dict[str, str] | None = None, **more: int) -> RealServer:
    """Start the real thing."""
    return RealServer(CACHE / "env/bin/vllm", arguments, env or {}, **more)


def record_run(name: str, arguments: list[str], env: dict[str, str]) -> None:
    """Start, one streamed chat, stop."""
    server = start([str(TINY), *BASE, *arguments], env)
    try:
        health = server.wait_ready()
        server.look()
        processes = sorted(server.alive().values())
        answer = server.ask("POST", "/v1/chat/completions", STREAM)
        health.append((round(server.elapsed_s(), 2), server.health()))
        metrics = server.ask("GET", "/metrics", key=None)
        time.sleep(0.5)
        ended = server.stop()
    finally:
        server.close()
    wanted = ("vllm:cache_config_info", "vllm:generation_tokens_total", "vllm:kv_cache_usage_perc")
    kept = [line for line in str(metrics["body"]).splitlines() if line.startswith(wanted)]
    save(
        name,
        server,
        {
            "health": health,
            "processes": processes,
            "chat": answer,
            "metrics": kept,
            "stop": ended,
        },
    )


def record_answers() -> None:
    """One card's worth of vLLM, and every shape of answer the program meets."""
    server = start([str(TINY), *BASE])
    answers = {}
    try:
        health = server.wait_ready()
        server.look()
        processes = sorted(server.alive().values())
        get, post, chat = "GET", "POST", "/v1/chat/completions"
        answers["health"] = server.ask(get, "/health", key=None)
        answers["version"] = server.ask(get, "/version", key=None)
        answers["models"] = server.ask(get, "/v1/models")
        answers["models_no_key"] = server.ask(get, "/v1/models", key=None)
        answers["models_wrong_key"] = server.ask(get, "/v1/models", key="no")
        answers["metrics_before"] = server.ask(get, "/metrics", key=None)
        answers["chat"] = server.ask(post, chat, CHAT)
        answers["chat_stream"] = server.ask(post, chat, STREAM)
        answers["chat_wrong_key"] = server.ask(post, chat, CHAT, key="no")
        answers["chat_wrong_model"] = server.ask(post, chat, {**CHAT, "model": "nope"})
        long = [{"role": "user", "content": "word " * 100}]
        answers["chat_too_long"] = server.ask(post, chat, {**CHAT, "messages": long})
        answers["chat_too_long_stream"] = server.ask(post, chat, {**STREAM, "messages": long})
        answers["chat_too_many_tokens"] = server.ask(post, chat, {**CHAT, "max_tokens": 5000})
        answers["chat_bad_json"] = server.ask(post, chat, "{nonsense")
        answers["chat_bad_field"] = server.ask(post, chat, {**CHAT, "temperature": "hot"})
        answers["chat_no_messages"] = server.ask(post, chat, {"model": "tiny"})
        answers["completions"] = server.ask(
            post, "/v1/completions", {"model": "tiny", "prompt": "Hi", "max_tokens": 4}
        )
        answers["tokenize"] = server.ask(post, "/tokenize", {"model": "tiny", "prompt": "Hi"})
        answers["not_found"] = server.ask(get, "/props")
        answers["wrong_method"] = server.ask(get, chat)
        answers["metrics_after"] = server.ask(get, "/metrics", key=None)
        ended = server.stop()
    finally:
        server.close()
    save("tp1", server, {"health": health, "processes": processes, "stop": ended})
    for name in ("metrics_before", "metrics_after"):
        body = str(answers.pop(name)["body"])
        lines = [line for line in body.split("\n") if not line.startswith("vllm:") or keep(line)]
        (RECORDED / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    text = redact(json.dumps(answers, indent=1, ensure_ascii=False))
    (RECORDED / "answers.json").write_text(text + "\n", encoding="utf-8")


def keep(line: str) -> bool:
    """Whether a line of the figures is kept: of histograms, only some buckets of two."""
    if "_bucket{" not in line:
        return True
    return line.startswith(("vllm:time_to_first_token", "vllm:inter_token_latency"))


def record_killed(name: str, victim: str) -> None:
    """Two workers; one process is killed while they serve."""
    server = start([str(TINY), *BASE, "-tp", "2"], TWO)
    try:
        health = server.wait_ready()
        server.look()
        processes = sorted(server.alive().values())
        if victim == "APIServer":
            told = server.stop(signal.SIGKILL)
        else:
            pid = next(pid for pid, line in server.pids.items() if victim in line)
            psutil.Process(pid).kill()
            told = {"killed": victim, "health": []}
            seen: list[tuple[float, str]] = []
            killed_s = time.monotonic()
            while time.monotonic() - killed_s < 30:
                answer = server.health() if server.process.poll() is None else "gone"
                if not seen or seen[-1][1] != answer:
                    seen.append((round(time.monotonic() - killed_s, 2), answer))
                if answer == "gone":
                    break
                time.sleep(0.1)
            told["health"] = seen
            told["exit_code"] = server.process.poll()
            told["alive_then"] = sorted(server.alive().values())
            time.sleep(5)
            told["alive_5_s_later"] = sorted(server.alive().values())
    finally:
        server.close()
    save(name, server, {"health": health, "processes": processes, "killed": told})


def record_failure(
    name: str, arguments: list[str], env: dict[str, str] | None = None, **more: int
) -> None:
    """A start that does not come to its end."""
    server = start(arguments, env, **more)
    try:
        health = server.wait_ready()
        if server.process.poll() is None:
            server.stop()
    finally:
        server.close()
    save(name, server, {"health": health, "exit_code": server.process.poll()})


def record_port_taken() -> None:
    """Another program listens there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        record_failure("port_taken", [str(TINY), *BASE], port=other.getsockname()[1])


def changed_model(name: str, changes: dict[str, object]) -> Path:
    """A copy of the tiny model with other words in its config.json."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TINY, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def record_broken_models() -> None:
    """Models that vLLM refuses."""
    folder = changed_model("truncated", {})
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    record_failure("truncated", [str(folder), *BASE])
    folder = changed_model("no-weights", {})
    (folder / "model.safetensors").unlink()
    record_failure("no_weights", [str(folder), *BASE])
    nope = {"architectures": ["NopeForCausalLM"], "model_type": "llama"}
    record_failure("unknown_architecture", [str(changed_model("nope", nope)), *BASE])
    kind = {"architectures": ["NopeForCausalLM"], "model_type": "nope"}
    record_failure("unknown_model_type", [str(changed_model("kind", kind)), *BASE])
    quant = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    record_failure("quantization_refused", [str(changed_model("awq", quant)), *BASE])
    folder = WORK / "no-config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text("Nothing here.\n")
    record_failure("no_config", [str(folder), *BASE])
    gguf = WORK / "model.gguf"
    gguf.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    record_failure("gguf", [str(gguf), *BASE])


def record_bad_choices() -> None:
    """Choices that cannot be."""
    tiny = str(TINY)
    record_failure("heads", [tiny, *BASE, "-tp", "3"], {"VLLM_CPU_OMP_THREADS_BIND": "0|1|1"})
    record_failure("bad_argument", [tiny, *BASE, "--no-such-thing", "1"])
    record_failure("bad_value", [tiny, *BASE, "--kv-cache-dtype", "q4_0"])
    record_failure("missing_model", [str(WORK / "not-there"), *BASE])
    record_failure("context_too_long", [tiny, *BASE, "--max-model-len", "9000"])
    record_kv_too_small()
    record_failure("kv_too_large", [tiny, *BASE], {"VLLM_CPU_KVCACHE_SPACE": "900"})
    partition = {**TWO, "VLLM_PP_LAYER_PARTITION": "4,3"}
    record_failure("partition", [tiny, *BASE, "-pp", "2"], partition)
    record_failure("ray_missing", [tiny, *BASE, "--distributed-executor-backend", "ray"])


def record_kv_too_small() -> None:
    """Room for 65 tokens, and 256 are asked for."""
    small = ["--kv-cache-memory-bytes", "200000", "--block-size", "32"]
    record_failure("kv_too_small", [str(TINY), *BASE, *small], {"VLLM_CPU_KVCACHE_SPACE": ""})


def record_pipeline() -> None:
    """A pipeline that answers, and one that does not.

    On the processor this version warms a model up only to compile it, and a pipeline needs what
    the warm-up makes: without graphs its first request ends the EngineCore.
    """
    env = {**TWO, "VLLM_PP_LAYER_PARTITION": "4,2"}
    compiled = ["-pp", "2", "--no-enforce-eager", "-cc.backend=eager"]
    record_run("pp2", compiled, env)
    record_run("engine_died", ["-pp", "2"], env)


def record_ray() -> None:
    """Two stages over a cluster that has the cards for them; needs root, for its own network."""
    program = find_vllm(with_ray(CACHE))
    with two_machines() as machines:
        cluster = Cluster(host_ip=machines.here, port=6379)
        head = RayHead(program, cluster, lambda _: None, devices=("CUDA0", "CUDA1"))
        env = {**TWO, "VLLM_PP_LAYER_PARTITION": "4,2", "VLLM_HOST_IP": machines.here,
               "RAY_ADDRESS": f"{machines.here}:6379"}  # fmt: skip
        asked = [str(TINY), *BASE, "-pp", "2", "--distributed-executor-backend", "ray"]
        server = RealServer(Path(program.command[0]), asked, env)
        try:
            health = server.wait_ready()
        finally:
            server.close()
            head.stop()
    save("ray_on_cpu", server, {"health": health, "exit_code": server.process.poll()})


def record_flags() -> None:
    """Every option that this version has."""
    program = find_vllm(CACHE / "env")
    text = "\n".join(sorted(program.capabilities().flags))
    (RECORDED / "flags.txt").write_text(text + "\n", encoding="utf-8")


SCENARIOS: dict[str, Callable[[], None]] = {
    "flags": record_flags,
    "answers": record_answers,
    "tp2": lambda: record_run("tp2", ["-tp", "2"], TWO),
    "pipeline": record_pipeline,
    "killed_api_server": lambda: record_killed("killed_api_server", "APIServer"),
    "killed_worker": lambda: record_killed("killed_worker", "VLLM::Worker"),
    "killed_engine_core": lambda: record_killed("killed_engine_core", "VLLM::EngineCore"),
    "port_taken": record_port_taken,
    "broken_models": record_broken_models,
    "bad_choices": record_bad_choices,
    "kv_too_small": record_kv_too_small,
    "ray": record_ray,
}


def main() -> None:
    """Record what was asked for, or everything."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(exist_ok=True)
    for name in sys.argv[1:] or [name for name in SCENARIOS if name not in ("kv_too_small", "ray")]:
        SCENARIOS[name]()


if __name__ == "__main__":
    main()
