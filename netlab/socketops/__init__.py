"""Socket operations: open, serve, exchange, relay and probe, as a library that says nothing by itself.

Openers return sockets, long operations push frozen records (`netlab.records`) to an ``emit`` callable, failures are
`netlab.errors`.  Nothing here prints, reads the environment or handles signals.
"""

from netlab.socketops.connecting import connect
from netlab.socketops.opening import Bound, adopt, bind, listen, reach
from netlab.socketops.queues import accept_queue, unacknowledged, unread
from netlab.socketops.resolve import Family, resolve
from netlab.socketops.sockopts import Setting, parse_setting
from netlab.socketops.stop import Stop, Watcher

__all__ = [
    "Bound",
    "Family",
    "Setting",
    "Stop",
    "Watcher",
    "accept_queue",
    "adopt",
    "bind",
    "connect",
    "listen",
    "parse_setting",
    "reach",
    "resolve",
    "unacknowledged",
    "unread",
]
