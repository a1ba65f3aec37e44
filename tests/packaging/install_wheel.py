"""`make test-wheel`: what the documents tell a wheel's user, in clean environments: install, doctor, demo.

Not collected by itself: it downloads and installs the whole stack twice, and takes ten minutes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.resolving import BACKENDS, ROOT, constraints, pins, uv

DIST = ROOT / "dist"
(WHEEL,) = DIST.glob("*.whl")
UNWANTED = {"torchvision", "torchaudio", "torchcodec", "llm", "llama_cpp_python"}
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").split("## From a wheel")[1].split("\n## ")[0]


def run(*command: object, cwd: Path, timeout: float = 1800, expect: int = 0) -> str:
    """Run with no path to any checkout; return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == expect, done.stdout[-4000:]
    return done.stdout


def packages(python: Path, cwd: Path) -> set[str]:
    code = "import importlib.metadata as m; print(*(d.name.lower().replace('-', '_') for d in m.distributions()))"
    return set(run(python, "-c", code, cwd=cwd).split())


def assert_well(environment: Path, cwd: Path) -> None:
    told = run(environment / "bin" / "spti", "doctor", cwd=cwd)
    assert "FIX" not in told and str(environment) in told
    assert not packages(environment / "bin" / "python", cwd) & UNWANTED


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    yield tmp_path / "venv"


@pytest.mark.timeout(3600)
def test_pip_installs_the_wheel_with_the_exact_list_and_the_demo_runs(environment, tmp_path):
    pip, spti = environment / "bin" / "pip", environment / "bin" / "spti"
    run(pip, "install", "--quiet", "--no-deps", "-r", DIST / "requirements-cpu.txt", WHEEL, cwd=tmp_path)
    run(pip, "check", cwd=tmp_path, expect=1)  # what was left out on purpose
    assert_well(environment, tmp_path)
    print(run(spti, "run", "bundled:stickers", "--out", "runs/stickers", cwd=tmp_path))
    release = tmp_path / "runs" / "stickers" / "release"
    assert len(list((release / "images").glob("*.png"))) == 105
    assert json.loads((release / "privacy.json").read_text())["epsilon"] == 2.0
    assert (release / "report.html").is_file()
    assert "FAIL" not in run(spti, "verify", "runs/stickers", cwd=tmp_path)


@pytest.mark.timeout(3600)
def test_uv_installs_the_wheel_with_the_overrides(environment, tmp_path):
    torch = ["--find-links", os.environ["PIP_FIND_LINKS"]] if "PIP_FIND_LINKS" in os.environ else []
    options = ["--override", DIST / "overrides.txt", *(torch or ["--torch-backend", "cpu"])]
    install = [*uv(), "pip", "install", "--quiet", "--python", environment / "bin" / "python", *options]
    run(*install, WHEEL, cwd=tmp_path)
    # Without an engine for texts, a run says in one line what to install.
    refused = run(environment / "bin" / "spti", "run", "bundled:stickers", "--out", "r", cwd=tmp_path, expect=1)
    assert "spti-ray[cpu]" in refused.splitlines()[-1]
    run(*install, f"{WHEEL}[cpu,s3,eval,docs]", cwd=tmp_path)
    assert_well(environment, tmp_path)


def gpu_command(tool: str) -> list[str]:
    """What the documents tell a GPU's user to type, without the tool's name, with paths of this dist/."""
    (line,) = [line for line in INSTALL.splitlines() if line.startswith(f"{tool} ") and "gpu" in line]
    words = shlex.split(line, comments=True)[len(tool.split()) :]
    return [re.sub(r"(spti_ray-\S+\.whl|\w[\w-]*\.txt)", rf"{DIST}/\1", word) for word in words]


@pytest.mark.parametrize("tool", ["pip install", "uv pip install"])
def test_a_gpus_user_gets_the_pinned_torch_and_vllm_as_far_as_a_dry_run_shows(tool, environment, tmp_path):
    """By uv in both cases: pip would download gigabytes to say what it would do."""
    links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if "PIP_FIND_LINKS" in os.environ else []
    install = [*uv(), "pip", "install", "--dry-run", "--python", environment / "bin" / "python", *links]
    told = run(*install, *gpu_command(tool), cwd=tmp_path)
    found = dict(re.findall(r"^ \+ ([\w.-]+)==(\S+)", told, re.MULTILINE))
    pinned = constraints("gpu")
    assert {name: found[name] for name in ("vllm", "torch")} == {name: pinned[name] for name in ("vllm", "torch")}
    assert not {name.replace("-", "_") for name in found} & UNWANTED


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_exact_lists_are_of_the_pinned_versions(backend):
    lines = (DIST / f"requirements-{backend}.txt").read_text(encoding="utf-8")
    release = constraints(backend)["torch"]
    if backend == "gpu":  # pip asks no package what it needs, and takes torch's CPU build where a folder has it
        assert f"\ntorch=={release},!={release}+cpu\n" in lines
        lines = lines.replace(f",!={release}+cpu", "")
    assert pins(lines).items() <= constraints(backend).items()
