"""Other servers to compare with: ``python peers.py KIND PORT``.

They are written as their documentation, or a textbook, writes them; ``socketserver`` alone has its accept queue made as
long as netlab's, because nothing else could be measured with many clients.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import socket
import socketserver
import sys
import threading
from typing import Any, cast

HOST = "127.0.0.1"


class StreamHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


class StreamServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(self.request[0], self.client_address)


def textbook(port: int) -> None:
    """Decode, print, answer: the server that tutorials teach, with a thread for each client."""

    def handle_client(client: socket.socket, address: tuple[str, int]) -> None:
        try:
            while True:
                data = client.recv(1024)
                if not data:
                    break
                print(f"Received from {address}: {data.decode('utf-8')}")
                client.sendall(b"Message received")
        finally:
            client.close()

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen(5)
        while True:
            client, address = server.accept()
            threading.Thread(target=handle_client, args=(client, address), daemon=True).start()


class StreamProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str | Any, int]) -> None:
        self.transport.sendto(data, address)


async def serve_streams(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(StreamProtocol, HOST, port, backlog=4096)
    await server.serve_forever()


async def serve_datagrams(protocol: type[asyncio.DatagramProtocol], port: int) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(protocol, (HOST, port))
    await asyncio.Event().wait()


def main(kind: str, port: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    library, _, task = kind.partition("-")
    if kind == "socketserver-udp":
        socketserver.UDPServer((HOST, port), EchoHandler).serve_forever()
    elif kind == "socketserver-udp-discard":
        socketserver.UDPServer((HOST, port), socketserver.BaseRequestHandler).serve_forever()
    elif kind == "socketserver":
        StreamServer((HOST, port), StreamHandler).serve_forever()
    elif kind == "textbook":
        textbook(port)
    else:
        if library == "uvloop":
            importlib.import_module("uvloop").install()
        if task == "udp":
            asyncio.run(serve_datagrams(EchoDatagrams, port))
        elif task == "udp-discard":
            asyncio.run(serve_datagrams(asyncio.DatagramProtocol, port))
        else:
            asyncio.run(serve_streams(port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
