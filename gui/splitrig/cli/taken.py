"""Which engine takes which option: what one would leave out in silence is refused with a sentence.

The table has every option of `serve` and `plan`; a test holds it against what they declare.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import RULES, EngineRules, Knob, mode_refused, stay_home
from splitrig.core.engine_words import NAMES
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.share import LOOPBACK
from splitrig.core.split import read_shares
from splitrig.core.split_mode import LAYER, NONE

LLAMA, PYTHON, OLLAMA, ATTACHED, VLLM = (
    EngineKind.LLAMA_CPP,
    EngineKind.LLAMA_CPP_PYTHON,
    EngineKind.OLLAMA,
    EngineKind.OLLAMA_ATTACHED,
    EngineKind.VLLM,
)
_GGUF = (LLAMA, PYTHON, OLLAMA)
EXTRA = "--"
"""Stands for the arguments behind it."""
_BY_CHOICE = {
    LLAMA: "take --engine llama.cpp",
    PYTHON: "take --engine llama-cpp-python",
    OLLAMA: "take --engine ollama without --attach, and SplitRig starts one of its own",
    ATTACHED: "take --engine ollama --attach",
    VLLM: "take --engine vllm",
}
"""How each engine is asked for."""

Why = Callable[[EngineRules], str]
"""Why an engine does not take an option; empty where it does."""


def _all(_rules: EngineRules) -> str:
    return ""


def _knob(knob: Knob) -> Why:
    return lambda rules: rules.refusal(knob)


def _only(reason: str, *takers: EngineKind) -> Why:
    return lambda rules: "" if rules.kind in takers else reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One option.

    Attributes:
        names: All its names; for a switch also the one that turns it off.
        why: Why an engine does not take it.
        dest: Where its value lies.
        as_is: The value that says what an engine does anyway, so that nothing is left out.
        instead: A hint of its own, by engine.
    """

    names: tuple[str, ...]
    why: Why = _all
    dest: str = ""
    as_is: Mapping[EngineKind, object] = field(default_factory=dict)
    instead: Mapping[EngineKind, str] = field(default_factory=dict)

    def refusal(self, kind: EngineKind, value: object) -> str:
        """Why an engine would leave this value out; empty where it does not."""
        if kind in self.as_is and value == self.as_is[kind]:
            return ""
        return self.why(RULES[kind])


_NO_BATCH = {OLLAMA: "Use --ubatch, which sets both, or leave it out."}
_LAYOUT = {
    VLLM: "Lay it out with --tensor-parallel-size and --pipeline-parallel-size, or leave it out."
}
_CACHE = {VLLM: "Use --kv-cache-dtype instead, or leave it out."}
_RAY = {VLLM: "Use --ray ADDRESS instead, or leave it out and take llama.cpp with a GGUF file."}
_REMOTE = dict.fromkeys(
    (PYTHON, OLLAMA, ATTACHED),
    "Take --engine llama.cpp with --rpc, or leave --rpc out and use this machine's cards.",
)
_SPLIT = dict.fromkeys(
    _GGUF, "Divide the model with --tensor-split instead; vLLM loads folders from Hugging Face."
)
_ONLY_VLLM = "only vLLM has it"
_RUNS = "it listens already, where whoever started it said"

