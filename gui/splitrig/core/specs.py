"""The table of known cards: what a name or a PCI id says about memory, bus and power."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO

from splitrig.core.gpu import Vendor
from splitrig.core.units import GIB

VRAM_TOLERANCE = 0.12
"""How far reported memory may lie below or above the nominal size (firmware, ECC, GB for GiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """One row of the table; `None` means the table does not know.

    Attributes:
        vendor: Who made it.
        name: Product name without the vendor, such as 'GeForce RTX 4090'.
        pattern: Found in the names drivers report for this card, and in no other card's.
        pci_ids: PCI device ids, lower-case hex, each with a revision or `None` for any.
        vram_gib: Nominal memory, GiB.
        bandwidth_gbps: Memory bandwidth, GB/s (10⁹ bytes).
        bus_bits: Width of the memory bus, bits.
        architecture: Chip generation, such as 'Ada Lovelace'.
        compute_capability: CUDA compute capability or gfx target.
        pcie_gen: PCIe generation of the card.
        pcie_lanes: PCIe lanes of the card.
        bridge: `no`, `nvlink` or `xgmi`: the direct link the card can have.
        tdp_w: Rated board power, W.
    """

    vendor: Vendor
    name: str
    pattern: re.Pattern[str]
    pci_ids: tuple[tuple[str, str | None], ...]
    vram_gib: float
    bandwidth_gbps: float | None
    bus_bits: int | None
    architecture: str | None
    compute_capability: str | None
    pcie_gen: int | None
    pcie_lanes: int | None
    bridge: str
    tdp_w: float | None

    @property
    def full_name(self) -> str:
        """The name as drivers spell it: 'NVIDIA GeForce RTX 4090'."""
        return f"{self.vendor} {self.name}"

    @property
    def unified(self) -> bool:
        """The card shares the processor's memory."""
        return "unified" in self.name

    def has_id(self, device_id: str, revision: str | None) -> bool:
        """Whether the card carries this PCI device id, and this revision if the table names one."""
        return any(
            device == device_id and (rev is None or revision is None or rev == revision)
            for device, rev in self.pci_ids
        )

    def has_size(self, vram_bytes: int) -> bool:
        """Whether the reported memory can be this card's nominal size."""
        return abs(vram_bytes / GIB - self.vram_gib) <= VRAM_TOLERANCE * self.vram_gib


@dataclass(frozen=True, slots=True)
class SpecTable:
    """All known cards, the common one first where several share a name."""

    specs: tuple[GpuSpec, ...]

    def find(
        self,
        *,
        name: str | None = None,
        device_id: str | None = None,
        revision: str | None = None,
        vram_bytes: int | None = None,
    ) -> GpuSpec | None:
        """The one card that fits everything known about it.

        Args:
            name: Name as the driver reports it.
            device_id: PCI device id, hex with or without `0x`.
            revision: PCI revision, hex.
            vram_bytes: All memory of the card, bytes; tells variants of one name apart.

        Returns:
            `None` when no row fits or several do: nothing is guessed.
        """
        found = self.candidates(
            name=name, device_id=device_id, revision=revision, vram_bytes=vram_bytes
        )
        return found[0] if len(found) == 1 else None

    def candidates(
        self,
        *,
        name: str | None = None,
        device_id: str | None = None,
        revision: str | None = None,
        vram_bytes: int | None = None,
    ) -> tuple[GpuSpec, ...]:
        """All rows that fit, in the table's order; the arguments are those of `find`.

        Cards of different names share an id (RX 7700, 7700 XT and 7800 XT), so the id alone
        decides only where the name does not tell one card from another.
        """
        by_id = self._by_id(device_id, revision)
        by_name = self._by_name(name)
        found = tuple(s for s in by_id if s in by_name)
        if found or not by_id:
            # A card with doubled memory fits no size; its other figures still hold.
            found = found or by_name
            return _of_size(found, vram_bytes) or found
        return () if _names_one_card(name) else _of_size(by_id, vram_bytes)

    def by_name(self, name: str, vram_bytes: int | None = None) -> GpuSpec | None:
        """The card a person means by a name; the commonest one where variants share it."""
        found = self.candidates(name=name, vram_bytes=vram_bytes)
        return found[0] if found else None

    def _by_id(self, device_id: str | None, revision: str | None) -> tuple[GpuSpec, ...]:
        device, rev = hex_digits(device_id, 4), hex_digits(revision, 2)
        if device is None:
            return ()
        exact = tuple(s for s in self.specs if (device, rev) in s.pci_ids)
        if rev is not None and exact:
            return exact
        return tuple(s for s in self.specs if s.has_id(device, rev))

    def _by_name(self, name: str | None) -> tuple[GpuSpec, ...]:
        if not name:
            return ()
        plain = " ".join(name.split()).casefold()
        exact = tuple(s for s in self.specs if plain in (s.name.casefold(), s.full_name.casefold()))
        return exact or tuple(s for s in self.specs if _is_named(s, name))


def _of_size(specs: tuple[GpuSpec, ...], vram_bytes: int | None) -> tuple[GpuSpec, ...]:
    return tuple(s for s in specs if vram_bytes is None or s.has_size(vram_bytes))


def _names_one_card(name: str | None) -> bool:
    """It has a model number and is no list: not 'AMD Radeon Graphics', not 'RX 6800/6800 XT'."""
    return name is not None and "/" not in name and re.search(r"\d{3}", name) is not None


def _is_named(spec: GpuSpec, name: str) -> bool:
    """Whether a driver's name means this row; a list of cards means a row for this very list."""
    match = spec.pattern.search(name)
    return match is not None and ("/" in match[0] or "/" not in name)


def hex_digits(text: str | None, width: int) -> str | None:
    """A hex number as lower-case digits of a fixed width: `0x1` → `01`; `None` if it is none."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,8})", text.strip().lower())
    return None if match is None else match[1].lstrip("0").zfill(width)


def parse_specs(text: str) -> SpecTable:
    """Read the table from the text of gpu_specs.csv.

    Raises:
        ValueError: A row lacks a column or carries something else than a number.
    """
    try:
        return SpecTable(tuple(_rows(csv.DictReader(StringIO(text)))))
    except (KeyError, AttributeError, TypeError, ValueError, re.error) as error:
        raise ValueError(f"The table of cards is damaged: {error!r}.") from error


def _rows(rows: Iterable[dict[str, str]]) -> Iterable[GpuSpec]:
    for row in rows:
        yield GpuSpec(
            vendor=Vendor(row["vendor"]),
            name=row["name"],
            pattern=re.compile(row["match_regex"], re.IGNORECASE),
            pci_ids=tuple(_pci_id(part) for part in row["pci_device_ids"].split()),
            vram_gib=float(row["vram_gib"]),
            bandwidth_gbps=_number(row["mem_bandwidth_gbps"]),
            bus_bits=_whole(row["mem_bus_bits"]),
            architecture=row["arch"] or None,
            compute_capability=row["compute_capability_or_gfx"] or None,
            pcie_gen=_whole(row["pcie_gen"]),
            pcie_lanes=_whole(row["pcie_lanes"]),
            bridge="nvlink" if row["nvlink"] == "yes" else row["nvlink"],
            tdp_w=_number(row["tdp_w"]),
        )


def _pci_id(text: str) -> tuple[str, str | None]:
    device, _, revision = text.lower().partition(":")
    return device, revision or None


def _number(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None
