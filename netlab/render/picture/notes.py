"""What a picture of calls explains, each thing once: an errno, and what surprises who sees TCP for the first time."""

from __future__ import annotations

import os

from netlab.endpoint import Endpoint
from netlab.errors import errno_name
from netlab.explain import explain_bind, explain_connect, explain_stream
from netlab.records import Call
from netlab.render.calls import SENDING
from netlab.render.safe import defuse

__all__ = ["Notes", "error_of"]

_HANDSHAKE = (
    "on loopback the handshake is over before connect() returns, so SYN_SENT is never seen; "
    "{errno} EINPROGRESS: a non-blocking connect is asked for by poll()."
)
_IN_PROGRESS = "{errno} EINPROGRESS: a non-blocking connect goes on by itself; poll() tells when it is decided."
_NO_ROOM = "{errno} EAGAIN: there is no room to send now, and this socket does not wait for it."
_NOTHING_YET = "{errno} EAGAIN: nothing is there yet, and this socket does not wait for it."
_TOO_LATE = "{errno} EAGAIN: the time that SO_RCVTIMEO or SO_SNDTIMEO allows ran out."
_WOKEN = "{errno} EINVAL: accept() was woken because this program has shut its own listener down."
_CLOSED = "the kernel keeps TIME_WAIT apart from the socket, which is CLOSED once both sides have sent FIN."
_RESET = "closed with {unread:,} B unread: then the kernel sends RST and not FIN (RFC 2525 section 2.17)."
_LINGER = "SO_LINGER of 0 s: close() throws away what is left, and sends RST instead of FIN."
_JOINED = "a stream has no borders between messages: a recv takes what is there, of one send or of several."

_EXPLAINED_BY = {"connect": explain_connect, "bind": explain_bind, "listen": explain_bind}


class Notes:
    """The numbered notes below a picture."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    @property
    def texts(self) -> list[str]:
        return list(self._texts)

    def on_failure(self, call: Call) -> str:
        """Return the mark of the note that explains a call's errno: ``(1)``; empty where there is nothing to say."""
        return "" if call.errno is None else self._mark(_failure(call, call.errno))

    def on_error_option(self, call: Call) -> str:
        """Return the mark of the note on the errno that SO_ERROR held, which is the outcome of connect()."""
        number = error_of(call)
        return self._mark(_explained("connect", number, errno_name(number), call.peer)) if number else ""

    def on_closed(self) -> str:
        return self._mark(_CLOSED)

    def on_reset(self, unread: int) -> str:
        return self._mark(_RESET.format(unread=unread) if unread else _LINGER)

    def on_joined(self) -> str:
        return self._mark(_JOINED)

    def _mark(self, text: str) -> str:
        text = defuse(text)
        if text not in self._texts:
            self._texts.append(text)
        return f"({self._texts.index(text) + 1})"


def error_of(call: Call) -> int:
    """Return the errno that a getsockopt(SO_ERROR) brought, 0 for none and for every other call."""
    if call.call != "getsockopt" or call.args != "SO_ERROR":
        return 0
    number = (call.result or "").partition(" ")[0]
    return int(number) if number.isdecimal() and len(number) < 5 else 0


def _failure(call: Call, number: int) -> str:
    name = call.errno_name or errno_name(number)
    template = ""
    if name == "EINPROGRESS":
        template = _HANDSHAKE if call.state_name == "ESTABLISHED" else _IN_PROGRESS
    elif name in ("EAGAIN", "EWOULDBLOCK") and call.call != "connect":
        template = _TOO_LATE if call.waited_us else _NO_ROOM if call.call in SENDING else _NOTHING_YET
    elif name == "EINVAL" and call.call == "accept":
        template = _WOKEN
    if template:
        return template.format(errno=number)
    return _explained(call.call, number, name, call.peer or call.local)


def _explained(call: str, number: int, name: str, where: Endpoint | None) -> str:
    what = os.strerror(number).lower()
    if where is not None:
        what = _EXPLAINED_BY.get(call, explain_stream)(number, where).what
    return f"{number} {name}: {what}."
