"""Cards that other machines lend over llama.cpp's RPC: addresses, and what a look found."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from splitrig.core.errors import EngineError
from splitrig.core.footprint import Backend
from splitrig.core.plan import PlanDevice
from splitrig.core.share import LOOPBACK

DEFAULT_PORT = 50052
"""What `ggml-rpc-server` listens on if it is not told otherwise (tools/rpc/rpc-server.cpp)."""
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?", re.IGNORECASE)
_HERE = frozenset({"localhost", "localhost.", "0.0.0.0"})  # noqa: S104 - connected to, not bound
"""Other words for 127.0.0.1: a connection to them ends there, whatever a name service says."""
_WAY_OUT = "Write HOST:PORT, as in 192.168.1.7:50052."


class Reach(StrEnum):
    """From where an address can be reached."""

    THIS_MACHINE = "this machine"
    PRIVATE = "private network"
    PUBLIC = "internet"
    EVERYWHERE = "every network of this machine"


def reach_of(address: str) -> Reach:
    """From where a numeric address can be reached.

    Shared address space (100.64.0.0/10, which VPNs such as Tailscale use) counts as private.

    Raises:
        ValueError: It is no numeric address.
    """
    number = ipaddress.ip_address(address)
    if number.is_unspecified:
        return Reach.EVERYWHERE
    if number.is_loopback:
        return Reach.THIS_MACHINE
    return Reach.PUBLIC if number.is_global else Reach.PRIVATE


@dataclass(frozen=True, slots=True)
class RemoteEndpoint:
    """Where an RPC server listens; `str()` is what the engine is given for `--rpc`."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = DEFAULT_PORT) -> "RemoteEndpoint":
        """Read `workshop`, `workshop:50052` or `192.168.1.7:50052`.

        One server gets one value however it is written, as far as that can be told without
        looking its name up.

        Args:
            text: What the user wrote.
            default_port: Where no port is written; `None` makes that an error.

        Raises:
            EngineError: It is no address, or one of IPv6, which ggml-rpc.cpp cannot reach.
        """
        wrong = EngineError(f"'{text.strip()[:80]}' is no address of an RPC server.", _WAY_OUT)
        whole = text.strip()
        if _is_ipv6(whole):
            raise EngineError(
                f"'{whole[:80]}' is an IPv6 address; llama.cpp reaches RPC servers over IPv4 only.",
                "Write the machine's IPv4 address, or its name.",
            )
        host, colon, port_text = whole.partition(":")
        if not colon and default_port is not None:
            port_text = str(default_port)
        if not port_text.isascii() or not port_text.isdecimal() or len(port_text) > 5:
            raise wrong
        if not _HOST.fullmatch(host) or not 0 < int(port_text) < 65_536:
            raise wrong
        if re.fullmatch(r"[\d.]+", host):
            try:
                ipaddress.IPv4Address(host)
            except ValueError:
                raise wrong from None
        host = host.lower()
        return cls(LOOPBACK if host in _HERE else host, int(port_text))

    @classmethod
    def is_same(cls, text: str, other: str) -> bool:
        """Whether two texts, of which one may be no address at all, mean the same server."""
        try:
            return cls.parse(text) == cls.parse(other)
        except EngineError:
            return text == other


def _is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, in brackets with a port or bare."""
    inner = text[1:].partition("]")[0] if text.startswith("[") else text
    try:
        return isinstance(ipaddress.ip_address(inner.partition("%")[0]), ipaddress.IPv6Address)
    except ValueError:
        return False


def parse_endpoints(
    text: str, *, default_port: int | None = DEFAULT_PORT
) -> tuple[RemoteEndpoint, ...]:
    """Read addresses with commas between them.

    Raises:
        EngineError: One is no address, or stands there twice.
    """
    found: list[RemoteEndpoint] = []
    for part in text.split(","):
        endpoint = RemoteEndpoint.parse(part, default_port=default_port)
        if endpoint in found:
            raise EngineError(f"{endpoint} stands there twice.", "Write each server once.")
        found.append(endpoint)
    return tuple(found)


@dataclass(frozen=True, slots=True, order=True)
class Protocol:
    """Version of the RPC protocol (ggml/include/ggml-rpc.h)."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def serves(self, engine: "Protocol") -> bool:
        """Whether a server of this version takes an engine of that one (`negotiate_hello`)."""
        return self.major == engine.major and self.minor <= engine.minor


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLink:
    """What the way to a server costs; `None` where it was not measured.

    Attributes:
        latency_ms: Median of small round trips.
        up_mb_s: To the server, 10⁶ bytes a second.
        down_mb_s: From the server, 10⁶ bytes a second.
    """

    latency_ms: float | None = None
    up_mb_s: float | None = None
    down_mb_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCard:
    """One device of an RPC server.

    Attributes:
        endpoint: Where the server listens.
        number: Which of its devices, from 0.
        total_bytes: All memory; `None` where the server says 0.
        free_bytes: Free memory when it was asked.
        pads_rows: It gives quantised rows room up to 512 elements, as CUDA and ROCm do; `None`
            if it could not be asked.
        link: What the way there costs.
    """

    endpoint: RemoteEndpoint
    number: int
    total_bytes: int | None
    free_bytes: int
    pads_rows: bool | None = None
    link: RemoteLink = RemoteLink()

    @property
    def id(self) -> str:
        """Key of the card in plans and settings."""
        return f"rpc-{self.endpoint}-{self.number}"

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.endpoint} · card {self.number}"

    def plan_device(self, free_bytes: int | None = None) -> PlanDevice:
        """The card as the plan sees it; its runtime's overhead is taken on the other machine.

        Args:
            free_bytes: Memory to plan with, where that is not what the card says.
        """
        return PlanDevice(
            name=self.name,
            id=self.id,
            free_bytes=self.free_bytes if free_bytes is None else free_bytes,
            total_bytes=self.total_bytes,
            backend=Backend.RPC_PADDED if self.pads_rows else Backend.RPC,
        )


