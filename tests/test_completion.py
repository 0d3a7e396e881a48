"""Completion in real interactive shells: what is typed, what a TAB makes of it, what is listed, how soon."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.peers import alongside
from tests.programs import ROOT, clean_environment, run_netlab
from tests.shells import Shell

SCRIPTS = {name: ROOT / "completions" / file for name, file in
           {"bash": "netlab.bash", "zsh": "_netlab", "fish": "netlab.fish"}.items()}  # fmt: skip
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")

KNOWN_HOSTS = """\
# a comment
alpha.example,10.1.2.3 ssh-ed25519 AAAA
[beta.example]:2222 ssh-ed25519 AAAA
|1|c2FsdA==|aGFzaA== ssh-ed25519 AAAA
@revoked gamma.example ssh-ed25519 AAAA
$(touch${IFS}pwned).example,`touch${IFS}pwned` ssh-ed25519 AAAA
"""

VARIANTS = {
    "bash": ("bash", "source {script}"),
    "bash, with bash-completion": ("bash", f"source {BASH_COMPLETION}"),
    "bash, : breaks no words": ("bash", "source {script}; COMP_WORDBREAKS=${{COMP_WORDBREAKS//:/}}"),
    "bash, = breaks no words": ("bash", "source {script}; COMP_WORDBREAKS=${{COMP_WORDBREAKS//=/}}"),
    "bash, neither breaks words": ("bash", "source {script}; COMP_WORDBREAKS=${{COMP_WORDBREAKS//[:=]/}}"),
    "bash, strict": ("bash", "set -u; source {script}"),
    "zsh": ("zsh", ""),
    "zsh, sourced": ("zsh", "source {script}"),
    "fish": ("fish", ""),
}
"""Ways to have the completion; where nothing is sourced the shell finds the script by itself."""


def make_home(folder: Path) -> None:
    """Fill a home directory: hosts, files with blanks in their names, and the scripts where each shell looks."""
    (folder / ".ssh").mkdir()
    (folder / ".ssh/known_hosts").write_text(KNOWN_HOSTS)
    (folder / "two words").mkdir()
    for name in ("two words/one", "two words/other", "solo.sock", "solö.txt"):
        (folder / name).touch()
    data = folder / ".local/share"
    # A shell may want the command to exist; a TAB that started it would leave a mark.
    (folder / "bin").mkdir()
    (folder / "bin/netlab").write_text("#!/bin/sh\ntouch ~/started\n")
    (folder / "bin/netlab").chmod(0o755)
    for name, place in [
        ("bash", data / "bash-completion/completions/netlab"),
        ("zsh", folder / "functions/_netlab"),
        ("fish", folder / ".config/fish/completions/netlab.fish"),
    ]:
        place.parent.mkdir(parents=True)
        shutil.copy(SCRIPTS[name], place)


def start(name: str, script: str, folder: Path) -> Shell:
    make_home(folder)
    if name == "zsh" and not script:
        script = "fpath=(~/functions $fpath); compinit -u -D"
    if name == "fish":
        script = "set fish_complete_path ~/.config/fish/completions $fish_complete_path"
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return Shell(name, folder, script.format(script=SCRIPTS[name]), {"PATH": path})


@pytest.fixture(scope="module", params=VARIANTS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An interactive shell that knows netlab's completion."""
    name, script = VARIANTS[request.param]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt install {name})")
    if "bash-completion" in script and not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed (apt install bash-completion)")
    home = tmp_path_factory.mktemp("home")
    with start(name, script, home) as found:
        yield found
    assert not (home / "started").exists()
    assert not list(home.rglob("pwned"))


