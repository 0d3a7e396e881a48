"""Stop and its watcher: what wakes, what ends, what is left behind."""

from __future__ import annotations

import socket
import threading

from netlab.socketops import Stop, Watcher


def test_stop_keeps_the_first_reason() -> None:
    with Stop() as stop:
        assert not stop.is_set()
        stop.set("SIGINT")
        stop.set("SIGTERM")
        assert stop.is_set()
        assert stop.reason == "SIGINT"


def test_stop_wakes_a_waiting_thread() -> None:
    with Stop() as stop:
        woken: list[bool] = []
        thread = threading.Thread(target=lambda: woken.append(stop.wait(5)))
        thread.start()
        stop.set()
        thread.join(5)
        assert woken == [True]


def test_wait_says_that_time_ran_out() -> None:
    with Stop() as stop:
        assert stop.wait(0.001) is False


def test_set_after_close_is_harmless() -> None:
    stop = Stop()
    stop.close()
    stop.set()
    assert stop.is_set()


def test_watcher_wakes_a_thread_that_blocks_in_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Stop() as stop:
        ended = threading.Event()

        def accept() -> None:
            try:
                listener.accept()
            except OSError:
                ended.set()

        thread = threading.Thread(target=accept)
        with Watcher(stop, lambda: listener.shutdown(socket.SHUT_RD)):
            thread.start()
            stop.set()
            assert ended.wait(5)
        thread.join(5)


def test_watcher_does_not_wake_where_nothing_was_stopped() -> None:
    woken: list[bool] = []
    with Stop() as stop, Watcher(stop, lambda: woken.append(True)):
        pass
    assert woken == []


def test_watcher_ends_a_run_after_its_duration() -> None:
    woken = threading.Event()
    with Stop() as stop, Watcher(stop, woken.set, duration=0.01):
        assert woken.wait(5)
        assert stop.reason == "--duration"


def test_watcher_ticks_until_the_end() -> None:
    ticked = threading.Semaphore(0)
    with Stop() as stop, Watcher(stop, lambda: None, tick=ticked.release, interval=0.001):
        assert all(ticked.acquire(timeout=5) for _ in range(3))
