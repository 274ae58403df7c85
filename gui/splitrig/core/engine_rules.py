"""What each engine can split and how, which models it loads, and which settings it takes.

Where it cannot do something the reason is said here, in the words the window shows.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_words import NAMES
from splitrig.core.errors import EngineError
from splitrig.core.ollama import follows_ratio
from splitrig.core.plan import Plan
from splitrig.core.share import is_open
from splitrig.core.split_mode import LAYER
from splitrig.core.words import listed


class Ratio(StrEnum):
    """How an engine can share a model out over several cards."""

    EXACT = "exact"
    """Any ratio, by whole layers."""
    STAGES = "stages"
    """Layers per stage of a pipeline; within a stage every card takes the same."""
    NONE = "none"
    """The engine decides by itself."""


class Reads(StrEnum):
    """Where an engine's models come from."""

    GGUF = "gguf"
    STORE = "store"
    FOLDER = "folder"


class Knob(StrEnum):
    """A setting below the split, by the name of its field."""

    CONTEXT = "n_ctx"
    KEYS = "cache_type_k"
    VALUES = "cache_type_v"
    REQUESTS = "n_parallel"
    LAYERS = "n_gpu_layers"
    FLASH = "flash_attention"
    SPLIT_MODE = "split_mode"
    EXPERTS = "n_cpu_moe"
    DRAFT = "draft"
    PROJECTOR = "projector"
    EXTRA = "extra_line"


