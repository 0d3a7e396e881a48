"""Habits from nc, ncat, socat, telnet and nmap, and netlab's way of doing the same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

__all__ = ["advice", "advice_for_command", "as_one_word"]

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
    "nc": _TALK,
    "ncat": _TALK,
    "netcat": _TALK,
    "telnet": _TALK,
    "client": _TALK,
    "connect": _TALK,
    "ping": "To ping: netlab probe icmp:HOST",
    "nmap": _SCAN,
    "scan": _SCAN,
    "wait": "To wait for a port: netlab probe HOST:PORT --wait 30s",
    "trace": "Every command takes --trace; netlab probe --loopback --diagram draws both ends.",
}

_HOST = r"[A-Za-z][A-Za-z0-9.-]*|\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:]+\]"


def advice(option: str) -> str:
    """Return what to do in place of an option that netlab does not have there; empty where nothing is known."""
    return _ADVICE.get(option, "")


def as_one_word(args: Sequence[str]) -> str:
    """Return ``HOST:PORT`` where two words of a command line look like nc's ``HOST PORT``, else an empty text."""
    for host, port in itertools.pairwise(args):
        if port.isdecimal() and re.fullmatch(_HOST, host):
            return f"{host}:{port}"
    return ""


def advice_for_command(args: Sequence[str]) -> str:
    """Return what to do in place of a command that netlab does not have; empty where nothing is known."""
    place = as_one_word(args[:2]) or args[0]
    if re.fullmatch(rf"({_HOST})?:\d+", place):
        return f"Did you mean netlab chat {place} or netlab probe {place}?"
    return _WAYS.get(args[0].lower(), "")
