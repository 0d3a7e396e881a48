"""A slow or a dead network path: ``python -m tests.path SECONDS COMMAND...``, in a network namespace of its own.

One TUN device is all of it.  A packet to 10.9.0.2 comes out here, waits, has its two addresses swapped, and goes back
in: so it arrives at 10.9.0.1 as if 10.9.0.2 had sent it, and a server there is a client's distant peer, with a round
trip of twice SECONDS.  The swap changes no checksum, neither IP's nor TCP's, for both are sums.

With ``never`` for SECONDS nothing comes back: 10.9.0.2 and 2001:db8::2 are silent.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import struct
import subprocess
import sys
import threading
import time

__all__ = ["DISTANT", "DISTANT_IPV6", "HERE"]

HERE, DISTANT, DISTANT_IPV6 = "10.9.0.1", "10.9.0.2", "2001:db8::2"

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


def open_tun(name: str) -> int:
    """Make a TUN device (Documentation/networking/tuntap.rst) and return its descriptor."""
    import fcntl

    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return descriptor


def relay(tun: int, delay: float) -> None:
    """Send every IPv4 packet back after ``delay`` seconds, with its addresses swapped; never ends."""
    waiting: list[tuple[float, int, bytes]] = []
    number = 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            with contextlib.suppress(BlockingIOError):
                os.write(tun, heapq.heappop(waiting)[2])
        left = waiting[0][0] - now if waiting else None
        if not select.select([tun], [], [], left)[0]:
            continue
        packet = os.read(tun, 65536)
        if packet[0] >> 4 == 4:
            number += 1
            swapped = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
            heapq.heappush(waiting, (time.monotonic() + delay, number, swapped))


def main() -> int:
    delay, *command = sys.argv[1:]
    tun = open_tun("tun0")
    for words in (
        "link set lo up",
        f"addr add {HERE}/24 dev tun0",
        "link set tun0 up",
        "-6 addr add 2001:db8::1/64 dev tun0 nodad",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    if delay != "never":
        threading.Thread(target=relay, args=(tun, float(delay)), daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
