"""Run netlab as if this were another system: names that only Linux has are hidden before netlab is imported.

``python -m tests.elsewhere darwin probe --loopback``.  This shows that nothing needs the names; it cannot show what the
other system's kernel would say.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

LINUX_ONLY = {
    os: ["eventfd", "memfd_create", "pipe2", "sched_getaffinity", "sched_setaffinity", "splice"],
    select: ["epoll", "POLLRDHUP"],
    socket: [
        *["IP_RECVERR", "IPV6_RECVERR", "MSG_CMSG_CLOEXEC", "MSG_ERRQUEUE", "SO_DOMAIN", "SO_INCOMING_CPU", "SO_MARK"],
        *["SO_PASSCRED", "SO_PEERCRED", "SO_PEERSEC", "SO_PRIORITY", "SO_PROTOCOL", "SO_BINDTODEVICE"],
        *["TCP_CONGESTION", "TCP_CORK", "TCP_DEFER_ACCEPT", "TCP_INFO", "TCP_LINGER2", "TCP_QUICKACK", "TCP_SYNCNT"],
        *["TCP_USER_TIMEOUT", "TCP_WINDOW_CLAMP"],
    ],
}
POSIX_ONLY = {
    os: ["fchmod", "fork", "get_blocking", "geteuid", "getuid", "register_at_fork", "set_blocking"],
    select: ["poll", "PIPE_BUF", "POLLERR", "POLLIN", "POLLOUT", "POLLHUP"],
    signal: ["SIGHUP", "SIGPIPE", "pthread_sigmask", "sigwait"],
    socket: ["AF_UNIX", "MSG_DONTWAIT", "MSG_NOSIGNAL", "SO_REUSEPORT"],
}
POSIX_MODULES = ["fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Make a pair as Python's socketpair does where there are no unix sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        return first, listener.accept()[0]


def pretend(platform: str) -> None:
    """Hide what ``platform`` (darwin, win32) lacks."""
    # What the standard library itself needs of them is taken first.
    import selectors
    import subprocess  # noqa: F401
    import tempfile  # noqa: F401

    import click  # noqa: F401

    hidden = [LINUX_ONLY]
    if platform == "win32":
        hidden.append(POSIX_ONLY)
        sys.modules.update(dict.fromkeys(POSIX_MODULES))  # type: ignore[arg-type]
        socket.socketpair = tcp_pair  # type: ignore[assignment]
        selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc,assignment]
    for table in hidden:
        for module, names in table.items():
            for name in names:
                if hasattr(module, name):
                    delattr(module, name)
    sys.platform = platform


if __name__ == "__main__":
    pretend(sys.argv[1])
    sys.argv[1:2] = []
    from netlab.__main__ import main

    main()
