"""What a server answers: replies decide, and do no I/O.

Given the chunk that came, a reply names actions in their order: bytes are sent as they are, the rest are the classes
below.  A server's threads carry them out by blocking calls, an event loop by its timers, UDP with one datagram for
each, so one reply serves them all; and a reply can be wrapped in another that changes the actions (`EndsOnWord`).

The protocols are those of RFC 862 (echo), RFC 863 (discard) and RFC 864 (generate).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from netlab.socketops.serving.actions import Misdeed

__all__ = [
    "ACK_TEXT",
    "Ack",
    "Action",
    "Chunk",
    "Close",
    "Discard",
    "Echo",
    "EndsOnWord",
    "Generate",
    "IgnoresAcknowledgements",
    "Reply",
    "ReplyName",
    "Silence",
    "encode",
    "make_reply",
]

ACK_TEXT = "received {n} bytes"
"""The acknowledgement where no other is asked for; ``{n}`` is the number of bytes that came."""

ReplyName = Literal["ack", "echo", "discard", "generate"]


@dataclass(frozen=True, slots=True)
class Close:
    """End the conversation once all before it is sent; datagrams have none, so there it stops the server."""

    reason: str
    stops_server: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """Answer nothing, and say why."""

    why: str


Chunk: TypeAlias = "bytes | memoryview"
"""Bytes as a call has returned them; a view is of a buffer that the next call overwrites."""

Action: TypeAlias = "bytes | memoryview | Close | Silence | Misdeed"
"""Most servers never meet a Misdeed: only a fault names one."""


class Reply(Protocol):
    """What a server answers; one object for all its clients, from any thread."""

    def opening(self) -> Iterable[Action]:
        """Return what a client gets before it has sent anything; it may never end."""
        ...

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        """Return what a client gets for a chunk as recv returned it, or for a datagram.

        The chunk may be overwritten by the next one: whoever keeps it copies it.
        """
        ...


class Echo:
    """Returns the bytes (RFC 862)."""

    def opening(self) -> Iterable[Action]:
        return ()

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        return (chunk,)


class Discard:
    """Swallows them (RFC 863)."""

    def opening(self) -> Iterable[Action]:
        return ()

    def answer(self, _chunk: Chunk) -> Iterable[Action]:
        return ()


class Ack:
    """Says how many bytes came.

    Args:
      text: ``{n}`` stands for the number.
      eol: what ends each acknowledgement.
      encoding: the clients'.

    Raises:
      ValueError: the encoding has no character for some of the text.

    >>> list(Ack("got {n}").answer(memoryview(b"hello")))
    [b'got 5\\n']
    """

    def __init__(self, text: str = ACK_TEXT, *, eol: str = "\n", encoding: str = "utf-8") -> None:
        self._text = text + eol
        self._encoding = encoding
        # Clients mostly send the same few sizes.
        self.acknowledge = functools.lru_cache(maxsize=256)(self._acknowledge)
        encode(self._text, encoding)

    def opening(self) -> Iterable[Action]:
        return ()

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        return (self.acknowledge(len(chunk)),)

    def _acknowledge(self, size: int) -> bytes:
        """Say that so many bytes came."""
        return self._text.replace("{n}", str(size)).encode(self._encoding)


class Generate:
    """Sends for ever, whatever comes (RFC 864): lines of 72 characters, each line shifted by one.

    Over UDP each datagram is answered with one, of as much of the pattern as a server may send.
    """

    def __init__(self) -> None:
        printable = bytes(range(0x20, 0x7F))
        lines = ((printable + printable)[start : start + 72] + b"\r\n" for start in range(len(printable)))
        # Some whole rounds of the pattern, near the 64 KiB at which a send costs the least per byte.
        self._block = b"".join(lines) * 9

    def opening(self) -> Iterable[Action]:
        return itertools.repeat(self._block)

    def answer(self, _chunk: Chunk) -> Iterable[Action]:
        return (self._block[:512],)


class EndsOnWord:
    """A reply, until the client says the word: then it has its answer, and the conversation ends.

    Trailing CR, LF and blanks do not count.
    """

    def __init__(self, reply: Reply, word: str, *, encoding: str = "utf-8", stops_server: bool = False) -> None:
        self._reply = reply
        self._word = encode(word, encoding)
        self._blanks = encode(" \t\r\n", encoding)
        self._size = len(self._word)
        self._close = Close("exit", stops_server)

    def opening(self) -> Iterable[Action]:
        return self._reply.opening()

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        actions = self._reply.answer(chunk)
        size = self._size
        if len(chunk) < size or chunk[0] != self._word[0]:  # which spares most chunks the rest
            return actions
        if chunk[:size] == self._word and not bytes(chunk[size:]).strip(self._blanks):
            return (*actions, self._close)
        return actions


class IgnoresAcknowledgements:
    """A reply to datagrams that leaves another server's acknowledgement alone.

    One datagram with a forged source would else make two servers talk for ever (CVE-2024-2169).
    """

    def __init__(self, reply: Reply, *texts: str, encoding: str = "utf-8") -> None:
        self._reply = reply
        patterns = [b"[0-9]+".join(re.escape(encode(piece, encoding)) for piece in text.split("{n}")) for text in texts]
        self._acknowledgement = re.compile(b"(?:%s)[\\r\\n]*" % b"|".join(patterns))

    def opening(self) -> Iterable[Action]:
        return self._reply.opening()

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        if chunk and self._acknowledgement.fullmatch(chunk):
            return (Silence("it is an acknowledgement itself"),)
        return self._reply.answer(chunk)


_PLAIN: Mapping[str, Callable[[], Reply]] = {"echo": Echo, "discard": Discard, "generate": Generate}


def make_reply(
    name: ReplyName,
    *,
    ack_text: str = ACK_TEXT,
    eol: str = "\n",
    exit_word: str = "exit",
    stop_on_exit: bool = False,
    encoding: str = "utf-8",
    datagrams: bool = False,
) -> Reply:
    """Build a reply as the servers' options describe it.

    Args:
      name: which protocol.
      ack_text: what ``ack`` says; ``{n}`` is the number of bytes.
      eol: what ends each acknowledgement.
      exit_word: the word that ends a client's conversation in ``ack``; empty for none.
      stop_on_exit: the word stops the server, too, and does so whatever the reply is, over datagrams as well.
      encoding: the clients', of the text and of the word.
      datagrams: the server has no connections, and its clients' addresses can be forged.

    Raises:
      ValueError: the encoding lacks a character of the text or of the word.
    """
    reply: Reply
    if name == "ack":
        reply = Ack(ack_text, eol=eol, encoding=encoding)
        if datagrams:
            reply = IgnoresAcknowledgements(reply, ack_text, ACK_TEXT, encoding=encoding)
    else:
        reply = _PLAIN[name]()
    if exit_word and (stop_on_exit or (name == "ack" and not datagrams)):
        reply = EndsOnWord(reply, exit_word, encoding=encoding, stops_server=stop_on_exit)
    return reply


def encode(text: str, encoding: str) -> bytes:
    """Encode a user's text.

    Raises:
      ValueError: the encoding lacks one of its characters.
    """
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as exc:
        raise ValueError(f"{encoding} has no character {text[exc.start]!a}, which {text!a} needs") from None