TABLE = (
    Row(names=("--help", "-h")),
    Row(names=("--model",)),
    Row(names=("--json",)),
    Row(names=("--engine",)),
    Row(names=("--share",)),
    Row(names=("--ctx",), why=_knob(Knob.CONTEXT)),
    Row(names=("--tensor-split", "--split"), why=lambda rules: rules.no_ratio),
    Row(
        names=("--gpus",),
        why=lambda rules: "" if rules.picks_cards else "whoever started it chose its cards",
    ),
    Row(
        names=("--ubatch",),
        why=_only("it chooses the size of its batches by itself", *_GGUF),
    ),
    Row(
        names=("--batch",),
        why=lambda rules: (
            ""
            if rules.kind in (LLAMA, PYTHON)
            else "it has one size for both kinds of batch"
            if rules.kind is OLLAMA
            else "it chooses the size of its batches by itself"
        ),
        instead=_NO_BATCH,
    ),
    Row(names=("--parallel",), why=_knob(Knob.REQUESTS), dest="parallel", as_is={PYTHON: 1}),
    Row(
        names=("--kv-unified", "--no-kv-unified"),
        why=_only("it has no setting for how requests share the KV cache", LLAMA, OLLAMA),
        dest="kv_unified",
        as_is={PYTHON: False},
    ),
    Row(names=("--cache-type-k",), why=_knob(Knob.KEYS), instead=_CACHE),
    Row(names=("--cache-type-v",), why=_knob(Knob.VALUES), instead=_CACHE),
    Row(
        names=("--n-gpu-layers",),
        why=_knob(Knob.LAYERS),
        dest="n_gpu_layers",
        as_is={VLLM: -1},
    ),
    Row(names=("--flash-attn",), why=_knob(Knob.FLASH)),
    Row(
        names=("--split-mode",),
        why=_knob(Knob.SPLIT_MODE),
        dest="split_mode",
        as_is=dict.fromkeys(EngineKind, LAYER),
        instead=_LAYOUT,
    ),
    Row(
        names=("--n-cpu-moe", "--cpu-moe"),
        why=_knob(Knob.EXPERTS),
        dest="n_cpu_moe",
        as_is=dict.fromkeys(EngineKind, 0),
    ),
    Row(names=("--model-draft",), why=_knob(Knob.DRAFT)),
    Row(names=("--n-gpu-layers-draft",), why=_knob(Knob.DRAFT)),
    Row(names=("--mmproj",), why=_knob(Knob.PROJECTOR)),
    Row(names=(EXTRA,), why=_knob(Knob.EXTRA)),
    Row(names=("--tensor-parallel-size",), why=_only(_ONLY_VLLM, VLLM), instead=_SPLIT),
    Row(names=("--pipeline-parallel-size",), why=_only(_ONLY_VLLM, VLLM), instead=_SPLIT),
    Row(
        names=("--gpu-memory-utilization",),
        why=_only(_ONLY_VLLM, VLLM),
        instead=dict.fromkeys(_GGUF, "Use --tensor-split or --ctx to fill the cards less."),
    ),
    Row(
        names=("--dtype",),
        why=_only(_ONLY_VLLM, VLLM),
    ),
    Row(
        names=("--kv-cache-dtype",),
        why=_only(_ONLY_VLLM, VLLM),
        instead=dict.fromkeys(_GGUF, "Use --cache-type-k and --cache-type-v instead."),
    ),
    Row(names=("--enforce-eager",), why=_only(_ONLY_VLLM, VLLM)),
    Row(
        names=("--llama-server",),
        why=_only("it has a program of its own", LLAMA),
    ),
    Row(
        names=("--ollama",),
        why=_only("it has a program of its own", OLLAMA),
        instead={ATTACHED: "Leave it out, or leave --attach out to start that Ollama."},
    ),
    Row(names=("--attach",), why=_only("it is for Ollama", OLLAMA, ATTACHED)),
    Row(names=("--vllm",), why=_only("it has a program of its own", VLLM)),
    Row(
        names=("--ray", "--ray-start"),
        why=_only(_ONLY_VLLM, VLLM),
        instead={LLAMA: "Add --engine vllm, or reach other machines with --rpc HOST:PORT."},
    ),
    Row(
        names=("--rpc", "--local-cards"),
        why=lambda rules: rules.no_remote,
        instead=_RAY | _REMOTE,
    ),
    Row(names=("--port",), why=_only(_RUNS, *_GGUF, VLLM)),
    Row(
        names=("--host",),
        why=lambda rules: (
            _RUNS
            if rules.kind is ATTACHED
            else f"it listens on {LOOPBACK} only"
            if rules.kind is OLLAMA
            else ""
        ),
        dest="host",
        as_is={OLLAMA: LOOPBACK, ATTACHED: LOOPBACK},
    ),
    Row(
        names=("--demo",),
        why=lambda rules: "" if rules.lends else "the processor cannot lend it cards",
    ),
    Row(names=("--free-mib",)),
    Row(names=("--rig",)),
    Row(
        names=("--no-overhead",),
        why=_only("what it takes beside the model is part of its share of memory", *_GGUF),
        instead={VLLM: "Leave it out, or set the share with --gpu-memory-utilization."},
    ),
)