class RemoteState(StrEnum):
    """How a look at an RPC server ended."""

    FREE = "free"
    """It lends its cards to whoever comes next."""
    BUSY = "busy"
    """Somebody listens and does not answer: it serves one client at a time."""
    IN_USE = "in use"
    """An engine of ours uses it, so it was not asked."""
    SILENT = "silent"
    """Nothing came back: the machine is off, or a firewall drops what is sent."""
    ABSENT = "absent"
    """The machine refuses: no server runs there."""
    UNKNOWN_HOST = "unknown host"
    """The name has no IPv4 address."""
    FOREIGN = "foreign"
    """Something else answers there."""
    UNKNOWN_PROTOCOL = "unknown protocol"
    """An RPC server whose protocol is too old or too new to be asked."""
    OTHER_PROTOCOL = "other protocol"
    """It could be asked, but this machine's engine speaks another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """What is known of one RPC server.

    Attributes:
        endpoint: Where it listens.
        state: How the last look at it ended.
        address: Its numeric address; `None` until the name was looked up.
        protocol: What it speaks; `None` until it said so.
        cards: Its devices, in its order; those of the last good look where this one was none.
        link: What the way there costs.
        seen_s: When the cards were last read, `services.clock`; `None` if never.
        message: Why it cannot be used now, one sentence; empty when it can.
        hint: The way out.
        notes: What to know although it can be used.
    """

    endpoint: RemoteEndpoint
    state: RemoteState
    address: str | None = None
    protocol: Protocol | None = None
    cards: tuple[RemoteCard, ...] = ()
    link: RemoteLink = RemoteLink()
    seen_s: float | None = None
    message: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Its cards can be taken for the next start."""
        return self.state is RemoteState.FREE and bool(self.cards)

    def after(self, before: "RemoteServer | None") -> "RemoteServer":
        """This look, with the cards of an earlier one where it found none."""
        if self.cards or before is None or before.endpoint != self.endpoint:
            return self
        return replace(
            self,
            cards=before.cards,
            link=before.link,
            protocol=self.protocol or before.protocol,
            address=self.address or before.address,
            seen_s=before.seen_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUse:
    """What an engine is given to use remote cards.

    Attributes:
        rpc: Addresses for `--rpc`, in order.
        names: The engine's device by card id.
    """

    rpc: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def engine_use(
    chosen: Sequence[RemoteCard], servers: Sequence[RemoteServer], *, first: int = 0
) -> RemoteUse:
    """Which servers to name, and what the engine will call the cards chosen.

    The engine numbers the devices of all servers through, in the order of `--rpc`, whether they
    are used or not (`ggml_backend_rpc_add_server`).

    Args:
        chosen: The cards to use.
        servers: What is known of their servers.
        first: Devices of a server that is named before these.

    Raises:
        EngineError: A card's server cannot be used, or two names mean the same server.
    """
    by_endpoint = {server.endpoint: server for server in servers}
    order = list(dict.fromkeys(card.endpoint for card in chosen))
    names: dict[str, str] = {}
    seen: dict[tuple[str, int], RemoteEndpoint] = {}
    for endpoint in order:
        server = by_endpoint.get(endpoint)
        if server is None or not server.usable:
            raise unusable(endpoint, server)
        twin = seen.setdefault((server.address or endpoint.host, endpoint.port), endpoint)
        if twin != endpoint:
            raise EngineError(
                f"{twin} and {endpoint} are the same server, which serves one client at a time.",
                "Take one of the two out.",
            )
        names |= {card.id: f"RPC{first + card.number}" for card in server.cards}
        first += len(server.cards)
    return RemoteUse(
        rpc=tuple(str(endpoint) for endpoint in order),
        names={card.id: names[card.id] for card in chosen},
    )


def unusable(endpoint: RemoteEndpoint, server: RemoteServer | None) -> EngineError:
    """Why a server's cards cannot be used."""
    if server is None or not server.message:
        return EngineError(f"{endpoint} was not looked at yet.", "Look at it first.")
    return EngineError(server.message, server.hint)
