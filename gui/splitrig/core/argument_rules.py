"""Which of llama-server's options may not be given by hand, and which change what was planned.

A rule names an option by any name it has had; the help of the binary at hand says which other
names the option goes by, so that a new one is no way around a rule.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from splitrig.core.share import LOOPBACK

Fits = Callable[[Sequence[str]], bool]
"""Whether the values of an option make it harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is to be said of an option.

    Attributes:
        names: A pattern that one of its names fits, whole.
        why: The reason, without a full stop; goes on after a colon.
        instead: Where the same is set here, one sentence; empty where nothing is.
        unless: With such values nothing is to be said.
        only: A pattern that the very word has to fit, where an option is harmless by its other
            names, as `--no-mmap` is not by `--mmap`.
    """

    names: re.Pattern[str]
    why: str
    instead: str = ""
    unless: Fits | None = None
    only: re.Pattern[str] | None = None


def _rule(
    names: str, why: str, instead: str = "", *, unless: Fits | None = None, only: str = ""
) -> Rule:
    """Patterns of names, separated by spaces."""
    return Rule(
        names=re.compile(names.replace(" ", "|")),
        why=why,
        instead=instead,
        unless=unless,
        only=re.compile(only.replace(" ", "|")) if only else None,
    )


def _at_least_trace(values: Sequence[str]) -> bool:
    return bool(values) and values[0].isdecimal() and int(values[0]) >= TRACE


TRACE = 4
"""The least `-lv` with which the log says what lies where."""
_PANEL = "Set it on the Launch page"
_RUNS = "whoever reaches the engine could run programs and change files on this computer"
_FETCHES = "it would fetch a model from the internet"
_ENDS = "the engine would print something and end"
_READ = "SplitRig reads the log to know what lies on which card"
_ROUTER = "the engine would load other models by itself"

REFUSED = (
    # who reaches it
    _rule("--host", "it decides who can reach the engine",
          "Switch 'On the network' on the Launch page, or give --host to splitrig serve.",
          unless=lambda values: tuple(values) == (LOOPBACK,)),
    _rule("--port --reuse-port", "SplitRig checks that the port is free, and asks there",
          f"{_PANEL} under 'Port', or with --port of splitrig serve."),
    _rule("--api-key --api-key-file", "SplitRig makes a new key at every start",
          "The key of a running engine is shown on the Launch page under 'Use elsewhere'."),
    _rule("--ssl-.*", "SplitRig itself could not speak to the engine then"),
    _rule("--cors-.*", "web pages of others could then ask the engine from your browser"),
    _rule("--api-prefix", "SplitRig would no longer find the engine at its address"),
    _rule("--path", "it would hand out files of this computer"),
    _rule("--media-path", "requests could then read files of this computer"),
    _rule("--slot-save-path", "requests could then write files on this computer"),
    _rule("--tools --tools-.* -ag --agent --mcp-.* --(web)?ui-mcp-proxy", _RUNS),
    _rule("--rpc", "cards of other machines take part in the split like all others",
          "Give their addresses to --rpc of splitrig serve."),
    # which model
    _rule("--models-(dir|preset|max|autoload)", _ROUTER),
    _rule("-hf.?.? --hf-.* -mu --model-url -dr --docker-repo -mmu --mmproj-url --.*-hf(-.*)?",
          _FETCHES,
          "Download it first, then choose the file."),
    _rule("-m --model", "the model is chosen on the Launch page, or with --model"),
    _rule("-md --model-draft --spec-draft-model -ngld --(n-)?gpu-layers-draft --spec-draft-ngl",
          "the draft model is part of the plan",
          f"{_PANEL} under 'More', or with --model-draft of splitrig serve."),
    _rule("-mm --mmproj --(no-)?mmproj-auto --no-mmproj -mmdev --mmproj-device",
          "the projector is part of the plan",
          f"{_PANEL} under 'More', or with --mmproj of splitrig serve."),
    # what lies where
    _rule("-dev --device -mg --main-gpu", "the cards and their order are chosen on the Launch page",
          "Switch cards on and off there."),
    _rule("-ts --tensor-split", "the shares follow the split bar",
          f"{_PANEL}, or with --tensor-split of splitrig serve."),
    _rule("-sm --split-mode", "the plan depends on it",
          f"{_PANEL} under 'More', or with --split-mode of splitrig serve."),
    _rule("-ngl --(n-)?gpu-layers", "the plan depends on it",
          f"{_PANEL} under 'Layers on the cards', or with --n-gpu-layers of splitrig serve."),
    _rule("-n?cmoe --(n-)?cpu-moe", "the plan depends on it",
          f"{_PANEL} under 'More', or with --n-cpu-moe of splitrig serve."),
    _rule("-c --ctx-size", "the plan depends on it",
          f"{_PANEL} under 'Context', or with --ctx of splitrig serve."),
    _rule("-ct[kv] --cache-type-[kv]", "the plan depends on it",
          f"{_PANEL} under 'KV cache', or with --cache-type-k and -v of splitrig serve."),
    _rule("-fa --flash-attn", "the plan depends on it",
          f"{_PANEL}, or with --flash-attn of splitrig serve."),
    _rule("-np --parallel", "the plan depends on it",
          f"{_PANEL} under 'Requests', or with --parallel of splitrig serve."),
    _rule("-(no-)?kvu --(no-)?kv-unified", "the plan depends on it",
          "Give --kv-unified to splitrig serve."),
    _rule("--kv-unified-per-slot", "it decides the size of the context",
          f"{_PANEL} under 'Context'."),
    _rule("-fit.? --fit --fit-.*", "the engine would move layers away from where you put them"),
    # what the log says
    _rule("--log-disable --log-file --log-jsonl --log-colors", _READ),
    _rule("-lv --log-verbosity --verbosity", _READ, f"{TRACE} and 5 are taken.",
          unless=_at_least_trace),
    # what ends at once
    _rule("-h --help --usage --version --list-devices -cl --cache-list --completion-.*", _ENDS),
)  # fmt: skip
"""The first one that fits tells. Nothing of this is passed on."""

WARNED = (
    _rule("-u?b --u?batch-size", "the plan counts the compute buffer for 2,048 and 512",
          "Give --batch and --ubatch to splitrig plan for the real figure."),
    _rule("-ot --override-tensor -ncffn --n-cpu-ffn",
          "those tensors lie elsewhere than the plan says"),
    _rule("-n?kvo --(no-)?kv-offload", "the KV cache then lies in RAM, not where the plan has it",
          only="-nkvo --no-kv-offload"),
    _rule("--swa-full", "the KV cache then needs more room than the plan counts"),
    _rule("--mlock -lm --load-mode", "it changes how much of the model the computer's RAM holds"),
    _rule("--mmap --no-mmap", "the whole model then passes through the computer's RAM",
          only="--no-mmap"),
    _rule("-n?dio --(no-)?direct-io", "it changes how much of the model the computer's RAM holds",
          only="-dio --direct-io"),
    _rule("--no-host --(no-)?op-offload -nr --(no-)?repack",
          "the compute buffers differ from the plan"),
    _rule("-cram --cache-ram -ctxcp --(ctx|swa)-checkpoints",
          "it takes RAM that the plan does not count"),
    _rule("--lora.* --control-vector.*", "the plan does not count it"),
    _rule("-mv --model-vocoder", "the plan does not count the vocoder"),
    _rule("--override-kv", "the plan reads the model's own figures"),
    _rule("-devd --device-draft --spec-draft-device -ct[kv]d --cache-type-[kv]-draft "
          "--spec-draft-type-[kv] -otd --override-tensor-draft --spec-draft-override-tensor "
          "-n?cmoed --(n-)?cpu-moe-draft --spec-draft-(n-)?cpu-moe --spec-draft-ncmoe",
          "the plan counts the draft model as it lies without it"),
    _rule("--(no-)?mmproj-offload",
          "the plan has the projector on the first card", only="--no-mmproj-offload"),
    _rule("--embeddings? --rerank(ing)?", "the chat does not work with it"),
    _rule("--sleep-idle-seconds",
          "the cards are emptied while the engine sleeps, though it is shown as running"),
    _rule("--props", "whoever has the key may change the engine's settings"),
    _rule("--(no-)?(web)?ui", "the engine then also serves its own page", only="--(web)?ui"),
    _rule("--log-prompts-dir", "every prompt is then written into that folder"),
    _rule("-lcd --lookup-cache-dynamic", "what is written is kept in that file"),
    _rule("--video-ffmpeg-dir", "the engine then runs the programs of that folder"),
)  # fmt: skip
"""The first one that fits tells. These are passed on."""

UNTRUSTED = "untrusted environments"
"""What the help says of options with which requests can do more than ask."""
DOWNLOADS = "download weights from the internet"
REACH = re.compile(
    r"-.*?\b(ssl|tls|cors|rpc|mcp|tools?|agent|proxy|host|port|listen|bind|api-key|token)\b.*"
)
"""Names of options not known here that are about who reaches the engine."""
HARMLESS = re.compile(r"--(no-host|offline)")
BY_TEXT = (
    (UNTRUSTED, Rule(names=REACH, why=_RUNS)),
    (DOWNLOADS, Rule(names=REACH, why=_FETCHES, instead="Download it first.")),
)
BY_NAME = Rule(names=REACH, why="it is about who reaches the engine, which SplitRig decides")