# Where a shell writes a word in its own way, its name stands before that.
ROWS: list[tuple[str, dict[str, str] | str]] = [
    ("netlab prob", "netlab probe "),
    ("bin/netlab prob", "bin/netlab probe "),
    ("true; X=1 netlab prob", "true; X=1 netlab probe "),
    ("netlab --comp", {"zsh": "netlab --completion=", "": "netlab --completion "}),
    ("netlab --completion fi", "netlab --completion fish "),
    ("netlab send --hex", "netlab send --hex"),
    ("netlab send --hexd", "netlab send --hexdump "),
    ("netlab send --no-h", "netlab send --no-half-close "),
    ("netlab serve-tcp --backl", {"zsh": "netlab serve-tcp --backlog=", "": "netlab serve-tcp --backlog "}),
    ("netlab serve-tcp --reply di", "netlab serve-tcp --reply discard "),
    ("netlab serve-tcp --reply=di", "netlab serve-tcp --reply=discard "),
    ("netlab serve-tcp :0 --reply=di", "netlab serve-tcp :0 --reply=discard "),
    ("netlab send --until=cl", "netlab send --until=close "),
    (
        "netlab probe --ok-if open,r",
        {"zsh": "netlab probe --ok-if open,refused,", "": "netlab probe --ok-if open,refused "},
    ),
    ("netlab probe --ok-if open,o", "netlab probe --ok-if open,o"),
    ("netlab probe --ok-if=open,busy,bu", "netlab probe --ok-if=open,busy,bu"),
    ("netlab send --unix=/etc/ho", "netlab send --unix=/etc/host"),
    ("netlab send --unix=sol", "netlab send --unix=sol"),
    ("netlab send --unix=solo", "netlab send --unix=solo.sock "),
    ("netlab send -U solo", "netlab send -U solo.sock "),
    ("netlab send -f solo", "netlab send -f solo.sock "),
    ("netlab send -o solo", "netlab send -o solo.sock "),
    ("netlab send unix:solo", "netlab send unix:solo.sock "),
    ('netlab send --unix "two words/on', 'netlab send --unix "two words/one" '),
    ("netlab send --unix 'two words/on", "netlab send --unix 'two words/one' "),
    (r"netlab send --unix two\ words/on", r"netlab send --unix two\ words/one "),
    ("netlab probe localhost:99", "netlab probe localhost:9999 "),
    ('netlab probe "localhost:99', 'netlab probe "localhost:9999" '),
    ("netlab probe 'localhost:99", "netlab probe 'localhost:9999' "),
    ("netlab probe local", "netlab probe localhost:"),
    ("netlab probe -v local", "netlab probe -v localhost:"),
    ("netlab probe -w 5s local", "netlab probe -w 5s localhost:"),
    ("netlab probe -vw 5s local", "netlab probe -vw 5s localhost:"),
    ("netlab probe localhost:22 alp", "netlab probe localhost:22 alpha.example:"),
    ("netlab probe localhost:22,99", "netlab probe localhost:22,9999 "),
    ("netlab probe udp:beta.example:sysl", "netlab probe udp:beta.example:syslog "),
    ("netlab probe beta.example:htt", "netlab probe beta.example:http"),
    ("netlab probe icmp:beta", "netlab probe icmp:beta.example "),
    ("netlab send -H beta", "netlab send -H beta.example "),
    ("netlab send --host=beta", "netlab send --host=beta.example "),
    ("netlab probe --payload proto:d", "netlab probe --payload proto:dns "),
    ("netlab probe --payload=proto:d", "netlab probe --payload=proto:dns "),
    ("netlab send -s '[", "netlab send -s '[::1]' "),
    ("netlab serve-tcp --host=0", "netlab serve-tcp --host=0.0.0.0 "),
    ("netlab serve-tcp -H ::", "netlab serve-tcp -H ::"),
    ("netlab probe [", {"bash": "netlab probe [::1]:", "": r"netlab probe \[::1\]:"}),
    ("netlab probe tcp:[:", {"bash": "netlab probe tcp:[::1]:", "": r"netlab probe tcp:\[::1\]:"}),
    ("netlab probe '[", {"bash": "netlab probe '[::1]:'", "": "netlab probe '[::1]:"}),
    ("netlab probe '[::1]:99", "netlab probe '[::1]:9999' "),
    ("netlab probe [::1]:99", {"bash": "netlab probe [::1]:9999 ", "": r"netlab probe \[::1\]:9999 "}),
    ("netlab send --set SO_KEEPA", "netlab send --set SO_KEEPALIVE="),
    ("netlab send --set=SO_KEEPA", "netlab send --set=SO_KEEPALIVE="),
    ("netlab send --set TCP_MAXS", "netlab send --set TCP_MAXSEG="),
    ("netlab serve-tcp --fault dela", "netlab serve-tcp --fault delay="),
    ("netlab serve-tcp --fault=dela", "netlab serve-tcp --fault=delay="),
    ("netlab serve-tcp --fault delay=", "netlab serve-tcp --fault delay=300ms "),
    ("netlab serve-tcp --fault=dribble=", "netlab serve-tcp --fault=dribble=1B/10ms "),
    ("netlab serve-threaded --fault stall --fault half", "netlab serve-threaded --fault stall --fault half-close "),
    ("netlab serve-udp --fault=tru", "netlab serve-udp --fault=truncate="),
    ("netlab serve-udp --fault sta", "netlab serve-udp --fault sta"),
    ("netlab serve-udp 0.0", "netlab serve-udp 0.0.0.0:"),
    ("netlab serve-udp < solo", "netlab serve-udp < solo.sock "),
    ("netlab send :9999 alp", "netlab send :9999 alp"),
    ("netlab send -p 9999 alp", "netlab send -p 9999 alp"),
    ("netlab probe hash", "netlab probe hash"),
    ("netlab probe gamma", "netlab probe gamma"),
]


