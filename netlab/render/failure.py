"""A NetlabError as people read it: what failed, the facts, what they mean, likely causes, and what to try."""

from __future__ import annotations

from netlab.endpoint import Endpoint, EndpointError
from netlab.errors import NetlabError, ResolveError
from netlab.explain import Explanation, explain_bind, explain_connect, explain_resolve, explain_stream
from netlab.render.safe import defuse
from netlab.render.text import View

__all__ = ["failure_lines"]

WIDTH = 80
_LABEL = 9
"""Columns of ``  means  ``, under which what follows is aligned."""
_WIDEST = 40
"""Columns of a command beside which its reason still fits; after a longer one the reason has its own line."""


_EXPLAINED_BY = {
    "socket": explain_connect,
    "connect": explain_connect,
    "bind": explain_bind,
    "listen": explain_bind,
    "accept": explain_bind,
    "send": explain_stream,
    "receive": explain_stream,
}
"""Operations on an endpoint whose errnos `netlab.explain` knows; of a file or an option it has nothing to say."""


def failure_lines(error: NetlabError, view: View) -> list[str]:
    """Return the message, then facts, what they mean, likely causes and what to try.

    An error that brings none of the last three is explained by its errno, where that is known.
    """
    means, likely, next_steps = error.means, error.likely, error.next_steps
    if not (means or likely or next_steps) and (found := _explanation(error)):
        means, likely, next_steps = found.means, found.likely, found.next_steps
    lines = [f"{view.paint('netlab:', 'red')} {defuse(str(error))}"]
    lines += [f"  {defuse(fact)}" for fact in error.facts]
    if means:
        lines += _block("means", means)
    for number, cause in enumerate(likely, start=1):
        lines += _block("likely" if number == 1 else "", cause, f"{number}. ")
    width = max((len(command) for command, _ in next_steps if len(command) <= _WIDEST), default=0)
    for number, (command, why) in enumerate(next_steps):
        label = "try" if number == 0 else ""
        if len(command) > _WIDEST:
            lines += [*_block(label, command, wraps=False), *_block("", why, "  ")]
        else:
            lines += _block(label, why, f"{command:<{width}}   ")
    return lines


def _explanation(error: NetlabError) -> Explanation | None:
    if isinstance(error, ResolveError):
        return None if error.gai_errno is None else explain_resolve(error.gai_errno, error.where)
    if error.errno is None or error.operation not in _EXPLAINED_BY:
        return None
    try:
        endpoint = Endpoint.parse(error.where, listening=True)
    except EndpointError:
        return None
    return _EXPLAINED_BY[error.operation](error.errno, endpoint)


def _block(label: str, text: str, front: str = "", *, wraps: bool = True) -> list[str]:
    """Wrap text after a label and a front; the lines that follow stand under its beginning."""
    import textwrap

    front = defuse(f"  {label:<{_LABEL - 3}} {front}")
    if not wraps or not text:
        return [(front + defuse(text)).rstrip()]
    return textwrap.wrap(
        defuse(text),
        WIDTH,
        initial_indent=front,
        subsequent_indent=" " * len(front),
        break_long_words=False,
        break_on_hyphens=False,
    )