FOLDED = frozenset({Knob.SPLIT_MODE, Knob.EXPERTS, Knob.DRAFT, Knob.PROJECTOR, Knob.EXTRA})
"""Settings that few touch; a change of engine tells only of those that were."""
_OTHER_FOLDED = FOLDED - {Knob.SPLIT_MODE}
_FILES = (Knob.DRAFT, Knob.PROJECTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRules:
    """The rules of one engine.

    Attributes:
        kind: Which.
        says: What it reads and how it splits, half a sentence.
        ratio: How it can share a model out.
        no_ratio: Why no ratio can be set; empty where one can.
        picks_cards: The user chooses the cards; otherwise the engine has chosen already.
        reads: Which models it loads.
        split_modes: By the names of llama.cpp's `--split-mode`; empty where it has none.
        knobs: Settings it takes.
        refusals: Why it does not take the others.
        one_cache_type: Keys and values of the KV cache have the same type.
        lends: It can use cards that the processor lends, as on the demo rig.
        no_network: Why it must not be opened to other machines; empty where it may.
        network_way_out: What to do instead, one sentence.
        no_remote: Why it cannot use cards of other machines over llama.cpp's RPC; empty where it
            can.
        only_on: The one system it runs on, as `sys.platform`; empty for all.
    """

    kind: EngineKind
    says: str
    ratio: Ratio = Ratio.EXACT
    no_ratio: str = ""
    picks_cards: bool = True
    reads: Reads = Reads.GGUF
    split_modes: tuple[str, ...] = ("layer", "none")
    knobs: frozenset[Knob] = frozenset(Knob)
    refusals: tuple[tuple[Knob, str], ...] = ()
    one_cache_type: bool = False
    lends: bool = True
    no_network: str = ""
    network_way_out: str = ""
    no_remote: str = ""
    only_on: str = ""

    @property
    def name(self) -> str:
        """As the window names it."""
        return NAMES[self.kind]

    def refusal(self, knob: Knob) -> str:
        """Why a setting cannot be made; empty where it can."""
        return dict(self.refusals).get(knob, "") if knob not in self.knobs else ""


def _closed(why: str, *knobs: Knob) -> tuple[tuple[Knob, str], ...]:
    """The same reason for several settings."""
    return tuple((knob, why) for knob in knobs)


_ALONE = "Its server answers one request after the other."
_OWN_SETTINGS = "The server of llama-cpp-python has no setting for it; llama.cpp's own has."
_OLLAMA = "Ollama has no setting for it; llama.cpp takes it."
RULES = {
    EngineKind.LLAMA_CPP: EngineRules(
        kind=EngineKind.LLAMA_CPP,
        says="reads GGUF files, splits by layers",
        split_modes=("layer", "tensor", "row", "none"),
    ),
    EngineKind.LLAMA_CPP_PYTHON: EngineRules(
        kind=EngineKind.LLAMA_CPP_PYTHON,
        says="reads GGUF files, splits by layers, from Python",
        no_remote="llama.cpp's own server uses cards of other machines, and notices when one is "
        "lost; choose it for them.",
        knobs=frozenset(Knob) - {Knob.REQUESTS, Knob.EXPERTS, *_FILES, Knob.EXTRA},
        refusals=(
            (Knob.REQUESTS, _ALONE),
            *_closed(_OWN_SETTINGS, Knob.EXPERTS, *_FILES, Knob.EXTRA),
        ),
    ),
    EngineKind.OLLAMA: EngineRules(
        kind=EngineKind.OLLAMA,
        says="reads GGUF files and its own models, splits by layers",
        knobs=frozenset(Knob) - _OTHER_FOLDED,
        refusals=_closed(_OLLAMA, *sorted(_OTHER_FOLDED)),
        no_remote="Ollama uses the cards of this machine only.",
        no_network="Ollama knows no key: everybody on the network could use and delete models.",
        network_way_out="Leave it on this machine, or choose llama.cpp, which takes a key.",
    ),
    EngineKind.OLLAMA_ATTACHED: EngineRules(
        kind=EngineKind.OLLAMA_ATTACHED,
        says="a server that already runs",
        no_remote="Whoever started this Ollama chose its cards.",
        ratio=Ratio.NONE,
        no_ratio="This Ollama was started by somebody else, who chose its cards and their shares.",
        picks_cards=False,
        reads=Reads.STORE,
        knobs=frozenset({Knob.CONTEXT, Knob.LAYERS}),
        split_modes=("layer",),
        refusals=(
            *_closed(
                "It was set when this Ollama was started.",
                Knob.KEYS,
                Knob.VALUES,
                Knob.REQUESTS,
                Knob.FLASH,
            ),
            *_closed(_OLLAMA, *sorted(FOLDED)),
        ),
        lends=False,
        no_network="Whoever started this Ollama chose its address.",
        network_way_out="Set OLLAMA_HOST where it is started.",
    ),
    EngineKind.VLLM: EngineRules(
        kind=EngineKind.VLLM,
        says="Hugging Face folders, tensor and pipeline parallel",
        no_remote="vLLM joins machines with Ray, not with llama.cpp's RPC.",
        ratio=Ratio.STAGES,
        reads=Reads.FOLDER,
        split_modes=(),
        knobs=frozenset({Knob.CONTEXT, Knob.REQUESTS, Knob.EXTRA}),
        refusals=(
            *_closed(
                "vLLM has types of its own for the KV cache, the same for keys and values.",
                Knob.KEYS,
                Knob.VALUES,
            ),
            (Knob.LAYERS, "vLLM keeps every layer on the cards."),
            (Knob.FLASH, "vLLM chooses its way to attend by the card."),
            (Knob.SPLIT_MODE, "vLLM has a layout instead: tensor × pipeline parallel."),
            (Knob.EXPERTS, "vLLM keeps all experts on the cards."),
            (Knob.DRAFT, "vLLM takes a draft model as --speculative-config, an extra argument."),
            (Knob.PROJECTOR, "vLLM finds what lets a model see in the model's own folder."),
        ),
        lends=False,
        # "Do not rely exclusively on --api-key" (docs/usage/security.md): /invocations, /tokenize,
        # /pause and more answer everybody
        no_network="vLLM's key guards only some of its paths: everybody on the network could use "
        "and pause it without one.",
        network_way_out="Put a reverse proxy before it that passes nothing but /v1.",
        only_on="linux",
    ),
}


def rules_of(kind: EngineKind, build: str | None = None) -> EngineRules:
    """The rules of an engine, as far as they are known for its build.

    Args:
        kind: Which.
        build: What it says of itself; `None` when it was not asked yet.
    """
    rules = RULES[kind]
    if kind is EngineKind.OLLAMA and build is not None and not follows_ratio(build):
        return replace(
            rules,
            ratio=Ratio.NONE,
            no_ratio=f"Ollama {build} divides a model by itself, and only it knows the shares; "
            "0.30 and newer take a ratio. The choice of cards and of layers holds.",
            reads=Reads.STORE,
            one_cache_type=True,
            lends=False,
        )
    return rules


def divided_by_engine(plan: Plan, rules: EngineRules) -> Plan:
    """The plan, with a note that only the engine knows the shares, where that is so."""
    if rules.ratio is not Ratio.NONE or len(plan.devices) < 2:
        return plan
    note = f"{rules.no_ratio} The shares in this plan follow free memory."
    return replace(plan, notes=(note, *plan.notes))


def version_of(build: str) -> tuple[int, ...] | None:
    """The numbers of a version such as '0.32.15' or 'v0.12.1-rc2'; `None` when it has none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", build.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else None


def why_not_here(kind: EngineKind, platform: str) -> str:
    """Why an engine cannot run on this system (`sys.platform`); empty where it can."""
    only = RULES[kind].only_on
    if not only or platform.startswith(only):
        return ""
    return f"{NAMES[kind]} runs on Linux only; on Windows it does inside WSL2."


def reads(rules: EngineRules, model: Path, *, is_folder: bool, in_store: bool) -> str:
    """Why an engine cannot load a model; empty when it can.

    Args:
        rules: The engine's.
        model: File or folder.
        is_folder: It is a folder.
        in_store: The engine has it in its own store.
    """
    match rules.reads:
        case Reads.FOLDER if not is_folder:
            return (
                f"{rules.name} loads a folder from Hugging Face with safetensors; "
                f"{model.name} is one file."
            )
        case Reads.STORE if not in_store:
            return f"{rules.name} loads models of its own store; {model.name} is not one of them."
        case Reads.GGUF if is_folder:
            return f"{rules.name} loads one GGUF file; {model.name} is a folder."
    return ""


def refused(rules: EngineRules, request: LaunchRequest) -> str:
    """Why an engine cannot do what is asked of it, one sentence; empty when it can.

    Only settings that few touch are looked at: the others have their own defaults everywhere.
    """
    plan = request.plan
    asked = {
        Knob.EXPERTS: plan.n_cpu_moe != 0,
        Knob.DRAFT: plan.draft is not None,
        Knob.PROJECTOR: plan.projector is not None,
        Knob.EXTRA: bool(request.extra_arguments),
        Knob.SPLIT_MODE: plan.split_mode != LAYER,
    }
    return closed(rules, asked) or mode_refused(rules, plan.split_mode)


def mode_refused(rules: EngineRules, mode: str) -> str:
    """Why an engine does not split in such a mode; empty when it does."""
    if mode == LAYER or mode in rules.split_modes:
        return ""
    if not rules.split_modes:
        return rules.refusal(Knob.SPLIT_MODE)
    return f"{rules.name} knows no split mode {mode}, only {listed(rules.split_modes)}."


def stay_home(rules: EngineRules, host: str) -> None:
    """Refuse to open an engine to other machines that is not safe there.

    Args:
        rules: The engine's.
        host: Address it is to listen on.

    Raises:
        EngineError: Others could reach it at this address.
    """
    if rules.no_network and is_open(host):
        raise EngineError(rules.no_network, rules.network_way_out)


def closed(rules: EngineRules, asked: Mapping[Knob, bool]) -> str:
    """The first setting that is asked for and that an engine does not have; empty without one."""
    for knob, wanted in asked.items():
        if wanted and knob not in rules.knobs:
            return f"{WORDS[knob]}: {rules.refusal(knob)}"
    return ""


WORDS = {
    Knob.CONTEXT: "Context",
    Knob.KEYS: "Cache type of keys",
    Knob.VALUES: "Cache type of values",
    Knob.REQUESTS: "Requests",
    Knob.LAYERS: "Layers on the cards",
    Knob.FLASH: "Flash attention",
    Knob.EXPERTS: "Experts on the processor",
    Knob.DRAFT: "Draft model",
    Knob.PROJECTOR: "Projector",
    Knob.EXTRA: "Extra arguments",
    Knob.SPLIT_MODE: "Split mode",
}
"""What the window and the command line call a setting."""


def lost_on_switch(
    old: EngineRules,
    new: EngineRules,
    *,
    several_cards: bool,
    used: Collection[Knob] = frozenset(),
    split_mode: str = LAYER,
) -> tuple[str, ...]:
    """Sentences on what does not carry over from one engine to another.

    Whatever is not named is kept: the cards, the ratio, and the settings both take.

    Args:
        old: The rules of the engine chosen before.
        new: Those of the other.
        several_cards: More than one takes part.
        used: Settings that are not as they come.
        split_mode: The split mode chosen.
    """
    lost = []
    if Knob.SPLIT_MODE in new.knobs and split_mode not in new.split_modes:
        lost.append(f"{new.name} knows no split mode {split_mode}; it splits by layers.")
    if several_cards and old.ratio is not Ratio.NONE and new.ratio is Ratio.NONE:
        lost.append(f"The split is not kept. {new.no_ratio}")
    if several_cards and new.ratio is Ratio.STAGES and old.ratio is Ratio.EXACT:
        lost.append(f"{new.name} takes the split as layers per stage of its pipeline.")
    if new.one_cache_type and not old.one_cache_type:
        lost.append(f"{new.name} has one type for keys and values: that of the keys is taken.")
    told = [knob for knob in Knob if knob not in FOLDED or knob in used]
    gone = [knob for knob in told if knob in old.knobs and knob not in new.knobs]
    reasons = dict.fromkeys(filter(None, map(new.refusal, gone)))
    return (*lost, *(_named(why, [k for k in gone if new.refusal(k) == why]) for why in reasons))


def _named(why: str, knobs: Sequence[Knob]) -> str:
    """'Draft model and projector: …'."""
    first, *others = (WORDS[knob] for knob in knobs)
    return f"{listed([first, *(word[:1].lower() + word[1:] for word in others)])}: {why}"