@pytest.mark.parametrize(("typed", "wanted"), ROWS)
def test_a_tab_completes(shell: Shell, typed: str, wanted: dict[str, str] | str) -> None:
    if isinstance(wanted, dict):
        wanted = wanted.get(shell.name, wanted.get(""))  # type: ignore[assignment]
    assert shell.complete(typed).line == wanted


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        ("netlab ", {"serve-tcp", "serve-threaded", "serve-udp", "send", "chat", "probe"}),
        ("netlab serve-", {"serve-tcp", "serve-threaded", "serve-udp"}),
        ("netlab send --color ", {"auto", "always", "never"}),
        ("netlab send --color=a", {"auto", "always"}),
        ("netlab serve-tcp --re", {"--reply", "--ready-fd"}),
        ("netlab send --set TCP_KEEP", {"TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"}),
        ("netlab send --set SO_KEEPALIVE=", {"0", "1"}),
        ("netlab serve-tcp --fault d", {"delay", "dribble", "drop"}),
        ("netlab serve-udp --fault=d", {"delay", "duplicate", "drop"}),
        ("netlab send --unix=/etc/host", {"hostname", "hosts"}),
        ("netlab send -U two\\ words/o", {"one", "other"}),
        ("netlab send -U sol", {"solo.sock", "solö.txt"}),
        ("netlab probe ", {"localhost", "alpha.example", "beta.example", "unix"}),
        ("netlab probe localhost:", {"9999", "ssh", "https"}),
        ("netlab serve-tcp 127.0.0.1:", {"0", "9999"}),
    ],
)
def test_a_tab_lists(shell: Shell, typed: str, listed: set[str]) -> None:
    assert listed <= shell.complete(typed).words


@contextmanager
def coming_and_going() -> Iterator[None]:
    """Open and close sockets all the while: each moves the others' lines in /proc/net/udp."""
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            with ExitStack() as stack:
                for _ in range(20):
                    sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    sock.connect(("127.0.0.1", 9))  # so that it is not among those that are listed

    with alongside(come_and_go):
        try:
            yield
        finally:
            ended.set()


