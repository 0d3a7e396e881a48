"""Faults decide: what a reply becomes, without any socket."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.socketops.faultlab.faults import Faults, parse_fault, unable
from netlab.socketops.faultlab.faulttable import KINDS, Kind, kinds
from netlab.socketops.faultlab.faultyreply import MOST_CUTS, REORDER, SPLIT, STANDING, FaultyReply
from netlab.socketops.serving.actions import HalfClose, Pause, Reset, SendElsewhere, Stall, Strike
from netlab.socketops.serving.replies import Ack, Action, Close, Discard, Echo, EndsOnWord, Generate, Reply
from tests.programs import ROOT, clean_environment

HELLO = memoryview(b"hello")


def faulty(*texts: str, reply: Reply | None = None, seed: int = 1, conn: int = 1) -> FaultyReply:
    """A reply to one connection, with these faults."""
    return Faults([parse_fault(text) for text in texts], seed=seed).for_client(conn, reply or Echo())


def faulty_datagrams(*texts: str, seed: int = 1) -> FaultyReply:
    """Echoes of datagrams, with these faults."""
    return Faults([parse_fault(text, datagrams=True) for text in texts], seed=seed).for_datagrams(Echo())


def untold(actions: Iterable[Action]) -> list[Action]:
    """All actions but what the log gets."""
    return [action for action in actions if not isinstance(action, Strike)]


def pieces(actions: Iterable[Action]) -> list[bytes]:
    """What is sent."""
    return [action for action in actions if isinstance(action, bytes)]


def pauses(actions: Iterable[Action]) -> list[float]:
    return [action.seconds for action in actions if isinstance(action, Pause)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_row_of_the_table_is_whole_and_its_sample_is_right(kind: Kind) -> None:
    fault = parse_fault(kind.sample, datagrams=not kind.streams)
    assert (fault.name, str(fault), fault.kind) == (kind.name, kind.sample, kind)
    assert bool(kind.value) == bool(kind.example) == bool(kind.read)
    assert all([kind.does, kind.sees, kind.client, kind.streams or kind.datagrams])
    assert kind in kinds(datagrams=kind.datagrams)


def test_names_are_all_different() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("text", "amount", "extra"),
    [
        ("delay=300ms", 0.3, 0),
        ("delay=50ms~20ms", 0.05, 0.02),
        ("delay=0~20ms", 0, 0.02),
        ("rate=10k", 10240, 0),
        ("rate=10k/s", 10240, 0),
        ("dribble=1B/10ms", 1, 0.01),
        ("close-after=0", 0, 0),
        ("corrupt=0.5%", 0.005, 0),
        ("drop=100%", 1, 0),
        ("refuse-every=1", 1, 0),
        ("stall", 0, 0),
    ],
)
def test_values(text: str, amount: float, extra: float) -> None:
    fault = parse_fault(text)
    assert fault.amount == pytest.approx(amount)
    assert fault.extra == extra


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["there is no fault ''", "choose from delay, rate, "]),
        ("dely=1s", ["there is no fault 'dely' (did you mean delay?)", "choose from delay, rate, "]),
        ("\x1b[2J", [r"'\x1b[2J'", "choose from"]),
        ("x" * 9999, ["xxx...", "choose from"]),
        ("duplicate=10%", ["duplicate is a fault of datagrams", "here are connections", "choose from delay, rate, "]),
        ("stall=1", ["stall takes no value"]),
        ("stall=", ["stall takes no value"]),
        ("delay", ["delay needs a value: delay=DURATION[~JITTER], such as delay=300ms"]),
        ("delay=", ["delay needs a value: delay=DURATION[~JITTER], such as delay=300ms"]),
        ("delay=soon", ["'soon' is no duration", "delay=DURATION[~JITTER], such as delay=300ms"]),
        ("delay=0", ["more than 0"]),
        ("delay=20d", ["is no duration"]),
        ("delay=576h~1s", ["too long"]),
        ("rate=0", ["at least 1 B a second", "rate=SIZE"]),
        ("dribble=1B", ["a size, a slash and a duration", "dribble=SIZE/DURATION, such as dribble=1B/10ms"]),
        ("dribble=0/1s", ["more than 0"]),
        ("close-after=-1", ["is no size"]),
        ("drop=10", ["a number and a percent sign are needed", "drop=PERCENT, such as drop=10%"]),
        ("drop=0%", ["more than 0%"]),
        ("drop=100.1%", ["at most 100%"]),
        ("refuse-every=0", ["a whole number from 1"]),
        ("refuse-every=\N{SUPERSCRIPT TWO}", ["a whole number from 1"]),
    ],
)
def test_a_wrong_fault_is_told_what_is_right(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\A[ -~]{1,400}\Z") as caught:
        parse_fault(text)
    for word in words:
        assert word in str(caught.value)


def test_a_datagram_server_names_its_own_faults() -> None:
    with pytest.raises(ValueError, match="choose from delay, no-reply, drop, duplicate, ") as caught:
        parse_fault("stall", datagrams=True)
    assert "rate" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_a_fault_or_a_value_error(text: str) -> None:
    for datagrams in (False, True):
        for written in (text, f"delay={text}", f"drop={text}", f"dribble={text}", f"refuse-every={text}"):
            with contextlib.suppress(ValueError):
                assert str(parse_fault(written, datagrams=datagrams)) == written


def test_a_fault_is_given_once() -> None:
    with pytest.raises(ValueError, match="delay is given twice: delay=1s and delay=2s"):
        Faults([parse_fault("delay=1s"), parse_fault("stall"), parse_fault("delay=2s")])


@pytest.mark.parametrize(
    ("text", "reply", "unix", "why"),
    [
        ("delay=1s", "ack", False, None),
        ("stall", "discard", True, None),
        ("delay=1s", "discard", False, "discard has none; choose another reply, or from half-close, stall,"),
        ("delay=1s", "discard", True, "choose another reply, or from half-close, stall, no-accept"),
        ("stall", "broadcast", False, "stall is impossible with broadcast"),
        ("reset-after=1", "ack", False, None),
        ("reset-after=1", "ack", True, "a unix socket has no reset; choose from delay, rate,"),
        ("refuse-every=2", "ack", True, "a unix socket has no reset"),
    ],
)
def test_what_a_server_cannot_do(text: str, reply: str, unix: bool, why: str | None) -> None:
    told = unable([parse_fault(text)], reply=reply, unix=unix)
    assert (told is None) == (why is None)
    assert why is None or why in (told or "")


def test_a_unix_datagram_socket_has_no_port() -> None:
    told = unable([parse_fault("wrong-port", datagrams=True)], reply="ack", unix=True, datagrams=True)
    assert told is not None
    assert "a unix socket has no port; choose from delay, no-reply, drop, duplicate," in told


def test_a_datagram_server_that_discards_can_do_none() -> None:
    told = unable([parse_fault("drop=10%", datagrams=True)], reply="discard", datagrams=True)
    assert told == "drop changes replies, and discard has none; choose another reply"


@pytest.mark.parametrize(
    ("texts", "idle"),
    [
        (["delay=1s", "garbage", "close-after=0"], None),
        (["half-close", "stall", "refuse-every=2"], None),
        (["drop=10%", "stall"], "drop=10% has no effect beside stall; choose one of them"),
        (["half-close", "no-reply"], "no-reply has no effect beside half-close; choose one of them"),
        (["no-reply", "delay=1s"], "delay=1s has no effect beside no-reply; choose one of them"),
        (["stall", "no-accept"], "stall has no effect beside no-accept; choose one of them"),
    ],
)
def test_what_can_never_strike_beside_another_is_refused(texts: list[str], idle: str | None) -> None:
    assert unable([parse_fault(text) for text in texts], reply="ack") == idle


def test_what_the_servers_ask() -> None:
    def facts(*texts: str) -> tuple[bool, bool]:
        faults = Faults([parse_fault(text) for text in texts])
        return faults.never_accepts, faults.uses_chance

    assert facts("delay=1s") == (False, False)
    assert facts("delay=1s~1ms") == (False, True)
    assert facts("no-accept", "drop=1%") == (True, True)


def test_an_own_seed_is_told_and_repeats() -> None:
    first = Faults([parse_fault("garbage")])
    again = Faults([parse_fault("garbage")], seed=first.seed)
    assert pieces(first.for_client(3, Echo()).answer(HELLO)) == pieces(again.for_client(3, Echo()).answer(HELLO))


def test_chance_is_each_connections_own() -> None:
    replies = {bytes(b"".join(pieces(faulty("garbage", conn=conn).answer(HELLO)))) for conn in range(1, 9)}
    assert len(replies) == 8


# What each of them does.


def test_delay_waits_before_the_whole_reply() -> None:
    assert list(faulty("delay=300ms").answer(HELLO)) == [Strike("delay", "waits 300 ms"), Pause(0.3), b"hello"]


@given(seed=st.integers(0, 1000))
def test_jitter_stays_within_its_bounds(seed: int) -> None:
    reply = faulty("delay=50ms~20ms", seed=seed)
    waits = [wait for _ in range(5) for wait in pauses(reply.answer(HELLO))]
    assert all(0.03 <= wait <= 0.07 for wait in waits)
    assert len(set(waits)) == 5
    assert all(0 <= wait <= 0.02 for wait in pauses(faulty("delay=0~20ms", seed=seed).answer(HELLO)))


@given(data=st.binary(max_size=500), rate=st.integers(1, 10_000))
def test_rate_waits_as_long_as_the_bytes_take(data: bytes, rate: int) -> None:
    actions = list(faulty(f"rate={rate}").answer(memoryview(data)))
    assert b"".join(pieces(actions)) == data
    assert sum(pauses(actions)) == pytest.approx(len(data) / rate)
    assert max(map(len, pieces(actions)), default=0) <= max(rate / 20, 1)


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_dribble_sends_in_pieces_with_a_wait_between(data: bytes, size: int) -> None:
    actions = untold(faulty(f"dribble={size}/10ms").answer(memoryview(data)))
    assert b"".join(pieces(actions)) == data
    assert all(len(piece) == size for piece in pieces(actions)[:-1])
    assert pauses(actions) == [0.01] * (len(pieces(actions)) - 1)
    assert isinstance(actions[0], bytes)


@given(st.text(max_size=100))
def test_split_utf8_cuts_inside_characters_and_nowhere_else(text: str) -> None:
    data = text.encode()
    whole = [char for char in text if char > "\x7f"]
    actions = list(faulty("split-utf8").answer(memoryview(data)))
    assert b"".join(pieces(actions)) == data
    assert pauses(actions) == [SPLIT] * min(len(whole), MOST_CUTS)
    for before, after in itertools.pairwise(pieces(actions)):
        with pytest.raises(UnicodeDecodeError):
            before.decode()
        assert 0x80 <= after[0] < 0xC0


def test_a_reply_in_ascii_cannot_be_split() -> None:
    assert list(faulty("split-utf8").answer(HELLO)) == [b"hello"]


@pytest.mark.parametrize(("name", "end"), [("close-after", Close("fault")), ("reset-after", Reset())])
@given(sizes=st.lists(st.integers(0, 9), max_size=9), limit=st.integers(0, 40))
def test_the_end_comes_when_so_much_is_sent(name: str, end: Action, sizes: list[int], limit: int) -> None:
    reply = faulty(f"{name}={limit}")
    sent = 0
    for size in sizes:
        actions = untold(reply.answer(memoryview(bytes(size))))
        sent += size
        if sent >= limit:
            kept = size - (sent - limit)
            assert actions == [*([bytes(kept)] if kept else []), end]
            return
        assert actions == [bytes(size)]


def test_half_close_comes_first_and_nothing_is_sent_afterwards() -> None:
    reply = faulty("half-close", reply=EndsOnWord(Ack(), "exit"))
    assert untold(reply.opening()) == [HalfClose()]
    assert list(reply.answer(HELLO)) == []
    assert list(reply.answer(memoryview(b"exit\n"))) == [Close("exit")]
    assert untold(faulty("half-close", reply=Generate()).opening()) == [HalfClose()]


def test_stall_comes_first() -> None:
    assert untold(faulty("stall").opening()) == [Stall()]
    assert untold(itertools.islice(faulty("stall", "half-close").opening(), 4)) == [HalfClose(), Stall()]


def test_each_third_connection_is_reset() -> None:
    beginnings = {conn: untold(faulty("refuse-every=3", conn=conn).opening()) for conn in range(1, 10)}
    refused = [conn for conn, actions in beginnings.items() if actions == [Pause(STANDING), Reset()]]
    assert refused == [3, 6, 9]


def test_no_reply_leaves_all_but_the_bytes() -> None:
    reply = faulty("no-reply", reply=EndsOnWord(Ack(), "exit"))
    assert list(reply.answer(HELLO)) == [Strike("no-reply", "17 B not sent")]
    assert untold(reply.answer(memoryview(b"exit"))) == [Close("exit")]


def test_what_comes_unasked_is_a_reply_that_never_ends() -> None:
    assert [type(action) for action in faulty("no-reply", reply=Generate()).opening()] == [Strike]
    delayed = untold(itertools.islice(faulty("delay=1s", reply=Generate()).opening(), 5))
    assert delayed[0] == Pause(1.0)
    assert pauses(delayed[1:]) == []
    cut = list(faulty("close-after=100000", reply=Generate()).opening())
    assert sum(map(len, pieces(cut))) == 100_000
    assert cut[-1] == Close("fault")


def test_drop_loses_as_many_as_it_says() -> None:
    reply = faulty("drop=30%")
    kept = sum(bool(pieces(reply.answer(HELLO))) for _ in range(1000))
    assert 650 <= kept <= 750
    assert not any(pieces(faulty("drop=100%", seed=seed).answer(HELLO)) for seed in range(99))


@given(data=st.binary(max_size=100), chance=st.sampled_from(["100%", "50%", "1%", "0.000000001%"]))
def test_corrupt_flips_at_most_one_bit_of_a_byte(data: bytes, chance: str) -> None:
    actions = list(faulty(f"corrupt={chance}").answer(memoryview(data)))
    (sent,) = pieces(actions)
    flipped = [(a ^ b).bit_count() for a, b in zip(data, sent, strict=True)]
    assert max(flipped, default=0) <= 1
    assert (sum(flipped) > 0) == any(isinstance(action, Strike) for action in actions)
    if chance == "100%":
        assert sum(flipped) == len(data)


def test_corrupt_hits_as_many_bytes_as_it_says() -> None:
    (sent,) = pieces(faulty("corrupt=1%").answer(memoryview(bytes(100_000))))
    assert 900 <= len(sent) - sent.count(0) <= 1100


def test_garbage_is_as_long_as_the_reply() -> None:
    (sent,) = pieces(faulty("garbage").answer(memoryview(bytes(1000))))
    assert len(sent) == 1000
    assert len(set(sent)) > 100


def test_truncate_cuts_what_is_longer() -> None:
    reply = faulty_datagrams("truncate=3")
    assert untold(reply.answer(HELLO)) == [b"hel"]
    assert list(reply.answer(memoryview(b"abc"))) == [b"abc"]


def test_duplicate_and_wrong_port() -> None:
    assert untold(faulty_datagrams("duplicate=100%").answer(HELLO)) == [b"hello", b"hello"]
    both = faulty_datagrams("duplicate=100%", "wrong-port").answer(HELLO)
    assert untold(both) == [SendElsewhere(b"hello"), SendElsewhere(b"hello")]


def test_reorder_never_holds_back_two_in_a_row() -> None:
    reply = faulty_datagrams("reorder=100%")
    held = [pauses(reply.answer(HELLO)) for _ in range(4)]
    assert held == [[REORDER], [], [REORDER], []]


# Together.


def test_the_order_is_the_same_whatever_was_given_first() -> None:
    texts = ["close-after=4", "dribble=3/1ms", "delay=1s", "truncate=4"]
    faults = [parse_fault(text, datagrams=text.startswith("truncate")) for text in texts]
    expected = [Pause(1.0), b"hel", Pause(0.001), b"l", Close("fault")]
    for some in itertools.permutations(faults):
        assert untold(Faults(some, seed=1).for_client(1, Echo()).answer(HELLO)) == expected


def test_a_lost_reply_is_neither_delayed_nor_counted() -> None:
    reply = faulty("no-reply", "delay=1s", "close-after=0")
    assert untold(reply.answer(HELLO)) == []


def test_who_has_no_reply_has_no_fault() -> None:
    texts = ["delay=1s", "garbage", "drop=100%", "close-after=0"]
    assert list(faulty(*texts, reply=Discard()).answer(HELLO)) == []
    assert list(faulty(*texts).opening()) == []


@given(
    st.lists(st.sampled_from([kind for kind in kinds(datagrams=False) if kind.name != "stall"]), unique=True),
    st.lists(st.binary(min_size=1, max_size=60), max_size=5),
    st.integers(0, 99),
)
def test_any_faults_together_repeat_and_end(chosen: list[Kind], chunks: list[bytes], seed: int) -> None:
    def replies() -> list[list[Action]]:
        reply = faulty(*(kind.sample for kind in chosen), seed=seed, conn=2)
        return [list(reply.opening()), *(list(reply.answer(memoryview(chunk))) for chunk in chunks)]

    assert replies() == replies()
    for actions in replies():
        assert not any(isinstance(action, memoryview) for action in actions)
        ends = [number for number, action in enumerate(actions) if isinstance(action, (Close, Reset))]
        assert ends in ([], [len(actions) - 1])


def test_a_chunk_may_be_overwritten_as_soon_as_it_is_answered() -> None:
    buffer = bytearray(b"hello")
    actions = faulty("dribble=1/1ms", "delay=1s").answer(memoryview(buffer))
    buffer[:] = b"xxxxx"
    assert b"".join(pieces(actions)) == b"hello"


@pytest.mark.parametrize("fault", ["rate=10k", "dribble=1B/1ms", "delay=1ms", "split-utf8"])
def test_an_empty_record_has_its_empty_reply(fault: str) -> None:
    assert pieces(faulty(fault).answer(memoryview(b""))) == [b""]


def test_servers_without_faults_do_not_pay_for_them() -> None:
    script = (
        "import sys\nfrom netlab.socketops.serving import concurrent, datagram, iterative, threaded\n"
        "print(*[name for name in sys.modules if 'fault' in name or 'actions' in name or 'misbehaving' in name])\n"
        "print('random' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == ["False"]
