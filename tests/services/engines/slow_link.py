"""A second network namespace, reached over a link that takes its time.

Run as `python slow_link.py DELAY_MS MB_PER_S` by root on Linux. It makes a network device here and
one in a new namespace, which is its own, and carries packets from one to the other, each
`DELAY_MS` later and not more of them than `MB_PER_S` (0: as many as come). Kernels often lack
netem, and all have these devices. One line of JSON on standard output says the addresses; it ends,
and both devices with it, when its standard input does.
"""

import ctypes
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
CLONE_NEWNET = 0x40000000
MTU = 9000


def device(name: str) -> int:
    """A new point-to-point network device in the namespace of this process."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    return handle


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def configure(name: str, address: str) -> None:
    ip("address", "add", f"{address}/30", "dev", name)
    ip("link", "set", name, "mtu", str(MTU), "up")


class Way:
    """One direction of the link."""

    def __init__(self, source: int, target: int, delay_s: float, bytes_per_s: float) -> None:
        self.source, self.target = source, target
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s
        self._free_s = 0.0
        self.waiting: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        """Read what is there; it is due when the link has carried what came before."""
        while True:
            try:
                packet = os.read(self.source, MTU + 100)
            except (BlockingIOError, OSError):
                return
            begins_s = max(time.monotonic(), self._free_s)
            self._free_s = begins_s + (
                len(packet) / self._bytes_per_s if self._bytes_per_s else 0.0
            )
            self.waiting.append((self._free_s + self._delay_s, packet))

    def give(self, now_s: float) -> float | None:
        """Hand over what is due; seconds until the next is."""
        while self.waiting and self.waiting[0][0] <= now_s:
            _, packet = self.waiting.popleft()
            try:
                os.write(self.target, packet)
            except OSError:
                continue  # that end is down: the packet is lost, as on a cut cable
        return self.waiting[0][0] - now_s if self.waiting else None


def main() -> None:
    delay_s, bytes_per_s = float(sys.argv[1]) / 1000, float(sys.argv[2]) * 1e6
    number = os.getpid()
    net = f"198.18.{number >> 6 & 255}"
    base = (number & 63) * 4
    names, addresses = (f"srn{number}", f"srf{number}"), (f"{net}.{base + 1}", f"{net}.{base + 2}")
    near = device(names[0])
    configure(names[0], addresses[0])
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    far = device(names[1])
    ip("link", "set", "lo", "up")
    configure(names[1], addresses[1])
    print(json.dumps({"near": addresses[0], "far": addresses[1], "far_device": names[1]}))
    sys.stdout.flush()
    ways = [Way(near, far, delay_s, bytes_per_s), Way(far, near, delay_s, bytes_per_s)]
    while True:
        now_s = time.monotonic()
        due = [wait for way in ways if (wait := way.give(now_s)) is not None]
        ready, _, _ = select.select([near, far, 0], [], [], min(due, default=None))
        if 0 in ready and not os.read(0, 64):
            return
        for way in ways:
            if way.source in ready:
                way.take()


if __name__ == "__main__":
    main()
