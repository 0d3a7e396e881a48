"""Line editing for chat, by prompt_toolkit: what comes in stands above the line that is being typed.

Imported by `netlab.cli.terminal` alone, on a terminal alone: prompt_toolkit and asyncio cost more than all of netlab.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from netlab.cli.signals import die_by
from netlab.cli.typed import TypedLines

if TYPE_CHECKING:
    import asyncio

    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

    from netlab.render.payload import PayloadRenderer
    from netlab.socketops import Relay

__all__ = ["edit_and_relay"]

_BATCH = 32
"""Chunks shown between two drawings of the line, at most, so that a flood leaves time for the keys."""


class _Interrupted(Exception):
    """Ctrl-C: not KeyboardInterrupt, which would tear the event loop down with the terminal still raw."""


def edit_and_relay(
    relay: Relay,
    show: PayloadRenderer,
    *,
    carry_out: Callable[[str, Relay, PayloadRenderer], None],
    complete: Callable[[str], list[str]],
) -> None:
    """Hold a conversation to its end.

    Args:
      relay: the conversation.
      show: its ``emit``.
      carry_out: does what one line says.
      complete: returns what the beginning of a line may become.

    Raises:
      KeyboardInterrupt: Ctrl-C.
      NetlabError: as `Relay.run` and `Relay.ending`.
    """
    import asyncio

    session = _make_session(complete)
    editing = _Editing(relay, show, session, carry_out)
    try:
        with relay.ending(editing.rest):
            asyncio.run(editing.run(), debug=False)
            relay.run()
    except _Interrupted:
        raise KeyboardInterrupt from None
    finally:
        if editing.signal:
            die_by(editing.signal)


def _make_session(complete: Callable[[str], list[str]]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document
    from prompt_toolkit.output import create_output
    from prompt_toolkit.shortcuts import CompleteStyle

    paths = PathCompleter(expanduser=True)

    class SlashCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            text = document.text_before_cursor
            for found in complete(text):
                yield Completion(found, start_position=-len(text))
            if text.startswith("/file "):
                yield from paths.get_completions(Document(text.removeprefix("/file ").lstrip()), complete_event)

    output = create_output()
    if hasattr(output, "enable_cpr"):
        # A terminal that does not answer would get a warning; nothing here asks where the cursor is.
        output.enable_cpr = False
    return PromptSession(
        output=output,
        completer=SlashCompleter(),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        enable_suspend=True,
        interrupt_exception=_Interrupted,
    )


class _Editing:
    """The part of a conversation in which lines are typed: an event loop that has keys and socket.

    Attributes:
      signal: what ended it, to be passed on once the terminal is as it was; 0 for none.
    """

    def __init__(
        self,
        relay: Relay,
        show: PayloadRenderer,
        session: PromptSession[str],
        carry_out: Callable[[str, Relay, PayloadRenderer], None],
    ) -> None:
        self.signal = 0
        self._relay = relay
        self._show = show
        self._session = session
        self._carry_out = carry_out
        self._unfinished = ""
        self._ended: asyncio.Future[None]

    def rest(self) -> str:
        """Take and return what was typed and not read."""
        return self._unfinished + TypedLines().rest()

    async def run(self) -> None:
        """Take lines until there are no more, or the peer has ended the conversation."""
        import asyncio

        loop = asyncio.get_running_loop()
        sock = self._relay.connection.sock
        self._ended = loop.create_future()
        loop.add_reader(sock, self._above, self._receive)
        for name in ("SIGHUP", "SIGTERM"):
            if number := getattr(signal, name, None):
                loop.add_signal_handler(number, self._die, number)
        typing = asyncio.ensure_future(self._type())
        try:
            await asyncio.wait((typing, self._ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(sock)
            loop.remove_writer(sock)
            if not typing.done():
                self._unfinished = self._session.default_buffer.text
                typing.cancel()
                await asyncio.wait((typing,))
        for task in (self._ended, typing):
            error = task.exception() if task.done() and not task.cancelled() else None
            if error:
                raise error

    async def _type(self) -> None:
        from netlab.render.payload import PROMPT

        while self._relay.is_open:
            try:
                text = await self._session.prompt_async(PROMPT)
            except EOFError:
                self._relay.end()
                return
            for line in text.split("\n"):  # more than one where they were pasted
                if self._relay.is_open:
                    self._carry_out(line, self._relay, self._show)
            self._watch_room()

    def _receive(self) -> None:
        relay = self._relay
        for _ in range(_BATCH):
            relay.receive()
            if relay.is_over or not relay.connection.wait(0).readable:
                return

    def _flush(self) -> None:
        import asyncio

        self._relay.flush()
        if not self._relay.has_backlog:
            asyncio.get_running_loop().remove_writer(self._relay.connection.sock)

    def _watch_room(self) -> None:
        import asyncio

        if self._relay.has_backlog:
            loop = asyncio.get_running_loop()
            loop.add_writer(self._relay.connection.sock, self._above, self._flush)

    def _above(self, step: Callable[[], None]) -> None:
        """Do what may write to the terminal, with the line that is being typed taken away meanwhile."""
        app: Any = self._session.app
        if app.is_running:
            app.renderer.erase()
        try:
            step()
            self._show.end_line()
        except BaseException as exc:
            self._end(exc)
        if self._relay.is_over:
            self._end(None)
        if app.is_running:
            app.invalidate()

    def _die(self, number: int) -> None:
        self.signal = number
        self._relay.quit()
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
