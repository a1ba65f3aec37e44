"""What uv makes of the project's requirements: names and versions, from the packages' metadata alone.

Where no registry answers, uv's cache has to do, and where that is not enough either the test is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
BACKENDS = ("cpu", "gpu")
PYTHONS = ("3.11", "3.12")  # to uv, 3.11 is 3.11.0: what needs 3.11.5 is not for everybody
UNWANTED = {"torchvision", "torchaudio", "torchcodec", "llm", "llama-cpp-python", "llm-llama-cpp"}

_UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|Request failed|dns error|timed out|Connection refused"
)


def uv() -> list[str]:
    """The command of uv as `make setup` found or installed it; it may be called from any folder."""
    if named := os.environ.get("UV"):
        command, *rest = named.split()
        return [str(ROOT / command) if "/" in command else command, *rest]
    if found := shutil.which("uv"):
        return [found]
    if (python := ROOT / ".venv" / "tools" / "bin" / "python").exists():
        return [str(python), "-m", "uv"]
    pytest.skip("needs uv, which `make setup` installs")


def ask(*arguments: object, cwd: Path = ROOT, pinned: bool = False) -> subprocess.CompletedProcess[str]:
    """uv's answer. `cwd`: uv heeds a pyproject.toml that is there.

    From the registry; if none can be reached, from uv's cache. What is `pinned` has the same answer from either,
    and the cache is ten times as quick: the registry is asked only where the cache has no solution.
    """
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "30"}
    environment.pop("VIRTUAL_ENV", None)
    command = [*uv(), *(str(argument) for argument in arguments)]

    def done(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *options], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    if pinned and not (cached := done("--offline")).returncode:
        return cached
    answer = done()
    if not answer.returncode or not _UNREACHABLE.search(answer.stderr):
        return answer
    cached = done("--offline")
    if cached.returncode:  # uv may say "no solution" of what it has not in its cache
        pytest.skip("no package registry can be reached, and uv's cache has no answer")
    return cached


def resolved(*arguments: object, python: str, pinned: bool = False) -> dict[str, str]:
    """Name -> version of all that an installer would take, on any Linux of this processor with that Python."""
    compile_ = ["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python]
    done = ask(*compile_, *arguments, pinned=pinned)
    assert done.returncode == 0, done.stderr
    return pins(done.stdout)


def extras(*names: str) -> list[str]:
    """uv's options that ask for these extras."""
    return [word for name in names for word in ("--extra", name)]


def pins(text: str) -> dict[str, str]:
    """Name -> version of `name==version` lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(re.fullmatch(r"([a-z0-9-]+)==(\S+)", line).groups() for line in lines)  # type: ignore[union-attr]


def constraints(backend: str) -> dict[str, str]:
    return pins((ROOT / "constraints" / f"{backend}.txt").read_text(encoding="utf-8"))


def constrained(backend: str, torch: list[str], python: str) -> dict[str, str]:
    """What all extras resolve to with one backend and its constraints."""
    names = [name for name in EXTRAS if name == backend or name not in BACKENDS]
    wanted = ["pyproject.toml", *extras(*names), "-c", f"constraints/{backend}.txt"]
    return resolved(*wanted, *torch, python=python, pinned=True)


def cpu_torch(folder: Path) -> list[str]:
    """uv's options that offer it torch's CPU build, whatever the Python.

    That build is not in package registries, and a folder of wheels may have it for one Python alone. So the installed
    one's metadata is offered, which is what a resolution reads; elsewhere than beside a CPU build, what Makefile does.
    """
    torch = distribution("torch")
    if not torch.version.endswith("+cpu"):
        links = os.environ.get("PIP_FIND_LINKS")
        return ["--find-links", links] if links else ["--torch-backend", "cpu"]
    info = f"torch-{torch.version}.dist-info"
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"torch-{torch.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", torch.read_text("METADATA") or "")
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    return ["--find-links", str(folder)]
