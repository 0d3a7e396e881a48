"""What pip makes of the project: metadata, the wheel, and the installed command, with nothing from the network."""

from __future__ import annotations

import email.parser
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import netlab
from tests.programs import ROOT, clean_environment, run_netlab

pytestmark = pytest.mark.slow


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
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "netlab").rglob("*.py")}
    assert sources <= names
    assert {"netlab/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {name.partition("/")[0] for name in names} == {"netlab", info}, "the wheel installs something beside netlab"
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


def test_version_is_one_literal(project: dict[str, Any]) -> None:
    assert netlab.__version__ == "0.1.0"
    assert run_netlab("--version").stdout == b"netlab 0.1.0\n"
    assert project["dynamic"] == ["version"]
    assert project["scripts"] == {"netlab": "netlab.__main__:main"}
