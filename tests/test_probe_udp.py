"""probe over UDP: honest about silence, and told by ICMP what is closed."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint
from netlab.reports import Diagnosis
from netlab.socketops import Method, diagnose
from netlab.socketops.errqueue import listen_for_errors, read_error, stop_listening
from netlab.socketops.probing.asking import Question, ask
from netlab.socketops.probing.payloads import PROTOCOLS, Payload, parse_payload, payload_for
from netlab.socketops.probing.udp import udp_question
from tests import peers
from tests.programs import Netlab

QUICK = Method(timeout=0.15)


@contextlib.contextmanager
def answering_udp(*answers: bytes | None, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    """A UDP server that gives the n-th datagram the n-th answer, None for silence, then ends."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind((host, 0))

        def serve() -> None:
            for answer in answers:
                _, peer = sock.recvfrom(2048)
                if answer is not None:
                    sock.sendto(answer, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint.parse(
            f"udp://[{host}]:{sock.getsockname()[1]}" if ":" in host else f"udp://{host}:{sock.getsockname()[1]}"
        )
        thread.join()


def probe(target: str, method: Method = QUICK) -> Diagnosis:
    return diagnose(Endpoint.parse(target), method)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_is_open_with_its_bytes_and_time(host: str) -> None:
    with answering_udp(b"pong\n", host=host) as target:
        found = diagnose(target, QUICK)
    assert (found.best.verdict, found.summary.status, found.best.tries) == ("open", 0, 1)
    (reply,) = found.replies
    assert (reply.data, reply.bytes_in, reply.endpoint) == (b"pong\n", 5, target)
    assert reply.rtt_us > 0
    assert found.best.evidence == 'sent 13 B ("netlab probe\\n"): an answer of 5 B came'


def test_silence_is_undecidable_after_three_datagrams() -> None:
    with peers.mute_udp() as peer:
        found = probe(peer.endpoint)
        assert [peer.socket.recv(100) for _ in range(3)] == [b"netlab probe\n"] * 3
        peer.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.socket.recv(100)
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("no-answer", None, 28)
    assert found.best.evidence == 'sent 3 x 13 B ("netlab probe\\n"): no reply, no ICMP error'
    assert "undecidable" in found.means
    assert found.best.duration_us == pytest.approx(150_000)


def test_the_third_datagram_may_still_be_answered() -> None:
    with answering_udp(None, None, b"late") as target:
        found = diagnose(target, Method(timeout=0.3))
    assert (found.best.verdict, found.best.tries) == ("open", 3)
    assert found.replies[0].rtt_us < 100_000


@pytest.mark.parametrize(("host", "icmp", "sender"), [("127.0.0.1", (3, 3), "127.0.0.1"), ("::1", (1, 4), "::1")])
def test_closed_comes_with_icmp_type_code_and_sender(host: str, icmp: tuple[int, int], sender: str) -> None:
    with peers.refusing_udp(host) as peer:
        found = probe(peer.endpoint)
    best = found.best
    assert (best.verdict, best.errno_name, found.summary.status) == ("closed", "ECONNREFUSED", 7)
    assert ((best.icmp_type, best.icmp_code), best.icmp_sender) == (icmp, sender)
    version = "v6" if ":" in host else ""
    kind = f"ICMP{version} {icmp[0]}/{icmp[1]} port unreachable from {sender}"
    assert best.evidence == f"{kind} (ECONNREFUSED {errno.ECONNREFUSED})"
    assert best.duration_us < 150_000


def test_an_error_that_waits_is_taken_before_the_next_datagram() -> None:
    with peers.refusing_udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        listen_for_errors(sock)
        sock.connect((peer.host, peer.port))
        question = udp_question(Endpoint.parse(peer.endpoint), sock, b"?")
        question.send()
        question.send()
    assert len(question.sent_at) == 1
    assert question.error == errno.ECONNREFUSED
    assert question.icmp is not None
    assert question.icmp.data == b"?"


def test_the_error_queue_is_read_once_and_can_be_left() -> None:
    with peers.refusing_udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        listen_for_errors(sock)
        sock.connect((peer.host, peer.port))
        assert read_error(sock) is None
        sock.send(b"one")
        found = read_error(sock)
        assert found is not None
        assert (found.version, found.type, found.code, found.sender, found.data) == (4, 3, 3, "127.0.0.1", b"one")
        assert read_error(sock) is None
        stop_listening(sock)
        sock.send(b"two")
        with pytest.raises(ConnectionRefusedError):
            sock.send(b"three")
        assert read_error(sock) is None


def test_an_error_of_another_target_is_not_ours() -> None:
    """Several questions side by side: one is closed, one is answered, one is silent."""
    with answering_udp(b"yes") as open_port, peers.refusing_udp() as closed, peers.mute_udp() as mute:
        with contextlib.ExitStack() as stack:
            questions = []
            for target in (closed.endpoint, str(open_port), mute.endpoint):
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.setblocking(False)
                listen_for_errors(sock)
                endpoint = Endpoint.parse(target)
                sock.connect(endpoint.to_sockaddr())
                questions.append(udp_question(endpoint, sock, b"?"))
            ask(questions, timeout=0.1)
    assert [_outcome(question) for question in questions] == ["closed", "yes", "silent"]


def _outcome(question: Question) -> str:
    if question.answer is not None:
        return question.answer.data.decode()
    return "silent" if question.error is None else "closed"


def test_the_payload_is_what_the_user_says(tmp_path: Path, netlab_here: Netlab) -> None:
    request = tmp_path / "request.bin"
    request.write_bytes(b"\x00\xff file")
    for text, data in [("hello", b"hello"), ("hex:00 ff", b"\x00\xff"), (f"@{request}", b"\x00\xff file"), ("", b"")]:
        with peers.mute_udp() as peer:
            done = netlab_here("probe", peer.endpoint, "--payload", text, "-w", "30ms")
            assert peer.socket.recv(100) == data
        assert done.returncode == 28
        assert re.search(rf"sent [123] x {len(data)} B".encode(), done.stdout)  # a busy host leaves time for fewer


def test_ports_53_and_123_get_a_real_request() -> None:
    assert payload_for(53) is PROTOCOLS["dns"]
    assert payload_for(123) is PROTOCOLS["ntp"]
    assert payload_for(514).data == b"netlab probe\n"
    header = struct.unpack("!6H", PROTOCOLS["dns"].data[:12])
    assert (header[1], header[2:]) == (0x0100, (1, 0, 0, 0))
    assert PROTOCOLS["dns"].data[12:] == b"\0" + struct.pack("!2H", 2, 1)
    assert len(PROTOCOLS["ntp"].data) == 48
    assert PROTOCOLS["ntp"].data[0] & 0b111 == 3


def test_every_request_is_well_formed() -> None:
    snmp = PROTOCOLS["snmp"].data
    assert snmp[1] == len(snmp) - 2
    assert struct.unpack("!HHI", PROTOCOLS["stun"].data[:8]) == (1, 0, 0x2112A442)
    assert len(PROTOCOLS["stun"].data) == 20


def test_a_payload_says_what_it_is() -> None:
    assert str(Payload(b"netlab probe\n")) == '13 B ("netlab probe\\n")'
    assert str(Payload(b"\x00\x01")) == "2 B"
    assert str(parse_payload("proto:dns")) == "17 B (a DNS query)"
    assert str(Payload(b"x" * 2000)) == f'2,000 B ("{"x" * 40}"...)'


def test_udp_is_closed_and_silent_on_the_command_line(netlab: Netlab) -> None:
    with peers.refusing_udp() as closed, peers.mute_udp() as mute:
        refused = netlab("probe", "-u", closed.endpoint.removeprefix("udp://"))
        silent = netlab("probe", mute.endpoint, "-w", "60ms", "--ok-if", "open,no-answer")
    assert refused.returncode == 7
    assert refused.stdout.decode().splitlines()[0].startswith(f"closed       {closed.endpoint} ")
    assert (silent.returncode, silent.stderr) == (0, b"")
    assert silent.stdout.decode().splitlines()[0].startswith(f"no-answer    {mute.endpoint} ")


def test_a_payload_that_no_datagram_holds_is_this_hosts_error() -> None:
    with peers.mute_udp() as peer:
        found = probe(peer.endpoint, Method(timeout=0.1, payload=Payload(bytes(65508))))
    assert (found.best.verdict, found.best.errno_name, found.summary.status) == ("error", "EMSGSIZE", 45)
    assert found.best.evidence.startswith(f"send {errno.EMSGSIZE} EMSGSIZE (send() raises OSError): ")
