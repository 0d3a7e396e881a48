"""Traces as files: what is written can be read again, what is drawn is well formed, and nothing foreign slips in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint
from netlab.errors import OutputError, UsageError
from netlab.records import Call
from netlab.render.jsonlines import to_json
from netlab.render.picture.mermaid import draw_mermaid
from netlab.render.picture.scene import build_scene
from netlab.render.picture.svg import draw_svg
from netlab.render.picture.tracefile import SUFFIXES, check_name, read_trace, write_trace
from tests.calls import conversation, failed, made

HOSTILE = "\x1b]0;x\x07\r\n\u202e\x9b31m<script>&\"'--> ;#%%end\x00\ufffe"
SVG = "{http://www.w3.org/2000/svg}"


def hostile() -> list[Call]:
    peer = replace(Endpoint.parse("unix:/tmp/s"), path=HOSTILE)
    call = made(0, "client", "send", HOSTILE, "5", data=HOSTILE.encode(), thread=HOSTILE, local=peer, peer=peer)
    error = replace(failed(9, "server", "recv", "EAGAIN", HOSTILE), call=HOSTILE, errno_name=HOSTILE)
    return [call, error]


def test_calls_come_back_as_they_were(tmp_path: Path) -> None:
    path = str(tmp_path / "trace.jsonl")
    calls = [*conversation(), made(900, "client", "send", "", "3", data=b"\xff\x00\n", size=70_000, peer_pid=7)]
    write_trace(path, calls)
    assert read_trace(path) == calls


@given(
    data=st.binary(max_size=64),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    number=st.integers(0, 10**12),
)
def test_whatever_a_call_holds_survives(data: bytes, text: str, number: int) -> None:
    call = made(number, "server", text, text, text, data=data, thread=text, waited_us=1.5)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/trace.jsonl"
        write_trace(path, [call])
        assert read_trace(path) == [call]


def test_other_events_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = ['{"event":"listening","endpoint":"127.0.0.1:1"}', to_json(conversation()[0]), '{"event":"summary"}']
    path.write_text("\n".join(lines))
    assert read_trace(str(path)) == conversation()[:1]


def broken(**changes: Any) -> str:
    values = json.loads(to_json(conversation()[2])) | changes
    return json.dumps({name: value for name, value in values.items() if value != "absent"})


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        '{"event":"call"}',
        "[" * 100_000,
        broken(call="absent"),
        broken(fd="5"),
        broken(fd=True),
        broken(lane="middle"),
        broken(transport="carrier pigeon"),
        broken(mono_us=float("nan")),
        broken(mono_us=1e300),
        broken(duration_us=-1),
        broken(local="not an endpoint"),
        broken(thread="\ud800"),
        broken(base64="!"),
    ],
)
def test_a_line_that_is_no_call_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{to_json(conversation()[0])}\n{line}\n")
    with pytest.raises(UsageError, match="line 2 is no record of a call"):
        read_trace(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_trace(str(tmp_path / "missing.jsonl"))


@pytest.mark.parametrize("name", ["trace", "trace.json", "trace.png", ".svg", ""])
def test_the_name_has_to_say_what_is_written(name: str) -> None:
    with pytest.raises(ValueError, match=r"\.jsonl, \.txt, \.mmd, \.svg"):
        check_name(name)


def test_a_directory_that_is_not_there_is_told_before_the_run() -> None:
    with pytest.raises(ValueError, match="there is no directory '/nowhere/at'"):
        check_name("/nowhere/at/trace.svg")
    assert check_name("TRACE.SVG") == "TRACE.SVG"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_form_replaces_what_was_there_and_leaves_nothing_beside_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"trace{suffix}"
    path.write_text("old")
    write_trace(str(path), conversation())
    assert "127.0.0.1:42871" in path.read_text("utf-8")
    assert path.read_text("utf-8").endswith("\n")
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link, real = tmp_path / "link.txt", tmp_path / "real.txt"
    link.symlink_to(real)
    write_trace(str(link), conversation())
    assert link.is_symlink()
    assert "CLIENT" in real.read_text()


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    os.mkfifo(path)
    read: list[str] = []
    thread = threading.Thread(target=lambda: read.append(path.read_text()))
    thread.start()
    write_trace(str(path), conversation())
    thread.join(5)
    assert "CLIENT" in read[0]


def test_what_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"write .*nowhere"):
        write_trace(str(tmp_path / "nowhere" / "trace.svg"), conversation())
    (tmp_path / "trace.svg").mkdir()
    with pytest.raises(OutputError):
        write_trace(str(tmp_path / "trace.svg"), conversation())


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_svg_is_whole_and_by_itself() -> None:
    svg = "\n".join(draw_svg(build_scene(conversation())))
    root = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "style", "marker", "path", "rect", "line", "text"}
    assert "prefers-color-scheme: dark" in svg
    assert set(re.findall(r"url\(.", svg)) == {"url(#"}
    assert svg.count("http") == svg.count('xmlns="http://www.w3.org/2000/svg"') == 1
    shown = texts(svg)
    for text in ("CLIENT  MainThread", "SYN, ACK", "5 B", "FIN_WAIT1", "accept(fd 3)", "blocked 0.118", "0.316"):
        assert text in shown
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    for element in root.iter(f"{SVG}text"):
        assert 0 <= float(element.attrib["x"]) <= width
        assert 0 <= float(element.attrib["y"]) <= height


def test_the_svg_has_one_arrow_for_each_of_the_diagram() -> None:
    svg = "\n".join(draw_svg(build_scene(conversation())))
    labels = [text for text in texts(svg) if text in ("SYN", "SYN, ACK", "ACK", "5 B", "17 B", "FIN")]
    assert labels == ["SYN", "SYN, ACK", "ACK", "5 B", "17 B", "FIN", "FIN", "ACK"]


def test_an_svg_of_many_threads() -> None:
    calls = [
        made(at, "server", "recv", "9", "1 B", data=b"x", thread=f"thread {at}", socket=at, waited_us=5)
        for at in range(1, 5)
    ]
    svg = "\n".join(draw_svg(build_scene(calls)))
    assert [text for text in texts(svg) if text.startswith("SERVER")] == [f"SERVER  thread {at}" for at in range(1, 5)]


def test_the_svg_can_be_drawn(require_tool: Callable[[str], str]) -> None:
    svg = "\n".join(draw_svg(build_scene(conversation()))).encode()
    drawn = subprocess.run([require_tool("rsvg-convert")], input=svg, capture_output=True, check=True, timeout=10)
    assert drawn.stdout.startswith(b"\x89PNG")
    assert len(drawn.stdout) > 20_000


def test_nothing_foreign_is_markup_in_the_svg() -> None:
    svg = "\n".join(draw_svg(build_scene(hostile())))
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert "script" not in tags
    assert any("<script>" in text for text in texts(svg))
    assert all(line.isprintable() for line in svg.splitlines())


def test_the_mermaid_diagram() -> None:
    lines = draw_mermaid(build_scene(conversation()))
    assert lines[0] == "sequenceDiagram"
    assert "    participant L1 as SERVER listener thread<br/>127.0.0.1:42871" in lines
    assert "    L0->>L1: SYN" in lines
    assert '    Note over L0: send("hello") = 5' in lines
    assert lines.index("    L1->>L0: FIN") < lines.index("    Note over L0: = 0 B, EOF CLOSED (2)")


def test_nothing_foreign_is_syntax_in_mermaid() -> None:
    safe = re.compile(
        r"sequenceDiagram|    (participant L\d as|Note over L\d(,L\d)?:|L\d->>L\d:) "
        r"([\w .,:()/'\"=|@*+-]|#\d+;|<br/>)*",
        re.ASCII,
    )
    for line in draw_mermaid(build_scene([*hostile(), *conversation()])):
        assert safe.fullmatch(line), line


def test_mermaid_arrows_end_at_the_thread_that_was_meant() -> None:
    first, other = Endpoint.parse("127.0.0.1:1"), Endpoint.parse("127.0.0.1:2")
    calls = [
        made(0, "client", "send", "", "1", data=b"x", local=other, thread="b", socket=1),
        made(2, "client", "send", "", "1", data=b"x", local=first, thread="a", socket=2),
        made(4, "server", "recv", "9", "1 B", data=b"x", peer=first, thread="c", socket=3),
        made(6, "server", "recv", "9", "1 B", data=b"x", peer=other, thread="d", socket=4),
    ]
    lines = draw_mermaid(build_scene(calls))
    assert [line.strip() for line in lines if "->>" in line] == ["L0->>L3: 1 B", "L1->>L2: 1 B"]


def test_the_text_file_is_the_diagram(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    write_trace(str(path), conversation(), dropped=3)
    assert "Not drawn: 3 calls that came before" in path.read_text()
    assert max(map(len, path.read_text().splitlines())) <= 110
