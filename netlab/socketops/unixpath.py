"""Unix socket paths: taking over a stale one, never a live one, and removing only our own.

A path outlives its server, and bind(2) then says EADDRINUSE.  So an existing path is tried with connect: refused
means that nobody listens, and only then, and only if it still is the same socket, it is removed.  Ordinary files,
directories and symbolic links are never touched.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from netlab.endpoint import Endpoint
from netlab.errors import LocalError

__all__ = ["Identity", "bind_path", "remove_own"]

Identity = tuple[int, int]
"""Device and inode of a socket file (stat(2)): who it is, whatever its name."""


def bind_path(sock: socket.socket, endpoint: Endpoint, *, mode: int = 0o600) -> Identity | None:
    """Bind ``sock`` to the path (or abstract name) of ``endpoint``, taking over a path that nobody listens on.

    Args:
      mode: permission bits of the socket file; who may not write to it may not connect (unix(7)).

    Returns:
      the new file's identity, for `remove_own`; None for an abstract name.

    Raises:
      LocalError: EADDRINUSE (somebody listens there, or what is there is no socket), or the directory is not ours.
    """
    if endpoint.path.startswith("@"):
        _bind(sock, endpoint)
        return None
    _remove_stale(sock, endpoint)
    # The mode of the descriptor becomes the file's, less the umask: never wider than asked, not even for a moment.
    if hasattr(os, "fchmod"):
        os.fchmod(sock.fileno(), mode)
    _bind(sock, endpoint)
    status = os.lstat(endpoint.path)
    if stat.S_IMODE(status.st_mode) != mode:
        os.chmod(endpoint.path, mode)
    return status.st_dev, status.st_ino


def remove_own(endpoint: Endpoint, identity: Identity) -> None:
    """Remove the socket file of ``endpoint`` if it still is the one that was bound."""
    if _identity(endpoint.path) == identity:
        os.unlink(endpoint.path)


def _bind(sock: socket.socket, endpoint: Endpoint) -> None:
    try:
        sock.bind(endpoint.to_sockaddr())
    except OSError as exc:
        raise LocalError.from_os(exc, "bind", endpoint) from None


def _identity(path: str) -> Identity | None:
    try:
        status = os.lstat(path)
    except OSError:  # gone, or not ours to see: bind will say which
        return None
    return (status.st_dev, status.st_ino)


def _remove_stale(sock: socket.socket, endpoint: Endpoint) -> None:
    found = _identity(endpoint.path)
    if found is None:
        return
    if not stat.S_ISSOCK(os.lstat(endpoint.path).st_mode):
        raise LocalError("bind", endpoint, "the path exists and is not a socket", errno=errno.EADDRINUSE)
    with socket.socket(sock.family, sock.type) as caller:
        caller.setblocking(False)
        code = caller.connect_ex(endpoint.to_sockaddr())
    if code != errno.ECONNREFUSED:  # 0, EAGAIN and EPROTOTYPE all mean that somebody lives there
        raise LocalError("bind", endpoint, errno=errno.EADDRINUSE)
    if _identity(endpoint.path) == found:
        os.unlink(endpoint.path)
