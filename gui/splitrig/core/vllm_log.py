"""Reads vLLM's log: how far it is, what its workers took, what went wrong.

Every process writes its name before its lines: `(Worker_TP1 pid=123) INFO 11-25 00:35:39
[gpu_worker.py:467] …`. Some figures are only told by the first worker of a machine.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.engine_log import (
    BufferKind,
    BufferSeen,
    BuildNamed,
    DeviceUsed,
    LogEvent,
    Mark,
    Passed,
    Progressed,
    Several,
)
from splitrig.core.units import GIB
from splitrig.core.vllm_failure import read_trouble

_PREFIX = re.compile(
    r"^(?:\((?P<process>[\w-]+)(?: rank=(?P<rank>\d+))? pid=(?P<pid>\d+)(?:, ip=[\w.:]+)?\) ?)?"
    r"(?:(?:INFO|WARNING|ERROR|DEBUG|CRITICAL) \d\d-\d\d [\d:]+ \[[^\]]*\] ?)?"
)
_RANK = re.compile(r"world_size=(?P<world>\d+) rank=(?P<rank>\d+) local_rank=\d+")
_PLACE = re.compile(r"(?:_PP(?P<pp>\d+))?(?:_PCP\d+)?(?:_TP(?P<tp>\d+))?")
_BUILD = re.compile(r"Initializing an? (?:V\d )?LLM engine \(v(?P<build>[\w.+]+)\)")
_PORT = re.compile(r"non-default args: \{.*'port': (?P<port>\d+)")
_SHARDS = re.compile(r"Loading \S+ checkpoint shards:.*?\| (?P<done>\d+)/(?P<all>\d+) \[")
_WEIGHTS = re.compile(r"(?:Model loading|[Ll]oading model weights) took (?P<gib>[\d.]+) Gi?B")
_KV = re.compile(r"KV cache size: (?P<tokens>[\d,]+) tokens")
_TAKEN = re.compile(
    r"Actual usage is (?P<consumed>[\d.]+) GiB for (?:consumed memory|weight)"
    r".*?(?P<peak>[\d.]+) GiB for peak activation"
    r".*?(?P<graphs>[\d.]+) GiB for CUDAGraph"
)
_OLD = re.compile(
    r"model weights take (?P<weights>[\d.]+)GiB; non_torch_memory takes [\d.]+GiB; PyTorch "
    r"activation peak memory takes (?P<peak>[\d.]+)GiB; the rest .* KV Cache is (?P<kv>[\d.]+)GiB"
)
_MARKS = (
    ("Starting to load model", Mark.WEIGHTS),
    ("Loading weights took", Mark.CONTEXT),
    ("init engine (profile", Mark.WARMUP),
    ("Capturing CUDA graph", Mark.WARMUP),
    ("Application startup complete", Mark.LOADED),
)
_WORDS = re.compile(
    r"LLM engine|non-default args|checkpoint shards|took|KV cache size|blocks:|Actual usage|"
    r"model weights take|world_size=|Starting to load|init engine|Capturing|startup complete"
)
"""Words of which every line has one that says something; spares the others the patterns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmWorker:
    """What is known of a worker before the start.

    Attributes:
        device: The engine's word for its card, such as `CUDA1`.
        shown: The card's name in the window.
        kv_token_bytes: What one token takes in the KV cache of all its layers, bytes.
        free_bytes: Free memory of its card before the start, bytes.
    """

    device: str
    shown: str
    kv_token_bytes: int = 0
    free_bytes: int = 0


