"""Where HOME can't be written, libraries get a folder of this user's alone."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from spti_ray.config import EngineConfig
from spti_ray.models import writable_home
from spti_ray.models.bundled import ModelMissing, cache_folder, resolve_model
from spti_ray.models.factory import build_engine


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SPTI_CACHE", "XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(writable_home.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    monkeypatch.setenv("USER", "somebody")


def test_a_home_that_can_be_written_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    writable_home.set_home_and_user()
    assert dict(os.environ) == before and cache_folder() == tmp_path / ".cache" / "spti-ray"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["/proc/nonexistent", "relative", "/dev/null"])
def test_one_that_can_not_be_gives_way_to_a_folder_of_the_users_own(monkeypatch: Any, tmp_path: Path, value: str):
    monkeypatch.setenv("HOME", value)
    place = tmp_path / f"spti-home-{os.getuid()}"
    assert (
        writable_home.writable_home() == writable_home.writable_home() == place
        and stat.S_IMODE(place.stat().st_mode) == 0o700
    )
    assert cache_folder() == place / ".cache" / "spti-ray"
    writable_home.set_home_and_user()
    assert os.environ["HOME"] == str(place)


def test_an_engine_finds_such_a_home(tmp_path: Path):
    build_engine("writer", EngineConfig(kind="fake-writer"))
    assert os.environ["HOME"] == str(tmp_path / f"spti-home-{os.getuid()}")


def test_models_in_a_home_that_can_only_be_read_are_still_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    read_only = tmp_path / "home"
    (read_only / ".cache" / "huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(read_only))
    monkeypatch.setattr(writable_home.os, "access", lambda path, mode: Path(path) != read_only)
    writable_home.set_home_and_user()
    assert os.environ["HOME"] != str(read_only) and os.environ["HF_HOME"] == str(read_only / ".cache" / "huggingface")


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path):
    planted = tmp_path / f"spti-home-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert writable_home.writable_home().parent == tmp_path and writable_home.writable_home() != planted


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(writable_home.getpass, "getuser", nobody)
    writable_home.set_home_and_user()
    assert os.environ["USER"] == f"uid{os.getuid()}"


def test_a_cache_that_can_not_be_made_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPTI_CACHE", "/proc/nonexistent")
    with pytest.raises(ModelMissing) as caught:
        resolve_model("bundled:smollm2")
    assert str(caught.value) == (
        "/proc/nonexistent/spti-ray can't be made (No such file or directory), and bundled:smollm2 is unpacked there: "
        "set SPTI_CACHE to a folder that can be written"
    )
