"""cluster/Dockerfile, without Docker: its RUN lines run here, with stand-ins for what they call.

In a folder that holds what COPY copied so far and nothing else, by /bin/sh, with a PATH on which each command only says
what it was called with. What uv was called with is then resolved: by uv, for the image's Python, as a dry run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import spti_ray
from tests.packaging.resolving import PROJECT, ROOT, UNWANTED, ask, constraints

DOCKERFILE = ROOT / "cluster" / "Dockerfile"
COMMANDS = ("apt-get", "rm", "useradd", "pip", "uv")
"""What RUN lines may call. Anything else is not found, and fails: a test has to say what becomes of it."""


def instructions(text: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest) of a Dockerfile, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


LINES = instructions(DOCKERFILE.read_text(encoding="utf-8"))


def said(name: str) -> list[str]:
    return [rest for instruction, rest in LINES if instruction == name]


@dataclass
class Build:
    """What an image's build did: its working folder, and each command that RUN lines called."""

    context: Path
    calls: list[list[str]] = field(default_factory=list)

    def of(self, command: str) -> list[list[str]]:
        return [call[1:] for call in self.calls if call[0] == command]


def copy(rest: str, context: Path) -> None:
    """COPY of files and folders into the working folder; links do, for what only reads them."""
    *sources, target = rest.split()
    for source in sources:
        assert (ROOT / source).exists(), f"COPY {source}: no such file in the checkout"
        place = context / target / source if target.endswith("/") else context / target
        assert place.resolve().is_relative_to(context), f"COPY to {target}: not below the working folder"
        place.symlink_to(ROOT / source)


def run(line: str, build: Build, shims: Path) -> None:
    log = shims.parent / "log"
    log.unlink(missing_ok=True)
    environment = {"PATH": str(shims), "LOG": str(log), "HOME": str(shims.parent)}
    assert "/bin/" not in line, "a command by its path would run for real"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=build.context, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    build.calls += [entry.split("\t")[:-1] for entry in log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("image")
    (shims := folder / "bin").mkdir()
    for command in COMMANDS:
        said = '{ printf "%s\\t" "${0##*/}" "$@"; echo; } >> "$LOG"'
        (shims / command).write_text(f"#!/bin/sh\n{said}\n", encoding="utf-8")
        (shims / command).chmod(0o755)
    (context := folder / "context").mkdir()
    build = Build(context)
    for instruction, rest in LINES:
        if instruction == "COPY":
            copy(rest, context)
        elif instruction == "RUN":
            run(rest, build, shims)
    return build


def test_an_unknown_instruction_has_to_be_thought_of_here():
    assert {name for name, _ in LINES} == {"FROM", "RUN", "WORKDIR", "COPY", "USER"}


def test_system_packages_are_installed_without_questions_and_their_lists_are_not_kept(build):
    update, install = build.of("apt-get")
    assert update == ["update"]
    assert install[0] == "install" and {"--yes", "--no-install-recommends"} <= set(install)
    assert {"wget", "gcc", "g++"} <= set(install)
    for line in said("RUN"):
        assert "apt-get" not in line or "rm -rf /var/lib/apt/lists/*" in line  # in the same layer


def test_the_image_ends_as_the_user_that_pods_run_as(build):
    (made,) = build.of("useradd")
    uid = made[made.index("--uid") + 1]
    assert LINES[-1] == ("USER", uid)
    for name in ("rayjob/rayjob.yaml", "raycluster/raycluster.yaml"):
        manifest = (ROOT / "cluster" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"runAsUser: (\d+)", manifest)) == {uid}, name


def test_what_the_image_installs_are_the_pinned_versions_for_gpus(build, tmp_path):
    assert build.of("pip") == [["install", "--no-cache-dir", "uv"]]
    (call,) = build.of("uv")
    assert "--system" in call and "--no-cache" in call
    wanted = [word for word in call if word not in ("--system", "--no-cache", "--compile-bytecode")]
    python = image_python()
    made = ask("venv", "--quiet", tmp_path / "venv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    where = ["--python", tmp_path / "venv" / "bin" / "python", "--python-version", python]
    done = ask(*wanted, "--dry-run", *where, cwd=build.context, pinned=True)
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"^ \+ ([\w.-]+)==(\S+)", done.stderr, re.MULTILINE))
    assert " + spti-ray @ file://" in done.stderr  # its metadata were built from what COPY had brought
    assert found["vllm"] and found["torch"] and found["obstore"] and not UNWANTED & found.keys()
    assert found.items() <= constraints("gpu").items()


def image_python() -> str:
    (base,) = said("FROM")
    match = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert match, base
    return match[1]


def test_the_image_has_a_python_that_the_package_allows():
    assert f"{image_python()}.0" in SpecifierSet(PROJECT["project"]["requires-python"])


def copied() -> Iterator[str]:
    for rest in said("COPY"):
        yield from rest.split()[:-1]


def test_what_is_copied_is_sent_to_the_build_and_nothing_else_of_the_folder():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"  # runs and private data beside the code stay where they are
    assert {line[1:] for line in patterns if line.startswith("!")} == set(copied())


def test_the_image_has_the_name_that_the_manifests_look_for():
    texts = [DOCKERFILE, ROOT / "cluster" / "README.md", *sorted((ROOT / "cluster").rglob("*.yaml"))]
    names = [name for path in texts for name in re.findall(r"\S+/spti-ray:\S+", path.read_text(encoding="utf-8"))]
    assert len(names) > 5 and {name.rpartition(":")[2] for name in names} == {spti_ray.__version__}
    told = shlex.split(next(line for line in texts[1].read_text().splitlines() if line.startswith("docker build")))
    assert told[told.index("-f") + 1] == str(DOCKERFILE.relative_to(ROOT)) and "." in told
    assert yaml.safe_load((ROOT / "cluster/example/cluster.yaml").read_text())["image"] in names
