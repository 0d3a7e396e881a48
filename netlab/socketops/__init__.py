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
    from netlab.socketops.connecting import connect
    from netlab.socketops.faultlab.faults import Faults, parse_fault, unable
    from netlab.socketops.faultlab.misbehaving import full_queues
    from netlab.socketops.opening import Bound, adopt, bind, listen, reach
    from netlab.socketops.probing.attempts import Method
    from netlab.socketops.probing.diagnosing import OptionSet, diagnose
    from netlab.socketops.probing.loopback import probe_loopback
    from netlab.socketops.probing.payloads import Payload, parse_payload
    from netlab.socketops.probing.repeating import Repeating
    from netlab.socketops.probing.surveying import survey
    from netlab.socketops.probing.tally import Group
    from netlab.socketops.probing.waiting import survey_until, wait_until
    from netlab.socketops.queues import accept_queue, unacknowledged, unread
    from netlab.socketops.resolving import Family, resolve
    from netlab.socketops.serving.clients import CLIENT_RECORDS
    from netlab.socketops.serving.concurrent import serve_concurrently
    from netlab.socketops.serving.datagram import serve_datagrams
    from netlab.socketops.serving.iterative import serve_iteratively
    from netlab.socketops.serving.replies import EndsOnWord, Reply, make_reply
    from netlab.socketops.serving.room import Room
    from netlab.socketops.serving.threaded import choose_cpu, serve_threaded
    from netlab.socketops.sockopts import Setting, parse_setting
    from netlab.socketops.stop import Stop, Watcher
    from netlab.socketops.talking.bulk import stream, to_crlf
    from netlab.socketops.talking.connection import Connection
    from netlab.socketops.talking.exchanging import converse, exchange
    from netlab.socketops.talking.load import Load, Plan
    from netlab.socketops.talking.relay import LINGER, Relay
    from netlab.socketops.talking.until import Expect, Until
    from netlab.socketops.tracing.trace import Trace
    from netlab.socketops.tracing.tracedsocket import traced_socket_class

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
    "connecting": "connect",
    "opening": "Bound adopt bind listen reach",
    "queues": "accept_queue unacknowledged unread",
    "resolving": "Family resolve",
    "sockopts": "Setting parse_setting",
    "stop": "Stop Watcher",
    "faultlab.faults": "Faults parse_fault unable",
    "faultlab.misbehaving": "full_queues",
    "probing.attempts": "Method",
    "probing.diagnosing": "OptionSet diagnose",
    "probing.loopback": "probe_loopback",
    "probing.payloads": "Payload parse_payload",
    "probing.repeating": "Repeating",
    "probing.surveying": "survey",
    "probing.tally": "Group",
    "probing.waiting": "survey_until wait_until",
    "serving.clients": "CLIENT_RECORDS",
    "serving.concurrent": "serve_concurrently",
    "serving.datagram": "serve_datagrams",
    "serving.iterative": "serve_iteratively",
    "serving.replies": "EndsOnWord Reply make_reply",
    "serving.room": "Room",
    "serving.threaded": "choose_cpu serve_threaded",
    "talking.bulk": "stream to_crlf",
    "talking.connection": "Connection",
    "talking.exchanging": "converse exchange",
    "talking.load": "Load Plan",
    "talking.relay": "LINGER Relay",
    "talking.until": "Expect Until",
    "tracing.trace": "Trace",
    "tracing.tracedsocket": "traced_socket_class",
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