def test_ports_of_this_host_are_those_with_a_listener(shell: Shell) -> None:
    with (
        coming_and_going(),
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        udp.bind(("127.0.0.1", 0))
        closed.close()
        ports = [sock.getsockname()[1] for sock in (tcp, udp)]
        for option, port, other in [("", ports[0], ports[1]), ("-u ", ports[1], ports[0])]:
            for host in ("localhost", "127.0.0.1", ""):
                shown = shell.complete(f"netlab send {option}{host}:").shown
                assert str(port) in shown
                assert str(other) not in shown.replace(str(port), "")
        assert str(ports[0]) not in shell.complete("netlab send alpha.example:").shown


@contextmanager
def fresh_zsh(home: Path, tmux: str) -> Iterator[Callable[..., None]]:
    """Start zsh, set up as a user would, in tmux; give what presses keys and waits for texts on the screen."""
    command = [tmux, "-S", str(home / "tmux"), "-f", "/dev/null"]
    make_home(home)
    (home / ".zshrc").write_text("PS1='$ '; fpath=(~/functions $fpath); autoload -U compinit; compinit -u -D\n")
    env = clean_environment({"HOME": str(home), "ZDOTDIR": str(home), "TERM": "xterm"})

    def run(*args: str) -> str:
        done = subprocess.run([*command, *args], env=env, cwd=home, capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(*keys: str, shows: Sequence[str]) -> None:
        if keys:
            run("send-keys", *keys)
        for _ in range(1000):
            screen = run("capture-pane", "-p")
            if all(text in screen for text in shows):
                return
        raise AssertionError(f"{shows} did not come; on the screen:\n{screen}")

    run("new-session", "-d", "-x", "100", "-y", "30", "zsh")
    try:
        press(shows=["$"])
        yield press
    finally:
        run("kill-server")


def test_zsh_keeps_its_list_at_the_second_tab(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """A list that is drawn and wiped again looks right in what the shell writes: only a terminal's screen tells."""
    require_tool("zsh")
    with fresh_zsh(tmp_path, require_tool("tmux")) as press:
        press("netlab serve-", "Tab", shows=["serve-tcp ", "serve-threaded ", "serve-udp "])
        press("Tab", shows=["$ netlab serve-tcp", "serve-tcp  ", "serve-threaded ", "serve-udp "])
        press("C-u", "netlab send --color=", "Tab", shows=["$ netlab send --color=", "always", "never"])
        press("Tab", shows=["$ netlab send --color=always", "auto", "never"])


def test_zsh_quotes_the_bracket_of_an_address(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """At the first TAB of a session, too, when nothing of netlab's has been loaded; and arrays stay as they were."""
    require_tool("zsh")
    with fresh_zsh(tmp_path, require_tool("tmux")) as press:
        press("netlab probe [", "Tab", shows=[r"$ netlab probe \[::1\]:"])
        press("99", "Tab", shows=[r"$ netlab probe \[::1\]:9999"])
        press("C-u", "typeset -A found=(alpha 1 beta 2)", "Enter", "echo $found[al", "Tab", shows=["$found[alpha]"])


def test_bash_gets_no_variables_of_ours(require_tool: Callable[[str], str]) -> None:
    code = f"""
        source {SCRIPTS["bash"]}
        compopt() {{ :; }}
        COMP_LINE='netlab probe localhost:99' COMP_POINT=25 COMPREPLY=() before= after=
        [[ x =~ x ]] # BASH_REMATCH is bash's own
        before=$(compgen -v; set -o; shopt)
        _netlab
        after=$(compgen -v; set -o; shopt)
        [[ $before == "$after" ]] && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [require_tool("bash"), "--noprofile", "--norc", "-c", code],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("9999\n", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("netlab send --color=", {"--color=auto", "--color=always", "--color=never"}),
        ("netlab probe 'local", {"localhost:"}),
        ("netlab probe [", {"[::1]:"}),
        ("netlab chat --eol ", {"none", "lf", "crlf"}),
    ],
)
def test_fish_completes_without_a_terminal(require_tool: Callable[[str], str], line: str, words: set[str]) -> None:
    code = "source $argv[1]; complete -C $argv[2]"
    done = subprocess.run(
        [require_tool("fish"), "--no-config", "-c", code, str(SCRIPTS["fish"]), line],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    assert {row.partition("\t")[0] for row in done.stdout.splitlines()} == words
    assert done.stderr == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_option_prints_the_file(name: str) -> None:
    done = run_netlab("--completion", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == SCRIPTS[name].read_bytes()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_says_where_it_goes(name: str) -> None:
    front = SCRIPTS[name].read_text().splitlines()[:12]
    assert any(line.startswith("#") and f"netlab --completion {name} >" in line for line in front)


def test_a_tab_answers_before_one_notices(shell: Shell) -> None:
    """At least once in fifty, since the script takes what the fastest does: the rest is what else this machine does."""
    for typed in ("netlab prob", "netlab probe local", "netlab probe localhost:99", "netlab serve-tcp --fault "):
        assert any(shell.complete(typed).seconds < 0.06 for _ in range(50)), typed
