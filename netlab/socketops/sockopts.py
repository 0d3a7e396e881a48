"""Reading and setting socket options by name; which there are is the table in `optiontable`.

A setting is checked without a socket (`parse_setting`), so that a typo is a usage error before anything is opened,
and it is read back once it is set: the kernel doubles SO_RCVBUF, rounds times to its ticks, and caps much else.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import NamedTuple

from netlab.errors import LocalError, errno_name
from netlab.records import Option
from netlab.socketops.optiontable import LEVELS, OPTIONS, SocketOption
from netlab.socketops.optionvalues import SIZES, UNITS, Decoded, decode, encode

__all__ = [
    "OPTIONS",
    "Setting",
    "SocketOption",
    "apply_settings",
    "find_option",
    "parse_setting",
    "read_options",
    "read_settings",
    "socket_kind",
]

_SETTING_ERRORS = {
    errno.EPERM: "setting it needs CAP_NET_ADMIN, which root has",
    errno.EACCES: "setting it needs CAP_NET_ADMIN, which root has",
    errno.ENOPROTOOPT: "this kind of socket does not have it, or this kernel does not",
    errno.EOPNOTSUPP: "this kind of socket does not have it, or this kernel does not",
    errno.EINVAL: "the kernel does not take this value, or not in this state of the socket",
    errno.ENODEV: "there is no network interface of this name",
    errno.ENOENT: "the kernel has no module of this name",
    errno.EADDRNOTAVAIL: "there is no network interface with this address or number",
}
_CONGESTION_STEPS = (
    ("sysctl net.ipv4.tcp_available_congestion_control", "which are loaded"),
    ("sysctl net.ipv4.tcp_allowed_congestion_control", "which anybody may choose"),
)


class Setting(NamedTuple):
    """What to set an option to: ``value`` as setsockopt takes it, ``text`` as it was written."""

    option: SocketOption
    value: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.option.name}={self.text}"


def find_option(name: str) -> SocketOption:
    """Return the option of this name, in upper or lower case.

    Raises:
      ValueError: there is none; the message is one line that names the nearest.

    >>> find_option("tcp_nodelay").level
    'IPPROTO_TCP'
    """
    wanted = name.upper()
    for option in OPTIONS:
        if option.name == wanted:
            return option
    import difflib

    near = difflib.get_close_matches(wanted, [option.name for option in OPTIONS], n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    raise ValueError(f"unknown socket option {name!r}{hint}")


def parse_setting(text: str) -> Setting:
    """Read ``NAME=VALUE``, such as ``SO_RCVBUF=64k``, ``TCP_NODELAY=on`` or ``SO_LINGER=0``.

    Flags are on or off, sizes and durations take their units, a bare number is in the option's own unit;
    IP_MTU_DISCOVER and its like take the names that `read_options` shows.

    Raises:
      ValueError: no such option, it cannot be set, or not to this; the message is one line.
    """
    name, equals, value = text.partition("=")
    option = find_option(name.strip())
    if not option.settable:
        raise ValueError(f"{option.name} can be read, but not set")
    if not equals:
        raise ValueError(f"{option.name} has no value: write {option.name}=VALUE")
    try:
        return Setting(option, encode(option, value.strip()), value.strip())
    except ValueError as exc:
        raise ValueError(f"{option.name}: {exc}") from None


def apply_settings(sock: socket.socket, settings: Iterable[Setting]) -> list[Option]:
    """Set options in order, and read them back as `read_settings`.

    Raises:
      LocalError: the kernel refused one; those before it stay set.
    """
    done = []
    for setting in settings:
        option = setting.option
        try:
            sock.setsockopt(LEVELS[option.level], option.number, setting.value)
        except OSError as exc:
            raise _refused(setting, exc) from exc
        done.append(setting)
    return read_settings(sock, done)


def read_settings(sock: socket.socket, settings: Iterable[Setting]) -> list[Option]:
    """Return one Option a setting, with what the kernel made of it: ``8,192 B (asked 4,096 B)``."""
    return [_read(sock, setting.option, asked=decode(setting.option, setting.value)) for setting in settings]


def read_options(sock: socket.socket, *, everything: bool, fresh: socket.socket | None) -> list[Option]:
    """Read the options of this kind of socket.

    Args:
      everything: all that it has, or only those that matter.  All include SO_ERROR, and reading that clears it.
      fresh: a new socket of the same family, type and protocol to compare with; None leaves ``is_default`` None.

    Returns:
      one Option each, level by level in the table's order.  What could not be read has an ``errno_name``, which is
          also what it shows: ENOTCONN for IP_MTU without a peer, ENOPROTOOPT where the kernel lacks it.
    """
    kind = socket_kind(sock)
    wanted = [option for option in OPTIONS if kind in (option.sockets if everything else option.main)]
    levels = list(LEVELS)
    return sorted((_read(sock, option, fresh=fresh) for option in wanted), key=lambda read: levels.index(read.level))


def socket_kind(sock: socket.socket) -> str:
    """Return the table's word for this kind of socket: tcp4, udp6, ping4, raw6, unix ...; empty for any other."""
    if sock.family == getattr(socket, "AF_UNIX", None):
        return "unix"
    version = {socket.AF_INET: "4", socket.AF_INET6: "6"}.get(sock.family)
    name = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp", socket.SOCK_RAW: "raw"}.get(sock.type)
    if name == "udp" and sock.proto in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        name = "ping"
    return name + version if name and version else ""


def _read(
    sock: socket.socket, option: SocketOption, *, fresh: socket.socket | None = None, asked: Decoded | None = None
) -> Option:
    try:
        value, shown = _get(sock, option)
    except OSError as exc:
        name = errno_name(exc.errno or 0)
        return Option(
            level=option.level, name=option.name, value=None, shown=name, meaning=option.meaning, errno_name=name
        )
    if asked is not None and asked[0] != value:
        shown = f"{shown} (asked {asked[1]})"
    return Option(
        level=option.level,
        name=option.name,
        value=value,
        shown=shown,
        meaning=option.meaning,
        unit=UNITS.get(option.kind) if isinstance(value, int) else None,
        is_default=None if fresh is None else _is_default(fresh, option, value),
    )


def _is_default(fresh: socket.socket, option: SocketOption, value: int | str) -> bool | None:
    try:
        return _get(fresh, option)[0] == value
    except OSError:  # such as IP_MTU, which only a connected socket has
        return None


def _get(sock: socket.socket, option: SocketOption) -> Decoded:
    # Never getsockopt's int form: it hides how much the kernel returned.
    return decode(option, sock.getsockopt(LEVELS[option.level], option.number, SIZES.get(option.kind, 4)))


def _refused(setting: Setting, exc: OSError) -> LocalError:
    name, code = setting.option.name, exc.errno or 0
    means = _SETTING_ERRORS.get(code, "")
    if code == errno.EPERM and name.startswith("SO_BINDTO"):
        means = "changing it needs CAP_NET_RAW, which root has"
    steps = _CONGESTION_STEPS if name == "TCP_CONGESTION" else ()
    return LocalError("setsockopt", setting, errno=code, means=means, next_steps=steps)