def given(words: Sequence[str]) -> tuple[str, ...]:
    """The options that stand on a command line argparse has taken, by their whole names.

    Whether an option was given cannot be told from its value, which may be the default.

    Args:
        words: What stands before `--`.
    """
    known = [name for row in TABLE for name in row.names]
    found = []
    for word in words:
        name = word.partition("=")[0]
        if name in known:
            found.append(name)
        elif name.startswith("--"):
            # argparse takes any beginning that only one option has
            found += [whole for whole in known if whole.startswith(name)][:1]
    return tuple(dict.fromkeys(found))


def check_options(options: argparse.Namespace, kind: EngineKind) -> None:
    """Refuse options that an engine would leave out in silence, before any file is read.

    Raises:
        EngineError: It has nothing like that, or is to be opened to a network it is not safe on.
        SplitRigError: One has no effect beside another.
    """
    asked = {*options.given, *([EXTRA] if options.extra else [])}
    for row in TABLE:
        why = row.refusal(kind, getattr(options, row.dest, None))
        for name in row.names:
            if why and name in asked:
                raise EngineError(_sentence(name, kind, why), _way_out(row, kind, options))
    stay_home(RULES[kind], getattr(options, "host", LOOPBACK))
    if why := mode_refused(RULES[kind], options.split_mode):
        raise EngineError(why, "Take --split-mode layer, or take llama.cpp.")
    _check_pairs(options)


def _check_pairs(options: argparse.Namespace) -> None:
    """Refuse an option that means nothing beside another one, or without it.

    Raises:
        SplitRigError: There is one, or a split is none.
    """
    if "--n-gpu-layers-draft" in options.given and options.model_draft is None:
        raise SplitRigError(
            "--n-gpu-layers-draft goes with --model-draft.", "Name a draft model, or leave it out."
        )
    if options.tensor_split is None:
        return
    read_shares(options.tensor_split)
    if options.split_mode == NONE:
        raise SplitRigError(
            "--split-mode none puts the whole model on the first card, so there is nothing for "
            "--tensor-split to divide.",
            "Leave one of the two out.",
        )


def _sentence(name: str, kind: EngineKind, why: str) -> str:
    what = f"{name} is" if name != EXTRA else f"What stands behind {EXTRA} is"
    return f"{what} not taken by {NAMES[kind]}: {_lowered(why)}"


def _lowered(sentence: str) -> str:
    """For the middle of a sentence; names keep their capitals."""
    first = sentence.partition(" ")[0]
    kept = first if any(first.startswith(name) for name in ("Ollama", "vLLM")) else first.lower()
    return f"{kept}{sentence.removeprefix(first).rstrip('.')}."


def _way_out(row: Row, kind: EngineKind, options: argparse.Namespace) -> str:
    if kind in row.instead:
        return row.instead[kind]
    if options.command == "plan":
        return "Leave it out; a GGUF file is planned for llama.cpp, a folder for vLLM."
    takers = [other for other in _BY_CHOICE if not row.why(RULES[other])]
    best = OLLAMA if kind is ATTACHED and OLLAMA in takers else takers[0]
    return f"Leave it out, or {_BY_CHOICE[best]}."
