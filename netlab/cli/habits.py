"""Habits from nc, ncat, socat, telnet and nmap, and netlab's way of doing the same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

__all__ = ["advice", "advice_for_command", "advice_for_group", "as_one_word", "did_you_mean"]

_LISTEN = "The serve- commands listen without it, and netlab chat --listen takes one peer."
_RUNS = "netlab runs no programs; socat EXEC: and ncat --exec do."
_TLS = "netlab speaks no TLS; openssl s_client -connect HOST:PORT does."
_PROXY = "netlab goes through no proxy; ncat --proxy does."
_ADVICE = {
    "-k": "netlab's servers keep serving; --once ends after one client.",
    "-z": "To see whether a port is open: netlab probe HOST:PORT",
    "-n": "netlab never looks up the names of addresses, so numeric hosts need no option.",
    "-t": "TCP is what netlab speaks unless -u is given.",
    "-u": "UDP is what netlab serve-udp serves; send, chat and probe take -u.",
    "--udp": "UDP is what netlab serve-udp serves; send, chat and probe take -u.",
    "-w": "A server closes a client that is silent for longer than --idle-timeout; send, chat and probe take -w.",
    "-l": _LISTEN,
    "-L": _LISTEN,
    "-c": _RUNS,
    "-e": _RUNS,
    "-X": _PROXY,
    "-d": "Standard input is read only where there is neither a MESSAGE nor -f; </dev/null makes it empty.",
    "-m": "How many clients may be served at once: netlab serve-threaded --max-clients N",
    "-b": "To send to a broadcast address: --set SO_BROADCAST=1",
    "-r": "Random source ports are what every client has; -s :PORT asks for one.",
    "-D": "-v shows more; --set SO_DEBUG=1 sets the socket option.",
    "-I": "The size of the receive buffer: --set SO_RCVBUF=64k",
    "-O": "The size of the send buffer: --set SO_SNDBUF=64k",
    "-T": "The type of service: --set IP_TOS=0x10",
    "-M": "The time to live: --set IP_TTL=5",
    "-P": "netlab pings nobody before it connects, so there is nothing to turn off.",
    "--exec": _RUNS,
    "--sh-exec": _RUNS,
    "--ssl": _TLS,
    "--tls": _TLS,
    "--proxy": _PROXY,
    "--listen": _LISTEN,
    "--keep-open": "netlab's servers keep serving; --once ends after one client.",
    "--nodns": "netlab never looks up the names of addresses.",
    "--max-conns": "How many clients may be served at once: netlab serve-threaded --max-clients N",
    "--send-only": "To send and await no reply: netlab send --until none",
    "--recv-only": "To read without sending: netlab send HOST:PORT ''",
    "--crlf": "Lines that end in CR LF: -C, or --eol crlf",
    "--tcp": "TCP is what netlab speaks unless -u is given.",
}

_SERVE = "The servers are netlab serve-tcp, serve-threaded and serve-udp; netlab chat --listen takes one peer."
_TALK = "To talk to a peer: netlab chat HOST:PORT, or netlab send HOST:PORT MESSAGE"
_SCAN = "To see which ports are open: netlab probe HOST:22,80,8000-8100"
_WAYS = {
    "help": "Try netlab --help, or --help behind a command.",
    "version": "Try netlab --version.",
    "serve": _SERVE,
    "server": _SERVE,
    "listen": _SERVE,
    "telnet": _TALK,
    "client": _TALK,
    "connect": _TALK,
    "ping": "To ping: netlab probe icmp:HOST",
    "nmap": _SCAN,
    "scan": _SCAN,
    "wait": "To wait for a port: netlab probe HOST:PORT --wait 30s",
    "trace": "Every command takes --trace; netlab probe --loopback --diagram draws both ends.",
}

_COMMON = ("-v", "--verbose", "-q", "--quiet", "--json", "-4", "-6", "-u", "--udp", "--trace", "--options")
"""What can be shown with probe."""

_NEAR = 0.7
"""Likeness, of at most 1, from which a word may be another mistyped; with less --json would be --version."""

_HOST = r"[A-Za-z][A-Za-z0-9.-]*|\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:]+\]"


def advice(option: str, args: Sequence[str] = ()) -> str:
    """Return what to do in place of an option that netlab does not have there; empty where nothing is known."""
    return _with_place(_ADVICE.get(option, ""), args)


def _with_place(says: str, args: Sequence[str]) -> str:
    """Put the host and port of a command line into an advice, so that it can be pasted."""
    return says.replace("HOST:PORT", as_one_word(args) or "HOST:PORT")


def as_one_word(args: Sequence[str]) -> str:
    """Return ``HOST:PORT`` where two words of a command line look like nc's ``HOST PORT``, else an empty text."""
    for host, port in itertools.pairwise(args):
        if port.isdecimal() and re.fullmatch(_HOST, host):
            return f"{host}:{port}"
    return ""


def did_you_mean(word: str, names: Sequence[str], prefix: str = "") -> str:
    """Return a question with the name, or those equally near, that a mistyped word may stand for; empty for none."""
    from difflib import SequenceMatcher

    def likeness(name: str) -> float:
        whole = name.startswith(word) or sorted(name) == sorted(word)
        return 1 if whole else SequenceMatcher(None, word, name).ratio()

    near = {name: likeness(name) for name in names if len(name) > 2 and len(word) > 2}
    near = {name: much for name, much in near.items() if much >= _NEAR}
    best = [f"{prefix}{name}" for name in near if near[name] == max(near.values())]
    return f"Did you mean {' or '.join(best)}?" if best else ""


def advice_for_group(option: str, args: Sequence[str]) -> str:
    """Return what to do in place of an option that stands before any command."""
    if option in _COMMON:
        return _with_place(f"Options stand behind a command, as in netlab probe {option} HOST:PORT", args)
    return advice(option, args) or f"Options stand behind a command: netlab COMMAND {option}"


def advice_for_command(args: Sequence[str], commands: Sequence[str]) -> str:
    """Return what to do in place of a command that is not among netlab's; empty where nothing is known."""
    letters = "".join(word for word in args[1:] if re.fullmatch("-[a-z]+", word))
    if args[0].lower() in ("nc", "ncat", "netcat"):
        return _with_place(_SERVE if "l" in letters else _ADVICE["-z"] if "z" in letters else _TALK, args)
    known = _with_place(_WAYS.get(args[0].lower(), ""), args) or did_you_mean(args[0], commands, "netlab ")
    place = as_one_word(args[:2]) or args[0]
    if not known and re.fullmatch(rf"({_HOST})?:\d+|(tcp|udp|unix(-dgram|-seqpacket)?):.+", place):
        return f"Did you mean netlab chat {place} or netlab probe {place}?"
    return known
