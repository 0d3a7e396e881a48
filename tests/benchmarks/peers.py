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

HOST = "127.0.0.1"


class StreamHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


class StreamServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096


class DatagramHandler(socketserver.BaseRequestHandler):
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


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve_protocol(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(EchoProtocol, HOST, port, backlog=4096)
    await server.serve_forever()


async def serve_streams(port: int) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, HOST, port, backlog=4096)
    await server.serve_forever()


def main(kind: str, port: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if kind == "socketserver":
        StreamServer((HOST, port), StreamHandler).serve_forever()
    elif kind == "socketserver-udp":
        socketserver.UDPServer((HOST, port), DatagramHandler).serve_forever()
    elif kind == "textbook":
        textbook(port)
    elif kind == "asyncio":
        asyncio.run(serve_protocol(port))
    elif kind == "asyncio-streams":
        asyncio.run(serve_streams(port))
    elif kind == "uvloop":
        importlib.import_module("uvloop").install()
        asyncio.run(serve_protocol(port))
    else:
        sys.exit(f"no such peer: {kind}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
