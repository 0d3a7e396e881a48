r"""Socket operations: open, serve, exchange, relay and probe, as a library that says nothing by itself.

Openers return sockets, long operations push frozen records (`netlab.records`) to an ``emit`` callable, failures are
`netlab.errors`.  Nothing here prints, reads the environment or handles signals.

======  ==================================================================================
open    `listen`, `bind`, `accept_one`, `connect`, `resolve`
serve   `serve_iteratively`, `serve_concurrently`, `serve_threaded`, `serve_datagrams`
talk    `converse`, `exchange`, `stream`, `Relay`, `Load`
probe   `diagnose`, `wait_until`, `survey`, `Repeating`, `probe_loopback`
======  ==================================================================================

Connect, and read lines: what `connect` returns is a plain socket, so all of Python's own methods are there.

>>> from netlab import socketops
>>> from netlab.endpoint import Endpoint
>>> with socketops.listen(Endpoint.parse(":0", listening=True))[0] as listener:
...     with socketops.connect(listener.endpoint, timeout=1.0) as client, listener.sock.accept()[0] as server:
...         server.sendall(b"first\nsecond\n")
...         server.close()
...         with client.makefile(encoding="utf-8") as lines:
...             [line.rstrip() for line in lines]
['first', 'second']

Serve in a thread, and be told what happens:

>>> import threading
>>> seen = []
>>> with socketops.Stop() as stop, socketops.listen(Endpoint.parse(":0", listening=True))[0] as listener:
...     service = {"reply": socketops.make_reply("ack"), "stop": stop, "emit": seen.append, "once": True}
...     server = threading.Thread(target=socketops.serve_iteratively, args=([listener],), kwargs=service)
...     server.start()
...     with socketops.connect(listener.endpoint, timeout=1.0) as client:
...         client.sendall(b"hello")
...         client.recv(100)
...     server.join()
b'received 5 bytes\n'
>>> [record.event for record in seen]
['connected', 'received', 'sent', 'closed', 'summary']

Ask what a connection attempt meets; a refusal is an answer, not an exception:

>>> import socket
>>> with socket.socket() as bound:
...     bound.bind(("127.0.0.1", 0))
...     nobody_listens = Endpoint.of(*bound.getsockname())
...     diagnosis = socketops.diagnose(nobody_listens, socketops.Method(timeout=1.0))
>>> [(attempt.verdict, attempt.errno_name) for attempt in diagnosis.attempts]
[('refused', 'ECONNREFUSED')]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netlab.socketops.accepting import accept_one
    from netlab.socketops.attempts import Method
    from netlab.socketops.bulk import stream, to_crlf
    from netlab.socketops.clients import CLIENT_RECORDS
    from netlab.socketops.concurrent import serve_concurrently
    from netlab.socketops.connecting import connect
    from netlab.socketops.connection import Connection
    from netlab.socketops.datagram import serve_datagrams
    from netlab.socketops.exchanging import converse, exchange
    from netlab.socketops.faults import Faults, parse_fault, unable
    from netlab.socketops.iterative import serve_iteratively
    from netlab.socketops.load import Load, Plan
    from netlab.socketops.loopback import probe_loopback
    from netlab.socketops.misbehaving import full_queues
    from netlab.socketops.opening import Bound, adopt, bind, listen, reach
    from netlab.socketops.payloads import Payload, parse_payload
    from netlab.socketops.probing import OptionSet, diagnose
    from netlab.socketops.queues import accept_queue, unacknowledged, unread
    from netlab.socketops.relay import LINGER, Relay
    from netlab.socketops.repeating import Repeating
    from netlab.socketops.replies import EndsOnWord, Reply, make_reply
    from netlab.socketops.resolving import Family, resolve
    from netlab.socketops.room import Room
    from netlab.socketops.sockopts import Setting, parse_setting
    from netlab.socketops.stop import Stop, Watcher
    from netlab.socketops.surveying import survey
    from netlab.socketops.tally import Group
    from netlab.socketops.threaded import choose_cpu, serve_threaded
    from netlab.socketops.tracedsocket import traced_socket_class
    from netlab.socketops.tracing import Trace
    from netlab.socketops.until import Expect, Until
    from netlab.socketops.waiting import survey_until, wait_until

__all__ = [
    "CLIENT_RECORDS",
    "LINGER",
    "Bound",
    "Connection",
    "EndsOnWord",
    "Expect",
    "Family",
    "Faults",
    "Group",
    "Load",
    "Method",
    "OptionSet",
    "Payload",
    "Plan",
    "Relay",
    "Repeating",
    "Reply",
    "Room",
    "Setting",
    "Stop",
    "Trace",
    "Until",
    "Watcher",
    "accept_one",
    "accept_queue",
    "adopt",
    "bind",
    "choose_cpu",
    "connect",
    "converse",
    "diagnose",
    "exchange",
    "full_queues",
    "listen",
    "make_reply",
    "parse_fault",
    "parse_payload",
    "parse_setting",
    "probe_loopback",
    "reach",
    "resolve",
    "serve_concurrently",
    "serve_datagrams",
    "serve_iteratively",
    "serve_threaded",
    "stream",
    "survey",
    "survey_until",
    "to_crlf",
    "traced_socket_class",
    "unable",
    "unacknowledged",
    "unread",
    "wait_until",
]

_NAMES = {
    "accepting": "accept_one",
    "attempts": "Method",
    "bulk": "stream to_crlf",
    "clients": "CLIENT_RECORDS",
    "concurrent": "serve_concurrently",
    "connecting": "connect",
    "connection": "Connection",
    "datagram": "serve_datagrams",
    "exchanging": "converse exchange",
    "faults": "Faults parse_fault unable",
    "iterative": "serve_iteratively",
    "load": "Load Plan",
    "loopback": "probe_loopback",
    "misbehaving": "full_queues",
    "opening": "Bound adopt bind listen reach",
    "payloads": "Payload parse_payload",
    "probing": "OptionSet diagnose",
    "queues": "accept_queue unacknowledged unread",
    "relay": "LINGER Relay",
    "repeating": "Repeating",
    "replies": "EndsOnWord Reply make_reply",
    "resolving": "Family resolve",
    "room": "Room",
    "sockopts": "Setting parse_setting",
    "stop": "Stop Watcher",
    "surveying": "survey",
    "tally": "Group",
    "threaded": "choose_cpu serve_threaded",
    "tracedsocket": "traced_socket_class",
    "tracing": "Trace",
    "until": "Expect Until",
    "waiting": "survey_until wait_until",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import what is asked for with the file that holds it (PEP 562): no command needs more than a third of them."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