class VllmLog:
    """Understands the lines of one run, in the order they come.

    Attributes:
        kv_tokens: Tokens the KV cache holds; `None` until it is said.
    """

    def __init__(self, workers: Sequence[VllmWorker], tp: int = 1) -> None:
        self.kv_tokens: int | None = None
        self._workers = tuple(workers)
        self._tp = tp
        self._ranks: dict[str, int] = {}
        self._marks: set[Mark] = set()
        self._named: set[int] = set()
        self._weighed: set[int] = set()
        self._scratch: list[BufferSeen] = []
        self._port = ""

    def read_line(self, line: str) -> LogEvent | None:
        """What a line says; `None` for lines that say nothing to follow."""
        match = _PREFIX.match(line)
        assert match is not None  # noqa: S101 - every part of it may be absent
        text = line[match.end() :]
        rank = self._rank_of(match)
        if _WORDS.search(text):
            event = self._event(text, rank, match["pid"])
            if event is not None:
                return event
        return read_trouble(text, lambda number: self._card(number, rank), self._port)

    def _rank_of(self, match: re.Match[str]) -> int | None:
        """The worker that wrote a line; `None` for the other processes.

        With one worker it may live inside the EngineCore (v1/executor/uniproc_executor.py).
        """
        pid, name = match["pid"], match["process"] or ""
        if match["rank"] is not None:
            return self._known(int(match["rank"]))
        if pid in self._ranks:
            return self._ranks[pid]
        if len(self._workers) == 1 and not name.startswith("APIServer"):
            return 0
        place = _PLACE.fullmatch(re.sub(r"^(?:Vllm)?Worker(?:_DP\d+)?|_(?:DCP|EP)\d+.*", "", name))
        if name.startswith("Worker_") and place is not None:
            return self._known(int(place["pp"] or 0) * self._tp + int(place["tp"] or 0))
        return None

    def _known(self, rank: int) -> int | None:
        return rank if rank < len(self._workers) else None

    def _card(self, number: str | None, rank: int | None) -> str:
        """The shown name of a card: vLLM numbers those it was given.

        Where every worker sees one card only (Ray), it is number 0 to each of them.
        """
        if number is not None and (rank is None or int(number) > 0):
            rank = self._known(int(number))
        if rank is None and len(self._workers) == 1:
            rank = 0
        return self._workers[rank].shown if rank is not None else "a card"

    def _event(self, text: str, rank: int | None, pid: str | None) -> LogEvent | None:
        if match := _RANK.search(text):
            return self._use(int(match["rank"]), pid)
        if match := _SHARDS.search(text):
            return Progressed(int(match["done"]) / max(int(match["all"]), 1))
        if match := _KV.search(text):
            return self._cache(int(match["tokens"].replace(",", "")))
        if match := _BUILD.search(text):
            return BuildNamed(match["build"])
        if match := _PORT.search(text):
            self._port = match["port"]
            return None
        if rank is not None and (event := self._taken(text, rank)) is not None:
            return event
        for words, mark in _MARKS:
            if words in text and mark not in self._marks:
                self._marks.add(mark)
                return self._passed(mark)
        return None

    def _passed(self, mark: Mark) -> LogEvent:
        """A mark; with the last one everything was said."""
        if mark is not Mark.LOADED or not self._scratch:
            return Passed(mark)
        held, self._scratch = self._scratch, []
        return Several((*held, Passed(mark)))

    def _use(self, rank: int, pid: str | None) -> LogEvent | None:
        """A worker says which one it is."""
        known = self._known(rank)
        if known is None or known in self._named:
            return None
        if pid is not None:
            self._ranks[pid] = known
        self._named.add(known)
        return self._used(known)

    def _used(self, rank: int) -> DeviceUsed:
        worker = self._workers[rank]
        return DeviceUsed(worker.device, worker.shown, None, worker.free_bytes)

    def _cache(self, tokens: int) -> LogEvent | None:
        """The KV cache of all workers: each keeps its layers of the same tokens."""
        self.kv_tokens = tokens
        seen = [
            self._seen(rank, BufferKind.KV, tokens * worker.kv_token_bytes)
            for rank, worker in enumerate(self._workers)
            if worker.kv_token_bytes
        ]
        return self._together(range(len(self._workers)), seen) if seen else None

    def _seen(self, rank: int, kind: BufferKind, n_bytes: int) -> BufferSeen:
        return BufferSeen(self._workers[rank].device, kind, n_bytes)

    def _together(self, ranks: Sequence[int], seen: Sequence[BufferSeen]) -> LogEvent:
        """Buffers, after the devices they are on if those were not named before."""
        fresh = [rank for rank in ranks if rank not in self._named]
        self._named.update(fresh)
        return Several((*(self._used(rank) for rank in fresh), *seen))

    def _taken(self, text: str, rank: int) -> LogEvent | None:
        """What a worker took on its card."""
        if match := _WEIGHTS.search(text):
            weights = _gib(match["gib"])
            # workers of one stage take the same, and only the first of a machine says it
            stage = rank // self._tp
            same = [r for r in range(len(self._workers)) if r // self._tp == stage]
            self._weighed.update(same)
            return self._together(same, [self._seen(r, BufferKind.MODEL, weights) for r in same])
        if match := _TAKEN.search(text):
            compute = _gib(match["peak"]) + _gib(match["graphs"])
            # later stages say their weights only here, with what the links between cards take
            return self._told(rank, compute, [(BufferKind.MODEL, _gib(match["consumed"]))])
        if match := _OLD.search(text):
            sizes = [(BufferKind.MODEL, match["weights"]), (BufferKind.KV, match["kv"])]
            return self._told(rank, _gib(match["peak"]), [(kind, _gib(n)) for kind, n in sizes])
        return None

    def _told(self, rank: int, compute: int, sizes: Sequence[tuple[BufferKind, int]]) -> LogEvent:
        """What one worker says of itself at the end.

        Scratch memory is held back until the weights of all are known: weights that follow it
        are taken for those of a new load.
        """
        seen = [
            self._seen(rank, kind, n_bytes)
            for kind, n_bytes in sizes
            if kind is not BufferKind.MODEL or rank not in self._weighed
        ]
        self._weighed.add(rank)
        self._scratch.append(self._seen(rank, BufferKind.COMPUTE, compute))
        if len(self._weighed) == len(self._workers):
            seen += self._scratch
            self._scratch = []
        return self._together([rank], seen)


def _gib(text: str) -> int:
    return round(float(text) * GIB)
