"""What pip makes of the project: metadata, the wheel, and the installed command, with nothing from the network."""

from __future__ import annotations

import email.parser
import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import netlab
from netlab.reference.completion import FILES
from tests.programs import ROOT, clean_environment, run_netlab
from tests.shells import Shell

pytestmark = pytest.mark.slow

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


def pip(*args: str) -> None:
    offline = ("--no-index", "--no-deps", "--no-cache-dir", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", *args, *offline],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["project"]
    assert isinstance(table, dict)
    return table


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built with the hatchling that is here."""
    for module, name in [("pip", "pip"), ("hatchling", "hatchling")]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{name} is not installed ({sys.executable} -m pip install {name})")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(ROOT), "--wheel-dir", str(folder), "--no-build-isolation")
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", str(wheel), "--target", str(folder))
    return folder


@pytest.mark.timeout(90)
def test_wheel_holds_the_package_and_its_metadata(wheel: Path, project: dict[str, Any]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"netlab-{netlab.__version__}.dist-info"
        metadata = email.parser.Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = archive.read(f"{info}/entry_points.txt").decode().split()
    files = [path.relative_to(ROOT) for path in (ROOT / "netlab").rglob("*") if path.is_file()]
    sources = {path.as_posix() for path in files if not any(part.startswith((".", "__py")) for part in path.parts[:-1])}
    assert sources <= names
    assert {"netlab/py.typed", f"{info}/licenses/LICENSE"} <= names
    tops = {"netlab", info, f"netlab-{netlab.__version__}.data"}
    assert {name.partition("/")[0] for name in names} == tops, "the wheel installs something beside netlab"
    assert (metadata["Name"], metadata["Version"]) == ("netlab", netlab.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == project["license"] == "MIT"
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(required) == sorted(line.replace("_", "-") for line in project["dependencies"])
    assert scripts == ["[console_scripts]", "netlab", "=", "netlab.__main__:main"]


@pytest.mark.timeout(90)
def test_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    # PYTHONPATH precedes site-packages: Click comes from there, netlab must not.
    env = clean_environment({"PYTHONPATH": str(installed)})
    where = subprocess.run(
        [sys.executable, "-c", "import netlab; print(netlab.__file__)"],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(installed)
    for command in [str(installed / "bin" / "netlab")], [sys.executable, "-m", "netlab"]:
        done = subprocess.run(
            [*command, "--version"],
            env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, f"netlab {netlab.__version__}\n", "")


SHARED = {
    "bash": "share/bash-completion/completions/netlab",
    "zsh": "share/zsh/site-functions/_netlab",
    "fish": "share/fish/vendor_completions.d/netlab.fish",
}
"""Where a shell looks for completion below a prefix."""


@pytest.fixture(scope="session")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel installed."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    pip("--python", str(folder / "bin/python"), "install", str(wheel))
    return folder


@pytest.mark.timeout(90)
def test_man_pages_and_completions_are_installed(venv: Path) -> None:
    for page in (ROOT / "man").iterdir():
        assert (venv / "share/man/man1" / page.name).read_bytes() == page.read_bytes()
    for shell, place in SHARED.items():
        assert (venv / place).read_bytes() == (ROOT / "completions" / FILES[shell]).read_bytes()


@pytest.mark.timeout(90)
def test_man_finds_the_pages_by_the_path_of_the_command(venv: Path, require_tool: Callable[[str], str]) -> None:
    env = clean_environment({"PATH": f"{venv / 'bin'}:{os.environ['PATH']}"})
    for page in (ROOT / "man").iterdir():
        done = subprocess.run(
            [require_tool("man"), "-w", page.stem], env=env, capture_output=True, text=True, check=False, timeout=10
        )
        assert Path(done.stdout.strip()).resolve() == (venv / "share/man/man1" / page.name).resolve(), done.stderr


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", SHARED)
def test_shells_find_the_completion(name: str, venv: Path, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool(name)
    script = {
        "bash": f"source {BASH_COMPLETION}",
        "zsh": f"fpath=({(venv / SHARED['zsh']).parent} $fpath); compinit -u -D",
        "fish": f"set fish_complete_path {(venv / SHARED['fish']).parent} $fish_complete_path",
    }[name]
    if name == "bash" and not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed (apt install bash-completion)")
    env = {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "XDG_DATA_DIRS": f"{venv / 'share'}:/usr/share"}
    with Shell(name, tmp_path, script, env) as shell:
        assert shell.complete("netlab serve-u").line == "netlab serve-udp "
        assert shell.complete("netlab send --color=al").line == "netlab send --color=always "


def test_version_is_one_literal(project: dict[str, Any]) -> None:
    assert netlab.__version__ == "0.1.0"
    assert run_netlab("--version").stdout == b"netlab 0.1.0\n"
    assert project["dynamic"] == ["version"]
    assert project["scripts"] == {"netlab": "netlab.__main__:main"}
