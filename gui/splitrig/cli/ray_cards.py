"""Cards of other machines for vLLM on the command line: a Ray cluster, found or started here."""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from splitrig.cli.options import whole
from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Rig
from splitrig.core.plan import PlanDevice
from splitrig.core.ray import (
    MEMORY,
    MEMORY_DETAIL,
    WARNING,
    RayState,
    far_cards,
    holds_text,
    join_command,
    parse_head,
    settled,
)
from splitrig.core.vllm import Cluster
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.helpers import Kept
from splitrig.services.engines.ports import lan_addresses
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.ray_cluster import RayHead, read_ray
from splitrig.services.store.settings import log_dir

LOOK_S = 2.0
"""From one look at a cluster that is waited for to the next; a look takes a second by itself."""
STEP_S = 0.1


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    group = parser.add_argument_group("several machines for vLLM, joined by Ray")
    group.add_argument(
        "--ray",
        metavar="ADDRESS[:PORT]",
        help="use the cards of the Ray cluster whose head is at this address of this machine",
    )
    group.add_argument(
        "--ray-start",
        type=whole(1, 1024),
        metavar="N",
        help="start that head here, and vLLM once all machines together have N cards",
    )


def check_ray(options: argparse.Namespace) -> None:
    """Refuse options that do not go together, before any file is read.

    Raises:
        EngineError: One lacks the other, or the address is none.
    """
    if options.ray is None and options.ray_start is None:
        return
    if options.ray is None:
        raise EngineError(
            "--ray-start does not say at which address.",
            f"Add --ray with this machine's, such as --ray {(*lan_addresses(), '127.0.0.1')[0]}.",
        )
    parse_head(options.ray, lan_addresses())


def join_ray(
    options: argparse.Namespace,
    engines: Engines,
    own: tuple[PlanDevice, ...],
    local: tuple[Rig, Path],
    stopped: Sequence[int],
    helpers: ExitStack,
) -> tuple[tuple[PlanDevice, ...], Cluster | None]:
    """This machine's cards and behind them those of the cluster's other machines.

    Blocks for some seconds, and with `--ray-start` until the cards are there.

    Args:
        options: `ray`, `ray_start` and `json` are read.
        engines: The engines of this machine.
        own: This machine's cards.
        local: The rig and the model, to name the cards for a head that is started.
        stopped: Gets an entry when the user wants to stop.
        helpers: Ends the head that is started here.

    Returns:
        The cards, and the cluster; without `--ray` the cards alone and `None`.

    Raises:
        EngineError: It cannot be used or started.
        ProbeCancelledError: `stopped` got an entry meanwhile.
    """
    if options.ray is None:
        return own, None
    if own[0].id.startswith("demo-"):
        raise EngineError("vLLM needs a real card, and there is none here.", "Leave --ray out.")
    cluster = parse_head(options.ray, lan_addresses())
    if options.ray_start is None:
        state = _look(engines, cluster, stopped)
        _say(cluster, state, wanted=None, as_json=options.json)
    else:
        names = _names(engines, own, local, stopped)
        head = RayHead(
            engines.vllm(),
            cluster,
            lambda _: None,  # its log file has them
            devices=names,
            cancelled=lambda: bool(stopped),
            kept=Kept(log_dir=log_dir()),
        )
        helpers.callback(head.stop)
        state = _wait(head, engines, options.ray_start, stopped, as_json=options.json)
    cluster = settled(cluster, state)
    _check_own(cluster, state, len(own))
    devices = (*own, *_far_devices(state, cluster, own))
    return devices, replace(cluster, n_cards=len(devices))


def _names(
    engines: Engines,
    own: Sequence[PlanDevice],
    local: tuple[Rig, Path],
    stopped: Sequence[int],
) -> tuple[str, ...]:
    """What vLLM calls this machine's cards."""
    found = engines.ask_devices(EngineKind.VLLM, *local, lambda: bool(stopped))
    devices = [found.device(card.id) for card in own]
    return tuple(device.name for device in devices if device is not None)


def _look(engines: Engines, cluster: Cluster, stopped: Sequence[int]) -> RayState:
    address = f"{cluster.host_ip}:{cluster.port}"
    return read_ray(engines.vllm(), address, lambda: bool(stopped))


def _wait(
    head: RayHead, engines: Engines, wanted: int, stopped: Sequence[int], *, as_json: bool
) -> RayState:
    """Look again and again until all machines together have the cards; tell every change."""
    told: RayState | None = None
    while True:
        state = _look(engines, head.cluster, stopped)
        if state != told:
            _say(head.cluster, state, wanted=wanted, as_json=as_json)
            told = state
        if state.n_cards >= wanted:
            return state
        again_s = time.monotonic() + LOOK_S
        while time.monotonic() < again_s:
            if stopped:
                raise ProbeCancelledError("Stopped.")
            if (code := head.poll()) is not None:
                raise EngineError(f"Ray's head here ended (exit code {code}).", "Start it again.")
            time.sleep(STEP_S)


def _check_own(cluster: Cluster, state: RayState, n_own: int) -> None:
    """Ray hands out this machine's cards; with others than those planned no split would hold.

    Raises:
        EngineError: It has more or fewer of them than there are.
    """
    here = next((node.n_cards for node in state.nodes if node.ip == cluster.host_ip), 0)
    if here != n_own:
        raise EngineError(
            f"The Ray cluster has {here} cards of this machine ({cluster.host_ip}), where there "
            f"are {n_own}.",
            f"Start its head with all of them (--num-gpus={n_own}), or let --ray-start do it.",
        )


def _far_devices(
    state: RayState, cluster: Cluster, own: Sequence[PlanDevice]
) -> tuple[PlanDevice, ...]:
    """Cards of the other machines, each like the smallest one here, as in the window."""
    least = min(own, key=lambda card: card.free_bytes)
    return tuple(
        replace(least, name=far.name, id=far.id) for far in far_cards(state, cluster.host_ip)
    )


def _say(cluster: Cluster, state: RayState, *, wanted: int | None, as_json: bool) -> None:
    """What the cluster holds, how machines join, and what to beware of."""
    cluster = settled(cluster, state)
    others = state.others(cluster.host_ip)
    if as_json:
        news = {
            "event": "ray",
            "address": f"{cluster.host_ip}:{cluster.port}",
            "started": wanted is not None,
            "nodes": [{"ip": node.ip, "cards": node.n_cards} for node in state.nodes],
            "cards": state.n_cards,
            "free": state.n_free,
            "wanted": wanted,
            "join": join_command(cluster),
            "warnings": [WARNING, *([f"{MEMORY} {MEMORY_DETAIL}"] if others else [])],
        }
        print(json.dumps(news), flush=True)
        return
    print(f"Ray at {cluster.host_ip}:{cluster.port}: {holds_text(state)}.", flush=True)
    if wanted is not None and state.n_cards < wanted:
        print(f"Waiting for {wanted} cards. {WARNING}")
        print("On every further machine, in vLLM's environment:")
        print(f"  {join_command(cluster)}", flush=True)
    elif others:
        print(f"{MEMORY} {MEMORY_DETAIL}", flush=True)
